"""Rows: matrix products, convolutions, pools, normalisations, reductions, recurrent layers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tests.fuzz.pointwise import Row, needs
from tests.fuzz.sketch import MICROSOFT, Sketch, Unfit

# Products ------------------------------------------------------------------------------------------------------------


def _matmul(s: Sketch) -> None:
    """Vectors, matrices and stacks of them, the leading axes broadcast."""
    a = s.ranked(1, 4)
    shape = s.shape(a)
    lead = [d if s.flag() else 1 for d in shape[:-2]]
    lead = lead[s.integer(0, len(lead)) :] if lead else lead
    other = [shape[-1]] if s.flag() and not lead else [*lead, shape[-1], s.integer(1, 3)]
    s.node("MatMul", [a, s.either(*other)])


def _gemm(s: Sketch) -> None:
    m, k, n = s.integer(1, 3), s.integer(1, 4), s.integer(1, 3)
    trans_a, trans_b = s.integer(0, 1), s.integer(0, 1)
    a = s.shaped(*((k, m) if trans_a else (m, k)))
    b = s.either(*((n, k) if trans_b else (k, n)))
    c = [s.either(*s.one(((), (n,), (1, n), (m, 1), (m, n), (1,))))] if s.flag() else []
    s.node("Gemm", [a, b, *c], transA=trans_a, transB=trans_b, alpha=s.one((None, 0.5, -2.0)), beta=s.one((None, 0.3)))


def _linear(s: Sketch) -> None:
    """MatMul, then Add of a bias: what a pass makes one Gemm of."""
    x = s.ranked(2, 3)
    n = s.integer(1, 3)
    product = s.node("MatMul", [x, s.numbers(s.shape(x)[-1], n)])[0]
    bias = s.either(*s.one(((n,), (1, n), (1,), (1, 1), (), (*s.shape(product)[:-1], n))))
    s.node("Add", [product, bias] if s.flag() else [bias, product])


def _einsum(s: Sketch) -> None:
    sizes = {letter: s.integer(1, 3) for letter in "abcd"}
    terms = ["".join(s.one("abcd") for _ in range(s.integer(1, 3))) for _ in range(s.integer(1, 3))]
    letters = sorted(set("".join(terms)))
    result = "".join(letter for letter in letters if s.flag())
    if s.flag():
        result = result[::-1]
    operands = [s.either(*(sizes[letter] for letter in term)) for term in terms]
    operands[0] = s.shaped(*(sizes[letter] for letter in terms[0]))
    arrow = f"{', '.join(terms)} -> {result}" if s.flag() else f"{','.join(terms)}->{result}"
    s.node("Einsum", operands, equation=arrow)


def _einsum_batched(s: Sketch) -> None:
    x = s.ranked(2, 4)
    s.node("Einsum", [x, s.either(s.shape(x)[-1], s.integer(1, 3))], equation=s.one(("...i,ij->...j", "...i, ij -> j...")))


# Windows -------------------------------------------------------------------------------------------------------------


def _image(s: Sketch, channels: int) -> tuple[str, int]:
    """[N, C, D1…], spatial rank 1 or 2, rarely 3."""
    rank = s.one((1, 2, 2, 2, 3))
    most = 3 if rank == 3 else 6
    return s.shaped(s.integer(1, 2), channels, *(s.integer(1 if s.flag() else 3, most) for _ in range(rank))), rank


def _window(s: Sketch, x: str, rank: int, dilated: bool = True) -> dict[str, list[int] | str]:
    """Kernel, strides, dilations, and pads that are smaller than the window."""
    kernel = [s.integer(1, 3) for _ in range(rank)]
    found: dict[str, list[int] | str] = {"kernel_shape": kernel}
    if s.flag():
        found["strides"] = [s.integer(1, 3) for _ in range(rank)]
    if dilated and s.flag():
        found["dilations"] = [s.integer(1, 2) for _ in range(rank)]
    if s.flag():
        found["pads"] = [s.integer(0, k - 1) for k in (*kernel, *kernel)]
    elif s.integer(0, 3) == 0 and "dilations" not in found:
        found["auto_pad"] = s.one(("SAME_UPPER", "SAME_LOWER", "VALID"))
    pads, dilations = found.get("pads", [0] * (2 * rank)), found.get("dilations", [1] * rank)
    for axis, (n, k) in enumerate(zip(s.shape(x)[2:], kernel, strict=True)):
        # onnxruntime 1.32 runs some windows that are larger than the image: its integer division rounds towards zero
        if int(dilations[axis]) * (k - 1) + 1 > n + int(pads[axis]) + int(pads[rank + axis]):
            raise Unfit("the window is larger than the image")
    return found


def _conv(s: Sketch) -> None:
    group, inside, outside = s.integer(1, 2), s.integer(1, 2), s.integer(1, 2)
    x, rank = _image(s, group * inside)
    window = _window(s, x, rank)
    kernel = window["kernel_shape"] if s.flag() else window.pop("kernel_shape")
    w = s.either(group * outside, inside, *(int(k) for k in kernel))
    bias = [s.either(group * outside)] if s.flag() else []
    s.node("Conv", [x, w, *bias], group=group, **window)


def _conv_transpose(s: Sketch) -> None:
    group, inside, outside = s.integer(1, 2), s.integer(1, 2), s.integer(1, 2)
    x, rank = _image(s, group * inside)
    window = _window(s, x, rank)
    kernel = [int(k) for k in window["kernel_shape"]]
    w = s.either(group * inside, outside, *kernel)
    bias = [s.either(group * outside)] if s.flag() else []
    strides = window.get("strides", [1] * rank)
    extra = [s.integer(0, int(stride) - 1) for stride in strides] if s.flag() and "auto_pad" not in window else None
    s.node("ConvTranspose", [x, w, *bias], group=group, output_padding=extra, **window)


def _max_pool(s: Sketch) -> None:
    x, rank = _image(s, s.integer(1, 2))
    window = _window(s, x, rank)
    ceil = s.one((None, 0, 1)) if "auto_pad" not in window else None
    s.node("MaxPool", [x], s.integer(1, 2), ceil_mode=ceil, **window)


def _average_pool(s: Sketch) -> None:
    x, rank = _image(s, s.integer(1, 2))
    window = _window(s, x, rank, dilated=s.opset >= 19)
    ceil = s.one((None, 1)) if "auto_pad" not in window else None
    s.node("AveragePool", [x], ceil_mode=ceil, count_include_pad=s.integer(0, 1), **window)


def _lp_pool(s: Sketch) -> None:
    x, rank = _image(s, s.integer(1, 2))
    s.node("LpPool", [x], p=s.one((None, 1, 2, 3)), **_window(s, x, rank, dilated=s.opset >= 18))


def _global_pool(s: Sketch) -> None:
    x, _ = _image(s, s.integer(1, 2))
    s.node(s.one(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")), [x])


# Normalisations ------------------------------------------------------------------------------------------------------


def _batch_norm(s: Sketch) -> None:
    if s.flag():
        x, c = s.ranked(2, 4), 0
        c = s.shape(x)[1]
    else:  # after a Conv: what a pass folds
        c, (x, rank) = 2, _image(s, 2)
        x = s.node("Conv", [x, s.numbers(c, 2, *[1] * rank)])[0]
    statistics = [s.numbers(c), s.numbers(c), s.numbers(c), s.numbers(c, low=0.3, high=2)]
    s.node("BatchNormalization", [x, *statistics], epsilon=s.one((None, 0.01)))


def _instance_norm(s: Sketch) -> None:
    x = s.ranked(3, 4)
    c = s.shape(x)[1]
    s.node("InstanceNormalization", [x, s.either(c), s.either(c)], epsilon=s.one((None, 0.1)))


def _group_norm(s: Sketch) -> None:
    needs(s, 21)  # that of opset 18, with a scale per group, was taken back
    groups = s.integer(1, 2)
    c = groups * s.integer(1, 2)
    x, _ = _image(s, c)
    s.node("GroupNormalization", [x, s.either(c), s.either(c)], num_groups=groups, epsilon=s.one((None, 0.1)))


def _layer_norm(s: Sketch) -> None:
    needs(s, 17)
    x = s.ranked(1, 4)
    rank = len(s.shape(x))
    axis = s.integer(-rank, rank - 1)
    tail = s.shape(x)[axis:]
    bias = [s.either(*tail)] if s.flag() else []
    results = 3 if s.integer(0, 3) == 0 else 1
    s.node("LayerNormalization", [x, s.either(*tail), *bias], results, axis=axis, epsilon=s.one((None, 0.1)))


def _rms_norm(s: Sketch) -> None:
    needs(s, 23)
    x = s.ranked(1, 4)
    axis = s.integer(-len(s.shape(x)), -1)
    s.node("RMSNormalization", [x, s.either(*s.shape(x)[axis:])], axis=axis, epsilon=s.one((None, 0.1)))


def _skip_norm(s: Sketch) -> None:
    """onnxruntime's own fusion with the residual Add."""
    n, length, width = s.integer(1, 2), s.integer(1, 3), s.integer(2, 4)
    x, skip = s.shaped(n, length, width), s.either(n, length, width)
    s.node("SkipLayerNormalization", [x, skip, s.numbers(width), *([s.numbers(width)] if s.flag() else [])],
           domain=MICROSOFT, epsilon=0.01)  # fmt: skip


