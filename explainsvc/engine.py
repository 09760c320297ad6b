"""Running methods: a method's explained graph is built, cached as a session, run, and held against the plain model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir

from explainsvc.attribution import value_caveats
from explainsvc.autograd.shapes import Array
from explainsvc.cards import recorded
from explainsvc.errors import MethodNotApplicable, ModelUnsupported, PassChangedFunction
from explainsvc.explained import BASELINE, SEED, TARGET, Program, explained_graph, find_value, prefix_in
from explainsvc.graph.passes.opset import WORKING_OPSET
from explainsvc.graph.probe import deviation
from explainsvc.method import Method, Request, Result

if TYPE_CHECKING:
    from explainsvc.model import Model

RUN_TOLERANCE = 1e-3
"""Largest relative deviation between the model and its explained graph on a user's input, float32."""


@dataclass(frozen=True)
class CompiledExplanation:
    """An explained graph as a file: any onnxruntime runs it."""

    proto: onnx.ModelProto

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the ONNX file."""
        Path(path).write_bytes(self.proto.SerializeToString())


def attribute(method: Method, params: Any, request: Request) -> Result:
    """Runs a method on a checked request: its explained graph, or its function."""
    result = method.run(request, params) if method.run is not None else _one_graph(method, params, request)
    values = {n: _exactly(v, request.feeds[n].shape) for n, v in result.values.items()}
    return replace(result, values=values, caveats=(*result.caveats, *value_caveats(values, zeros=not result.zeros_told)))


def _one_graph(method: Method, params: Any, request: Request) -> Result:
    values, output = run_graph(method.card.name, params, program_of(method, params), request)
    residual = _excess(request.told(output), values, output) if method.complete == "output" else None
    return Result(values, None, residual, output=output)


def _excess(request: Request, values: Mapping[str, Array], output: Array) -> Array:
    return request.excess(values, request.target.value(output, request.batched))


def gradients(request: Request) -> dict[str, Array]:
    """∂S/∂x of every wanted input, on a checked request."""
    return run_graph("gradient", None, lambda b: b.backward(), request)[0]


def program_of(method: Method, params: Any) -> Program:
    """The program of a method that is one graph, its parameters filled in.

    Raises:
        MethodNotApplicable: The method is not one graph.
    """
    if method.program is None:
        raise MethodNotApplicable(
            f"{method.card.name} runs many graphs and cannot be compiled into one", to_do="Compile its base method"
        )
    program = method.program
    return lambda builder: program(builder, params)


def build(
    model: Model,
    name: str,
    params: Any,
    program: Program,
    target: str,
    wanted: Sequence[str],
    largest_per_item: bool | None = None,
) -> ir.Model:
    """The explained graph of a program; arguments as those of :func:`~explainsvc.explained.explained_graph`.

    Raises:
        ModelUnsupported: The model could not be brought to an opset that can be differentiated.
        NotDifferentiable: A node on the way has no rule.
        NothingToDifferentiate: No gradient reaches a wanted input.
    """
    require_working_opset(model)
    in_force = {} if params is None else recorded(params)
    metadata = {
        "method": name,
        "parameters": json.dumps(in_force),
        "source_sha256": model.digest,
        "target": target,
        "caveats": json.dumps(model.caveats),
    }
    return explained_graph(model.prepared.model, target, wanted, program, metadata, largest_per_item)


def require_working_opset(model: Model) -> None:
    """The vjp table is written for one opset and later.

    Raises:
        ModelUnsupported: The model could not be brought there.
    """
    version = model.graph.opset_imports.get("", 1)
    if version < WORKING_OPSET:
        notes = "; ".join(p.note for p in model.prepared.passes if p.note)
        raise ModelUnsupported(
            f"its opset {version} could not be converted to {WORKING_OPSET} ({notes})",
            to_do="Use a perturbation method such as occlusion, or export it again",
        )


def run_graph(
    name: str, params: Any, program: Program, request: Request, start: Mapping[str, Array] | None = None
) -> tuple[dict[str, Array], Array]:
    """The explained graph's results for the wanted inputs, and the explained value.

    Args:
        name: Of the method; with ``params`` it names the graph in the cache.
        params: What the graph depends on.
        program: Emits the result for the wanted inputs.
        request: A checked request.
        start: Wanted input → its baseline, of the input's shape and type, where the program reads
            :attr:`~explainsvc.explained.Builder.reference`; one graph serves all baselines.
    """
    model, target = request.model, request.target.output
    per_item = request.batched if request.largest else None
    key = (name, _key_of(params), target, request.wanted, per_item)
    session = model.session(key, partial(build, model, name, params, program, target, request.wanted, per_item))
    prefix = prefix_in(model.graph)
    feeds = model.internal(request.feeds)
    if not request.largest:
        feeds[prefix + SEED] = request.target.seed.astype(seed_type(model, target))
    feeds |= {f"{prefix}{BASELINE}{n}": array for n, array in model.internal(start or {}).items()}
    names = {wanted: prefix + wanted for wanted in request.wanted}
    value = target if target in session.outputs else prefix + TARGET
    first = model.unverified(key)
    outputs = model.run(session, feeds, None if first else [*names.values(), value])
    if first:
        hold_against(model, request.feeds, outputs)
        model.memory.verified.add(key)
    return {n: _exactly(outputs[e], request.feeds[n].shape) for n, e in names.items()}, outputs[value]


def _key_of(params: Any) -> str:
    """Equal for equal parameters only: numpy's repr leaves out the middle of a long array."""
    return "" if params is None else json.dumps(recorded(params, large=64), default=repr)


def seed_type(model: Model, target: str) -> Any:
    """The type of ``explain.seed``: that of the explained value in the prepared graph."""
    dtype = find_value(model.graph, target).dtype
    return np.float32 if dtype is None else dtype.numpy()


def hold_against(model: Model, feeds: Mapping[str, Array], outputs: Mapping[str, Any]) -> None:
    """A graph made from the model must compute what the untouched model computes, on the first real input it sees.

    Args:
        model: The model.
        feeds: Checked feeds.
        outputs: What the graph gave for them; only names of the model's own outputs are compared.

    Raises:
        PassChangedFunction: They differ by more than the tolerance.
    """
    half = {t.name for t in model.inputs if t.dtype == "float16"}  # methods may walk in float32, the model may not
    feeds = {name: a.astype(np.float16) if name in half else a for name, a in feeds.items()}
    expected = {k: v for k, v in model.plain(feeds).items() if k in outputs and isinstance(v, np.ndarray)}
    error = deviation(expected, {k: outputs[k] for k in expected})
    limit = max(RUN_TOLERANCE, model.prepared.tolerance)
    if not error <= limit:
        raise PassChangedFunction(
            f"the explained graph deviates from the model by {error:.3g}",
            expected=f"at most {limit:g} relative",
            to_do="Please report this model: its explanation would not be of the model",
        )


def _exactly(array: Array, shape: tuple[int, ...]) -> Array:
    """An attribution must have the input's shape by construction; never reshaped here."""
    if array.shape != shape:
        raise PassChangedFunction(f"an attribution has shape {list(array.shape)}", expected=f"{list(shape)}, the input's")
    return np.asarray(array)
