"""tree_shap: Exact Shapley values of tree ensembles, from their node tables.

Computes: Per leaf and row, A: features whose conditions only x meets, B: only the row: leaf·(|A|−1)!|B|!/(|A|+|B|)! to each of
A, −leaf·|A|!(|B|−1)!/(|A|+|B|)! to each of B; nothing where neither meets one. Summed over leaves, averaged over rows.
Output: Signed, the input's shape: every element shows the value of its feature, in units of S.
Needs: A target affine in the sums of one TreeEnsemble node; each of its columns from one input element. Else it refuses.
Cost: A forward per row of background data for the trees' inputs, then arithmetic per item, row and leaf that mixtures reach.
Properties: Exact: completeness, dummy, symmetry, linearity; equal to exact_shap, whatever the number of features.
Limits: Probabilities that the node makes by LOGISTIC or SOFTMAX are not sums over leaves: use kernel_shap for them.
Source: Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9, interventional; Laberge, Pequignot 2022, arXiv:2209.15123.
Differs: Groups of columns by feature_mask; thresholds in the model's own precision; the tables are checked against onnxruntime.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import SHAPLEY
from explainsvc.cards import read_card
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import find_value
from explainsvc.features import Partition
from explainsvc.method import Method, Request, Result
from explainsvc.methods._affine import dependents, nodes_from, require_affine
from explainsvc.methods._columns import NOBODY, origins
from explainsvc.methods._shapley import ElementParams, Play, play, shared_out
from explainsvc.methods._tree_paths import item_values
from explainsvc.rest import rest_at
from explainsvc.trees import OPERATORS, TO_DO, Ensemble, read_ensemble
from explainsvc.variations import per_variation, split_array

if TYPE_CHECKING:
    from explainsvc.model import Model

COALITIONS = 8
"""Random mixtures at which the node tables are held against onnxruntime, besides x and the rows."""
TOLERANCE = 2e-5
"""Of the sum of |leaves|: what onnxruntime's float32 sums may round off; a leaf more or less is far above."""


@dataclass(frozen=True)
class Forest:
    """The trees between the explained inputs and the target, on the request's items.

    Attributes:
        ensemble: The node tables.
        players: Feature of each column, NOBODY for columns that are not explained, int [items, columns].
        x: The trees' input [items, columns].
        rows: The same with all features from one row of background data, one array a row.
        slope: ∂S/∂sums, float64 [items, outputs].
        start: S where all sums are 0, float64 [items].
    """

    ensemble: Ensemble
    players: Array
    x: Array
    rows: list[Array]
    slope: Array
    start: Array

    def worth(self, present: Array) -> Array:
        """v of a coalition of all features (bool [M]) by the node tables, float64 [items]."""
        held = (self.players == NOBODY) | present[self.players]
        sums = np.mean([self.ensemble.outputs(np.where(held, self.x, row)) for row in self.rows], axis=0)
        return np.asarray(self.start + (self.slope * sums).sum(axis=1))

    def values(self, item: int) -> Array:
        """φ of one item by feature, up to the last that a column belongs to."""
        rows = np.stack([row[item] for row in self.rows])
        return item_values(self.ensemble, self.players[item], self.x[item], rows, self.slope[item])

    def size(self) -> Array:
        """Sum of |leaves| that add to S at x, float64 [items]."""
        return np.asarray((np.abs(self.slope) * self.ensemble.absolute().outputs(self.x)).sum(axis=1))


def run(request: Request, p: ElementParams) -> Result:
    """Reads the tables, holds them against onnxruntime, adds up leaves."""
    requires(request.model, request.target.output, request.wanted)
    game = play(request, p)
    features = game.game.features
    forest = find_forest(game)
    _require_reproduced(forest, game)
    phi = np.zeros((len(game.whole), features.count))
    for item in range(len(phi)):
        found = forest.values(item)
        phi[item, : len(found)] = found
        request.progress(item + 1, len(phi), "tree_shap")
    return shared_out(request, features, phi, game.empty, game.whole, {})


def requires(model: Model, output: str, inputs: Sequence[str]) -> None:
    """The trees between the inputs and the target, by the graph and declared shapes.

    Raises:
        MethodNotApplicable: There is no such node or more than one, the inputs reach the target past it, a column is mixed, or
            its outputs are no sum over leaves.
    """
    sources = [v for v in model.graph.inputs if v.name in inputs]
    node, _, table = trees_between(model.graph, sources, find_value(model.graph, output))
    read_ensemble(node)
    shapes = {t.name: (1, *(t.shape or ())[1:]) if model.leads_with_items(t.name) else t.shape for t in model.inputs}
    known = {n: [d for d in shape if isinstance(d, int)] for n, shape in shapes.items() if shape is not None}
    if all(n in known and len(known[n]) == len(shapes[n] or ()) for n in shapes):
        origin_of(table, {n: tuple(shape) for n, shape in known.items()})


def trees_between(graph: ir.Graph, sources: list[ir.Value], target: ir.Value) -> tuple[ir.Node, ir.Value, ir.Value]:
    """The only ensemble, its sums and its input.

    Raises:
        MethodNotApplicable: There is no such node or more than one, or the inputs reach the target past it.
    """
    node = _only_trees(graph, sources, target)
    sums, table = node.outputs[1 if node.op_type == "TreeEnsembleClassifier" else 0], node.inputs[0]
    _require_through(graph, sources, sums, target)
    assert table is not None
    return node, sums, table


