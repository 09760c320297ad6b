"""Tree ensembles: the node tables of ai.onnx.ml's TreeEnsembleRegressor, TreeEnsembleClassifier and TreeEnsemble.

Definitions are onnxruntime's where the standard leaves room. Places in a tree are numbers: nodes from 0, leaf k is −1 − k.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.shapes import Array
from explainsvc.errors import MethodNotApplicable

OPERATORS = frozenset({"TreeEnsembleRegressor", "TreeEnsembleClassifier", "TreeEnsemble"})
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
"""In the order of TreeEnsemble's enumeration."""
COMPARE: dict[str, Callable[[Array, Array], Array]] = {
    "BRANCH_LEQ": np.less_equal, "BRANCH_LT": np.less, "BRANCH_GTE": np.greater_equal, "BRANCH_GT": np.greater,
    "BRANCH_EQ": np.equal, "BRANCH_NEQ": np.not_equal,
}  # fmt: skip
AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
ROWS_AT_ONCE = 256
TO_DO = "Use kernel_shap or sampling_shap, which need nothing of the model"


@dataclass(frozen=True)
class Nodes:
    """Comparisons of all trees.

    Attributes:
        columns: Feature column of each node [nodes].
        modes: Names from MODES [nodes].
        thresholds: float32 or float64 [nodes].
        members: Node → the values that a BRANCH_MEMBER node takes.
        missing: Whether NaN goes the true way [nodes].
    """

    columns: Array
    modes: tuple[str, ...]
    thresholds: Array
    members: Mapping[int, Array]
    missing: Array

    @cached_property
    def _of_mode(self) -> dict[str, Any]:
        """Nodes of each comparison by threshold; most ensembles have but one."""
        kinds, modes = sorted(set(self.modes)), np.array(self.modes)
        return {k: np.flatnonzero(modes == k) if len(kinds) > 1 else slice(None) for k in kinds if k in COMPARE}

    def hold(self, x: Array) -> Array:
        """Whether each node's comparison holds for rows x [n, columns]: bool [n, nodes], in the precision of the thresholds."""
        precision = np.result_type(self.thresholds, np.float32 if x.dtype.kind in "iub" else x.dtype)
        values = x[:, self.columns].astype(precision)
        held = np.zeros(values.shape, bool)
        for mode, mine in self._of_mode.items():
            held[:, mine] = COMPARE[mode](values[:, mine], self.thresholds[mine])
        for node, taken in self.members.items():
            held[:, node] = np.isin(values[:, node], taken)
        result: Array = held | (np.isnan(values) & self.missing)
        return result


@dataclass(frozen=True)
class Ensemble:
    """All trees of a node.

    Attributes:
        nodes: Comparisons.
        below: Place after each node where its comparison does not hold, and where it does, int [2, nodes].
        roots: Place where each tree starts, int [trees].
        values: What each leaf adds to the outputs, float64 [leaves, outputs].
        base: What the outputs start from, float64 [outputs].
    """

    nodes: Nodes
    below: Array
    roots: Array
    values: Array
    base: Array

    def outputs(self, x: Array) -> Array:
        """The raw outputs for rows x [n, columns], float64 [n, outputs]."""
        parts = [self._outputs(x[k : k + ROWS_AT_ONCE]) for k in range(0, len(x), ROWS_AT_ONCE)]
        return np.concatenate(parts)

    def absolute(self) -> Ensemble:
        """The same trees with the sizes of what they add."""
        return replace(self, values=np.abs(self.values), base=np.abs(self.base))

    def _outputs(self, x: Array) -> Array:
        held, place = self.nodes.hold(x).astype(int), np.tile(self.roots, (len(x), 1))
        while (inner := place >= 0).any():
            row, _ = np.nonzero(inner)
            place[inner] = self.below[held[row, place[inner]], place[inner]]
        return np.asarray(self.values[-1 - place].sum(axis=1) + self.base)


def read_ensemble(node: ir.Node) -> Ensemble:
    """The trees of a node.

    Raises:
        MethodNotApplicable: Its outputs are no sum over leaves: MIN or MAX, or a post_transform.
    """
    table = Attributes(node)
    _require_sum(table)
    return _new_form(table) if node.op_type == "TreeEnsemble" else _old_form(table)


