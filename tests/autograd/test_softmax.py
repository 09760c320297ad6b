"""Softmax and LogSoftmax over any axis."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from explainsvc.autograd.differentiate import differentiate
from tests.autograd.harness import Case, build, check, emitted
from tests.autograd.rows import both, normal, without_ranks

FUNCTIONS = {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax}


def case(op_type: str, axis: int, *shape: int) -> Case:
    """A row over one axis."""
    return Case(op_type, [normal(*shape)], {"axis": axis}, torch=lambda x: FUNCTIONS[op_type](x, axis))


ROWS = both(
    *(
        case(op, axis, *shape)
        for op in FUNCTIONS
        for axis, shape in [(-1, (4,)), (0, (3, 2)), (1, (2, 3)), (1, (2, 3, 4)), (-2, (2, 3, 4)), (0, (2, 1, 2, 3))]
    ),
    Case("Softmax", [normal(2, 3)], torch=lambda x: x.softmax(-1)),
    Case("LogSoftmax", [normal(2, 3)], torch=lambda x: x.log_softmax(-1)),
)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_gradient(row: Case) -> None:
    """The gradient equals torch autograd and central finite differences."""
    check(row)


@pytest.mark.parametrize("row", [r for r in ROWS if not r.dynamic], ids=str)
def test_unknown_rank(row: Case) -> None:
    """Axes counted from either end need no rank."""
    without_ranks(row)


@pytest.mark.parametrize("op_type", FUNCTIONS)
def test_large_operands(op_type: str) -> None:
    """Logits far apart give finite gradients, and those of torch."""
    row = Case(op_type, [np.array([[1e4, 0.0, -1e4], [300.0, 299.0, -300.0]])])
    feeds, gradients, seed = emitted(row)
    x = torch.tensor(feeds["x0"], requires_grad=True)
    FUNCTIONS[op_type](x, -1).backward(torch.tensor(seed))
    np.testing.assert_allclose(gradients[0], x.grad, rtol=1e-4, atol=1e-6)


def test_second_derivative() -> None:
    """The graph of a gradient can be differentiated once more: the emitted nodes have rules themselves."""
    row = Case("Softmax", [normal(2, 3)])
    once = differentiate(build(row, np.float32), ["x0"])
    assert {n.op_type for n in differentiate(once, ["x0"], output="y0").graph.node} >= {"Softmax", "Mul"}


def test_fully_masked_row() -> None:
    """Attention replaces the NaN of a fully masked row by zeros; its gradient is zero as well."""
    nodes = [
        helper.make_node("Add", ["x", "bias"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"]),
        helper.make_node("IsNaN", ["p"], ["masked"]),
        helper.make_node("Where", ["masked", "zero", "p"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in "xy")
    bias = np.array([[-np.inf] * 3, [0.0, -np.inf, 0.0]], np.float32)
    constants = [numpy_helper.from_array(bias, "bias"), numpy_helper.from_array(np.float32(0.0), "zero")]
    model = helper.make_model(
        helper.make_graph(nodes, "masked", [x], [y], constants), opset_imports=[helper.make_opsetid("", 21)]
    )
    session = ort.InferenceSession(differentiate(model, ["x"]).SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"x": normal(2, 3).astype(np.float32), "explain.seed": normal(2, 3, seed=1).astype(np.float32)}
    (gradient,) = session.run(["explain.x"], feeds)
    row = torch.tensor(feeds["x"][1:], requires_grad=True)
    torch.softmax(row + torch.tensor(bias[1:]), -1).backward(torch.tensor(feeds["explain.seed"][1:]))
    np.testing.assert_array_equal(gradient[0], 0)
    np.testing.assert_allclose(gradient[1:], row.grad, rtol=1e-5, atol=1e-7)
