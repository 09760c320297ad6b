"""Every converter, over its operator's attributes, behind a learned scale: forward = onnxruntime, gradient = ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import helper, numpy_helper

import explainsvc
from explainsvc.training.conversion import trainable
from tests.models import Array, numbers, weights

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Row:
    """One operator on x [2, …], scaled by a learned vector, and constants; attributes as in the text form of a node."""

    op_type: str
    shape: tuple[int, ...]
    constants: tuple[Array | None, ...] = ()
    attributes: Mapping[str, object] = field(default_factory=dict)
    opset: int = 21
    outputs: int = 1
    shown: int = 0

    def __str__(self) -> str:
        words = [self.op_type, "x".join(map(str, self.shape)), *(f"{k}={v}" for k, v in self.attributes.items())]
        given = "".join("-" if c is None else str(c.size) for c in self.constants)
        return f"{'-'.join(words)}-{given}-{self.opset}-{self.shown}".replace(" ", "").replace("'", "")

    def model(self) -> onnx.ModelProto:
        """x · scale → operator → y, whose shape is not declared."""
        names = ["h", *("" if c is None else f"c{k}" for k, c in enumerate(self.constants))]
        results = [f"y{k}" for k in range(self.outputs)]
        nodes = [
            helper.make_node("Mul", ["x", "scale"], ["h"], "scaling"),
            helper.make_node(self.op_type, names, results, "tested", **self.attributes),
            helper.make_node("Identity", [results[self.shown]], ["y"], "end"),
        ]
        tensors = {"scale": 1 + weights("scale", self.shape[-1], scale=0.2)}
        tensors |= {f"c{k}": c for k, c in enumerate(self.constants) if c is not None}
        x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, self.shape)
        y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(a, n) for n, a in tensors.items()])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)


def ints(*values: int) -> Array:
    """A constant of shape [n], int64."""
    return np.array(values, np.int64)


def pools(op_type: str) -> list[Row]:
    """Padding by hand, to the same size, at either end, rounded up, dilated; one, two and three axes."""
    cases: list[tuple[tuple[int, ...], dict[str, object]]] = [
        ((2, 3, 9), {"kernel_shape": [3], "strides": [2]}),
        ((2, 3, 7, 8), {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}),
        ((2, 3, 7, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ((2, 3, 7, 8), {"kernel_shape": [2, 2], "strides": [2, 3], "auto_pad": "SAME_LOWER"}),
        ((2, 3, 7, 8), {"kernel_shape": [2, 3], "auto_pad": "VALID"}),
        ((2, 3, 7, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        ((2, 3, 8, 8), {"kernel_shape": [3, 3], "strides": [3, 3], "ceil_mode": 1, "pads": [1, 1, 1, 1]}),
        ((2, 2, 4, 5, 6), {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2], "pads": [0, 0, 1, 0, 1, 0]}),
    ]
    return [Row(op_type, shape, attributes=attributes, opset=22) for shape, attributes in cases]


def resizes() -> list[Row]:
    """Up and down, by sizes and by scales, in all coordinate systems that torch is taught."""
    modes = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    up, down = np.array([1, 1, 2, 1.5], np.float32), np.array([1, 1, 0.6, 0.5], np.float32)
    rows = [
        Row("Resize", (2, 2, 5, 4), (None, scales), {"mode": "linear", "coordinate_transformation_mode": mode})
        for mode in modes
        for scales in (up, down)
    ]
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        nearest = {"mode": "nearest", "nearest_mode": rounding, "coordinate_transformation_mode": "asymmetric"}
        rows += [Row("Resize", (2, 2, 5, 4), (None, scales), nearest) for scales in (up, down)]
    rows.append(Row("Resize", (2, 2, 5, 4), (None, None, ints(2, 2, 7, 9)), {"mode": "linear"}))
    rows.append(Row("Resize", (2, 2, 5, 4), (None, None, ints(7, 9)), {"mode": "nearest", "axes": [2, 3]}))
    return rows


def recurrent(op_type: str, gates: int, states: int) -> list[Row]:
    """Directions, biases, first states, lengths of sequences, activations; every result."""
    rows = []
    for direction, count in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
        w, r = weights("w", count, gates * 4, 3), weights("r", count, gates * 4, 4)
        b, lens = weights("b", count, 2 * gates * 4), np.array([5, 2], np.int32)
        first = [weights(f"h{k}", count, 2, 4) for k in range(states)]
        given: dict[str, object] = {"hidden_size": 4, "direction": direction}
        outputs = 1 + states
        rows.append(Row(op_type, (5, 2, 3), (w, r), given, 22, outputs, 0))
        rows += [Row(op_type, (5, 2, 3), (w, r, b, lens, *first), given, 22, outputs, shown) for shown in range(outputs)]
    return rows


def activations() -> list[Row]:
    """Other activation functions, peepholes, and where a GRU resets."""
    w, r, b = weights("w", 1, 16, 3), weights("r", 1, 16, 4), weights("b", 1, 32)
    peephole = weights("p", 1, 12)
    return [
        Row("LSTM", (5, 2, 3), (w, r, b, None, None, None, peephole), {"hidden_size": 4}, 22, 3, 0),
        Row("LSTM", (5, 2, 3), (w, r, b), {"hidden_size": 4, "activations": ["HardSigmoid", "Softsign", "Relu"]}, 22, 3, 0),
        Row("GRU", (5, 2, 3), (w[:, :12], r[:, :12], b[:, :24]), {"hidden_size": 4, "linear_before_reset": 1}, 22, 2, 0),
        Row("RNN", (5, 2, 3), (w[:, :4], r[:, :4], b[:, :8]), {"hidden_size": 4, "activations": ["Relu"]}, 22, 2, 0),
    ]


def reductions() -> list[Row]:
    """All of them, over one axis, several, and all."""
    names = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp")
    rows = [Row(f"Reduce{name}", (2, 3, 4), (ints(1, -1),), {"keepdims": k}, 18) for name in names for k in (0, 1)]
    rows += [Row(f"Reduce{name}", (2, 3, 4), (), {}, 20 if name in ("Max", "Min") else 18) for name in names]
    return [*rows, Row("ReduceMean", (2, 3, 4), (ints(),), {"noop_with_empty_axes": 1}, 18)]


CONV = (weights("w", 4, 3, 3, 2), weights("b", 4))
LAYERS = [
    Row("Conv", (2, 3, 7, 8), CONV, {"pads": [1, 0, 1, 0], "strides": [2, 1]}, 22),
    Row("Conv", (2, 3, 7, 8), CONV, {"pads": [0, 1, 2, 0], "dilations": [2, 1]}, 22),
    Row("Conv", (2, 3, 7, 8), CONV[:1], {"auto_pad": "SAME_UPPER", "strides": [2, 3]}, 22),
    Row("Conv", (2, 3, 7, 8), CONV[:1], {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, 22),
    Row("Conv", (2, 4, 7), (weights("w", 6, 2, 3),), {"group": 2}, 22),
    Row("Conv", (2, 2, 4, 5, 4), (weights("w", 3, 2, 2, 3, 2),), {"pads": [1, 1, 0, 0, 1, 1]}, 11),
    Row("ConvTranspose", (2, 3, 4, 5), (weights("w", 3, 2, 3, 2), weights("b", 2)), {"strides": [2, 2]}, 22),
    Row("ConvTranspose", (2, 3, 4, 5), (weights("w", 3, 2, 3, 3), weights("b", 2)),
        {"strides": [2, 2], "pads": [1, 0, 1, 2], "output_padding": [1, 1]}, 22),
    Row("ConvTranspose", (2, 4, 6), (weights("w", 4, 3, 3),), {"group": 2, "dilations": [2]}, 11),
    Row("Gemm", (2, 4), (weights("w", 4, 3), weights("b", 3)), {"alpha": 0.5, "beta": 2.0}),
    Row("Gemm", (2, 4), (weights("w", 3, 4),), {"transB": 1}),
    Row("Gemm", (4, 2), (weights("w", 3, 4), weights("b", 2, 3)), {"transA": 1, "transB": 1}),
    Row("PRelu", (2, 3, 3), (weights("s", 3),)),
    Row("PRelu", (2, 3, 4), (weights("s", 3, 1),)),
    Row("BatchNormalization", (2, 3, 4), (weights("s", 3), weights("b", 3), weights("m", 3), 1 + weights("v", 3) ** 2)),
    Row("InstanceNormalization", (2, 3, 5, 4), (weights("s", 3), weights("b", 3)), {"epsilon": 1e-2}, 22),
    Row("LayerNormalization", (2, 3, 4), (weights("s", 4), weights("b", 4)), {"epsilon": 1e-3}),
    Row("LayerNormalization", (2, 3, 4), (weights("s", 3, 4),), {"axis": 1}),
    Row("GroupNormalization", (2, 4, 5), (weights("s", 4), weights("b", 4)), {"num_groups": 2}),
    Row("RMSNormalization", (2, 3, 4), (weights("s", 4),), {"epsilon": 1e-3}, 23),
    Row("LpNormalization", (2, 3, 4), (), {"axis": 1, "p": 1}, 22),
    Row("MeanVarianceNormalization", (2, 3, 4, 5), (), {"axes": [0, 2, 3]}),
]  # fmt: skip
POINTWISE = [
    *(Row(name, (2, 5)) for name in ("Asinh", "Atan", "Cos", "Cosh", "Mish", "Sin", "Sinh", "Softplus", "Softsign", "Identity")),
    Row("Gelu", (2, 5)), Row("Gelu", (2, 5), (), {"approximate": "tanh"}), Row("Swish", (2, 5), (), {"alpha": 0.7}, 24),
    Row("ThresholdedRelu", (2, 5), (), {"alpha": 0.3}), Row("Shrink", (2, 5), (), {"lambd": 0.3, "bias": 0.1}),
    Row("Selu", (2, 5), (), {"alpha": 1.5, "gamma": 1.1}), Row("Elu", (2, 5), (), {"alpha": 0.6}, 22),
    Row("HardSigmoid", (2, 5), (), {"alpha": 0.3}, 22), Row("HardSwish", (2, 5), (), {}, 22),
    Row("Clip", (2, 5), (np.float32(-0.5), np.float32(0.4))), Row("Clip", (2, 5), (None, np.float32(0.4))),
    Row("Dropout", (2, 5), (np.float32(0.4),), {}, 22),
]  # fmt: skip
SHAPING = [
    Row("Reshape", (2, 3, 4), (ints(0, -1, 2),), {}, 21),
    Row("Reshape", (2, 3, 4), (ints(6, 4),), {"allowzero": 1}, 19),
    Row("Split", (2, 7), (), {"axis": 1, "num_outputs": 3}, 18, 3, 2),
    Row("Split", (2, 7), (ints(2, 5),), {"axis": -1}, 18, 2, 1),
    Row("Pad", (2, 3, 4), (ints(0, 1, -1, 0, 2, 3), np.float32(0.5))),
    Row("Pad", (2, 3, 4), (ints(1, 2), None, ints(-1)), {}, 18),
    *(Row("Pad", (2, 3, 4), (ints(0, 1, 2, 1, 2, 1),), {"mode": mode}, 19) for mode in ("reflect", "edge", "wrap")),
    Row("Trilu", (2, 4, 5), (np.int64(1),)),
    Row("Trilu", (2, 4, 5), (), {"upper": 0}),
    Row("DepthToSpace", (2, 8, 2, 3), (), {"blocksize": 2}),
    Row("DepthToSpace", (2, 8, 2, 3), (), {"blocksize": 2, "mode": "CRD"}),
    Row("GatherElements", (2, 4), (np.array([[0, -1]], np.int64),), {"axis": 1}),
    Row("SpaceToDepth", (2, 3, 4, 6), (), {"blocksize": 2}),
    Row("ScatterElements", (2, 3, 4), (np.array([[[0, -1]]], np.int64), weights("u", 1, 1, 2)), {"axis": 2}),
    Row("Slice", (2, 6, 5), (ints(-1, 1), ints(-100, 4), ints(1, -1), ints(-2, 2))),
    Row("Slice", (2, 6), (ints(0, 1), ints(2, 99))),
    Row("Unsqueeze", (2, 3), (ints(-1, 0),)),
    Row("Squeeze", (1, 1, 5, 3), (ints(1, -4),)),
    Row("Flatten", (2, 3, 4), (), {"axis": 2}),
    Row("Flatten", (5,), (), {"axis": 1}),
    Row("Flatten", (2, 3), (), {"axis": 0}),
    Row("Transpose", (2, 3, 4), (), {"perm": [0, 2, 1]}),
    Row("CastLike", (2, 3), (np.float32(1),)),
    Row("GlobalMaxPool", (2, 3, 4, 5), (), {}, 22),
    Row("GlobalAveragePool", (2, 3, 4, 5), (), {}, 22),
    Row("GlobalLpPool", (2, 3, 4, 5), (), {"p": 2}, 21),
    Row("LpPool", (2, 3, 5, 6), (), {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}, 22),
    Row("MaxPool", (2, 3, 9), (), {"kernel_shape": [3], "dilations": [2]}, 22),
    Row("TopK", (2, 5), (ints(2),), {"axis": 1}, 21, 2, 0),
    *(
        Row(
            "AveragePool",
            (2, 3, 7, 8),
            (),
            {"kernel_shape": [3, 3], "strides": [2, 2], "count_include_pad": 1, "pads": [1, 1, 0, 1], "ceil_mode": c},
            22,
        )
        for c in (0, 1)
    ),
]
MORE = [*recurrent("RNN", 1, 1), *recurrent("GRU", 3, 1)[4:], *resizes()[1::2], *reductions()[1::2]]
"""Whose like is among the others; quick runs leave them out."""
ROWS = [
    *pools("MaxPool"), *pools("AveragePool"), *resizes()[::2], *recurrent("LSTM", 4, 2), *recurrent("GRU", 3, 1)[:4],
    *activations(), *reductions()[::2], *LAYERS, *POINTWISE, *SHAPING,
    *(pytest.param(row, marks=pytest.mark.exhaustive) for row in MORE),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_operator_computes_what_onnxruntime_does(row: Row) -> None:
    """Forward within 1e-4 of onnxruntime's largest value, and the gradient within 1e-4 of ours, for a random functional."""
    proto, x = row.model(), numbers(*row.shape, seed=3)
    session = ort.InferenceSession(proto.SerializeToString())
    truth = session.run(None, {"x": x})[0]
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, truth.shape))
    model = explainsvc.load(proto)
    given = torch.from_numpy(x.copy()).requires_grad_()
    found = trainable(model)({"x": given})["y"]
    assert found.shape == truth.shape
    assert np.abs(found.detach().numpy() - truth).max() <= TOLERANCE * np.abs(truth).max()
    seed = numbers(*truth.shape, seed=4)
    (found * torch.from_numpy(seed)).sum().backward()
    own = model.explain({"x": x}, "gradient", target={"output": "y", "seed": seed}).values["x"]
    assert given.grad is not None
    assert np.abs(given.grad.numpy() - own).max() <= TOLERANCE * np.abs(own).max()
