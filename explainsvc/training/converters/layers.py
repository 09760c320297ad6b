"""Layers with weights, read as operands: Conv, ConvTranspose, Gemm, PRelu."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from explainsvc.errors import NotTrainable
from explainsvc.training.converters.operator import Call, Given, Tensor, operand_form
from explainsvc.training.converters.windows import padded, window

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _spatial(w: Tensor) -> int:
    rank = w.dim() - 2
    if rank not in _CONV:
        raise NotTrainable(f"its weight has {rank} spatial axes", expected="1, 2 or 3")
    return rank


@operand_form("Conv")
def conv(call: Call, x: Tensor, w: Tensor, b: Given = None) -> Tensor:
    """w is [out, in/group, kernel…], as torch has it."""
    found = window(call, w.shape[2:], x.shape[2:])
    x, padding = (x, found.begin) if found.begin == found.end else (padded(x, found.begin, found.end), (0,) * len(found.begin))
    result: Tensor = _CONV[_spatial(w)](x, w, b, found.strides, padding, found.dilations, call.get("group", 1))
    return result


@operand_form("ConvTranspose")
def conv_transpose(call: Call, x: Tensor, w: Tensor, b: Given = None) -> Tensor:
    """w is [in, out/group, kernel…]; pads cut the full result, output_padding adds to its end, before the bias is added."""
    rank = _spatial(w)
    if call.get("output_shape") or call.get("auto_pad", "NOTSET").startswith("SAME"):
        raise NotTrainable("its padding follows from the size of its result", expected="the attribute pads")
    strides, dilations = (call.get(name) or [1] * rank for name in ("strides", "dilations"))
    pads = call.get("pads") or [0] * 2 * rank
    more = call.get("output_padding") or [0] * rank
    full = _CONV_TRANSPOSE[rank](x, w, None, strides, 0, 0, call.get("group", 1), dilations)
    cut = padded(full, [-p for p in pads[:rank]], [m - p for m, p in zip(more, pads[rank:], strict=True)])
    return cut if b is None else cut + b.reshape(-1, *[1] * rank)


@operand_form("Gemm")
def gemm(call: Call, a: Tensor, b: Tensor, c: Given = None) -> Tensor:
    """α A B + β C, either transposed where the attributes say so."""
    left = a.T if call.get("transA", 0) else a
    right = b.T if call.get("transB", 0) else b
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    product = left @ right
    product = product if alpha == 1 else alpha * product
    if c is None:
        return product
    return product + (c if beta == 1 else beta * c)


@operand_form("PRelu")
def prelu(_call: Call, x: Tensor, slope: Tensor) -> Tensor:
    """The slope is broadcast to x from the right; onnx2torch takes a slope of one axis for one per channel."""
    return torch.where(x >= 0, x, slope * x)
