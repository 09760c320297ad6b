"""Old operators in the words of opset 7, where onnx's own converter takes over.

onnx.version_converter fails on several forms before opset 7 (broadcasting by ``axis``, Pad-1, Cast-1, Tile-1), and knows
none of the experimental operators of Caffe2 and Windows ML (ImageScaler, Crop, Affine, …), which onnxruntime still runs
up to opset 9. onnxruntime itself runs few models before opset 7: it starts from the result of this pass (``runnable``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from explainsvc.autograd.shapes import Array
from explainsvc.graph.passes.rewrite import Rewriter, constant_of

SETTLED = 7
"""From here on onnx's converter and onnxruntime know the forms."""
LAST_EXPERIMENTAL = 9
_FORGOTTEN = ("consumed_inputs", "is_test", "broadcast", "output_sequence")
"""Attributes without a meaning for the result: in-place hints, inference mode, permission to broadcast."""
_BROADCASTING = frozenset("Add Sub Mul Div Pow And Or Xor Greater Less Equal".split())
_KEEPING_RANK = _BROADCASTING | frozenset(
    "Relu LeakyRelu PRelu Elu Selu Sigmoid Tanh Softplus Softsign Clip Abs Neg Exp Log Sqrt Floor Ceil Reciprocal Not Cast Identity "  # noqa: E501
    "Dropout BatchNormalization InstanceNormalization LRN LpNormalization Conv ConvTranspose MaxPool AveragePool LpPool "
    "GlobalMaxPool GlobalAveragePool GlobalLpPool Pad Slice Concat Transpose Sum Mean Max Min Upsample Tile Split Softmax "
    "LogSoftmax ImageScaler Crop Affine Scale ScaledTanh ParametricSoftplus".split()
)

Adapter = Callable[[ir.Node, Rewriter], None]


def adapt_old_operators(model: ir.Model) -> bool:
    """Rewrites forms older than opset 7 and experimental operators; True when there were any."""
    version = model.graph.opset_imports.get("")
    if version is None or version > LAST_EXPERIMENTAL:
        return False
    if version < SETTLED:
        common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=False)(model)
    adapters = (_OLD if version < SETTLED else {}) | _EXPERIMENTAL
    nodes = [n for n in model.graph.all_nodes() if n.domain == ""]
    write = Rewriter(model.graph)
    found = [n for n in nodes if n.op_type in adapters]
    for node in found:
        adapters[node.op_type](node, write)
    if version < SETTLED:
        for node in nodes:
            _forget(node)
        model.graph.opset_imports[""] = SETTLED
    return bool(found) or version < SETTLED


def _forget(node: ir.Node) -> None:
    for name in _FORGOTTEN:
        node.attributes.pop(name, None)


def _rank(value: ir.Value | None) -> int:
    """Of a value before opset 7, when many operators had no shape inference."""
    while value is not None and value.shape is None:
        maker = value.producer()
        if maker is None or maker.op_type not in _KEEPING_RANK:
            break
        value = maker.inputs[0]
    if value is None or value.shape is None:
        raise ValueError("the rank of a broadcast operand is not known")
    return len(value.shape)


# Before opset 7 -------------------------------------------------------------------------------------------------------


def _axis_broadcast(node: ir.Node, write: Rewriter) -> None:
    """B's axes start at ``axis`` of A: trailing axes of length 1 make that what numpy does."""
    axis = node.attributes.pop("axis", None)
    if axis is not None:
        _append_axes(node, write, axis.as_int())


def _append_axes(node: ir.Node, write: Rewriter, axis: int) -> None:
    rank, b = _rank(node.inputs[0]), node.inputs[1]
    own = _rank(b)
    missing = rank - own - (axis + rank if axis < 0 else axis)
    if missing > 0:
        node.replace_input_with(1, write.before(node, "Unsqueeze", [b], {"axes": list(range(own, own + missing))}))


def _prelu(node: ir.Node, write: Rewriter) -> None:
    """A slope of one axis is per channel."""
    if _rank(node.inputs[1]) == 1 and _rank(node.inputs[0]) > 1:
        _append_axes(node, write, 1)


def _pad(node: ir.Node, _write: Rewriter) -> None:
    if "paddings" in node.attributes:
        node.attributes["pads"] = ir.AttrInt64s("pads", list(node.attributes.pop("paddings").as_ints()))


def _cast(node: ir.Node, _write: Rewriter) -> None:
    """``to`` was the name of the type."""
    to = node.attributes["to"]
    if to.type == ir.AttributeType.STRING:
        node.attributes["to"] = ir.AttrInt64("to", int(ir.DataType[to.as_string().upper()]))


def _tile(node: ir.Node, write: Rewriter) -> None:
    """Tile-1 repeats one axis ``tiles`` times."""
    if len(node.inputs) < 3:
        return
    tiles, axis = constant_of(node.inputs[1]), constant_of(node.inputs[2])
    if tiles is None or axis is None:
        raise ValueError("Tile of opset 1 with computed operands")
    repeats = np.ones(_rank(node.inputs[0]), np.int64)
    repeats[int(axis.item())] = int(tiles.item())
    node.replace_input_with(1, write.constant(repeats, f"{node.outputs[0].name}_repeats"))
    node.resize_inputs(2)


