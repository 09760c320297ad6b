"""GridSample: every result is a weighted sum of a few taps of the image around its place in the grid.

Per axis and tap there is an index, a weight and the slope of the weight in the coordinate; the weight of a tap of
several axes is their product (Jaderberg et al. 2015, Spatial Transformer Networks, equations 3 to 7).
"""

from __future__ import annotations

from functools import reduce
from itertools import product
from typing import NamedTuple

import numpy as np

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import vjp
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.sizes import INT64, dims
from explainsvc.errors import NotDifferentiable

A = -0.75
"""The cubic coefficient of the specification (Keys 1981)."""


class Tap(NamedTuple):
    """One neighbour along one axis; all [batch, places]."""

    place: Term
    weight: Term
    slope: Term


@vjp("GridSample")
def _image(n: NodeView, g: Term) -> Term:
    """Every result goes back to its taps by their weights."""
    emit, axes = n.emit, [_taps(n, d) for d in range(_spatial(n))]
    corners = list(product(*axes))
    weights = emit.op("Concat", *(_product([t.weight for t in c]) for c in corners), axis=1)
    rows = _tiled(emit.reshape(g, [0, 0, -1]), len(corners)) * emit.op("Unsqueeze", weights, emit.ints([1]))
    zeros = emit.reshape(emit.zeros_like(n.x), [0, 0, -1])
    places = _places(n, corners, rows)
    return emit.reshape_like(emit.op("ScatterElements", zeros, places, rows, axis=2, reduction="add"), n.x)


@vjp("GridSample", 1)
def _grid(n: NodeView, g: Term) -> Term | None:
    """How fast the weights of the taps change with the coordinates; nearest does not change at all."""
    if n.attr("mode", "linear") == "nearest":
        return None
    emit, axes = n.emit, [_taps(n, d) for d in range(_spatial(n))]
    corners = list(product(*axes))
    rows = _tiled(emit.reshape(g, [0, 0, -1]), len(corners))
    picked = emit.op("GatherElements", emit.reshape(n.x, [0, 0, -1]), _places(n, corners, rows), axis=2)
    heights = emit.sum(rows * picked, [1], keepdims=False)
    slopes = []
    for d in range(len(axes)):
        changes = [_product([t.slope if k == d else t.weight for k, t in enumerate(c)]) for c in corners]
        weighted = heights * emit.op("Concat", *changes, axis=1)
        apart = emit.reshape(weighted, [0, len(corners), -1])
        slopes.append(emit.sum(apart, [1], keepdims=False) * _stretch(n, d))
    columns = [emit.op("Unsqueeze", s, emit.ints([2])) for s in reversed(slopes)]
    return emit.reshape_like(emit.op("Concat", *columns, axis=2), n.input(1))


def _spatial(n: NodeView) -> int:
    if n.x.rank is None:
        raise NotDifferentiable("the rank of the image is unknown", where=n.where(), expected="a model with known ranks")
    return n.x.rank - 2


def _product(terms: list[Term]) -> Term:
    return reduce(lambda a, b: a * b, terms)


def _tiled(rows: Term, count: int) -> Term:
    return rows.emit.op("Tile", rows, rows.emit.ints([1, 1, count]))


def _places(n: NodeView, corners: list[tuple[Tap, ...]], like: Term) -> Term:
    """Index of every tap in the flattened image, for every channel."""
    emit, flat = n.emit, []
    for corner in corners:
        place = emit.cast(corner[0].place, INT64)
        for d, tap in enumerate(corner[1:], start=1):
            place = place * dims(n.x, [2 + d]) + emit.cast(tap.place, INT64)
        flat.append(place)
    one_channel = emit.op("Unsqueeze", emit.op("Concat", *flat, axis=1), emit.ints([1]))
    return emit.op("Expand", one_channel, emit.op("Shape", like, dtype=INT64))


# Along one axis ---------------------------------------------------------------------------------------------------


def _length(n: NodeView, d: int) -> Term:
    """The size of the image along spatial axis ``d``, as a float."""
    return n.emit.cast(dims(n.x, [2 + d]), n.x.dtype or n.emit.float_type)


