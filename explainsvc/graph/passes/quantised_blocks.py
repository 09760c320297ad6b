"""Products with weights of a few bits, quantised block by block (language models): the weights as the numbers they stand for."""

from __future__ import annotations

from math import ceil

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.shapes import Array
from explainsvc.graph.passes.quantised_layers import Rule, biased
from explainsvc.graph.passes.rewrite import constant_of
from explainsvc.graph.passes.twins import NotConstantError, Walk, unquantised

_FP4 = [0.0, 5.208333333e-03, 0.66666667, 1.0, 0.33333333, 0.5, 0.16666667, 0.25]
_NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip
FOUR_BITS = np.array([[*_FP4, *(-number for number in _FP4)], _NF4], np.float32)
"""What four bits stand for: FP4, and NF4 (Dettmers et al. 2023, QLoRA, appendix E), as bitsandbytes and onnxruntime have it."""


def _matmul_n_bits(node: ir.Node, walk: Walk) -> None:
    """MatMulNBits: a · ((q − zero) · scale)ᵀ + bias, a scale and zero for each block along K; the lowest bits come first."""
    rows, columns, block = (_integer(node, name) for name in ("N", "K", "block_size"))
    bits, count = node.attributes.get_int("bits", 4), ceil(columns / block)
    packed, scale = _constants(node, 1, 2)
    if _given(node, 4) or node.attributes.get_int("weight_prepacked", 0) != 0 or bits not in (2, 4, 8) or packed.size == 0:
        raise NotConstantError
    numbers = _unpacked(packed.reshape(-1), bits).reshape(rows, count, block)
    real = (numbers - _zeros(node, rows, count, bits)) * scale.reshape(rows, count, 1)
    _multiply(node, walk, real.reshape(rows, -1)[:, :columns].T.astype(scale.dtype), bias=5)


def _zeros(node: ir.Node, rows: int, count: int, bits: int) -> Array:
    """[rows, blocks, 1]: given packed like the weights, given as floats, or in the middle of the range."""
    if not _given(node, 3):
        return np.full((1, 1, 1), 2.0 ** (bits - 1), np.float32)
    (zero,) = _constants(node, 3)
    if zero.dtype == np.uint8:
        zero = _unpacked(zero.reshape(-1), bits).reshape(rows, -1)[:, :count]
    return zero.reshape(rows, count, 1).astype(np.float32)


def _matmul_bnb4(node: ir.Node, walk: Walk) -> None:
    """MatMulBnb4: rows of W [N, K] end to end, four bits each, highest first, times the largest magnitude of their block."""
    rows, columns, block = (_integer(node, name) for name in ("N", "K", "block_size"))
    packed, largest = _constants(node, 1, 2)
    codes = np.stack([packed.reshape(-1) >> 4, packed.reshape(-1) & 15], -1).reshape(-1)[: rows * columns]
    numbers = FOUR_BITS[_integer(node, "quant_type")][codes]
    scale = np.repeat(largest.reshape(-1), block)[: rows * columns]
    real = (numbers * scale).reshape(rows, columns).astype(largest.dtype)
    _multiply(node, walk, real.T if node.attributes.get_int("transB", 1) else real)


def _multiply(node: ir.Node, walk: Walk, weight: Array, bias: int | None = None) -> None:
    quantised = node.inputs[1]
    assert quantised is not None
    real = walk.write.constant(weight, unquantised(quantised.name or ""))
    y = walk.write.before(node, "MatMul", [node.inputs[0], real], name=node.name or "")
    walk.float_result(node, y if bias is None else biased(node, y, bias, walk))


def _unpacked(packed: Array, bits: int) -> Array:
    """Unsigned numbers of ``bits`` bits, as floats."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return ((packed[:, None] >> shifts) & np.uint8(2**bits - 1)).reshape(-1).astype(np.float32)


def _integer(node: ir.Node, name: str) -> int:
    return node.attributes[name].as_int()


def _given(node: ir.Node, operand: int) -> bool:
    return operand < len(node.inputs) and node.inputs[operand] is not None


def _constants(node: ir.Node, *operands: int) -> list[Array]:
    found = [constant_of(node.inputs[i]) for i in operands]
    known = [array for array in found if array is not None]
    if len(known) < len(found):
        raise NotConstantError
    return known


BLOCKS: dict[str, Rule] = {"MatMulNBits": _matmul_n_bits, "MatMulBnb4": _matmul_bnb4}
"""Operator → its rule."""
