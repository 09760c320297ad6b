"""sobel: A control that looks only at the input: an edge detector.

Computes: √(gx² + gy²) of every channel, by Sobel's 3×3 kernels along the two spatial axes, edges mirrored. With variant="roar"
    the slope along the rows' axis alone, smoothed by [1, 2, 1] across columns and across channels, as ROAR's code does.
Output: Not negative (signed with variant="roar"), the input's shape, in units of the input.
Needs: Inputs with two spatial axes of at least 3 elements: [N, C, H, W], [N, H, W, C] or [N, H, W].
Cost: None; the model is not run.
Properties: Independent of model, target and seed.
Limits: Not an explanation. The axes are guessed from the shape: the channels are the first axis of an item, unless only
    its last has at most 4 elements.
Source: Adebayo et al. 2018, arXiv:1810.03292, figure 1 (the edge detector); a baseline in Hooker et al. 2019, whose code computes
    scipy.ndimage.sobel(image, axis=0) of a picture [H, W, C], which is variant="roar".
Differs: Per channel; Adebayo et al. give one map per image. ROAR's paper speaks of an edge detector; its code has one direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.errors import MethodNotApplicable
from explainsvc.method import Method, Request, Result
from explainsvc.methods._positions import declared_item

if TYPE_CHECKING:
    from explainsvc.model import Model

MOST_COLOURS = 4
KERNEL = 3


@dataclass(frozen=True)
class Params:
    """Which of two operators."""

    variant: str = param("magnitude", "str", "both directions, or the one that ROAR's code takes", choices=("magnitude", "roar"))


def spatial_axes(item: tuple[int, ...]) -> tuple[int, int] | None:
    """Height and width among the axes of one item (no batch axis); None where there are no two of KERNEL elements.

    [H, W]; or [C, H, W], unless only the last axis is as short as colours are: [H, W, C].
    """
    last = len(item) == 3 and item[2] <= MOST_COLOURS < item[0]
    axes = {2: (0, 1), 3: (0, 1) if last else (1, 2)}.get(len(item))
    return axes if axes is not None and min(item[axis] for axis in axes) >= KERNEL else None


def requires(model: Model, output: str, inputs: Sequence[str]) -> None:
    """Every input is a picture."""
    for name in inputs:
        item = declared_item(model, name)
        if item is not None and spatial_axes(item) is None:
            raise _no_picture(name, next(t for t in model.inputs if t.name == name).describe())


def _no_picture(name: str, what: str) -> MethodNotApplicable:
    return MethodNotApplicable(
        f"it is {what}, which is not a picture",
        where=f'method sobel, input "{name}"',
        expected="two spatial axes of at least 3 elements: [N, C, H, W], [N, H, W, C] or [N, H, W]",
        to_do="Leave sobel out, or explain an image input only",
    )


def run(request: Request, p: Params) -> Result:
    """The edges of every wanted input."""
    return Result({name: _edges(name, request.feeds[name], request.has_items(name), p) for name in request.wanted})


def _edges(name: str, array: Array, batched: bool, p: Params) -> Array:
    axes = spatial_axes(array.shape[1:] if batched else array.shape)
    if axes is None or array.dtype.kind not in "fiub":
        raise _no_picture(name, f"{array.dtype}{list(array.shape)}")
    dtype = array.dtype if array.dtype.kind == "f" else np.dtype(np.float32)
    lead = int(batched)
    rows, columns = (axis + lead for axis in axes)
    plane = array.astype(np.float64)
    if p.variant == "roar":
        return _slope(plane, rows, [axis for axis in range(lead, plane.ndim) if axis != rows]).astype(dtype)
    return np.hypot(_slope(plane, rows, [columns]), _slope(plane, columns, [rows])).astype(dtype)


def _slope(plane: Array, along: int, across: list[int]) -> Array:
    """Sobel's kernel over the axes named: ndimage.sobel would smooth over items too."""
    slope = ndimage.correlate1d(plane, [-1.0, 0.0, 1.0], axis=along)
    for axis in across:
        slope = ndimage.correlate1d(slope, [1.0, 2.0, 1.0], axis=axis)
    return np.asarray(slope)


METHOD = Method(
    read_card("sobel", __doc__, Params),
    Params,
    run=run,
    caveats=("a control: edges of the input, not an explanation",),
    family="control",
    requires=requires,
)