def _pixel(n: NodeView, d: int) -> Term:
    """The coordinate along axis ``d`` in pixels, [batch, places]; the grid names its axes last to first."""
    emit, length = n.emit, _length(n, d)
    along = emit.op("Gather", n.input(1), emit.constant(_spatial(n) - 1 - d, np.int64), axis=-1)
    x = emit.reshape(along, [0, -1]) + 1
    return x * (length - 1) / 2 if n.attr("align_corners", 0) else (x * length - 1) / 2


def _stretch(n: NodeView, d: int) -> Term:
    """d(used pixel coordinate)/d(grid): the scale, times 0 where a border clamps and −1 where it reflects."""
    length, pixel = _length(n, d), _pixel(n, d)
    scale = (length - 1 if n.attr("align_corners", 0) else length) / 2
    if _is_cubic(n) or _padding(n) == "zeros":
        return scale
    if _padding(n) == "border":
        return scale * n.emit.mask(n.emit.op("And", pixel >= 0.0, pixel <= length - 1), pixel)
    low, span = _mirrors(n, length)
    return scale * (1 - 2 * n.emit.mask(_unfolded(pixel, low, span) > span, pixel))


def _padding(n: NodeView) -> str:
    return str(n.attr("padding_mode", "zeros"))


def _is_cubic(n: NodeView) -> bool:
    return n.attr("mode", "linear") in ("cubic", "bicubic")


def _mirrors(n: NodeView, length: Term) -> tuple[float, Term]:
    """Where the image is reflected: the lower mirror, and the distance to the upper one."""
    return (0.0, length - 1) if n.attr("align_corners", 0) else (-0.5, length)


def _unfolded(c: Term, low: float, span: Term) -> Term:
    """The distance from the lower mirror, within one period of there and back."""
    away, period = c - low, 2 * span
    return away - period * c.emit.op("Floor", away / period)


def _reflected(n: NodeView, c: Term, length: Term) -> Term:
    low, span = _mirrors(n, length)
    away = _unfolded(c, low, span)
    return n.emit.op("Min", away, 2 * span - away) + low


def _clamped(n: NodeView, c: Term, length: Term) -> Term:
    return n.emit.op("Max", n.emit.op("Min", c, length - 1), 0.0)


def _taps(n: NodeView, d: int) -> list[Tap]:
    """The neighbours along spatial axis ``d``: inside the image, or of weight 0."""
    emit, length, c = n.emit, _length(n, d), _pixel(n, d)
    mode, padding = n.attr("mode", "linear"), _padding(n)
    if not _is_cubic(n):
        c = _reflected(n, c, length) if padding == "reflection" else c
        c = _clamped(n, c, length) if padding == "border" else c
    floor = emit.op("Floor", c)
    if mode == "nearest":
        taps = [Tap(emit.op("Round", c), c * 0 + 1, c * 0)]
    elif _is_cubic(n):
        taps = _cubic(floor, c - floor)
    else:
        t = c - floor
        taps = [Tap(floor, 1 - t, t * 0 - 1), Tap(floor + 1, t, t * 0 + 1)]
    return [_inside(n, tap, length) for tap in taps]


def _cubic(floor: Term, t: Term) -> list[Tap]:
    """The four weights of Keys' kernel: two near taps, two far ones."""

    def near(s: Term) -> tuple[Term, Term]:
        return ((A + 2) * s - (A + 3)) * s * s + 1, (3 * (A + 2) * s - 2 * (A + 3)) * s

    def far(s: Term) -> tuple[Term, Term]:
        return ((A * s - 5 * A) * s + 8 * A) * s - 4 * A, (3 * A * s - 10 * A) * s + 8 * A

    (w0, s0), (w1, s1), (w2, s2), (w3, s3) = far(t + 1), near(t), near(1 - t), far(2 - t)
    return [Tap(floor - 1, w0, s0), Tap(floor, w1, s1), Tap(floor + 1, w2, -s2), Tap(floor + 2, w3, -s3)]


def _inside(n: NodeView, tap: Tap, length: Term) -> Tap:
    """A tap beyond the image: dropped (zeros), moved to the edge (border), mirrored (reflection)."""
    emit, index = n.emit, tap.place
    if _padding(n) == "zeros":
        kept = emit.mask(emit.op("And", index >= 0.0, index <= length - 1), index)
        return Tap(_clamped(n, index, length), tap.weight * kept, tap.slope * kept)
    index = _reflected(n, index, length) if _padding(n) == "reflection" and _is_cubic(n) else index
    return Tap(_clamped(n, index, length), tap.weight, tap.slope)
