"""max_shap: Shapley values of a target that is the largest of the input's elements, or a sum of such, in closed form.

Computes: For S = Σ_j s_j max over i in P_j of x_i: the Shapley values of each maximum against every row, averaged, times s_j.
Output: Signed, the input's shape: every element shows the value of its feature, in units of S.
Needs: Only maxima (Max, ReduceMax, MaxPool, GlobalMaxPool) and operators that move elements between inputs and target.
Cost: One forward per input element, which finds the P_j, and M log M arithmetic per row of background data and element of target.
Properties: Completeness, dummy, symmetry; equal to exact_shap, whatever the number of features.
Limits: Few models are nothing but a maximum: mostly a value right behind a pooling layer, or the closed form for other code.
Source: Lundberg, Lee 2017, arXiv:1705.07874, section 4.2, Max SHAP.
Differs: By integration over levels, at which the game is all or nothing: M log M instead of M².
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import SHAPLEY
from explainsvc.cards import read_card
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import find_value
from explainsvc.method import Method, Request, Result
from explainsvc.methods._affine import dependents, nodes_from
from explainsvc.methods._shapley import ElementParams, Play, max_shapley, play, shared_out
from explainsvc.variations import per_variation, split_array

if TYPE_CHECKING:
    from explainsvc.model import Model

MAXIMA = frozenset("Max ReduceMax MaxPool GlobalMaxPool".split())
MOVES = frozenset("Identity Reshape Flatten Squeeze Unsqueeze Transpose Slice Gather Concat Split Expand".split())
TOLERANCE = 1e-5
"""Of the largest |S|: how far the sum of the values may be from S(x) − v(∅)."""
TO_DO = "Use exact_shap or kernel_shap"


def run(request: Request, p: ElementParams) -> Result:
    """Finds what each maximum goes over, then adds their Shapley values."""
    requires(request.model, request.target.output, request.wanted)
    if request.batched and not all(request.has_items(name) for name in request.wanted):
        raise MethodNotApplicable("items share an explained input", expected="inputs whose axis 0 counts items", to_do=TO_DO)
    game = play(request, p)
    features = game.game.features
    seed = request.target.seed.astype(np.float64)
    asked = np.argwhere(seed != 0)
    members = pools(request, p.batch_size)
    x, rows = _flat(request, request.feeds), [_flat(request, row) for row in game.game.rows]
    numbers = _flat(request, features.masks)
    phi = np.zeros((len(game.whole), features.count))
    for k, index in enumerate(asked):
        item = index[0] if request.batched else 0
        pool = np.flatnonzero(members[:, k])
        owners, place = np.unique(numbers[item, pool], return_inverse=True)
        present = _largest(x[item, pool], place, len(owners))
        values = [max_shapley(present, _largest(row[item, pool], place, len(owners))) for row in rows]
        phi[item, owners] += seed[tuple(index)] * np.mean(values, axis=0)
        request.progress(k + 1, len(asked), "max_shap")
    _require_complete(phi, game)
    return shared_out(request, features, phi, game.empty, game.whole, {})


def requires(model: Model, output: str, inputs: Sequence[str]) -> None:
    """Nothing but maxima and moves between the inputs and the target, over elements of the inputs alone.

    Raises:
        MethodNotApplicable: Names the first other node.
    """
    graph = model.graph
    sources = [v for v in graph.inputs if v.name in inputs]
    reached = dependents(graph, sources)
    target = find_value(graph, output)
    if target not in reached:
        raise MethodNotApplicable(f'"{target.name}" does not depend on the explained inputs', to_do=TO_DO)
    for node in nodes_from(graph, sources, target):
        operands = node.inputs if node.op_type in ("Max", "Concat") else node.inputs[:1]
        if node.op_type not in MAXIMA | MOVES or any(v not in reached for v in operands):
            raise MethodNotApplicable(
                "max_shap needs a target that is a maximum of input elements",
                where=f'node "{node.name or node.outputs[0].name}" ({node.op_type})',
                expected="only Max, ReduceMax, MaxPool, GlobalMaxPool and operators that move elements", to_do=TO_DO,
            )  # fmt: skip


def pools(request: Request, batch_size: int) -> Array:
    """Which elements (of all inputs, in order) each asked element of the target goes over, bool [elements, asked].

    With 1 at one element and 0 elsewhere, a maximum is 1 where it goes over that element.
    """
    blank = {n: np.zeros_like(request.feeds[n]) for n in request.wanted}

    def probes() -> Iterator[dict[str, Array]]:
        for name, x in blank.items():
            for k in range(x[0].size if request.batched else x.size):
                probe = x.copy()
                probe.reshape(len(x) if request.batched else 1, -1)[:, k] = 1
                yield blank | {name: probe}

    asked = request.target.seed != 0
    outputs = per_variation(request, probes(), lambda r: r.model.value_of(r.feeds, r.target.output), split_array, batch_size)
    return np.array([output[asked] == 1 for output in outputs])


def _flat(request: Request, arrays: Mapping[str, Array]) -> Array:
    """All inputs' elements side by side, [items, elements]."""
    parts = [arrays[n].reshape(len(arrays[n]) if request.batched else 1, -1) for n in request.wanted]
    return np.concatenate(parts, axis=1)


def _largest(values: Array, place: Array, count: int) -> Array:
    """The largest value of every feature."""
    largest = np.full(count, -np.inf)
    np.maximum.at(largest, place, values)
    return largest


def _require_complete(phi: Array, game: Play) -> None:
    off = float(np.abs(phi.sum(axis=1) - game.gap).max())
    if not off <= TOLERANCE * max(float(np.abs(game.whole).max()), float(np.abs(game.empty).max()), 1e-30):
        raise MethodNotApplicable(f"the target is no maximum of the elements found: its values are off by {off:.3g}", to_do=TO_DO)


METHOD = Method(
    read_card("max_shap", __doc__, ElementParams, SHAPLEY), ElementParams, run=run, complete="difference", family="perturbation",
    requires=requires,
)  # fmt: skip
