"""Inspecting a model: which inputs a gradient reaches, which methods apply and why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import onnx_ir as ir

from explainsvc.autograd.backward import FLOATS, leading_to
from explainsvc.autograd.survey import Outcome
from explainsvc.errors import ExplainsvcError, InvalidInput, NothingToDifferentiate, Violation
from explainsvc.explained import find_value, logit_before
from explainsvc.info import ModelInfo, TensorInfo
from explainsvc.method import Method
from explainsvc.methods import METHODS
from explainsvc.nodes import Treatments, nodes_and_cost
from explainsvc.target import Target
from explainsvc.trials import Trials

if TYPE_CHECKING:
    from explainsvc.model import Model

FLOAT_KINDS = ("float", "bfloat")
NUMERIC_KINDS = (*FLOAT_KINDS, "int", "uint", "bool")
PERTURB = "a perturbation method such as occlusion"
PROBABILITY = {"Softmax": "softmax probability", "LogSoftmax": "log-softmax, the logarithm of a probability"}
CUT = "cut the model after its embedding or vectoriser"


def target_name(model: Model, method: Method, target: Target) -> tuple[str, tuple[str, ...]]:
    """The value to explain, and a caveat where it is a probability or not the output itself."""
    if isinstance(target, Mapping) and target.get("output"):
        return str(find_value(model.graph, str(target["output"])).name), ()
    name = model.default_output
    logit = logit_before(model.graph, name)
    if logit is None or logit.name == name:
        return name, ()
    if method.from_logit:
        return logit.name, (f'the explained value is "{logit.name}", before the {logit.operator} that makes "{name}"',)
    kind = PROBABILITY[logit.operator]
    return name, (f'the explained value "{name}" is a {kind}; {{"output": "{logit.name}"}} explains the logit',)


def wanted_inputs(model: Model, inputs: Sequence[str] | None, method: Method, output: str) -> tuple[str, ...]:
    """The inputs to explain: those named, or all that :func:`reachable_inputs` finds.

    Raises:
        InvalidInput: Unknown or repeated names, or none.
        NothingToDifferentiate: The method cannot explain inputs of this type.
    """
    if inputs is None:
        return reachable_inputs(model, method, output)
    check_names(model, inputs)
    known = {t.name: t for t in model.inputs}
    require_kind([known[n] for n in inputs], method)
    return tuple(inputs)


def check_names(model: Model, inputs: Sequence[str]) -> None:
    """Names of inputs to explain.

    Raises:
        InvalidInput: Unknown or repeated names, or none.
    """
    known = [t.name for t in model.inputs]
    wrong = [
        Violation("inputs", f'"{n}" is neither an input of the model ({", ".join(known)}) nor a value inside it')
        for n in inputs
        if n not in known
    ]
    wrong += [Violation("inputs", f'"{n}" is named more than once') for n in dict.fromkeys(inputs) if list(inputs).count(n) > 1]
    if wrong or not inputs:
        raise InvalidInput("these inputs cannot be explained", where="inputs", violations=wrong, expected="names of inputs")


def reachable_inputs(model: Model, method: Method, output: str) -> tuple[str, ...]:
    """The inputs that a method explains when the user names none.

    For gradients and rules: float inputs that the target depends on through float values. For perturbation methods:
    float inputs, or all numeric ones where there is no float input.

    Raises:
        NothingToDifferentiate: There is none.
    """
    floats = [t.name for t in model.inputs if "float" in t.dtype]
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
    allowed = {"graph": FLOAT_KINDS, "sampling": FLOAT_KINDS, "perturbation": NUMERIC_KINDS}.get(method.family)
    for tensor in tensors:
        if allowed is not None and not tensor.dtype.startswith(allowed):
            raise NothingToDifferentiate(
                f"{method.card.name} cannot explain {tensor.describe()}", where=f'input "{tensor.name}"',
                expected=f"an input of {' or '.join(allowed)} numbers",
                to_do=f"Explain another input, {CUT}" + (f", or use {PERTURB}" if tensor.dtype.startswith(NUMERIC_KINDS) else ""),
            )  # fmt: skip


def inspect_model(model: Model) -> ModelInfo:
    """All facts of :class:`ModelInfo`; every method's graph is built (but not run) on one copy of the model's."""
    from explainsvc.weights import parameter_units  # weights builds models

    proto = model.proto
    graph = model.graph
    trials = Trials(model)
    methods = {name: _reason(model, trials, method) for name, method in METHODS.items()}
    nodes, cost = nodes_and_cost(model, _treatments(model, trials), {name: m.card.cost for name, m in METHODS.items()})
    return ModelInfo(
        digest=model.digest,
        producer=" ".join(part for part in (proto.producer_name, proto.producer_version) if part),
        ir_version=proto.ir_version,
        opsets={o.domain or "ai.onnx": o.version for o in proto.opset_import},
        operators=dict(Counter(node.operator for node in nodes)),
        parameters=sum(
            v.const_value.size for v in graph.initializers.values() if v.dtype in FLOATS and v.const_value is not None
        ),
        size_bytes=model.size_bytes,
        inputs=model.inputs,
        outputs=model.outputs,
        differentiable=_differentiable(model, trials),
        methods=methods,
        alternatives={name: _alternatives(name, methods) for name, reason in methods.items() if reason},
        passes=model.prepared.passes,
        units=tuple(unit.name for unit in parameter_units(model)),
        caveats=model.caveats,
        nodes=nodes,
        cost=cost,
    )


def _treatments(model: Model, trials: Trials) -> Treatments:
    """How the gradient, and every method with rules of its own, treats the nodes of the graph."""

    def outcomes(method: Method) -> dict[ir.Node, Outcome]:
        with suppress(ExplainsvcError):  # there is no target, or no input: `methods` says so
            return trials.outcomes(method, *_defaults(model, method))
        return {}

    ruled = {name: method for name, method in METHODS.items() if method.rulebook is not None}
    return Treatments(outcomes(METHODS["gradient"]), {name: outcomes(method) for name, method in ruled.items()})


def _defaults(model: Model, method: Method) -> tuple[str, tuple[str, ...]]:
    """The target and the inputs of a method where the user names none.

    Raises:
        TargetOutOfRange: The model has no float output.
        NothingToDifferentiate: It has no input that the method can explain.
    """
    output, _ = target_name(model, method, None)
    return output, reachable_inputs(model, method, output)


def _reason(model: Model, trials: Trials, method: Method) -> str:
    """Empty when the graph of a method, or of the gradient that it samples, can be built; else why not in one sentence."""
    try:
        output, names = _defaults(model, method)
        if method.requires is not None:
            method.requires(model, output, names)
    except ExplainsvcError as error:
        return str(error)
    probe = method if method.program is not None else METHODS["gradient"] if method.family == "sampling" else None
    refusal = None if probe is None else trials.of(probe, output, names).refusal
    return "" if refusal is None else str(refusal)


def _differentiable(model: Model, trials: Trials) -> dict[str, str]:
    """Input → empty where the gradient of the first float output reaches it, else the reason."""
    reached = _reached_together(model, trials)
    return {t.name: "" if t.name in reached else _unreached(model, trials, t) for t in model.inputs}


def _reached_together(model: Model, trials: Trials) -> frozenset[str]:
    """The inputs that the walk to all of them, which is made anyhow, came to; none where it was refused on the way to one."""
    with suppress(ExplainsvcError):
        trial = trials.of(METHODS["gradient"], *_defaults(model, METHODS["gradient"]))
        return trial.reached if trial.refusal is None else frozenset()
    return frozenset()


def _unreached(model: Model, trials: Trials, tensor: TensorInfo) -> str:
    """Why no gradient reaches an input; empty where the walk to it alone does."""
    if "float" not in tensor.dtype:
        return f"is {tensor.dtype}, which has no gradient"
    try:
        refusal = trials.of(METHODS["gradient"], model.default_output, (tensor.name,)).refusal
    except ExplainsvcError as error:
        return str(error)
    return "" if refusal is None else str(refusal)


def _alternatives(name: str, methods: Mapping[str, str]) -> tuple[str, ...]:
    """The methods that apply, those of the same family first; controls explain nothing."""
    family = METHODS[name].family
    fitting = [n for n, reason in methods.items() if not reason and METHODS[n].family != "control"]
    return tuple(sorted(fitting, key=lambda n: METHODS[n].family != family))


def ways_around(model: Model) -> tuple[str, ...]:
    """The methods that apply without a rule for every node, or with those of the gradient, which is rehearsed once."""
    trials = Trials(model)
    plain = {n: m for n, m in METHODS.items() if n == "gradient" or m.family in ("sampling", "perturbation")}
    return tuple(n for n, method in plain.items() if not _reason(model, trials, method))