class Attributes:
    """A node's attributes as numpy arrays, with defaults; ``name_as_tensor`` stands for ``name``."""

    def __init__(self, node: ir.Node) -> None:
        self.node = node

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute as a plain value; lists and tensors as arrays, float32 where the standard says so."""
        attributes = self.node.attributes
        attribute = attributes[f"{name}_as_tensor"] if f"{name}_as_tensor" in attributes else attributes.get(name)
        if attribute is None:
            return default
        if attribute.type == ir.AttributeType.TENSOR:
            return attribute.as_tensor().numpy()
        if attribute.type == ir.AttributeType.FLOATS:
            return np.array(attribute.as_floats(), np.float32)
        if attribute.type == ir.AttributeType.INTS:
            return np.array(attribute.as_ints(), np.int64)
        return attribute.value

    @property
    def aggregate(self) -> str:
        """SUM, AVERAGE, MIN or MAX."""
        return self._word("aggregate_function", "SUM", AGGREGATES)

    @property
    def transform(self) -> str:
        """What is done to the sums."""
        return self._word("post_transform", "NONE", TRANSFORMS)

    def _word(self, name: str, default: str, words: Sequence[str]) -> str:
        value = self.get(name, default)
        return words[value] if isinstance(value, int) else str(value)

    def where(self) -> str:
        """How a user finds the node."""
        return f'node "{self.node.name or self.node.outputs[0].name}" ({self.node.op_type})'


def _require_sum(table: Attributes) -> None:
    transform, aggregate = table.transform, table.aggregate
    if table.node.op_type == "TreeEnsembleRegressor" and table.get("n_targets", 1) == 1 and transform != "PROBIT":
        transform = "NONE"  # onnxruntime leaves all others out for a single target
    if transform != "NONE":
        raise MethodNotApplicable(
            f"the trees' sums go through {transform} inside the node, which has no name for them", where=table.where(),
            expected="post_transform NONE: a value that is a sum over leaves",
            to_do="Use kernel_shap for this value, or set post_transform to NONE in the file to explain the sums",
        )  # fmt: skip
    if aggregate not in ("SUM", "AVERAGE"):
        raise MethodNotApplicable(
            f"the trees are joined by {aggregate}", where=table.where(), expected="SUM or AVERAGE", to_do=TO_DO
        )


def _checked(ensemble: Ensemble, table: Attributes) -> Ensemble:
    """Every place lies below one node at most, a leaf on both sides of it perhaps; and no root below any.

    Raises:
        MethodNotApplicable: Trees share nodes, or have no end.
    """
    pairs = {(int(place), k) for side in ensemble.below for k, place in enumerate(side)}
    reached = [place for place, _ in pairs] + [int(place) for place in ensemble.roots]
    if len(set(reached)) != len(reached):
        raise MethodNotApplicable("trees share nodes", where=table.where(), expected="each node below one other", to_do=TO_DO)
    return ensemble


def _new_form(table: Attributes) -> Ensemble:
    """TreeEnsemble: inner nodes and leaves in tables of their own."""
    modes = tuple(MODES[k] for k in table.get("nodes_modes"))
    missing = table.get("nodes_missing_value_tracks_true", np.zeros(len(modes), int)).astype(bool)
    members = _members(modes, table.get("membership_values"))
    nodes = Nodes(table.get("nodes_featureids"), modes, table.get("nodes_splits"), members, missing)
    sides = [(table.get(f"nodes_{side}nodeids"), table.get(f"nodes_{side}leafs").astype(bool)) for side in ("false", "true")]
    below = np.array([np.where(ends, -1 - to, to) for to, ends in sides])
    targets = table.get("leaf_targetids")
    weights = np.zeros((len(targets), table.get("n_targets", int(targets.max()) + 1)))
    weights[np.arange(len(targets)), targets] = table.get("leaf_weights")
    roots = table.get("tree_roots")
    share = 1 / len(roots) if table.aggregate == "AVERAGE" else 1.0
    return _checked(Ensemble(nodes, below, roots, share * weights, np.zeros(weights.shape[1])), table)


def _members(modes: Sequence[str], values: Array | None) -> dict[int, Array]:
    """The sets of BRANCH_MEMBER nodes, which NaN ends in one list."""
    if values is None:
        return {}
    ends = np.flatnonzero(np.isnan(values))
    sets = np.split(values, ends)
    return {
        k: s[~np.isnan(s)] for k, s in zip((k for k, mode in enumerate(modes) if mode == "BRANCH_MEMBER"), sets, strict=False)
    }


def _old_form(table: Attributes) -> Ensemble:
    """TreeEnsembleRegressor and TreeEnsembleClassifier: nodes by tree and number, leaves among them."""
    modes = table.get("nodes_modes")
    trees, numbers, leaf = table.get("nodes_treeids"), table.get("nodes_nodeids"), np.array([m == "LEAF" for m in modes])
    at = {(int(t), int(n)): k for k, (t, n) in enumerate(zip(trees, numbers, strict=True))}
    place = np.where(leaf, -np.cumsum(leaf), np.cumsum(~leaf) - 1)  # leaves and inner nodes numbered apart
    missing = table.get("nodes_missing_value_tracks_true", np.zeros(len(leaf), int)).astype(bool)
    columns, thresholds, inner = table.get("nodes_featureids"), table.get("nodes_values"), ~leaf
    kinds = tuple(str(m) for m in modes if m != "LEAF")
    nodes = Nodes(columns[inner], kinds, thresholds[inner], {}, missing[inner])
    sides = [table.get("nodes_falsenodeids"), table.get("nodes_truenodeids")]
    children = np.array([[at[int(t), int(n)] for t, n in zip(trees[inner], to[inner], strict=True)] for to in sides], int)
    roots = np.setdiff1d(np.arange(len(leaf)), children)
    weights, base = _votes(table, at, len(leaf), len(np.unique(trees)))
    return _checked(Ensemble(nodes, place[children], place[roots], weights[leaf], base), table)


def _votes(table: Attributes, place: Mapping[tuple[int, int], int], count: int, trees: int) -> tuple[Array, Array]:
    """What each node adds to the outputs [nodes, outputs], and the base values."""
    kind = "target" if table.node.op_type == "TreeEnsembleRegressor" else "class"
    ids, votes = table.get(f"{kind}_ids"), table.get(f"{kind}_weights").astype(np.float64)
    at = [place[int(t), int(n)] for t, n in zip(table.get(f"{kind}_treeids"), table.get(f"{kind}_nodeids"), strict=True)]
    width = table.get("n_targets", 1) if kind == "target" else _classes(table)
    weights = np.zeros((count, width))
    np.add.at(weights, (at, ids), votes)
    if table.aggregate == "AVERAGE":
        weights /= trees
    base = table.get("base_values", np.zeros(0)).astype(np.float64)
    if kind == "class" and width == 2:
        return _two_classes(table, weights, base, set(ids.tolist()) == {0}, bool((votes >= 0).all()))
    return weights, base if len(base) else np.zeros(width)


def _classes(table: Attributes) -> int:
    labels = [table.get(name) for name in ("classlabels_int64s", "classlabels_strings")]
    return max(len(words) for words in labels if words is not None)


def _two_classes(table: Attributes, weights: Array, base: Array, first_only: bool, positive: bool) -> tuple[Array, Array]:
    """Votes for the first class alone are one score s (onnxruntime): (1 − s, s) where no vote is negative, else (−s, s).

    Raises:
        MethodNotApplicable: Base values that onnxruntime does not just add.
    """
    if len(base) > (1 if first_only else 0):
        raise MethodNotApplicable(
            f"{len(base)} base values of two classes", where=table.where(), to_do=TO_DO,
            expected="none, or one where only the first class has votes: onnxruntime does not just add others",
        )  # fmt: skip
    if not first_only:
        return weights, np.zeros(2)
    start = float(base.sum())
    return weights[:, [0, 0]] * [-1, 1], np.array([(1.0 if positive else 0.0) - start, start])
