"""Random tree ensembles as ONNX models: the three operators of ai.onnx.ml, every comparison, thresholds that inputs hit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.models import Array

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")


@dataclass
class Tree:
    """Nodes in preorder: (feature, mode, threshold, true child, false child, missing) or None for a leaf, and leaf weights."""

    nodes: list[tuple[int, str, float, int, int, int] | None] = field(default_factory=list)
    leaves: dict[int, dict[int, float]] = field(default_factory=dict)


def tree(rng: np.random.Generator, features: int, outputs: Sequence[int], depth: int, modes: Sequence[str] = MODES) -> Tree:
    """A tree of at most this depth; thresholds and inputs of the tests are halves, so that equality happens."""
    made = Tree()

    def grow(left: int) -> int:
        place = len(made.nodes)
        made.nodes.append(None)
        if left == 0 or (left < depth and rng.random() < 0.2):
            made.leaves[place] = {k: float(np.float32(rng.standard_normal())) for k in outputs}
            return place
        mode, threshold = str(rng.choice(modes)), float(rng.integers(-2, 3)) / 2
        feature, missing = int(rng.integers(features)), int(rng.integers(2))
        made.nodes[place] = (feature, mode, threshold, grow(left - 1), grow(left - 1), missing)
        return place

    grow(depth)
    return made


def halves(*shape: int, seed: int = 0) -> Array:
    """Numbers to feed: multiples of ½ from −1.5 to 1.5, float32."""
    return (np.random.default_rng([seed, *shape]).integers(-3, 4, shape) / 2).astype(np.float32)


def old_attributes(trees: Sequence[Tree], kind: str, double: bool = False) -> dict[str, Any]:
    """Attributes of TreeEnsembleRegressor (kind "target") or TreeEnsembleClassifier ("class")."""
    rows = [(t, n, node) for t, one in enumerate(trees) for n, node in enumerate(one.nodes)]
    columns = [(0, "LEAF", 0.0, 0, 0, 0) if node is None else node for _, _, node in rows]
    votes = [(t, n, k, w) for t, one in enumerate(trees) for n, leaf in one.leaves.items() for k, w in leaf.items()]
    floats = {"nodes_values": [c[2] for c in columns], f"{kind}_weights": [v[3] for v in votes]}
    if double:
        floats = {f"{n}_as_tensor": numpy_helper.from_array(np.array(v, np.float64), n) for n, v in floats.items()}
    return floats | {
        "nodes_treeids": [t for t, _, _ in rows], "nodes_nodeids": [n for _, n, _ in rows],
        "nodes_featureids": [c[0] for c in columns], "nodes_modes": [c[1] for c in columns],
        "nodes_truenodeids": [c[3] for c in columns], "nodes_falsenodeids": [c[4] for c in columns],
        "nodes_missing_value_tracks_true": [c[5] for c in columns], f"{kind}_treeids": [v[0] for v in votes],
        f"{kind}_nodeids": [v[1] for v in votes], f"{kind}_ids": [v[2] for v in votes],
    }  # fmt: skip


def new_attributes(trees: Sequence[Tree], outputs: int, members: Sequence[Sequence[float]] = ()) -> dict[str, Any]:
    """Attributes of TreeEnsemble; every second comparison by LEQ becomes one by membership while ``members`` last."""
    inner = [(t, n) for t, one in enumerate(trees) for n, node in enumerate(one.nodes) if node is not None]
    leaves = [(t, n, k, w) for t, one in enumerate(trees) for n, leaf in one.leaves.items() for k, w in leaf.items()]
    row, leaf_row = {p: k for k, p in enumerate(inner)}, {(t, n): k for k, (t, n, _, _) in enumerate(leaves)}
    nodes = [trees[t].nodes[n] for t, n in inner]
    assert all(node is not None for node in nodes)
    modes = [MODES.index(node[1]) for node in nodes]
    chosen = [k for k, mode in enumerate(modes) if mode == 0][::2][: len(members)]
    modes = [6 if k in chosen else mode for k, mode in enumerate(modes)]
    attributes: dict[str, Any] = {
        "n_targets": outputs, "tree_roots": [row[t, 0] for t in range(len(trees))],
        "nodes_featureids": [node[0] for node in nodes], "nodes_missing_value_tracks_true": [node[5] for node in nodes],
        "nodes_modes": numpy_helper.from_array(np.array(modes, np.uint8)),
        "nodes_splits": numpy_helper.from_array(np.array([node[2] for node in nodes], np.float32)),
        "leaf_targetids": [k for _, _, k, _ in leaves],
        "leaf_weights": numpy_helper.from_array(np.array([w for *_, w in leaves], np.float32)),
    }  # fmt: skip
    for side, which in (("true", 3), ("false", 4)):
        below = [(t, node[which]) for (t, _), node in zip(inner, nodes, strict=True)]
        attributes[f"nodes_{side}leafs"] = [int(p in leaf_row) for p in below]
        attributes[f"nodes_{side}nodeids"] = [leaf_row[p] if p in leaf_row else row[p] for p in below]
    if chosen:
        sets = [v for taken in members[: len(chosen)] for v in (*taken, np.nan)]
        attributes["membership_values"] = numpy_helper.from_array(np.array(sets, np.float32))
    return attributes


def model(
    operator: str, attributes: dict[str, Any], features: int, before: Sequence[onnx.NodeProto] = (),
    after: Sequence[onnx.NodeProto] = (), initializers: Sequence[onnx.TensorProto] = (), kind: int = TensorProto.FLOAT,
    inputs: Sequence[onnx.ValueInfoProto] = (),
) -> onnx.ModelProto:  # fmt: skip
    """x [N, features] (or ``inputs``, and nodes that make ``table``) → trees → y [N, outputs] (or nodes after ``sums``)."""
    sums = "sums" if after else "y"
    outputs = ["label", sums] if operator == "TreeEnsembleClassifier" else [sums]
    node = helper.make_node(operator, ["table" if before else "x"], outputs, "forest", domain="ai.onnx.ml", **attributes)
    given = list(inputs) or [helper.make_tensor_value_info("x", kind, ["N", features])]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", None])
    graph = helper.make_graph([*before, node, *after], "g", given, [result], list(initializers))
    version = 5 if operator == "TreeEnsemble" else 3
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", version)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)