def _lp_norm(s: Sketch) -> None:
    x = s.ranked(1)
    rank = len(s.shape(x))
    s.node("LpNormalization", [x], axis=s.integer(-rank, rank - 1), p=s.integer(1, 2))


def _lrn(s: Sketch) -> None:
    x, _ = _image(s, s.integer(1, 5))
    s.node("LRN", [x], size=s.one((1, 3, 5)), alpha=s.one((None, 0.2)), beta=s.one((None, 0.5)), bias=s.one((None, 2.0)))


def _mean_variance(s: Sketch) -> None:
    x = s.ranked(1, 4)
    rank = len(s.shape(x))
    axes = [a for a in range(rank) if s.flag()] or [0]
    if s.values[x].var(axis=tuple(axes)).min() < 1e-3:
        raise Unfit("no variance: its epsilon is 1e-9, so that rounding is all that is left")
    s.node("MeanVarianceNormalization", [x], axes=axes)


# Reductions ----------------------------------------------------------------------------------------------------------

_REDUCTIONS = "ReduceSum ReduceMean ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp ReduceMax ReduceMin ReduceProd"


def _reduce(op_type: str) -> Row:
    def row(s: Sketch) -> None:
        x = s.pick()
        if op_type == "ReduceLogSum":
            x = s.within(x, 0.1)
        rank = len(s.shape(x))
        axes = [a - rank * s.integer(0, 1) for a in range(rank) if s.flag()]
        keep = s.one((None, 0, 1))
        if s.opset >= 18 or op_type == "ReduceSum":
            operand = [s.ints(*axes)] if axes or s.flag() else []
            s.node(op_type, [x, *operand], keepdims=keep, noop_with_empty_axes=s.one((None, 0, 1)))
        else:
            s.node(op_type, [x], keepdims=keep, axes=axes or None)

    return row


