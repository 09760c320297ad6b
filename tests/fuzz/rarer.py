"""Rows: operators that few models have, and unusual forms of frequent ones."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from tests.fuzz.pointwise import Row, needs
from tests.fuzz.sketch import Sketch, value_info


def _grid_sample(s: Sketch) -> None:
    needs(s, 16)
    n, rank = s.integer(1, 2), 2 if s.opset < 20 or s.flag() else 3
    x = s.shaped(n, s.integer(1, 2), *(s.integer(2, 4) for _ in range(rank)))
    grid = s.either(n, *(s.integer(1, 2) for _ in range(rank)), rank)
    modes = ("bilinear", "nearest", "bicubic") if s.opset < 20 else ("linear", "nearest", "cubic") if rank == 2 else ("linear",)
    s.node("GridSample", [x, grid], mode=s.one(modes), padding_mode=s.one(("zeros", "border", "reflection")),
           align_corners=s.integer(0, 1))  # fmt: skip


def _affine_grid(s: Sketch) -> None:
    needs(s, 20)
    n, rank = s.integer(1, 2), s.integer(2, 3)
    size = s.ints(n, 1, *(s.integer(1, 3) for _ in range(rank)))
    s.node("AffineGrid", [s.shaped(n, rank, rank + 1), size], align_corners=s.integer(0, 1))


def _col2im(s: Sketch) -> None:
    needs(s, 18)
    height, width, block = s.integer(2, 4), s.integer(2, 4), (s.integer(1, 2), s.integer(1, 2))
    places = (height - block[0] + 1) * (width - block[1] + 1)
    x = s.shaped(s.integer(1, 2), s.integer(1, 2) * block[0] * block[1], places)
    s.node("Col2Im", [x, s.ints(height, width), s.ints(*block)])


def _det(s: Sketch) -> None:
    n = s.integer(1, 3)
    s.node("Det", [s.shaped(*(s.integer(1, 2) for _ in range(s.integer(0, 2))), n, n)])


def _range(s: Sketch) -> None:
    """A live start; as many numbers as at the point."""
    start = s.shaped()
    limit = s.node("Add", [start, s.scalar(2.3)])[0]
    s.node("Range", [start, limit, s.scalar(0.7)])


def _loss(s: Sketch) -> None:
    n, c = s.integer(1, 3), s.integer(1, 4)
    rest = [s.integer(1, 2) for _ in range(s.integer(0, 2))]
    labels = s.constant(s.rng().integers(0, c, (n, *rest)))
    weights = [s.numbers(c, low=0.2, high=1.0)] if s.flag() else []
    op_type = s.one(("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"))
    s.node(op_type, [s.shaped(n, c, *rest), labels, *weights], reduction=s.one((None, "none", "mean", "sum")),
           ignore_index=s.one((None, 0)))  # fmt: skip


def _unique(s: Sketch) -> None:
    x = s.ranked(1)
    s.node("Unique", [x], s.integer(1, 2), sorted=s.integer(0, 1), axis=s.one((None, s.integer(0, len(s.shape(x)) - 1))))


def _lstm(s: Sketch) -> None:
    """Peepholes, a clip, coupled gates, other activations."""
    length, n, width, hidden = s.integer(1, 3), s.integer(1, 2), s.integer(1, 2), s.integer(1, 2)
    peepholes = s.numbers(1, 3 * hidden) if s.flag() else ""
    names = ["Sigmoid", "Tanh", "Tanh"] if s.flag() else [s.one(("Sigmoid", "HardSigmoid", "Softsign")), "Elu", "Tanh"]
    operands = [s.shaped(length, n, width), s.either(1, 4 * hidden, width), s.numbers(1, 4 * hidden, hidden)]
    operands += [s.numbers(1, 8 * hidden), "", s.either(1, n, hidden), s.numbers(1, n, hidden), peepholes]
    s.node("LSTM", operands, s.integer(1, 3), hidden_size=hidden, clip=s.one((None, 1.0)), input_forget=s.integer(0, 1),
           activations=names)  # fmt: skip


def _attention(s: Sketch) -> None:
    needs(s, 23)
    n, heads, length, width, keys = s.integer(1, 2), s.integer(1, 2), s.integer(1, 3), s.integer(1, 3), s.integer(1, 3)
    q = s.shaped(n, heads, length, width)
    k, v = s.either(n, heads, keys, width), s.either(n, heads, keys, width)
    mask = [s.numbers(length, keys)] if s.flag() else []
    s.node("Attention", [q, k, v, *mask], is_causal=s.integer(0, 1) if not mask else None, softcap=s.one((None, 2.0)))


def _rotary(s: Sketch) -> None:
    needs(s, 23)
    n, heads, length, width = s.integer(1, 2), s.integer(1, 2), s.integer(1, 3), 2 * s.integer(1, 2)
    angles = s.rng().uniform(0, 3, (n, length, width // 2))
    s.node("RotaryEmbedding", [s.shaped(n, heads, length, width), s.constant(np.cos(angles)), s.constant(np.sin(angles))],
           interleaved=s.integer(0, 1))  # fmt: skip


def _deform(s: Sketch) -> None:
    needs(s, 19)
    n, c, size, kernel = s.integer(1, 2), s.integer(1, 2), s.integer(3, 4), s.integer(1, 2)
    out = size - kernel + 1
    offset = s.either(n, 2 * kernel * kernel, out, out, low=-0.9, high=0.9)
    mask = [s.numbers(2), s.either(n, kernel * kernel, out, out)] if s.flag() else []
    s.node("DeformConv", [s.shaped(n, c, size, size), s.either(2, c, kernel, kernel), offset, *mask])


def _dft(s: Sketch) -> None:
    needs(s, 17)
    x = s.shaped(s.integer(1, 2), s.integer(1, 4), s.integer(1, 2))
    one_sided = 1 if s.shape(x)[-1] == 1 and s.flag() else 0
    if s.opset >= 20:
        s.node("DFT", [x, "", s.constant(np.array(1, np.int64))], inverse=0 if one_sided else s.integer(0, 1), onesided=one_sided)
    else:
        s.node("DFT", [x], axis=1, inverse=0 if one_sided else s.integer(0, 1), onesided=one_sided)


def _nested_if(s: Sketch) -> None:
    """A branch with an If of its own; both conditions computed."""
    x = s.pick()
    total = s.node("ReduceSum", [x], keepdims=0)[0]
    first, second = (s.node("Greater", [total, s.scalar(limit)])[0] for limit in (0.3, -0.7))
    names = [s.name() for _ in range(5)]

    def branch(op_type: str, name: str) -> onnx.GraphProto:
        return helper.make_graph([helper.make_node(op_type, [x], [name])], name, [], [value_info(name, np.float32, None)])

    inner = helper.make_node("If", [second], [names[0]], then_branch=branch("Sin", names[1]), else_branch=branch("Exp", names[2]))
    twice = helper.make_node("Add", [names[0], x], [names[3]])
    outer = helper.make_graph([inner, twice], "outer", [], [value_info(names[3], np.float32, None)])
    s.node("If", [first], captured=[x, second], then_branch=outer, else_branch=branch("Tanh", names[4]))


RARER: dict[str, Row] = {
    "GridSample": _grid_sample, "AffineGrid": _affine_grid, "Col2Im": _col2im, "Det": _det, "Range": _range, "loss": _loss,
    "Unique": _unique, "LSTM options": _lstm, "Attention": _attention, "RotaryEmbedding": _rotary,
    "DeformConv": _deform, "DFT": _dft, "nested If": _nested_if,
}  # fmt: skip
