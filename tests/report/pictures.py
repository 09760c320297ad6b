"""Reading pictures back: pixels, colours, and text by drawing it again."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from explainsvc.report import canvas

RED, BLUE, WHITE, GREY = (0xB2, 0x18, 0x2B), (0x21, 0x66, 0xAC), (255, 255, 255), (105, 105, 105)
HALF_RED, HALF_BLUE = (0xF4, 0xA5, 0x82), (0x92, 0xC5, 0xDE)
"""ColorBrewer's RdBu halfway between white and the ends that are used."""

Pixels = npt.NDArray[np.uint8]


def decode(png: bytes) -> Pixels:
    """RGB pixels of PNG bytes."""
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def places(pixels: Pixels, colour: tuple[int, int, int]) -> npt.NDArray[np.int64]:
    """(row, column) of every pixel of exactly this colour."""
    return np.argwhere((pixels == colour).all(-1))


def reads(pixels: Pixels, text: str, size: int = canvas.SMALL, ink: tuple[int, int, int] = canvas.INK) -> bool:
    """Whether this text stands somewhere in the picture: its own pixels, found as a whole on white."""
    font = canvas.font(size)
    left, top, right, bottom = (round(side) for side in font.getbbox(text))
    picture, pen = canvas.sheet(right - left, bottom - top)
    pen.text((-left, -top), text, ink, font)
    wanted = np.asarray(picture)
    windows = np.lib.stride_tricks.sliding_window_view(pixels[..., 0], wanted.shape[:2])
    darkest = np.unravel_index(int(wanted[..., 0].argmin()), wanted.shape[:2])
    likely = np.argwhere(windows[..., darkest[0], darkest[1]] == wanted[..., 0][darkest])
    return any(np.array_equal(windows[row, column], wanted[..., 0]) for row, column in likely)
