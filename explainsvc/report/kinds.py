"""What a picture of an item looks like: chosen from the input's shape and type, or said by the caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from explainsvc.errors import InvalidInput, InvalidParameter
from explainsvc.report.colors import WITHOUT_SIGNS, Floats, Layout, Mode

Kind = Literal["image", "tokens", "bars", "series", "volume"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_CHANNELS = 16
"""Rows of a series; a matrix with more on both sides is an image."""
MOST_COLUMNS = 128
"""Float rows that are longer are taken for signals, not for tables."""
WORDS = "iuUSO"
"""numpy kinds of ids and strings."""


@dataclass(frozen=True)
class View:
    """How a set of maps is to be drawn.

    Attributes:
        x: The input that the maps belong to (or, under an image, a decoded picture of it); None where there is none.
        layout: Where channels are; None leaves it to the shape.
        tokens: The text of every position of a sequence.
        names: The name of every column of a table.
        mode: signed, absolute, or what each map's own signs say.
        percentile: Of |values| at the strongest colour; None leaves it to the kind.
        unit: What stands at the colour bar.
    """

    x: npt.NDArray[Any] | None = None
    layout: Layout | None = None
    tokens: Sequence[str] | None = None
    names: Sequence[str] | None = None
    mode: Mode | None = None
    percentile: float | None = None
    unit: str = "attribution"

    @property
    def label(self) -> str:
        """The unit, between bars where magnitudes are drawn."""
        return f"|{self.unit}|" if self.mode == "absolute" else self.unit

    def sized(self, values: Floats) -> Floats:
        """What bars are as long as: the values, or their magnitudes."""
        return np.abs(values) if self.mode == "absolute" else values

    @property
    def said(self) -> str:
        """What :meth:`sized` did, in words."""
        return WITHOUT_SIGNS if self.mode == "absolute" else ""


def kind_of(shape: Sequence[int], kind: str = "f", tokens: bool = False, names: bool = False) -> Kind:
    """The kind for one item of this shape and numpy kind (``f``, ``i``, ``U``, …).

    [] and [T] floats are a table (a signal when long and without names), [T] ids or strings are tokens; [C, T] or [T, C]
    and [C, 1, T] with few channels are a series, any other matrix and three axes an image; four axes are a volume.

    Raises:
        InvalidInput: More axes than can be drawn.
    """
    rank = len(shape)
    if rank > 4:
        raise unfit(shape, "at most 4 axes without the batch", "Write the values to an .npz")
    if tokens and rank in (1, 2):
        return "tokens"
    if rank <= 1:
        return _row(int(np.prod(shape)), kind, names)
    if rank == 2 or (rank == 3 and shape[1] == 1):
        short, long = sorted((shape[0], shape[-1]))
        return "series" if short <= MOST_CHANNELS and long >= 2 * short else "image"
    return "image" if rank == 3 else "volume"


def _row(size: int, kind: str, names: bool) -> Kind:
    if kind in WORDS and size > 1 and not names:
        return "tokens"
    return "bars" if names or size <= MOST_COLUMNS else "series"


def checked(kind: str) -> Kind:
    """The kind, once it is known to be one.

    Raises:
        InvalidParameter: It is none.
    """
    for known in KINDS:
        if kind == known:
            return known
    raise InvalidParameter(f"there is no rendering {kind!r}", where="kind", expected=f"one of {', '.join(KINDS)}")


def unfit(shape: Sequence[int], expected: str, to_do: str = "Choose another rendering") -> InvalidInput:
    """The error for values that a kind cannot draw."""
    return InvalidInput(f"shape {list(shape)} cannot be drawn", where="values", expected=expected, to_do=to_do)
