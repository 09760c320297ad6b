"""occlusion: How much the target falls when a window of the input is covered.

Computes: S(x) − S(x with a window at the baseline) at every position; the mean over the windows that cover an element.
Output: Signed, the input's shape, in units of S.
Needs: Nothing of the model: any model that onnxruntime runs, trees included.
Cost: One forward per window position and item, stacked in batches.
Properties: Exact for functions additive over disjoint windows; model-agnostic.
Limits: Sees no interaction beyond the window; covered inputs may lie off the data distribution.
Source: Zeiler, Fergus 2014, arXiv:1311.2901, section 4.2.
Differs: The mean over covering windows, as captum does; windows at the border are cut so that every element is covered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import exactly
from explainsvc.baselines import baselines
from explainsvc.cards import param, read_card
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.features import channel_axis, result_type
from explainsvc.method import Method, Request, Result
from explainsvc.variations import per_variation, split_array, target_values

IMAGE_WINDOW = 15
"""Pixels, with half of it as stride: Zeiler & Fergus cover 50 of 224, this resolves objects at three times that detail.
Images below 60 pixels get a quarter of their side, so that the window never covers the object whole."""
Window = tuple[slice, ...]


@dataclass(frozen=True)
class Params:
    """The window. Sizes are per axis of one item (batch axis left out); one integer stands for all axes but the channels."""

    window: Any = param((), "ints", "size per axis; empty: up to 15 pixels of images, all channels; single elements else")
    stride: Any = param((), "ints", "step per axis; empty: half of the window, rounded up")
    baseline: Any = param(0.0, "value", "what covers: a number, an array, zero, mean, blur, or {input: any of these}")
    batch_size: int = param(32, "int", "items per run", low=1)


def run(request: Request, p: Params) -> Result:
    """Covers one input after the other, window by window."""
    cover = baselines(p.baseline, request.feeds, request.wanted)
    whole = target_values(request)
    values = {}
    for name in request.wanted:
        shape = request.item_shape(name)
        windows = list(positions(shape, *sizes(shape, p)))
        values[name] = _mean_drops(request, name, windows, cover[name], whole, p.batch_size)
    return Result(values)


def _mean_drops(request: Request, name: str, windows: list[Window], cover: Array, whole: Array, batch_size: int) -> Array:
    """Per element the mean of S(x) − S(covered) over the windows that cover it."""
    x = request.feeds[name]
    lead: Window = (slice(None),) if request.has_items(name) else ()

    def covered() -> Iterator[dict[str, Array]]:
        for window in windows:
            changed = x.copy()
            changed[lead + window] = cover[lead + window]
            yield {name: changed}

    total, count = np.zeros(x.shape), np.zeros(x.shape)
    scores = per_variation(request, covered(), target_values, split_array, batch_size)
    for k, (window, score) in enumerate(zip(windows, scores, strict=True)):
        drop = whole - score
        total[lead + window] += drop.reshape(-1, *[1] * (x.ndim - 1)) if lead else drop.sum()
        count[lead + window] += 1
        request.progress(k + 1, len(windows), "occlusion")
    result: Array = (total / count).astype(result_type(x))
    return result


def sizes(shape: tuple[int, ...], p: Params) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Window and stride per axis of one item.

    Raises:
        InvalidParameter: A number of sizes that is neither 1 nor the number of axes, or a size below 1.
    """
    channel = channel_axis(shape)
    image = [n if axis == channel else min(IMAGE_WINDOW, max(1, n // 4)) for axis, n in enumerate(shape)]
    window = _per_axis("window", p.window, shape, channel) or (tuple(image) if channel is not None else (1,) * len(shape))
    half = tuple(w if axis == channel else (w + 1) // 2 for axis, w in enumerate(window))
    return window, _per_axis("stride", p.stride, shape, channel) or half


def _per_axis(name: str, given: tuple[int, ...], shape: tuple[int, ...], channel: int | None) -> tuple[int, ...]:
    if not given:
        return ()
    if len(given) == 1:
        given = tuple(n if axis == channel else given[0] for axis, n in enumerate(shape))
    if len(given) != len(shape) or min(given) < 1:
        raise InvalidParameter("the window does not fit", violations=[Violation(
            f"parameters.{name}", f"is {list(given)}, expected one size ≥ 1, or one per axis of {list(shape)}")])  # fmt: skip
    return tuple(min(g, n) for g, n in zip(given, shape, strict=True))


def positions(shape: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...]) -> Iterator[Window]:
    """All placements of the window; the last one of every axis ends at the border, so that all elements are covered."""
    starts = []
    for n, w, s in zip(shape, window, stride, strict=True):
        axis = list(range(0, n - w + 1, min(s, w)))
        starts.append(axis if axis[-1] + w == n else [*axis, n - w])
    for corner in product(*starts):
        yield tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))


CLAIMS = exactly("linearity", "implementation_invariance")
METHOD = Method(read_card("occlusion", __doc__, Params, CLAIMS), Params, run=run, family="perturbation")
