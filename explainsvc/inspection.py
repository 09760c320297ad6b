"""Inspecting a model: which inputs a gradient reaches, which methods apply and why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from explainsvc.autograd.backward import FLOATS, leading_to
from explainsvc.engine import build, program_of
from explainsvc.errors import ExplainsvcError, InvalidInput, NothingToDifferentiate, Violation
from explainsvc.explained import find_value, logit_before
from explainsvc.info import ModelInfo, TensorInfo
from explainsvc.method import Method
from explainsvc.methods import METHODS
from explainsvc.target import Target

if TYPE_CHECKING:
    from explainsvc.model import Model

NUMERIC_KINDS = ("float", "int", "uint", "bool")
PERTURB = "a perturbation method such as occlusion"
CUT = "cut the model after its embedding or vectoriser"


def target_name(model: Model, method: Method, target: Target) -> tuple[str, tuple[str, ...]]:
    """The value to explain, and a caveat where it is a probability or not the output itself."""
    if isinstance(target, Mapping) and target.get("output"):
        return str(find_value(model.graph, str(target["output"])).name), ()
    name = model.default_output
    logit = logit_before(model.graph, name)
    if logit is None or logit == name:
        return name, ()
    if method.from_logit:
        return logit, (f'the explained value is "{logit}", before the Softmax that makes "{name}"',)
    return name, (f'the explained value "{name}" is a softmax probability; {{"output": "{logit}"}} explains the logit',)


def wanted_inputs(model: Model, inputs: Sequence[str] | None, method: Method, output: str) -> tuple[str, ...]:
    """The inputs to explain: those named, or all that :func:`reachable_inputs` finds.

    Raises:
        InvalidInput: Unknown or repeated names, or none.
        NothingToDifferentiate: The method cannot explain inputs of this type.
    """
    if inputs is None:
        return reachable_inputs(model, method, output)
    known = {t.name: t for t in model.inputs}
    wrong = [Violation("inputs", f'"{n}" is not an input of the model ({", ".join(known)})') for n in inputs if n not in known]
    wrong += [Violation("inputs", f'"{n}" is named more than once') for n in dict.fromkeys(inputs) if list(inputs).count(n) > 1]
    if wrong or not inputs:
        raise InvalidInput("these inputs cannot be explained", where="inputs", violations=wrong, expected="names of inputs")
    require_kind([known[n] for n in inputs], method)
    return tuple(inputs)


def reachable_inputs(model: Model, method: Method, output: str) -> tuple[str, ...]:
    """The inputs that a method explains when the user names none.

    For gradients and rules: float inputs that the target depends on through float values. For perturbation methods:
    float inputs, or all numeric ones where there is no float input.

    Raises:
        NothingToDifferentiate: There is none.
    """
    floats = [t.name for t in model.inputs if t.dtype.startswith("float")]
    if method.family in ("perturbation", "control"):
        chosen = floats or [t.name for t in model.inputs if t.dtype.startswith(NUMERIC_KINDS)]
    else:
        target = find_value(model.graph, output)
        values = {v.name or "": v for v in model.graph.inputs if v.dtype in FLOATS}
        chosen = [n for n in floats if n in values and target in leading_to(model.graph, [values[n]])]
    if chosen:
        return tuple(chosen)
    kinds = ", ".join(f'"{t.name}" is {t.describe()}' for t in model.inputs)
    numbers = any(t.dtype.startswith(NUMERIC_KINDS) for t in model.inputs)
    raise NothingToDifferentiate(
        f'no input can be explained by {method.card.name}: {kinds}; "{output}" depends on none through float values',
        expected="a float input that the target depends on through differentiable operators",
        to_do=f"Use {PERTURB} with inputs=[name], or {CUT}" if numbers else f"{CUT[0].upper()}{CUT[1:]}",
    )


def require_kind(tensors: Sequence[TensorInfo], method: Method) -> None:
    """Inputs that a user names must hold what the method computes with.

    Raises:
        NothingToDifferentiate: A gradient of integers or strings, or a perturbation of strings.
    """
    allowed = {"graph": ("float",), "sampling": ("float",), "perturbation": NUMERIC_KINDS}.get(method.family)
    for tensor in tensors:
        if allowed is not None and not tensor.dtype.startswith(allowed):
            raise NothingToDifferentiate(
                f"{method.card.name} cannot explain {tensor.describe()}", where=f'input "{tensor.name}"',
                expected=f"an input of {' or '.join(allowed)} numbers",
                to_do=f"Explain another input, {CUT}" + (f", or use {PERTURB}" if tensor.dtype.startswith(NUMERIC_KINDS) else ""),
            )  # fmt: skip


def inspect_model(model: Model) -> ModelInfo:
    """All facts of :class:`ModelInfo`; builds (but does not run) one graph per method."""
    from explainsvc.weights import parameter_units  # weights builds models

    proto = model.proto
    graph = model.graph
    return ModelInfo(
        digest=model.digest,
        producer=" ".join(part for part in (proto.producer_name, proto.producer_version) if part),
        ir_version=proto.ir_version,
        opsets={o.domain or "ai.onnx": o.version for o in proto.opset_import},
        operators=dict(Counter(f"{n.domain}::{n.op_type}" if n.domain else n.op_type for n in proto.graph.node)),
        parameters=sum(
            v.const_value.size for v in graph.initializers.values() if v.dtype in FLOATS and v.const_value is not None
        ),
        size_bytes=model.size_bytes,
        inputs=model.inputs,
        outputs=model.outputs,
        differentiable={t.name: _differentiable(model, t.name) for t in model.inputs},
        methods={name: _applicable(model, method) for name, method in METHODS.items()},
        passes=model.prepared.passes,
        units=tuple(unit.name for unit in parameter_units(model)),
        caveats=model.caveats,
    )


def _differentiable(model: Model, name: str) -> str:
    """Empty where the gradient of the first float output reaches the input, else the reason."""
    kind = next(t.dtype for t in model.inputs if t.name == name)
    if not kind.startswith("float"):
        return f"is {kind}, which has no gradient"
    return _reason(model, METHODS["gradient"], (name,))


def _applicable(model: Model, method: Method) -> str:
    return _reason(model, method, None)


def _reason(model: Model, method: Method, wanted: tuple[str, ...] | None) -> str:
    """Empty when the method's graph can be built, else why not in one sentence."""
    try:
        output, _ = target_name(model, method, None)
        names = reachable_inputs(model, method, output) if wanted is None else wanted
        probe = method if method.program is not None else METHODS["gradient"] if method.family == "sampling" else None
        if probe is not None:
            params = probe.params()
            build(model, probe.card.name, params, program_of(probe, params), output, names)
    except ExplainsvcError as error:
        return str(error)
    return ""


def operators_of(graph: ir.Graph) -> list[str]:
    """Operator names of a graph and its subgraphs."""
    return [n.op_type for n in graph.all_nodes()]