# Recurrent -----------------------------------------------------------------------------------------------------------


def _recurrent(op_type: str, gates: int) -> Row:
    def row(s: Sketch) -> None:
        length, n, width, hidden = s.integer(1, 3), s.integer(1, 2), s.integer(1, 3), s.integer(1, 3)
        direction = s.one(("forward", "reverse", "bidirectional"))
        d = 2 if direction == "bidirectional" else 1
        weights = [s.either(d, gates * hidden, k, low=-0.7, high=0.7) for k in (width, hidden)]
        bias = s.numbers(d, 2 * gates * hidden) if s.flag() else ""
        lengths = s.constant(s.rng().integers(1, length + 1, n).astype(np.int32)) if s.integer(0, 3) == 0 else ""
        state = [s.either(d, n, hidden) if s.flag() else "" for _ in range(2 if op_type == "LSTM" else 1)]
        given = {"linear_before_reset": s.integer(0, 1)} if op_type == "GRU" else {}
        results = s.integer(1, 3 if op_type == "LSTM" else 2)
        omitted = [0] if results > 1 and s.flag() else []
        s.node(op_type, [s.shaped(length, n, width), *weights, bias, lengths, *state], results, omitted=omitted,
               hidden_size=hidden, direction=direction, **given)  # fmt: skip

    return row


def _attention_like(s: Sketch) -> None:
    """softmax(q kᵀ / √d) v, as exporters write it, with a mask added."""
    n, length, width = s.integer(1, 2), s.integer(1, 3), s.integer(1, 3)
    q, k, v = s.shaped(n, length, width), s.either(n, length, width), s.either(n, length, width)
    scores = s.node("MatMul", [q, s.node("Transpose", [k], perm=[0, 2, 1])[0]])[0]
    scores = s.node("Div", [scores, s.scalar(math.sqrt(width))])[0]
    if s.flag():
        mask = np.triu(np.full((length, length), -1e4, np.float32), 1)
        scores = s.node("Add", [scores, s.constant(mask)])[0]
    s.node("MatMul", [s.node("Softmax", [scores], axis=-1)[0], v])


LAYERS: dict[str, Callable[[Sketch], None]] = {op: _reduce(op) for op in _REDUCTIONS.split()}
LAYERS |= {"LSTM": _recurrent("LSTM", 4), "GRU": _recurrent("GRU", 3), "RNN": _recurrent("RNN", 1)}
LAYERS |= {
    "MatMul": _matmul, "Gemm": _gemm, "linear": _linear, "Einsum": _einsum, "Einsum batched": _einsum_batched, "Conv": _conv,
    "ConvTranspose": _conv_transpose, "MaxPool": _max_pool, "AveragePool": _average_pool, "LpPool": _lp_pool,
    "global pools": _global_pool, "BatchNormalization": _batch_norm, "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm, "LayerNormalization": _layer_norm, "RMSNormalization": _rms_norm,
    "SkipLayerNormalization": _skip_norm, "LpNormalization": _lp_norm, "LRN": _lrn,
    "MeanVarianceNormalization": _mean_variance, "attention": _attention_like,
}  # fmt: skip
