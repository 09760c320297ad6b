"""A photograph as a model's input: decoded, resized, cropped, scaled; and the picture that lies under the heat map.

The value of a channel is ``(pixel · scale − mean) / std``, pixels 0…255, ``mean`` and ``std`` in the order of the
tensor's channels (B, G, R when ``bgr``).  torchvision's models want ``scale=1/255`` with the ImageNet mean and std,
Caffe's (SqueezeNet) ``scale=1, mean=(104, 117, 123), bgr=True``.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from explainsvc.errors import InvalidInput, Violation

Layout = Literal["nchw", "nhwc"]
Resize = Literal["cover", "stretch", "pad"]
Shape = Sequence[int | str | None] | None
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
FORMATS = ("JPEG", "PNG")
"""What a stranger may send: Pillow's other decoders are many, and some are old."""
MOST_PIXELS = 2**25
"""A picture of more is refused before it is decoded: 100 MB as RGB, twice as large as any camera phone's."""
LONGEST_SIDE = 2**14
"""Pixels of what a picture is resized to."""
COLOURS = (1, 3)
"""Channel counts that a decoded image can fill: grey, RGB."""


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the tensor; None means what the input's shape and dtype say."""

    scale: float | None = None
    """Factor on 0…255; by default 1/255 for a float input, 1 for an integer one."""
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    bgr: bool = False
    layout: Layout | None = None
    channels: int | None = None
    size: tuple[int, int] | None = None
    """Height and width, for inputs that leave them open."""
    resize: Resize = "cover"
    """Keep the aspect ratio and crop around the centre, stretch, or keep the aspect ratio and frame in black."""
    shorter: int | None = None
    """With cover: the length of the shorter side before the crop; by default as little as covers the input."""


@dataclass(frozen=True)
class Picture:
    """One image, twice: what the model gets and what a reader sees, pixel for pixel the same crop."""

    tensor: npt.NDArray[Any]
    """[1, C, H, W] or [1, H, W, C], in the input's dtype."""
    rgb: npt.NDArray[np.uint8]
    """[H, W, 3]"""
    layout: Layout


@dataclass(frozen=True)
class _Plan:
    layout: Layout
    channels: int
    size: tuple[int, int] | None


def is_image(path: str | os.PathLike[str]) -> bool:
    """Whether the file's name says that it is an image (and not an ``.npz``)."""
    return Path(path).suffix.lower() in SUFFIXES


def preprocess(
    source: str | os.PathLike[str] | bytes,
    shape: Shape,
    dtype: str = "float32",
    how: Preprocessing | None = None,
    formats: tuple[str, ...] | None = None,
) -> Picture:
    """The image as the tensor of an input of this shape ([N, C, H, W] or [N, H, W, C]; open sizes are None or names).

    By default the picture keeps its aspect ratio: resized until it covers H × W, then cropped around the centre. ``formats``:
    of Pillow's, those that are read; by default all.

    Raises:
        InvalidInput: not an image, too large a one, or no input that an image can fill.
    """
    how = how or Preprocessing()
    plan = _plan(shape, how)
    image = _decode(source, formats)
    if plan.size is not None:
        image = _resized(image, (plan.size[1], plan.size[0]), how)
    rgb = np.asarray(image, np.uint8)
    pixels = np.asarray(image.convert("L"), np.uint8)[..., None] if plan.channels == 1 else rgb
    tensor = _normalise(pixels[..., ::-1] if how.bgr else pixels, dtype, how)
    if plan.layout == "nchw":
        tensor = tensor.transpose(2, 0, 1)
    return Picture(np.ascontiguousarray(tensor)[None], rgb if plan.channels == 3 else _grey(pixels), plan.layout)


def _resized(image: Image.Image, size: tuple[int, int], how: Preprocessing) -> Image.Image:
    """The picture at (width, height)."""
    if max(size) > LONGEST_SIDE or size[0] * size[1] > MOST_PIXELS:
        raise _too_large(*size, "image")
    bilinear = Image.Resampling.BILINEAR
    if how.resize == "stretch":
        return image.resize(size, bilinear)
    if how.resize == "pad":
        if max(image.size) > min(image.size) * min(size):  # less than a pixel would be left of the shorter side
            raise InvalidInput("the picture is too narrow to be padded", where="image", expected="another way of resizing")
        return ImageOps.pad(image, size, bilinear)
    if how.shorter is None:
        return ImageOps.fit(image, size, bilinear)
    width, height = image.size
    short, long = how.shorter, how.shorter * max(width, height) // min(width, height)
    between = (short, long) if width <= height else (long, short)
    if short < max(size):
        wrong = f"is {short}, less than the input's {size[1]} × {size[0]}"
        raise InvalidInput("the picture would not fill the input", violations=[Violation("preprocessing.shorter_side", wrong)])
    if between[0] * between[1] > MOST_PIXELS:
        raise _too_large(*between, "image, resized")
    left, top = (round((n - wanted) / 2) for n, wanted in zip(between, size, strict=True))
    return image.resize(between, bilinear).crop((left, top, left + size[0], top + size[1]))