def find_forest(game: Play) -> Forest:
    """The trees of the game's model, and their inputs for all items and rows."""
    request, graph = game.game.request, game.game.request.model.graph
    sources = [v for v in graph.inputs if v.name in request.wanted]
    target = find_value(graph, request.target.output)
    node, sums, table = trees_between(graph, sources, target)
    players = columns_of(request, table, game.game.features)
    wanted = ({n: row[n] for n in request.wanted} for row in (request.feeds, *game.game.rows))
    x, *rows = per_variation(request, wanted, partial(_value_of, table), split_array, game.game.batch_size)
    slope, start = slopes(request, sums, target)
    return Forest(read_ensemble(node), players, x, rows, slope, start)


def _value_of(value: ir.Value, request: Request) -> Array:
    """An inner value, or an input."""
    name = value.name or ""
    array = request.feeds[name] if value.is_graph_input() else request.model.value_of(request.feeds, name)
    if array.ndim != 2:
        raise MethodNotApplicable(
            f'the trees\' input "{name}" has shape {list(array.shape)}', expected="[N, columns]", to_do=TO_DO
        )
    return array


def _only_trees(graph: ir.Graph, sources: list[ir.Value], target: ir.Value) -> ir.Node:
    found = [node for node in nodes_from(graph, sources, target) if node.op_type in OPERATORS and node.domain == "ai.onnx.ml"]
    if len(found) != 1:
        raise MethodNotApplicable(
            f'{len(found)} tree ensembles lie between the explained inputs and "{target.name}"',
            expected="one TreeEnsembleRegressor, TreeEnsembleClassifier or TreeEnsemble node", to_do=TO_DO,
        )  # fmt: skip
    return found[0]


def _require_through(graph: ir.Graph, sources: list[ir.Value], sums: ir.Value, target: ir.Value) -> None:
    """The target depends on the inputs through the trees' sums alone, and is affine in them."""
    if sums is not target:
        require_affine(graph, [sums], target, "tree_shap", TO_DO)
    of_inputs, of_sums = dependents(graph, sources), dependents(graph, [sums])
    past = [v for node in nodes_from(graph, [sums], target) for v in node.inputs if v in of_inputs and v not in of_sums]
    if past or target not in of_sums:
        raise MethodNotApplicable(
            f'"{target.name}" depends on the inputs past the trees\' sums "{sums.name}"', expected="a value of these sums alone",
            to_do=TO_DO,
        )  # fmt: skip


def columns_of(request: Request, table: ir.Value, features: Partition) -> Array:
    """The feature of each column of the trees' input, int [items, columns]; NOBODY where it comes from no explained element.

    Raises:
        MethodNotApplicable: A column comes from several elements.
    """
    items = len(request.target.seed) if request.batched else 1
    if request.batched and not all(request.has_items(n) for n in request.wanted):
        raise MethodNotApplicable("items share an explained input", expected="inputs whose axis 0 counts items", to_do=TO_DO)
    shapes = {n: (1, *x.shape[1:]) if request.has_items(n) else x.shape for n, x in request.feeds.items()}
    owners = [
        features.masks.get(n, np.full((items, int(np.prod(shape))), NOBODY)).reshape(items, -1) for n, shape in shapes.items()
    ]
    owner = np.concatenate([*owners, np.full((items, 1), NOBODY)], axis=1)  # the last one is nobody's
    return np.asarray(owner[:, origin_of(table, shapes)])


def origin_of(table: ir.Value, shapes: Mapping[str, tuple[int, ...]]) -> Array:
    """The element of each column [columns]: elements of all inputs for one item are numbered one after the other."""
    numbers, count = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        numbers[name] = np.arange(count, count + size).reshape(shape)
        count += size
    origin = origins(table, numbers)
    if origin.ndim != 2 or len(origin) != 1:
        raise MethodNotApplicable(f"the trees' input is of shape {list(origin.shape)} for one item", to_do=TO_DO)
    return np.asarray(origin[0])


def slopes(request: Request, sums: ir.Value, target: ir.Value) -> tuple[Array, Array]:
    """∂S/∂sums [items, outputs] and S at sums 0 [items], by the rest of the model run on unit vectors."""
    name = sums.name or ""
    shape = request.model.value_of(request.feeds, name).shape
    if sums is target:
        return request.target.seed.astype(np.float64).reshape(shape), np.zeros(shape[0])
    rest, feeds = rest_at(request.model, (name,), request.feeds)

    def value(unit: Array) -> Array:
        given = np.tile(unit, (shape[0], 1)).astype(feeds[name].dtype)
        return request.target.value(rest.value_of(feeds | {name: given}, target.name or ""), request.batched)

    start = value(np.zeros(shape[1]))
    return np.stack([value(unit) - start for unit in np.eye(shape[1])], axis=1), start


def _require_reproduced(forest: Forest, game: Play) -> None:
    """The node tables, mixed column by column, are worth what onnxruntime says of the mixed inputs.

    Raises:
        MethodNotApplicable: They are not: a column's origin, a comparison or a sum is another than was read.
    """
    rng = np.random.default_rng(game.game.request.seed)
    coalitions = [game.game.nobody, game.game.everybody, *(rng.random((COALITIONS, game.game.features.count)) < 0.5)]
    limit = TOLERANCE * (forest.size() + np.abs(game.whole) + np.abs(game.empty))
    for present, expected in zip(coalitions, _expected(game, coalitions), strict=True):
        off = np.abs(forest.worth(present) - expected)
        if not (off <= limit).all():
            raise MethodNotApplicable(
                f"the node tables give values that are off by {off.max():.3g}", expected="what onnxruntime computes", to_do=TO_DO
            )


def _expected(game: Play, coalitions: list[Array]) -> Iterator[Array]:
    yield from (game.empty, game.whole)
    yield from game.values_among_all(iter(coalitions[2:]))


METHOD = Method(
    read_card("tree_shap", __doc__, ElementParams, SHAPLEY), ElementParams, run=run, complete="difference", family="perturbation",
    requires=requires,
)  # fmt: skip
