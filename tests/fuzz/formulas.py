"""Operators in double by their formula, where neither onnxruntime nor onnx's reference is right.

onnxruntime 1.32 has no double kernel for any of them; that of Shrink computes in float32. onnx's reference 1.23 sums the
wrong channels in LRN, ignores ``sequence_lens`` of recurrent layers, adds the operands of Mean into the first, crops
ConvTranspose of few channels wrongly, and has none of the others, or not in double.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import erf, expit

from tests.autograd.recurrent_truth import recurrent
from tests.fuzz.sketch import MICROSOFT


def _gelu(x: Any) -> Any:
    return x * (1 + erf(x / np.sqrt(2))) / 2


def _bias_gelu(x: Any, bias: Any) -> Any:
    return _gelu(x + bias)


def _fast_gelu(x: Any, bias: Any = 0.0) -> Any:
    x = x + bias
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _quick_gelu(x: Any, alpha: float = 1.702) -> Any:
    return x * expit(alpha * x)


def _skip_layer_norm(x: Any, skip: Any, gamma: Any, beta: Any = 0.0, epsilon: float = 1e-12) -> Any:
    total = x + skip
    centred = total - total.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * gamma + beta


def _one_hot(where: Any, depth: Any, values: Any, axis: int = -1) -> Any:
    depth = int(np.asarray(depth).reshape(()))
    hot = (where % depth)[..., None] == np.arange(depth)
    return np.moveaxis(np.where(hot, values[1], values[0]), -1, axis)


def _mean_variance(x: Any, axes: Sequence[int] = (0, 2, 3)) -> Any:
    mean = x.mean(tuple(axes), keepdims=True)
    deviation = np.sqrt((x**2).mean(tuple(axes), keepdims=True) - mean**2)
    return (x - mean) / (deviation + 1e-9)


def _softsign(x: Any) -> Any:
    return x / (1 + np.abs(x))


def _shrink(x: Any, lambd: float = 0.5, bias: float = 0.0) -> Any:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0.0))


def _mean(*operands: Any) -> Any:
    return sum(operands[1:], start=operands[0]) / len(operands)


def _global_lp_pool(x: Any, p: int = 2) -> Any:
    return (np.abs(x) ** p).sum(tuple(range(2, x.ndim)), keepdims=True) ** (1 / p)


def _global_max_pool(x: Any) -> Any:
    return x.max(tuple(range(2, x.ndim)), keepdims=True)


def _layer_norm(x: Any, scale: Any, bias: Any = 0.0, axis: int = -1, epsilon: float = 1e-5) -> list[Any]:
    axes = tuple(range(axis % x.ndim, x.ndim))
    mean = x.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt(x.var(axes, keepdims=True) + epsilon)
    return [(x - mean) * inverse * scale + bias, mean, inverse]


def _lrn(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Any:
    before, after = (size - 1) // 2, size // 2
    squares = [(x[:, max(0, c - before) : c + after + 1] ** 2).sum(1) for c in range(x.shape[1])]
    return x / (bias + alpha / size * np.stack(squares, 1)) ** beta


def _conv_transpose(
    x: Any, w: Any, b: Any = 0.0, *, group: int = 1, auto_pad: bytes = b"NOTSET", output_padding: Sequence[int] = (),
    strides: Sequence[int] = (), dilations: Sequence[int] = (), pads: Sequence[int] = (), **_: Any,
) -> Any:  # fmt: skip
    """Every element of x adds its multiple of the kernel; the borders are cropped."""
    spatial, kernel = x.shape[2:], w.shape[2:]
    rank = len(spatial)
    strides, dilations, extra = (list(a) or [d] * rank for a, d in ((strides, 1), (dilations, 1), (output_padding, 0)))
    whole = [s * (n - 1) + (k - 1) * d + 1 + e for s, n, k, d, e in zip(strides, spatial, kernel, dilations, extra, strict=True)]
    parts = x.reshape(x.shape[0], group, -1, *spatial)
    weights = w.reshape(group, -1, *w.shape[1:])
    full = np.zeros((x.shape[0], group, w.shape[1], *whole))
    for at in itertools.product(*map(range, kernel)):
        places = tuple(
            slice(d * k, d * k + s * (n - 1) + 1, s) for d, k, s, n in zip(dilations, at, strides, spatial, strict=True)
        )
        full[(slice(None), slice(None), slice(None), *places)] += np.einsum("ngi...,gio->ngo...", parts, weights[(..., *at)])
    cut = list(pads) or [0] * (2 * rank)
    if auto_pad.startswith(b"SAME"):
        both = [max(0, n - s * m) for n, s, m in zip(whole, strides, spatial, strict=True)]
        less, more = [n // 2 for n in both], [n - n // 2 for n in both]
        cut = less + more if auto_pad == b"SAME_UPPER" else more + less
    inside = tuple(slice(cut[i], whole[i] - cut[rank + i]) for i in range(rank))
    result = full.reshape(x.shape[0], -1, *whole)[(slice(None), slice(None), *inside)]
    return result + np.reshape(b, (-1, *[1] * rank))


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(v) for v in value]
    return value.decode() if isinstance(value, bytes) else value


def _lp_pool(
    x: Any, kernel_shape: Sequence[int], p: int = 2, auto_pad: bytes = b"NOTSET", strides: Sequence[int] = (),
    dilations: Sequence[int] = (), pads: Sequence[int] = (),
) -> Any:  # fmt: skip
    """Powers, summed over the elements of every window that are not padding."""
    rank = x.ndim - 2
    strides, dilations = list(strides) or [1] * rank, list(dilations) or [1] * rank
    extents = [d * (k - 1) + 1 for d, k in zip(dilations, kernel_shape, strict=True)]
    cut = list(pads) or [0] * (2 * rank)
    if auto_pad.startswith(b"SAME"):
        both = [max(0, (-(-n // s) - 1) * s + e - n) for n, s, e in zip(x.shape[2:], strides, extents, strict=True)]
        less, more = [n // 2 for n in both], [n - n // 2 for n in both]
        cut = less + more if auto_pad == b"SAME_UPPER" else more + less
    wide = np.pad(np.abs(x) ** p, [(0, 0), (0, 0), *zip(cut[:rank], cut[rank:], strict=True)])
    sizes = [(n - e) // s + 1 for n, e, s in zip(wide.shape[2:], extents, strides, strict=True)]
    total: Any = 0.0
    for at in itertools.product(*map(range, kernel_shape)):
        places = tuple(slice(d * k, d * k + s * (n - 1) + 1, s) for d, k, s, n in zip(dilations, at, strides, sizes, strict=True))
        total = total + wide[(slice(None), slice(None), *places)]
    return total ** (1 / p)


def _recurrent(op_type: str) -> Callable[..., Any]:
    def run(*operands: Any, wanted: Sequence[bool], **given: Any) -> list[Any]:
        tensors = [None if a is None else torch.tensor(a) for a in operands]
        words = {k: _text(v) for k, v in given.items()}
        return [recurrent(op_type, words, i)(*tensors).numpy() if asked else None for i, asked in enumerate(wanted)]

    return run


BY_HAND: dict[str, Callable[..., Any]] = {
    f"{MICROSOFT}::Gelu": _gelu,
    f"{MICROSOFT}::BiasGelu": _bias_gelu,
    f"{MICROSOFT}::FastGelu": _fast_gelu,
    f"{MICROSOFT}::QuickGelu": _quick_gelu,
    f"{MICROSOFT}::SkipLayerNormalization": _skip_layer_norm,
    "OneHot": _one_hot,
    "MeanVarianceNormalization": _mean_variance,
    "Mean": _mean,
    "GlobalLpPool": _global_lp_pool,
    "Softsign": _softsign,
    "GlobalMaxPool": _global_max_pool,
    "LayerNormalization": _layer_norm,
    "LpPool": _lp_pool,
    "Shrink": _shrink,
    "LRN": _lrn,
    "ConvTranspose": _conv_transpose,
    "LSTM": _recurrent("LSTM"),
    "GRU": _recurrent("GRU"),
    "RNN": _recurrent("RNN"),
}
