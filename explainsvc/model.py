"""A model: its digest, its plain session, its explained graphs."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir

from explainsvc.attribution import Attribution, versions
from explainsvc.autograd.backward import FLOATS
from explainsvc.autograd.shapes import Array, shape_of
from explainsvc.cards import plain, read_params
from explainsvc.errors import (
    InvalidInput,
    InvalidParameter,
    MethodNotApplicable,
    ModelUnsupported,
    PassChangedFunction,
    TargetOutOfRange,
    Violation,
)
from explainsvc.explained import SEED, TARGET, explained_graph, find_value, forward_graph, logit_before, prefix_in
from explainsvc.graph.load import Loaded, Source, load_model
from explainsvc.graph.passes import HALF_TOLERANCE, Prepared, prepare
from explainsvc.graph.passes.opset import WORKING_OPSET
from explainsvc.graph.probe import deviation
from explainsvc.info import ModelInfo, TensorInfo
from explainsvc.inputs import check_feeds
from explainsvc.method import Method, Progress, Request, Result
from explainsvc.methods import find_method
from explainsvc.runtime import SESSIONS, Session, SessionCache, new_session, run_in_batches
from explainsvc.target import ResolvedTarget, Target, resolve_target

if TYPE_CHECKING:
    from explainsvc.checks.rows import Row
    from explainsvc.report.report import Report

RUN_TOLERANCE = 1e-3
"""Largest relative deviation between the model and its explained graph on a user's input, float32."""


def load(source: Source, *, external_data: Mapping[str, bytes] | None = None) -> Model:
    """Reads an ONNX model.

    Args:
        source: Path (external data files beside it are read), bytes, or an ``onnx.ModelProto``.
        external_data: External-data files by the name that the model uses, for bytes and protos.

    Raises:
        ModelMalformed: Not ONNX, truncated, or refused by onnx.checker.
        ModelUnsupported: onnxruntime does not run it: operator, domain or opset.
        ModelLimitExceeded: Over 2 GiB.
        ExternalDataForbidden: An external-data file is missing or points outside.
    """
    return Model(load_model(source, external_data))


