"""One operator, its attributes and operands: is the gradient we emit the derivative of what onnxruntime computes?

Two independent truths: central finite differences in float64 (by onnxruntime where it has a double kernel, else by
onnx's reference evaluator), and torch autograd where the case names the same function in torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from explainsvc.autograd import known_operators
from explainsvc.autograd.differentiate import differentiate

ort.set_default_logger_severity(4)


@dataclass(frozen=True)
class Case:
    """``operands``: arrays in ONNX order (None = omitted). ``wanted``: indices to differentiate (all floats by default).

    ``constant``: indices given as initializers. ``dynamic``: declare every axis of the wanted operands as symbolic.
    ``torch``: the same function on torch tensors, called with the operands in order. ``outputs``: result count;
    the first one is differentiated, or ``output``. ``float64``: False where no float64 evaluator agrees with the op.
    """

    op_type: str
    operands: Sequence[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    wanted: Sequence[int] | None = None
    constant: Sequence[int] = ()
    torch: Callable[..., Any] | None = None
    outputs: int = 1
    output: int = 0
    opset: int = 21
    domain: str = ""
    dynamic: bool = False
    finite_differences: bool = True
    name: str = ""

    def __str__(self) -> str:
        attributes = ",".join(f"{k}={v}" for k, v in self.attributes.items())
        shapes = ",".join("-" if o is None else str(list(np.shape(o))) for o in self.operands)
        return self.name or f"{self.op_type}({shapes}){attributes}{'~' if self.dynamic else ''}"


def build(case: Case, dtype: type) -> onnx.ModelProto:
    """The one-node model of a case, its float operands of ``dtype``."""
    arrays = [None if o is None else _typed(np.asarray(o), dtype) for o in case.operands]
    names = ["" if a is None else f"x{i}" for i, a in enumerate(arrays)]
    inputs = [
        helper.make_tensor_value_info(
            names[i],
            helper.np_dtype_to_tensor_dtype(a.dtype),
            [f"x{i}_{k}" for k in range(a.ndim)] if case.dynamic and i in wanted(case) else a.shape,
        )
        for i, a in enumerate(arrays)
        if a is not None and i not in case.constant
    ]
    constants = [numpy_helper.from_array(arrays[i], names[i]) for i in case.constant]
    results = [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(case.op_type, names, results, name="it", domain=case.domain, **case.attributes)
    typed = helper.make_tensor_value_info(f"y{case.output}", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)
    graph = helper.make_graph([node], "case", inputs, [typed], constants)
    opsets = [helper.make_opsetid("", case.opset)] + ([helper.make_opsetid(case.domain, 1)] if case.domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def wanted(case: Case) -> list[int]:
    """Indices of the operands to differentiate."""
    if case.wanted is not None:
        return list(case.wanted)
    return [
        i for i, o in enumerate(case.operands) if o is not None and np.asarray(o).dtype.kind == "f" and i not in case.constant
    ]


def check(case: Case) -> None:
    """Gradient of every wanted operand = torch autograd and = finite differences."""
    _, gradients, seed = emitted(case)
    if case.torch is not None:
        for i, expected in torch_gradients(case, seed).items():
            np.testing.assert_allclose(gradients[i], expected, rtol=2e-4, atol=2e-5, err_msg=f"{case}: operand {i}, torch")
    if case.finite_differences:
        for i in wanted(case):
            expected = differences(case, i, seed)
            np.testing.assert_allclose(gradients[i], expected, rtol=1e-3, atol=1e-4, err_msg=f"{case}: operand {i}, differences")


def emitted(case: Case) -> tuple[dict[str, Any], dict[int, Any], Any]:
    """Feeds, our gradients and the seed, run by onnxruntime in float32; the forward result must be untouched."""
    proto = build(case, np.float32)
    names = {i: f"x{i}" for i in wanted(case)}
    explained = differentiate(proto, list(names.values()))
    if all(v.type.tensor_type.HasField("shape") for v in [*explained.graph.input, *explained.graph.output]):
        onnx.checker.check_model(explained, full_check=True)  # which refuses outputs of unknown rank as such
    session = ort.InferenceSession(explained.SerializeToString(), providers=["CPUExecutionProvider"])
    plain = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = feeds_of(case, np.float32)
    (y,) = plain.run(None, feeds)
    seed = np.random.default_rng(7).standard_normal(y.shape).astype(y.dtype)
    outputs = session.run([f"y{case.output}"] + [f"explain.{n}" for n in names.values()], feeds | {"explain.seed": seed})
    rounding = 0.0 if (f"{case.domain}::" if case.domain else "") + case.op_type in known_operators() else 1e-5
    np.testing.assert_allclose(outputs[0], y, rtol=rounding, atol=rounding)  # a body rounds otherwise than the operator
    gradients = dict(zip(names, outputs[1:], strict=True))
    for i, g in gradients.items():
        assert g.shape == np.shape(case.operands[i]), f"{case}: operand {i} has gradient shape {g.shape}"
    return feeds, gradients, seed


def torch_gradients(case: Case, seed: Any) -> dict[int, Any]:
    """The same gradients by torch autograd in float64."""
    import torch

    tensors = [None if o is None else torch.tensor(_typed(np.asarray(o), np.float64)) for o in case.operands]
    for i in wanted(case):
        tensors[i].requires_grad_()
    y = case.torch(*tensors)
    y.backward(torch.tensor(np.asarray(seed, np.float64)).reshape(y.shape))
    return {i: tensors[i].grad.numpy() for i in wanted(case)}


def differences(case: Case, operand: int, seed: Any, step: float = 1e-6) -> Any:
    """∂⟨seed, y⟩/∂operand by central differences in float64, element by element."""
    run = float64_runner(build(case, np.float64))
    feeds = feeds_of(case, np.float64)
    constant = operand in case.constant
    assert not constant, "differentiate run-time operands"
    x = feeds[f"x{operand}"]
    result = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * step
            ends.append(float((run(feeds | {f"x{operand}": moved}) * seed).sum()))
        result[index] = (ends[0] - ends[1]) / (2 * step)
    return result


def float64_runner(proto: onnx.ModelProto) -> Callable[[dict[str, Any]], Any]:
    """onnxruntime where it has double kernels for this operator, else onnx's reference evaluator."""
    try:
        session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        return lambda feeds: session.run(None, feeds)[0]
    except Exception:  # noqa: BLE001  (NotImplemented, Fail: onnxruntime has no double kernel)
        reference = ReferenceEvaluator(proto)
        return lambda feeds: reference.run(None, feeds)[0]


def feeds_of(case: Case, dtype: type) -> dict[str, Any]:
    """The run-time operands of a case by name, floats of ``dtype``."""
    return {
        f"x{i}": _typed(np.asarray(o), dtype) for i, o in enumerate(case.operands) if o is not None and i not in case.constant
    }


def _typed(array: Any, dtype: type) -> Any:
    return array.astype(dtype) if array.dtype.kind == "f" else array
