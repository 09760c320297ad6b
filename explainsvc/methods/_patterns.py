"""What PatternNet and PatternAttribution share: patterns fitted on background data, and the backward pass with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from explainsvc.autograd import Emitter, NodeView, Term
from explainsvc.autograd.backward import nodes_between
from explainsvc.autograd.shapes import Array
from explainsvc.cards import param
from explainsvc.coalitions import background_data
from explainsvc.engine import run_graph
from explainsvc.errors import InvalidParameter, MethodNotApplicable, Violation
from explainsvc.explained import Builder, find_value
from explainsvc.method import Request, Result
from explainsvc.rules.patterns import backward_with, layers_of, moments, neuron_axis, pattern

if TYPE_CHECKING:
    from explainsvc.model import Model

FEWEST = 2
"""Rows: one has no covariance."""


@dataclass(frozen=True)
class Params:
    """The data on which patterns are fitted."""

    background: Any = param(None, "value", "required: data [rows, *item shape] to fit the patterns on, or {input: data}")
    batch_size: int = param(32, "int", "rows per run while fitting", low=1)


@dataclass(frozen=True)
class Fitted:
    """A layer's weight w, its patterns a in the same shape, and how many of its neurons have none."""

    w: Array
    a: Array
    without: int
    neurons: int


def explain_by_patterns(name: str, instead: Callable[[Fitted], Array], request: Request, p: Params) -> Result:
    """Fits, then sends S back: R = seed ⊙ value at the target, ``instead`` in place of w at every layer."""
    layers = fit(request, p, name)
    weights = {value: instead(layer) for value, layer in layers.items()}

    def program(b: Builder) -> Mapping[str, Term]:
        return b.backward(backward_with(weights), seed=b.relevance_of(b.target))

    values, _ = run_graph(name, p, program, request)
    without, neurons = (sum(getattr(layer, which) for layer in layers.values()) for which in ("without", "neurons"))
    caveat = f"{without} of {neurons} neurons have no pattern: on the data they are never positive, or do not vary"
    return Result(values, caveats=(caveat,) if without else ())


def require_layers(name: str, model: Model, output: str, inputs: Sequence[str]) -> None:
    """See :attr:`explainsvc.method.Method.requires`."""
    if {t.name for t in model.inputs} != set(inputs):
        raise _other_inputs(name)
    _layers(Emitter(model.graph), name, output, inputs)


def _other_inputs(name: str) -> MethodNotApplicable:
    return MethodNotApplicable(
        f"{name} fits on data for the explained inputs, and the model has others",
        expected="a model of float inputs, all explained",
        to_do="Use integrated_gradients",
    )


def _layers(emit: Emitter, name: str, output: str, inputs: Sequence[str]) -> list[NodeView]:
    wanted = [find_value(emit.graph, i) for i in inputs]
    return layers_of([NodeView(n, emit) for n in nodes_between(emit.graph, wanted, find_value(emit.graph, output))], name)


def fit(request: Request, p: Params, name: str) -> dict[str, Fitted]:
    """Name of a layer's result → its patterns, from the moments of all rows, summed in float64 over runs of a few rows.

    Raises:
        InvalidParameter: No data, or a single row.
        MethodNotApplicable: Not a chain of layers, or inputs beside the explained ones, for which there are no data.
    """
    model, output = request.model, request.target.output
    if set(request.feeds) != set(request.wanted):
        raise _other_inputs(name)
    layers = _layers(Emitter(model.graph), name, output, request.wanted)
    rows = background_data(p.background, request)
    count = len(next(iter(rows.values())))
    if count < FEWEST:
        raise InvalidParameter("patterns need data", violations=[Violation("parameters.background", f"has {count} row")])
    session = model.session(("moments", output, request.wanted), partial(_moments_graph, request, name))
    sums: dict[str, Array] = {}
    size = model.frozen_batch or p.batch_size
    for start in range(0, count - count % size if model.frozen_batch else count, size):
        part = model.run(session, model.internal({n: a[start : start + size] for n, a in rows.items()}))
        sums = {n: a.astype(np.float64) + sums.get(n, 0) for n, a in part.items()}
        request.progress(min(start + size, count), count, name)
    return {n.node.outputs[0].name or "": _fitted(n, k, sums) for k, n in enumerate(layers)}


def _fitted(n: NodeView, k: int, sums: Mapping[str, Array]) -> Fitted:
    w, axis = n.const(1), neuron_axis(n)
    assert w is not None
    prefix = f"{k}."
    a = pattern(w, axis, {name.removeprefix(prefix): total for name, total in sums.items() if name.startswith(prefix)})
    with_pattern = int(np.count_nonzero(a.any(axis=tuple(i for i in range(a.ndim) if i != axis))))
    return Fitted(w, a, a.shape[axis] - with_pattern, a.shape[axis])


def _moments_graph(request: Request, name: str) -> ir.Model:
    """The forward graph with the moments of layer k as outputs ``k.xy`` and so on."""
    model = request.model.prepared.model.clone()
    emit = Emitter(model.graph)
    model.graph.outputs.clear()
    for k, n in enumerate(_layers(emit, name, request.target.output, request.wanted)):
        for moment, term in moments(n).items():
            emit.output(f"{k}.{moment}", term)
    common.RemoveUnusedNodesPass()(model)
    return model
