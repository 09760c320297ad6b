"""Signs that the graph itself guarantees."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

_NONNEGATIVE = frozenset(
    "Relu Sigmoid HardSigmoid Softmax Softplus Exp Abs Sqrt ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSumExp".split()
) - {"ReduceLogSumExp"}
_KEEPS = frozenset(
    "MaxPool AveragePool GlobalAveragePool GlobalMaxPool Reshape Flatten Squeeze Unsqueeze Transpose Slice Gather Identity "
    "Dropout ReduceSum ReduceMean ReduceMax ReduceMin Expand Tile Split DepthToSpace SpaceToDepth Cast".split()
)
_KEEPS_ALL = frozenset("Add Sum Mean Concat Mul Max Min".split())


def is_nonnegative(value: ir.Value) -> bool:
    """Whether every element is ≥ 0 for all inputs: after a ReLU, and what pooling, routing and sums make of it."""
    stack, seen = [value], set()
    while stack:
        current = stack.pop()
        if current in seen:
            continue
        seen.add(current)
        node = current.producer()
        if node is None:
            if current.const_value is None or bool(np.any(current.const_value.numpy() < 0)):
                return False
        elif node.op_type in _NONNEGATIVE or _clips_at_zero(node):
            continue
        elif node.op_type in _KEEPS:
            stack += [v for v in node.inputs[:1] if v is not None]
        elif node.op_type in _KEEPS_ALL:
            stack += [v for v in node.inputs if v is not None]
        else:
            return False
    return True


def _clips_at_zero(node: ir.Node) -> bool:
    low = node.inputs[1] if node.op_type == "Clip" and len(node.inputs) > 1 else None
    return low is not None and low.const_value is not None and bool(np.all(low.const_value.numpy() >= 0))
