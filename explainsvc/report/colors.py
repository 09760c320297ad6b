"""From attributions to colours: how a map is reduced to a picture and which colour a value gets.

This is the only place where attributions are summed over channels, scaled or clipped, and each of these is said
in the notes that are drawn under the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from explainsvc.errors import InvalidInput, InvalidParameter

Mode = Literal["signed", "absolute"]
Layout = Literal["HW", "CHW", "HWC", "nchw", "nhwc"]
Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

WHITE, COLOURLESS = "0 is white", "0 has no colour"
"""What zero looks like: on white, and over a pale picture."""
WITHOUT_SIGNS = "magnitudes are shown, without their signs"
MOST_CHANNELS = 4
"""Entries of an axis that is read as the channels when no layout is given."""

# ColorBrewer (Brewer, Harrower & Pennsylvania State University): 9-class RdBu between white and its second-darkest
# ends, so that equal magnitudes have nearly equal lightness; 5 colours of YlOrRd for maps without sign.
NEGATIVE = ("#ffffff", "#d1e5f0", "#92c5de", "#4393c3", "#2166ac")
POSITIVE = ("#ffffff", "#fddbc7", "#f4a582", "#d6604d", "#b2182b")
MAGNITUDE = ("#ffffff", "#ffeda0", "#feb24c", "#fc4e2a", "#bd0026")
NOT_FINITE = (105, 105, 105)
"""Darker than the palest picture under a map can be, so that it is not taken for an uncoloured value."""


@dataclass(frozen=True)
class Scale:
    """The value of the strongest colour, whether the scale has two sides, and what a reader must know."""

    limit: float
    signed: bool
    clipped: bool = False
    notes: tuple[str, ...] = ()
    basis: str = "the largest |value|"
    """Where the limit comes from."""

    def words(self, zero: str = WHITE) -> str:
        """The scale as a sentence under the picture."""
        ends = f"±{self.limit:.3g}" if self.signed else f"0 to {self.limit:.3g}"
        return f"scale {ends} ({self.basis}); {zero}"


def as_map(values: npt.ArrayLike, layout: Layout | None = None) -> Floats:
    """One item's attributions as [height, width]: channels are summed, which keeps the total.

    Channels that are all the same (a class activation map lies over all of them) are one map, shown once.
    """
    array, axis = _plane(np.asarray(values, np.float64), layout, "values")
    return array if axis is None else folded(array, axis)


def channel_note(values: npt.ArrayLike, layout: Layout | None = None) -> str:
    """What :func:`as_map` did with the channels, in words; empty where there is at most one."""
    array, axis = _plane(np.asarray(values, np.float64), layout, "values")
    if axis is None or array.shape[axis] == 1:
        return ""
    return folded_note(array, axis, "channels")


def folded(array: Floats, axis: int) -> Floats:
    """The sum over an axis, which keeps the total; where all along it is the same, that, shown once."""
    return np.asarray(array.take(0, axis) if _equal_along(array, axis) else array.sum(axis))


def folded_note(array: Floats, axis: int, what: str) -> str:
    """What :func:`folded` did, in words."""
    count, place = array.shape[axis], f"axis {axis} of {list(array.shape)}"
    same = _equal_along(array, axis)
    return f"the same in all {count} {what} ({place})" if same else f"the sum over {count} {what} ({place}) is shown"


def _equal_along(array: Floats, axis: int) -> bool:
    return bool(np.all(array == array.take([0], axis)))


def as_picture(image: npt.ArrayLike, layout: Layout | None = None) -> Pixels:
    """An input image as RGB uint8 [height, width, 3].

    uint8 is taken as it is, floats within [0, 1] are taken as intensities, and other floats (a normalised
    network input) are stretched between their own minimum and maximum. Other than 1, 3 or 4 channels: their mean.
    """
    array, axis = _plane(np.asarray(image), layout, "image")
    pixels = array[..., None] if axis is None else np.moveaxis(array, axis, -1)
    intensities = _intensities(pixels)[..., :3] if pixels.shape[-1] in (3, 4) else _intensities(pixels)
    if intensities.shape[-1] != 3:
        intensities = np.repeat(intensities.mean(-1, keepdims=True), 3, -1)
    return np.rint(intensities * 255).astype(np.uint8)


def scale_of(plane: Floats, mode: Mode | None = None, percentile: float = 99.0) -> Scale:
    """A scale that is symmetric about zero (signed) or starts at zero (absolute).

    The strongest colour stands at the given percentile of the magnitudes, so that one hot pixel does not whiten
    the rest. Without ``mode`` the map is signed when it has a negative value.
    """
    if mode not in (None, "signed", "absolute") or not 0 < percentile <= 100:
        raise InvalidParameter(
            f"mode {mode!r}, percentile {percentile!r}",
            where="rendering",
            expected='mode "signed", "absolute" or None, and 0 < percentile <= 100',
        )
    finite = plane[np.isfinite(plane)]
    signed = bool((finite < 0).any()) if mode is None else mode == "signed"
    notes = _oddities(plane, finite)
    if mode == "absolute":
        notes = (WITHOUT_SIGNS, *notes)
    if finite.size == 0 or not finite.any():
        return Scale(1.0, signed, notes=notes, basis="no value to take it from")
    magnitude = np.abs(finite)
    largest = float(magnitude.max())
    # A sparse map can have a zero percentile; then its own largest value is the only scale there is.
    limit = float(np.percentile(magnitude, percentile)) or largest
    ordinal = f"{percentile:g}th percentile of |values|"
    basis = "the largest |value|" if limit == largest else ordinal
    beyond = int((magnitude > limit).sum())
    if beyond:
        notes += (f"{beyond} of {plane.size} values lie beyond the scale; the largest magnitude is {largest:.3g}",)
    return Scale(limit, signed, clipped=beyond > 0, notes=notes, basis=basis)


def colours(plane: Floats, scale: Scale) -> Pixels:
    """RGB uint8 [..., 3]: white at zero, red positive, blue negative; white to dark red when unsigned."""
    share = np.clip(np.nan_to_num(plane, nan=0.0) / scale.limit, -1.0, 1.0)
    if scale.signed:
        rgb = np.where(share[..., None] < 0, _ramp(-share, NEGATIVE), _ramp(share, POSITIVE))
    else:
        rgb = _ramp(np.abs(share), MAGNITUDE)
    rgb[~np.isfinite(plane)] = NOT_FINITE
    return np.rint(rgb).astype(np.uint8)


def overlay(rgb: Pixels, picture: Pixels) -> Pixels:
    """Colours multiplied onto a pale grey version of the picture, so that hues stay those of the colour bar."""
    grey: Floats = picture @ np.array([0.299, 0.587, 0.114]) / 255  # ITU-R BT.601 luma
    pale = 0.8 + 0.2 * grey
    blended: Pixels = np.rint(rgb * pale[..., None]).astype(np.uint8)
    return blended


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Nearest neighbour when growing (a pixel stays a visible square), area average when shrinking."""
    growing = height >= pixels.shape[0] and width >= pixels.shape[1]
    how = Image.Resampling.NEAREST if growing else Image.Resampling.BOX
    return np.asarray(Image.fromarray(pixels).resize((width, height), how))