def _too_large(width: int, height: int, where: str) -> InvalidInput:
    return InvalidInput(
        f"{width} × {height} pixels are too many",
        where=where,
        expected=f"at most {MOST_PIXELS:,} in all, and {LONGEST_SIDE:,} a side of what it is resized to",
        to_do="Send a smaller picture, or the tensor itself",
    )


def _decode(source: str | os.PathLike[str] | bytes, formats: tuple[str, ...] | None) -> Image.Image:
    where = "image" if isinstance(source, bytes) else os.fspath(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise _too_large(image.width, image.height, where)
                return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError:
        raise InvalidInput("no such file", where=where, to_do="Check the path") from None
    except UnidentifiedImageError:
        known = "PNG, JPEG or another format of Pillow" if formats is None else " or ".join(formats)
        raise InvalidInput("not an image", where=where, expected=known) from None
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidInput(f"the image cannot be read ({error})", where=where, expected="a whole image file") from error


def _plan(shape: Shape, how: Preprocessing) -> _Plan:
    """Where the channels are and how large the picture must be."""
    layout = how.layout or _layout(shape)
    if shape is None or len(shape) != 4 or layout is None:
        raise InvalidInput(
            f"an image does not fit an input of shape {_spell(shape)}",
            where="inputs",
            expected="[N, C, H, W] or [N, H, W, C] with 1 or 3 channels",
            to_do="Give the layout, or the tensors themselves in an .npz file",
        )
    channel_axis, rows, columns = (1, 2, 3) if layout == "nchw" else (3, 1, 2)
    channels = shape[channel_axis] if isinstance(shape[channel_axis], int) else how.channels or 3
    if channels not in COLOURS or how.channels not in (None, channels):
        raise InvalidInput(
            f"the input of shape {_spell(shape)} has {channels} channels",
            where="inputs",
            expected=f"{how.channels or '1 or 3'} channels on axis {channel_axis} of {layout.upper()}",
            to_do="Give another layout or number of channels, or the tensors themselves in an .npz file",
        )
    return _Plan(layout, channels, _size(shape[rows], shape[columns], how))


def _layout(shape: Shape) -> Layout | None:
    """NCHW unless only the last axis can be the channels; None when neither can."""
    if shape is None or len(shape) != 4:
        return None
    first, last = ((shape[axis] in COLOURS, not isinstance(shape[axis], int)) for axis in (1, 3))
    if first[0] or (first[1] and not last[0]):
        return "nchw"
    return "nhwc" if any(last) else None


def _size(rows: int | str | None, columns: int | str | None, how: Preprocessing) -> tuple[int, int] | None:
    """Height and width: the model's; where it leaves them open the caller's, or the image's own (None)."""
    if isinstance(rows, int) and isinstance(columns, int):
        return rows, columns
    return how.size


def _normalise(pixels: npt.NDArray[np.uint8], dtype: str, how: Preprocessing) -> npt.NDArray[Any]:
    floating = "float" in dtype
    scale = (1 / 255 if floating else 1.0) if how.scale is None else how.scale
    channels = pixels.shape[-1]
    mean, std = _per_channel(how.mean, channels, "mean"), _per_channel(how.std, channels, "std")
    values = (pixels.astype(np.float64) * scale - mean) / std
    return (values if floating else np.rint(values)).astype(dtype)


def _per_channel(values: tuple[float, ...], channels: int, name: str) -> npt.NDArray[np.float64]:
    if len(values) not in (1, channels):
        raise InvalidInput(f"{len(values)} values for {channels} channels", where=name, expected=f"one value, or {channels}")
    if name == "std" and 0.0 in values:
        raise InvalidInput("a standard deviation is zero", where=name, expected="positive numbers")
    return np.asarray(values, np.float64)


def _grey(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.repeat(pixels, 3, axis=-1)


def _spell(shape: Shape) -> str:
    return "[…]" if shape is None else "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
