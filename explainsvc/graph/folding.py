"""Small constants: what shape arithmetic in a graph comes to, computed without onnxruntime.

Only operators whose work is bounded by their operands and results are computed, and only where both are small; so that
nothing that a model says can make this take long.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from explainsvc.autograd.shapes import Array

SMALL = 4096
"""Elements. Shapes, axes and scales have as many as a tensor has axes; the rest is slack."""

FOLDED = frozenset(
    "Identity Cast CastLike Gather GatherElements GatherND Concat Slice Squeeze Unsqueeze Flatten Transpose Reshape Split "
    "Add Sub Mul Div Mod Pow Neg Abs Sign Min Max Sum Mean Floor Ceil Round Sqrt Exp Log Reciprocal Clip Relu Sigmoid Tanh "
    "Equal Less LessOrEqual Greater GreaterOrEqual Not And Or Xor Where IsNaN IsInf "
    "ReduceSum ReduceProd ReduceMax ReduceMin ReduceMean ReduceL1 ReduceL2 ReduceSumSquare ArgMax ArgMin CumSum TopK "
    "Range ConstantOfShape Expand Tile NonZero ScatterElements ScatterND Trilu OneHot MatMul Gemm BitShift".split()
)


def is_small(array: Array | None) -> bool:
    """Whether a constant takes part in folding."""
    return array is not None and array.size <= SMALL


def tensor_value(tensor: onnx.TensorProto) -> Array | None:
    """The numbers of a small tensor; None where it is large, or cannot be read."""
    if any(d < 0 for d in tensor.dims) or np.prod([float(d) for d in tensor.dims]) > SMALL:
        return None
    try:
        return onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, NotImplementedError):
        return None


def constant_value(node: onnx.NodeProto) -> Array | onnx.TensorProto | None:
    """What a Constant node holds: a tensor as it is, numbers as an array."""
    for attribute in node.attribute:
        match attribute.name:
            case "value":
                return attribute.t
            case "value_int":
                return np.asarray(attribute.i, np.int64)
            case "value_ints":
                return np.asarray(attribute.ints, np.int64)
            case "value_float":
                return np.asarray(attribute.f, np.float32)
            case "value_floats":
                return np.asarray(attribute.floats, np.float32)
    return None


def folded(node: onnx.NodeProto, operands: Mapping[str, Array], opsets: Mapping[str, int]) -> Sequence[Array] | None:
    """The results of a node on small constants; None where it is not folded here, or fails."""
    if node.op_type not in FOLDED or node.domain not in ("", "ai.onnx") or not all(map(is_small, operands.values())):
        return None
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = ReferenceEvaluator(node, opsets=dict(opsets)).run(None, dict(operands))
    except Exception:  # noqa: BLE001  (onnx's reference raises whatever numpy does; onnxruntime will say what is wrong)
        return None
    return [np.asarray(result) for result in results]