def _split(node: ir.Node, _write: Rewriter) -> None:
    """Split-1 took the lengths as an operand."""
    if len(node.inputs) < 2 or node.inputs[1] is None:
        return
    lengths = constant_of(node.inputs[1])
    if lengths is None:
        raise ValueError("Split of opset 1 with computed lengths")
    node.attributes["split"] = ir.AttrInt64s("split", [int(n) for n in lengths])
    node.resize_inputs(1)


def _concat(node: ir.Node, _write: Rewriter) -> None:
    node.attributes.setdefault("axis", ir.AttrInt64("axis", 1))


def _reshape(node: ir.Node, write: Rewriter) -> None:
    if "shape" in node.attributes:
        shape = write.constant(np.array(node.attributes.pop("shape").as_ints(), np.int64), f"{node.outputs[0].name}_shape")
        node.resize_inputs(2)
        node.replace_input_with(1, shape)


def _lp_pool(node: ir.Node, _write: Rewriter) -> None:
    """``p`` was a float."""
    if "p" in node.attributes and node.attributes["p"].type == ir.AttributeType.FLOAT:
        node.attributes["p"] = ir.AttrInt64("p", round(node.attributes["p"].as_float()))


def _upsample(node: ir.Node, _write: Rewriter) -> None:
    if "height_scale" in node.attributes:
        height, width = (node.attributes.pop(f"{name}_scale").as_float() for name in ("height", "width"))
        node.attributes["scales"] = ir.AttrFloat32s("scales", [1.0, 1.0, height, width])


_OLD: dict[str, Adapter] = dict.fromkeys(_BROADCASTING, _axis_broadcast) | {
    "PRelu": _prelu, "Pad": _pad, "Cast": _cast, "Tile": _tile, "Split": _split, "Concat": _concat, "Reshape": _reshape,
    "LpPool": _lp_pool, "GlobalLpPool": _lp_pool, "Upsample": _upsample,
}  # fmt: skip


# Experimental operators, until opset 9 ----------------------------------------------------------------------------------


def _number(node: ir.Node, name: str, default: float, write: Rewriter) -> ir.Value:
    return write.constant(
        np.float32(node.attributes.get_float(name, default)) * np.ones((), np.float32), f"{node.outputs[0].name}_{name}"
    )


def _image_scaler(node: ir.Node, write: Rewriter) -> None:
    """scale · x + bias per channel."""
    bias: Array = np.array(node.attributes.get_floats("bias", [0.0]), np.float32).reshape(-1, 1, 1)
    scaled = write.before(node, "Mul", [node.inputs[0], _number(node, "scale", 1.0, write)])
    shift = write.constant(bias, f"{node.outputs[0].name}_bias")
    write.replace(node, write.before(node, "Add", [scaled, shift], name=node.name or ""))


def _affine(node: ir.Node, write: Rewriter) -> None:
    """α · x + β."""
    scaled = write.before(node, "Mul", [node.inputs[0], _number(node, "alpha", 1.0, write)])
    write.replace(node, write.before(node, "Add", [scaled, _number(node, "beta", 0.0, write)], name=node.name or ""))


def _scale(node: ir.Node, write: Rewriter) -> None:
    factor = _number(node, "scale", 1.0, write)
    write.replace(node, write.before(node, "Mul", [node.inputs[0], factor], name=node.name or ""))


def _scaled(function: str) -> Adapter:
    """α · f(β · x)."""

    def adapt(node: ir.Node, write: Rewriter) -> None:
        inner = write.before(node, "Mul", [node.inputs[0], _number(node, "beta", 1.0, write)])
        value = write.before(node, function, [inner], name=node.name or "")
        write.replace(node, write.before(node, "Mul", [value, _number(node, "alpha", 1.0, write)]))

    return adapt


def _crop(node: ir.Node, write: Rewriter) -> None:
    """``border`` is left, top, right, bottom; ``scale``, where given, the height and width that remain."""
    left, top, right, bottom = node.attributes["border"].as_ints()
    height, width = node.attributes.get_ints("scale", (0, 0))
    far = np.iinfo(np.int64).max
    ends = [top + height, left + width] if height else [-bottom or far, -right or far]
    slices = {"axes": [2, 3], "starts": [top, left], "ends": [int(e) for e in ends]}
    write.replace(node, write.before(node, "Slice", [node.inputs[0]], slices, name=node.name or ""))


_EXPERIMENTAL: dict[str, Adapter] = {
    "ImageScaler": _image_scaler, "Affine": _affine, "Scale": _scale, "Crop": _crop,
    "ScaledTanh": _scaled("Tanh"), "ParametricSoftplus": _scaled("Softplus"),
}  # fmt: skip


def old_operators() -> list[str]:
    """The experimental operators that are rewritten, for documentation."""
    return sorted(_EXPERIMENTAL)