@dataclass(frozen=True)
class CompiledExplanation:
    """An explained graph as a file: any onnxruntime runs it."""

    proto: onnx.ModelProto

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the ONNX file."""
        Path(path).write_bytes(self.proto.SerializeToString())


class Model:
    """An ONNX model that can be explained. Nothing in it changes after construction but caches.

    Args:
        loaded: The model's bytes, checked.
        prepared: Its prepared graph where that is known: the model was made from another one by exchanging weights.
            Passes and explained graphs are verified on the model that it came from, and its sessions live as long as it.
    """

    def __init__(self, loaded: Loaded, prepared: Prepared | None = None) -> None:
        self._loaded = loaded
        self.digest = loaded.digest
        self._plain = new_session(loaded.proto.SerializeToString())
        self._verified: set[object] = set()
        self._derived = prepared is not None
        self._sessions = SESSIONS if prepared is None else SessionCache()
        if prepared is not None:
            self.prepared = prepared

    # Facts --------------------------------------------------------------------------------------------------------

    @property
    def proto(self) -> onnx.ModelProto:
        """The model as loaded, external data inside. Not to be changed."""
        return self._loaded.proto

    @cached_property
    def prepared(self) -> Prepared:
        """The graph that is differentiated, and the passes that led to it."""
        return prepare(self.proto, self._plain)

    @property
    def graph(self) -> ir.Graph:
        """The prepared graph."""
        return self.prepared.model.graph

    @cached_property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The model's inputs (not initializers that an old exporter lists among them)."""
        return tuple(TensorInfo(i.name, _dtype_name(i.type), _declared(i.shape)) for i in self._plain.ort.get_inputs())

    @cached_property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The model's outputs as declared."""
        return tuple(TensorInfo(o.name, _dtype_name(o.type), _declared(o.shape)) for o in self._plain.ort.get_outputs())

    @cached_property
    def info(self) -> ModelInfo:
        """Facts, differentiability per input, applicability per method, passes and their measured error."""
        from explainsvc.inspection import inspect_model  # it builds graphs of this class

        return inspect_model(self)

    @property
    def size_bytes(self) -> int:
        """Of the file, external data included."""
        return self._loaded.size_bytes

    @cached_property
    def default_output(self) -> str:
        """The first float output.

        Raises:
            TargetOutOfRange: There is none.
        """
        for value in self.graph.outputs:
            if value.dtype is None or value.dtype in FLOATS:
                return value.name or ""
        raise TargetOutOfRange("the model has no float output", expected="a float output to explain")

    @cached_property
    def frozen_batch(self) -> int | None:
        """The batch size that the exporter fixed: axis 0 of every input and output has this static length."""
        shapes = [shape_of(v) for v in (*self.graph.inputs, *self.graph.outputs)]
        first = {s[0] if s is not None and len(s) > 1 else None for s in shapes}
        size = first.pop() if len(first) == 1 else None
        return size if isinstance(size, int) else None

    @cached_property
    def stackable(self) -> bool:
        """Whether every input has a leading axis that may hold more items (symbolic or frozen)."""
        shapes = [shape_of(v) for v in self.graph.inputs]
        return self.frozen_batch is not None or all(s is not None and len(s) > 0 and not isinstance(s[0], int) for s in shapes)

    def batched(self, feeds: Mapping[str, Array]) -> bool:
        """Whether axis 0 of inputs and outputs counts items."""
        main = [shape_of(v) for v in self.graph.inputs if v.name in feeds and (v.dtype in FLOATS or len(feeds) == 1)]
        shapes = main or [shape_of(v) for v in self.graph.inputs]
        open_axis = any(s is None or (len(s) > 0 and not isinstance(s[0], int)) for s in shapes)
        return self.frozen_batch is not None or open_axis

    def leads_with_items(self, name: str) -> bool:
        """Whether axis 0 of one input counts items, where any does: it is frozen, or open."""
        shape = next(shape_of(v) for v in self.graph.inputs if v.name == name)
        return self.frozen_batch is not None or shape is None or (len(shape) > 0 and not isinstance(shape[0], int))

    # Running ------------------------------------------------------------------------------------------------------

    def predict(self, feeds: Mapping[str, Any], /) -> dict[str, Array]:
        """The untouched model's outputs by plain onnxruntime.

        Raises:
            InvalidInput: Lists every violation.
        """
        checked = check_feeds(feeds, self.inputs, self.frozen_batch)
        return self._run(self._plain, checked)

    def _run(self, session: Session, feeds: Mapping[str, Array], names: Sequence[str] | None = None) -> dict[str, Array]:
        try:
            return run_in_batches(session, feeds, self.frozen_batch, names)
        except Exception as error:
            # onnxruntime's exception classes share no public base below Exception
            text = " ".join(str(error).split())[:400]
            raise InvalidInput(f"onnxruntime could not run the model on these inputs: {text}",
                               to_do="Check shapes and values against what the model was exported for") from error  # fmt: skip

    def _internal(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Feeds as the prepared graph takes them: float32 where the model was upcast from half precision."""
        if not self.prepared.upcast:
            return dict(feeds)
        return {k: a.astype(np.float32) if a.dtype == np.float16 else a for k, a in feeds.items()}

    def value_of(self, feeds: Mapping[str, Array], name: str) -> Array:
        """Any float value of the graph for these feeds: an output, or an inner value."""
        if name in self._plain.outputs:
            value = self._run(self._plain, feeds, [name])[name]
            if isinstance(value, np.ndarray):
                return value
        find_value(self.graph, name)
        build = partial(self._forward_bytes, name)
        return self._run(self._sessions.get((self.digest, "forward", name), build), self._internal(feeds), [name])[name]

    def _forward_bytes(self, name: str) -> bytes:
        return ir.to_proto(forward_graph(self.prepared.model, name)).SerializeToString()

    # Explaining ---------------------------------------------------------------------------------------------------

    def explain(
        self,
        feeds: Mapping[str, Any],
        /,
        method: str = "gradient",
        target: Target = None,
        *,
        inputs: Sequence[str] | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        **parameters: Any,
    ) -> Attribution:
        """Explains what the target of each item owes to its inputs.

        Args:
            feeds: Input name → array; all inputs of the model, first axis = items where the model has a batch axis.
            method: A name from :func:`explainsvc.methods`.
            target: int, list of ints (one per item), ``{"output", "index" | "seed" | "against"}``, or None (arg-max).
            inputs: Names of the inputs to explain; by default all float inputs that the method reaches.
            seed: Of all random numbers.
            progress: Called with (done, total, what) on long work.
            parameters: As the method's card lists them.

        Raises:
            ExplainsvcError: See :mod:`explainsvc.errors`; every failure has its own class.
        """
        found = find_method(method)
        params: Any = read_params(found.params, parameters, method)
        checked = check_feeds(feeds, self.inputs, self.frozen_batch)
        resolved, notes = self._resolve(found, target, checked)
        wanted = self._wanted(inputs, found, resolved.output)
        request = Request(self, checked, wanted, resolved, _checked_seed(seed), progress or _silent)
        result = self.attribute(found, params, request)
        in_force = {f.name: plain(getattr(params, f.name)) for f in dataclasses.fields(params)} | plain(result.parameters)
        output = self.value_of(checked, resolved.output)
        return Attribution(
            method, result.values, resolved, resolved.value(output, request.batched), result.baseline_value, result.residual,
            in_force, int(seed), self.digest, versions(), (*found.caveats, *notes, *self.caveats, *result.caveats),
        )  # fmt: skip

    @property
    def caveats(self) -> tuple[str, ...]:
        """What holds for every explanation of this model."""
        upcast = "the model is in half precision; it was explained in float32"
        return (upcast,) if self.prepared.upcast else ()

    def attribute(self, method: Method, params: Any, request: Request) -> Result:
        """Runs a method on a checked request: its explained graph, or its function."""
        if method.run is not None:
            result: Result = method.run(request, params)
            return result
        values, output = self.run_program(method, params, request)
        if method.complete != "output":
            return Result(values)
        return Result(values, None, request.excess(values, request.target.value(output, request.batched)))

    def gradients(self, request: Request) -> dict[str, Array]:
        """∂S/∂x of every wanted input, on a checked request."""
        method = find_method("gradient")
        return self.run_program(method, method.params(), request)[0]

    def run_program(self, method: Method, params: Any, request: Request) -> tuple[dict[str, Array], Array]:
        """The explained graph's results for the wanted inputs, and the explained value."""
        target = request.target.output
        key = (self.digest, method.card.name, repr(params), target, request.wanted)
        session = self._sessions.get(key, partial(self._explained_bytes, method, params, target, request.wanted))
        prefix = prefix_in(self.graph)
        feeds = self._internal(request.feeds) | {prefix + SEED: request.target.seed.astype(self._seed_type(target))}
        names = {name: prefix + name for name in request.wanted}
        value = target if target in self._plain.outputs and target in session.outputs else prefix + TARGET
        first = not self._derived and key not in self._verified
        outputs = self._run(session, feeds, None if first else [*names.values(), value])
        if first:
            self._verify(request.feeds, outputs, session)
            self._verified.add(key)
        return {n: _exactly(outputs[e], request.feeds[n].shape) for n, e in names.items()}, outputs[value]

    def _seed_type(self, target: str) -> Any:
        dtype = find_value(self.graph, target).dtype
        return np.float32 if dtype is None else dtype.numpy()

    def _verify(self, feeds: Mapping[str, Array], outputs: Mapping[str, Array], session: Session) -> None:
        """The explained graph must compute what the untouched model computes, on the first real input it sees."""
        expected = {k: v for k, v in self._run(self._plain, feeds).items() if k in session.outputs and isinstance(v, np.ndarray)}
        error = deviation(expected, {k: outputs[k] for k in expected})
        limit = HALF_TOLERANCE if self.prepared.upcast else RUN_TOLERANCE
        if not error <= limit:
            raise PassChangedFunction(
                f"the explained graph deviates from the model by {error:.3g}", expected=f"at most {limit:g} relative",
                to_do="Please report this model: its explanation would not be of the model",
            )  # fmt: skip

    def explained(self, method: Method, params: Any, target: str, wanted: Sequence[str]) -> ir.Model:
        """The explained graph of a method that is one graph.

        Raises:
            MethodNotApplicable: The method is not one graph.
            ModelUnsupported: The model could not be brought to an opset that can be differentiated.
        """
        if method.program is None:
            raise MethodNotApplicable(
                f"{method.card.name} runs many graphs and cannot be compiled into one", to_do="Compile its base method",
            )  # fmt: skip
        version = self.graph.opset_imports.get("", 1)
        if version < WORKING_OPSET:
            notes = "; ".join(p.note for p in self.prepared.passes if p.note)
            raise ModelUnsupported(f"its opset {version} could not be converted to {WORKING_OPSET} ({notes})",
                                   to_do="Use a perturbation method such as occlusion, or export it again")  # fmt: skip
        metadata = {
            "method": method.card.name,
            "parameters": json.dumps(plain(dataclasses.asdict(params))),
            "source_sha256": self.digest,
            "target": target,
        }
        return explained_graph(self.prepared.model, target, wanted, partial(_program, method, params), metadata)

    def _explained_bytes(self, method: Method, params: Any, target: str, wanted: Sequence[str]) -> bytes:
        return ir.to_proto(self.explained(method, params, target, wanted)).SerializeToString()

    def compile(
        self, method: str = "gradient", target: Target = None, *, inputs: Sequence[str] | None = None, **parameters: Any
    ) -> CompiledExplanation:
        """The explained graph as an ONNX model: inputs + ``explain.seed`` → outputs + ``explain.<input>``.

        Args:
            method: A method that is one graph.
            target: Only its output matters ({"output": name}); the index is given by the seed at run time.
            inputs: As in :meth:`explain`.
            parameters: As in :meth:`explain`.
        """
        found = find_method(method)
        params: Any = read_params(found.params, parameters, method)
        output, _ = self._target_name(found, target)
        wanted = self._wanted(inputs, found, output)
        return CompiledExplanation(ir.to_proto(self.explained(found, params, output, wanted)))

    def _target_name(self, method: Method, target: Target) -> tuple[str, tuple[str, ...]]:
        """The value to explain, and a caveat where it is not the output itself."""
        if isinstance(target, Mapping) and target.get("output"):
            return str(find_value(self.graph, str(target["output"])).name), ()
        name = self.default_output
        logit = logit_before(self.graph, name)
        if logit is None or logit == name:
            return name, ()
        if method.from_logit:
            return logit, (f'the explained value is "{logit}", before the Softmax that makes "{name}"',)
        return name, (f'the explained value "{name}" is a softmax probability; {{"output": "{logit}"}} explains the logit',)

    def _resolve(self, method: Method, target: Target, feeds: dict[str, Array]) -> tuple[ResolvedTarget, tuple[str, ...]]:
        name, notes = self._target_name(method, target)
        return resolve_target(target, name, partial(self.value_of, feeds), self.batched(feeds)), notes

    def _wanted(self, inputs: Sequence[str] | None, method: Method, output: str) -> tuple[str, ...]:
        """The inputs to explain: those named, or all float inputs that the target depends on."""
        known = {t.name: t for t in self.inputs}
        from explainsvc.inspection import reachable_inputs, require_kind

        if inputs is None:
            return reachable_inputs(self, method, output)
        wrong = [Violation("inputs", f'"{n}" is not an input of the model ({", ".join(known)})') for n in inputs if n not in known]
        wrong += [Violation("inputs", f'"{n}" is named more than once') for n in dict.fromkeys(inputs) if list(inputs).count(n) > 1]
        if wrong or not inputs:
            raise InvalidInput("these inputs cannot be explained", where="inputs", violations=wrong, expected="names of inputs, one or more")
        require_kind([known[n] for n in inputs], method)
        return tuple(inputs)

    # Checks -------------------------------------------------------------------------------------------------------

    def with_weights(self, weights: Mapping[str, Array]) -> Model:
        """A model whose named initializers (of the prepared graph) hold other numbers of the same shape and type."""
        from explainsvc.weights import replace_weights

        return replace_weights(self, weights)

    def audit(self, feeds: Mapping[str, Any], /, **arguments: Any) -> Report:
        """Runs checks on methods and returns the report; arguments as in :meth:`audit_rows`."""
        from explainsvc.checks.audit import audit

        return audit(self, feeds, **arguments)

    def audit_rows(self, feeds: Mapping[str, Any], /, **arguments: Any) -> Iterator[Row]:
        """The rows of :meth:`audit` as they are computed; closing the iterator cancels the rest."""
        from explainsvc.checks.audit import audit_rows

        return audit_rows(self, feeds, **arguments)


def _program(method: Method, params: Any, builder: Any) -> Any:
    assert method.program is not None
    return method.program(builder, params)


def _exactly(array: Array, shape: tuple[int, ...]) -> Array:
    """The emitted attribution must have the input's shape by construction; never reshaped here."""
    if array.shape != shape:
        raise PassChangedFunction(f"an attribution has shape {list(array.shape)}", expected=f"{list(shape)}, the input's")
    return array


def _checked_seed(seed: Any) -> int:
    """Of random numbers: numpy takes no negative ones."""
    if isinstance(seed, (int, np.integer)) and seed >= 0:
        return int(seed)
    raise InvalidParameter("the seed is not valid", violations=[Violation("seed", f"is {seed!r}, expected an integer ≥ 0")])


def _silent(*_: object) -> None:
    return None


_ORT_TYPES = {"float": "float32", "double": "float64", "string": "string"}


def _dtype_name(kind: str) -> str:
    inner = kind.removeprefix("tensor(").removesuffix(")") if kind.startswith("tensor(") else ""
    return _ORT_TYPES.get(inner, inner)


def _declared(shape: Any) -> tuple[int | str | None, ...]:
    return tuple(d if isinstance(d, (int, str)) else None for d in shape)
