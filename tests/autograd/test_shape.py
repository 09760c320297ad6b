"""Operators that lay numbers out differently."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from explainsvc.autograd.differentiate import differentiate
from explainsvc.errors import NotDifferentiable, NothingToDifferentiate
from tests.autograd.harness import Case, check, emitted


def normal(*shape: int) -> Any:
    """Reproducible numbers without ties."""
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def ints(*values: int) -> Any:
    """An int64 vector."""
    return np.array(values, np.int64)


def both(case: Case) -> list[Case]:
    """The case with static and with symbolic shapes."""
    return [case, Case(**{**vars(case), "dynamic": True})]


LAYOUT = [
    Case("Identity", [normal(2, 3)], torch=lambda x: x.clone()),
    Case("Reshape", [normal(2, 3, 4), ints(6, 4)], torch=lambda x, _: x.reshape(6, 4)),
    Case("Reshape", [normal(2, 3, 4), ints(0, -1)], constant=[1], torch=lambda x, _: x.reshape(2, 12)),
    Case("Reshape", [normal(2, 3), ints(1, 6)], {"allowzero": 1}, constant=[1]),
    Case("Flatten", [normal(2, 3, 4)], torch=lambda x: x.flatten(1)),
    Case("Flatten", [normal(2, 3, 4)], {"axis": -1}, torch=lambda x: x.reshape(6, 4)),
    Case("Flatten", [normal(2, 3)], {"axis": 0}, torch=lambda x: x.reshape(1, 6)),
    Case("Squeeze", [normal(1, 3, 1), ints(0, -1)], constant=[1], torch=lambda x, _: x[0, :, 0]),
    Case("Squeeze", [normal(1, 3, 1)], torch=lambda x: x.squeeze()),
    Case("Unsqueeze", [normal(3, 2), ints(0, -1)], constant=[1], torch=lambda x, _: x[None, ..., None]),
    Case("Unsqueeze", [normal(3, 2), ints(1)], torch=lambda x, _: x[:, None]),
    Case("Transpose", [normal(2, 3, 4)], {"perm": [1, 2, 0]}, torch=lambda x: x.permute(1, 2, 0)),
    Case("Transpose", [normal(2, 3, 4)], torch=lambda x: x.permute(2, 1, 0)),
    Case("Expand", [normal(3, 1), ints(2, 1, 4)], torch=lambda x, _: x.expand(2, 3, 4)),
    Case("Expand", [normal(3, 1), ints(1, 1)], constant=[1], torch=lambda x, _: x.expand(3, 1)),
    Case("Tile", [normal(2, 3), ints(2, 3)], torch=lambda x, _: x.tile(2, 3)),
    Case("Tile", [normal(2, 3), ints(1, 2)], constant=[1], torch=lambda x, _: x.tile(1, 2)),
    Case("Trilu", [normal(2, 3, 4)], torch=lambda x: x.triu()),
    Case("Trilu", [normal(3, 4), np.array(-1)], {"upper": 0}, torch=lambda x, _: x.tril(-1)),
    Case("ReverseSequence", [normal(4, 3, 2), ints(1, 4, 2)]),
    Case("ReverseSequence", [normal(3, 4), ints(1, 4, 2)], {"batch_axis": 0, "time_axis": 1}),
]

PARTS = [
    Case("Concat", [normal(2, 3), normal(2, 1), normal(2, 4)], {"axis": 1}, torch=lambda *x: _cat(x, 1)),
    Case("Concat", [normal(2, 3, 2), normal(4, 3, 2)], {"axis": -3}, torch=lambda *x: _cat(x, 0)),
    Case("Concat", [normal(2, 3)], {"axis": -1}, torch=lambda x: x.clone()),
    Case("Split", [normal(2, 6), ints(1, 3, 2)], {"axis": 1}, outputs=3, output=1, torch=lambda x, _: x[:, 1:4]),
    Case("Split", [normal(7, 2)], {"num_outputs": 3}, outputs=3, output=2, torch=lambda x: x[6:]),
    Case("Split", [normal(2, 6)], {"num_outputs": 2, "axis": -1}, outputs=2, torch=lambda x: x[:, :3]),
    Case("Split", [normal(2, 6), ints(4, 2)], {"axis": -1}, outputs=2, constant=[1], torch=lambda x, _: x[:, :4]),
]

VALUES = [
    Case("CastLike", [normal(2, 3), normal(1)], wanted=[0]),
    Case("Dropout", [normal(2, 3)], torch=lambda x: x.clone()),
    Case("Dropout", [normal(2, 3), np.array(0.4), np.array(False)], constant=[1, 2]),
    Case("Dropout", [normal(2, 3), np.array(0.4)], wanted=[0], outputs=2),
]

BLOCKS = [
    Case("SpaceToDepth", [normal(2, 3, 4, 6)], {"blocksize": 2}),
    Case("DepthToSpace", [normal(2, 12, 2, 3)], {"blocksize": 2}),
    Case("DepthToSpace", [normal(1, 9, 1, 2)], {"blocksize": 3, "mode": "DCR"}),
    Case("DepthToSpace", [normal(2, 12, 2, 3)], {"blocksize": 2, "mode": "CRD"}, torch=lambda x: _shuffle(x, 2)),
]


def _cat(tensors: Any, axis: int) -> Any:
    import torch

    return torch.cat(tensors, axis)


def _shuffle(x: Any, factor: int) -> Any:
    import torch

    return torch.nn.functional.pixel_shuffle(x, factor)


@pytest.mark.parametrize("case", [c for case in LAYOUT + PARTS + BLOCKS for c in both(case)] + VALUES, ids=str)
def test_gradient(case: Case) -> None:
    """Numbers go back to where they came from, for static and for symbolic shapes."""
    check(case)


def cast_there_and_back(between: int) -> Any:
    """The model y = 2 · float(cast(x))."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy")
    nodes = [
        helper.make_node("Cast", ["x"], ["cast"], to=between),
        helper.make_node("Cast", ["cast"], ["back"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["back", "back"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "casts", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("between", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_cast_between_floats_passes(between: int) -> None:
    """The gradient takes the type of the operand."""
    explained = differentiate(cast_there_and_back(between), ["x"])
    session = ort.InferenceSession(explained.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"x": np.array([1, 2, 3], np.float32), "explain.seed": np.array([1, 0.5, -1], np.float32)}
    np.testing.assert_array_equal(session.run(["explain.x"], feeds)[0], np.array([2, 1, -2], np.float32))


def test_cast_to_integers_stops() -> None:
    """A step function has no gradient; when nothing else leads to the input, that is said."""
    with pytest.raises(NothingToDifferentiate):
        differentiate(cast_there_and_back(TensorProto.INT32), ["x"])


def test_dropout_in_training_is_refused() -> None:
    """A random operator has no derivative to report."""
    case = Case("Dropout", [normal(2, 3), np.array(0.4), np.array(True)], constant=[1, 2])
    with pytest.raises(NotDifferentiable, match="training mode"):
        emitted(case)


def test_joining_many_open_axes_stays_linear() -> None:
    """The backward pass of a Concat has so many nodes an operand, however many there are (DenseNet-121 joins 33)."""
    counts = []
    for operands in (10, 40):
        names = [f"x{i}" for i in range(operands)]
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [name]) for name in names]
        node = helper.make_node("Concat", names, ["y"], axis=0)
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
        graph = helper.make_graph([node], "join", inputs, [y])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        counts.append(len(differentiate(model, names).graph.node))
    assert counts[1] < 4.1 * counts[0]
