"""Features: what is present or absent together — elements, pixels, superpixels, tokens, columns, or groups that a user gives.

A partition gives every element of every explained input the number of its feature; a coalition is a set of features that
are present. Absent features take their elements from elsewhere: a baseline, or an item of background data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.method import Request

NAMED = ("element", "pixel", "column", "token", "superpixel")
SUPERPIXELS = 50
"""Segments asked of SLIC, as the examples of LIME and of captum do."""
COMPACTNESS = 0.3
"""SLIC's weight of distance against colour, for colours between 0 and 1, to which scikit-image brings any image."""


@dataclass(frozen=True)
class Partition:
    """Which feature every element belongs to.

    Attributes:
        masks: Input → int64 array of that input's shape; numbers from 0 to ``count`` − 1, shared by all inputs.
        count: Number of features, M.
    """

    masks: dict[str, Array]
    count: int

    def mixed(self, feeds: Mapping[str, Array], absent: Mapping[str, Array], present: Array) -> dict[str, Array]:
        """The inputs with the features of a coalition from ``feeds`` and all others from ``absent``.

        Args:
            feeds: Input → array.
            absent: Input → array of the same shape.
            present: Coalition, bool [M].
        """
        return {name: np.where(present[mask], feeds[name], absent[name]) for name, mask in self.masks.items()}

    def spread(self, values: Array, request: Request) -> dict[str, Array]:
        """Values of features [items, M] as arrays of the inputs' shapes: every element shows its feature's value.

        The sum over features, not over elements, is what axioms speak of.
        """
        spread = {}
        for name, mask in self.masks.items():
            rows = values if request.has_items(name) else values.sum(axis=0, keepdims=True)  # S summed over the items
            flat = np.take_along_axis(rows, mask.reshape(len(rows), -1), axis=1)
            spread[name] = flat.reshape(mask.shape).astype(result_type(request.feeds[name]))
        return spread


def result_type(x: Array) -> Any:
    """The type of an attribution to ``x``: its own if that is float32 or float64, else float32."""
    return x.dtype if x.dtype in (np.float32, np.float64) else np.float32


def partition(spec: Any, request: Request) -> Partition:
    """The features of the explained inputs.

    Args:
        spec: None (superpixels of images, tokens of integer sequences, elements else); a name of NAMED; an int array that
            broadcasts to the input's shape (without batch axis, or with); or {input: any of these}. Numbers of user arrays
            name features over all inputs; they need not be consecutive.
        request: Its ``feeds`` and ``wanted``.

    Raises:
        InvalidParameter: Unknown name, wrong type or shape, or an array for one of several inputs that is not named.
    """
    per_input = spec if isinstance(spec, Mapping) else dict.fromkeys(request.wanted, spec)
    unknown = set(per_input) - set(request.wanted)
    if unknown:
        raise _bad(f"names {sorted(unknown)}, which are not explained inputs ({', '.join(request.wanted)})")
    given, made = {}, {}
    for name in request.wanted:
        own = per_input.get(name)
        if own is None or isinstance(own, str):
            made[name] = _named(own, request, name)
        else:
            given[name] = _given(own, request.feeds[name])
    masks = _renumbered(given)
    offset = 1 + max((int(m.max(initial=-1)) for m in masks.values()), default=-1)
    for name, mask in made.items():
        masks[name] = mask + offset
        offset += int(mask.max(initial=-1)) + 1
    return Partition({name: masks[name] for name in request.wanted}, offset)


def _renumbered(given: Mapping[str, Array]) -> dict[str, Array]:
    """The user's numbers made consecutive, equal ones kept equal over all inputs."""
    if not given:
        return {}
    numbers = np.unique(np.concatenate([m.reshape(-1) for m in given.values()]))
    return {name: np.searchsorted(numbers, mask) for name, mask in given.items()}


def _given(mask: Any, x: Array) -> Array:
    array = np.asarray(mask)
    if array.dtype.kind not in "iu" and not (array.dtype.kind == "f" and np.array_equal(array, np.round(array))):
        raise _bad(f"holds {array.dtype}, expected integers: the number of every element's feature")
    try:
        return np.array(np.broadcast_to(array, x.shape), dtype=np.int64)
    except ValueError as error:
        raise _bad(f"has shape {list(array.shape)}, which does not broadcast to the input's {list(x.shape)}") from error


def _named(name: str | None, request: Request, input_name: str) -> Array:
    x = request.feeds[input_name]
    items, shape = request.has_items(input_name), request.item_shape(input_name)
    kind = name or default_features(shape, x.dtype.kind)
    if kind not in NAMED:
        raise _bad(f"is {kind!r}, expected an array of integers or one of {', '.join(NAMED)}")
    if kind == "superpixel":
        parts = [superpixels(item) for item in (x if items else x[None])]
        return np.stack(parts) if items else parts[0]
    return np.array(np.broadcast_to(_regular(kind, shape), x.shape), dtype=np.int64)


def default_features(shape: tuple[int, ...], kind: str) -> str:
    """What an item of this shape and numpy kind is made of where the user does not say."""
    return "superpixel" if channel_axis(shape) is not None else "token" if kind in "iu" and shape else "element"


def _regular(kind: str, shape: tuple[int, ...]) -> Array:
    """Numbers for features that repeat along axes of one item."""
    if kind == "element" or not shape:
        return np.arange(int(np.prod(shape))).reshape(shape)
    if kind == "pixel":
        channel = channel_axis(shape)
        axis = 0 if channel is None else channel
        positions = tuple(1 if a == axis else n for a, n in enumerate(shape)) if len(shape) > 1 else shape
        return np.arange(int(np.prod(positions))).reshape(positions)
    axis = 0 if kind == "token" else len(shape) - 1
    return np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """The colour axis of an image-like item: the one of three axes, first or last, that has at most 4 entries."""
    if len(shape) != 3:
        return None
    return 0 if shape[0] <= 4 else 2 if shape[2] <= 4 else None


def superpixels(item: Array) -> Array:
    """SLIC segments of one image, int64 of the item's shape, all channels of a pixel alike (Achanta et al. 2012).

    Raises:
        InvalidParameter: The item is no image: three axes, one of them with at most 4 channels.
    """
    from skimage.segmentation import slic  # half a second that nobody else waits for

    channel = channel_axis(item.shape)
    if channel is None:
        raise _bad(f"is 'superpixel', which needs images of at most 4 channels, not items of shape {list(item.shape)}")
    colours = item.astype(np.float64)
    segments = slic(
        colours, n_segments=SUPERPIXELS, compactness=COMPACTNESS, start_label=0, channel_axis=channel, convert2lab=False
    )
    _, numbers = np.unique(segments, return_inverse=True)
    return np.array(np.broadcast_to(np.expand_dims(numbers.reshape(segments.shape), channel), item.shape), dtype=np.int64)


def _bad(description: str) -> InvalidParameter:
    return InvalidParameter("the features are not valid", violations=[Violation("parameters.feature_mask", description)])