def _plane(array: npt.NDArray[Any], layout: Layout | None, name: str) -> tuple[npt.NDArray[Any], int | None]:
    """The array without leading axes of length one, and its channel axis."""
    axes = None if layout is None else layout.upper().removeprefix("N")
    if axes not in (None, "HW", "CHW", "HWC"):
        raise InvalidParameter(f"unknown layout {layout!r}", where=name, expected='"HW", "CHW", "HWC", "nchw", "nhwc" or None')
    rank = 3 if axes is None else len(axes)
    while array.ndim > rank and array.shape[0] == 1:
        array = array[0]
    if array.ndim not in ((2, 3) if axes is None else (rank,)) or array.size == 0:
        raise InvalidInput(
            f"shape {list(array.shape)} is not one picture",
            where=name,
            expected="(H, W), (C, H, W) or (H, W, C), with leading axes of length one at most",
            to_do="Draw one item at a time; use attributions_png for tokens, tables, signals and volumes",
        )
    if array.ndim == 2:
        return array, None
    return array, channel_axis(array.shape, layout)


def channel_axis(shape: Sequence[int], layout: Layout | None = None) -> int:
    """The first axis or the last, as the layout says; else a short first one, a short last one, or the first."""
    if layout is not None:
        return 0 if layout.upper().removeprefix("N").startswith("C") else len(shape) - 1
    return len(shape) - 1 if shape[0] > MOST_CHANNELS >= shape[-1] else 0


def _intensities(pixels: npt.NDArray[Any]) -> Floats:
    if pixels.dtype == np.uint8:
        return pixels / 255.0
    values = np.nan_to_num(pixels.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low >= 0.0 and high <= 1.0:
        return values
    return (values - low) / ((high - low) or 1.0)


def _oddities(plane: Floats, finite: Floats) -> tuple[str, ...]:
    """What a picture alone would hide: values that are not finite, and maps that say nothing."""
    notes: tuple[str, ...] = ()
    if finite.size < plane.size:
        notes += (f"{plane.size - finite.size} of {plane.size} values are not finite (grey)",)
    if finite.size > 1 and (finite == finite[0]).all():
        value = "zero" if finite[0] == 0 else f"{finite[0]:.3g}"
        notes += (f"constant map: every value is {value}",)
    return notes


def _ramp(share: Floats, stops: Sequence[str]) -> Floats:
    """Linear interpolation between equidistant colours; ``share`` 0 is the first stop, 1 the last."""
    table = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops], np.float64)
    at = np.linspace(0.0, 1.0, len(stops))
    return np.stack([np.interp(share, at, table[:, channel]) for channel in range(3)], -1)
