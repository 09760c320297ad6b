"""Column bars for tables: horizontal bars about zero, a line for each column, a panel for each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ImageDraw

from explainsvc.errors import InvalidInput
from explainsvc.report import canvas
from explainsvc.report.blocks import EDGE, GAP, HEAD, Block, headed, in_rows
from explainsvc.report.canvas import INK, LINE, QUIET, SMALL, TEXT
from explainsvc.report.colors import NOT_FINITE, Floats, Scale, colours, scale_of
from explainsvc.report.kinds import View, unfit

ROW, SPAN, SEVERAL_SPAN, MOST = 28, 420, 260, 40
PER_ROW = 3
NUMBER_ROOM = 84
"""Room for a value at either end of the longest bar."""
LONGEST_NAME = 340


def rows(maps: Mapping[str, npt.NDArray[np.float64]], view: View) -> list[list[Block]]:
    """The methods side by side, the same column on the same line; the names stand at the left."""
    flat = {name: view.sized(_row(values)) for name, values in maps.items()}
    scales = {name: scale_of(row, "signed", 100.0) for name, row in flat.items()}
    names = _names(next(iter(flat.values())).size, view)
    chosen = _chosen([np.abs(row) / scales[name].limit for name, row in flat.items()])
    several = len(flat) > 1
    blocks: list[Block] = []
    for place, (name, row) in enumerate(flat.items()):
        labels = None if place % PER_ROW else [names[index] for index in chosen]
        sorting = "" if blocks else _sorting(len(chosen), several)
        notes = [note for note in (scales[name].words("bars start at 0"), sorting, view.said) if note]
        span, caption = (SEVERAL_SPAN, name) if several else (SPAN, view.label)
        blocks.append(_panel(caption, row, scales[name], chosen, labels, span, notes))
    return in_rows(blocks, PER_ROW)


def _sorting(count: int, several: bool) -> str:
    """How the lines are sorted."""
    if count < 2:
        return ""
    return "largest |value| first" + (", relative to each method's scale" if several else "")


def _row(values: npt.NDArray[np.float64]) -> Floats:
    flat = values.reshape(-1)
    if flat.size == 0 or max(values.shape, default=1) != flat.size:
        raise InvalidInput(
            f"shape {list(values.shape)} is not one row",
            where="values",
            expected="(N,), with leading axes of length one at most",
            to_do="Draw one item at a time; another rendering draws pictures",
        )
    return flat


def _names(count: int, view: View) -> list[str]:
    """The columns' names, with the input's own value where it is known."""
    names = [f"column {index}" for index in range(count)] if view.names is None else list(view.names)
    if len(names) != count:
        raise InvalidInput(f"{len(names)} names for {count} values", where="names", expected="one name per value")
    if view.x is None:
        return names
    own = np.asarray(view.x).reshape(-1).tolist()
    if len(own) != count:
        raise unfit(np.shape(view.x), f"{count} values in the input, as in the map")
    return [_with_value(name, _spelt(value)) for name, value in zip(names, own, strict=True)]


def _with_value(name: str, value: str) -> str:
    """``name = value``; of a long name the end is left out, not the value."""
    end = canvas.fit(f" = {value}", TEXT, LONGEST_NAME // 2)
    return f"{canvas.fit(name, TEXT, LONGEST_NAME - canvas.length(f' {end}', TEXT))} {end}"


def _spelt(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _chosen(shares: Sequence[Floats]) -> list[int]:
    """The columns that are drawn: those that are largest in any method; values that are not finite come first."""
    size = np.max([np.nan_to_num(share, nan=np.inf) for share in shares], axis=0)
    return [int(index) for index in np.argsort(-size, kind="stable")[:MOST]]


def _panel(
    caption: str, row: Floats, scale: Scale, chosen: Sequence[int], labels: Sequence[str] | None, span: int, notes: list[str]
) -> Block:
    """The bars of one method; the first panel has the names at its left."""
    label = 0 if labels is None else max(canvas.length(canvas.fit(each, TEXT, LONGEST_NAME), TEXT) for each in labels) + GAP
    others = np.delete(row, chosen)
    count = len(chosen) + bool(others.size)
    left = EDGE + label + NUMBER_ROOM
    bottom = HEAD + ROW * count
    picture, pen = headed(caption, left + span + NUMBER_ROOM, ROW * count + ROW)
    zero = left + span // 2
    pen.line((left, bottom, left + span, bottom), LINE)
    for place, index in enumerate(chosen):
        middle = HEAD + ROW * place + ROW // 2
        if labels is not None:
            canvas.write(pen, (EDGE, middle), labels[place], TEXT, LONGEST_NAME, anchor="lm")
        _bar(pen, float(row[index]), scale, zero, span // 2, middle)
    if others.size:
        _others(pen, others, (EDGE if labels is not None else -1, zero), bottom - ROW // 2)
    pen.line((zero, HEAD, zero, bottom), INK)
    for x, value in ((left, -scale.limit), (zero, 0.0), (left + span, scale.limit)):
        pen.line((x, bottom, x, bottom + 5), INK)
        pen.text((x, bottom + 9), canvas.number(value), QUIET, canvas.font(SMALL), anchor="ma")
    return Block(picture, (*notes, *scale.notes))


def _bar(pen: ImageDraw.ImageDraw, value: float, scale: Scale, zero: int, half: int, middle: int) -> None:
    """One bar with its number at the far end."""
    if not np.isfinite(value):
        pen.rectangle((zero - half, middle - 9, zero + half, middle + 9), NOT_FINITE)
        pen.text((zero + 8, middle), str(value), (255, 255, 255), canvas.font(SMALL), anchor="lm")
        return
    reach = round(value / scale.limit * half)
    if reach:
        pen.rectangle((min(zero, zero + reach), middle - 9, max(zero, zero + reach), middle + 9), solid(value))
    anchor, step = ("rm", -6) if value < 0 else ("lm", 6)
    pen.text((zero + reach + step, middle), canvas.number(value), INK, canvas.font(SMALL), anchor=anchor)


def _others(pen: ImageDraw.ImageDraw, others: Floats, at: tuple[int, int], middle: int) -> None:
    """The columns that are left out: their sum as a number, without a bar, since it may lie beyond the scale."""
    if at[0] >= 0:
        canvas.write(pen, (at[0], middle), f"… {others.size} others: sum", TEXT, LONGEST_NAME, QUIET, "lm")
    total = float(others.sum())
    anchor, step = ("rm", -8) if total < 0 else ("lm", 8)
    pen.text((at[1] + step, middle), canvas.number(total), QUIET, canvas.font(SMALL), anchor=anchor)


def solid(value: float) -> tuple[int, int, int]:
    """The strongest colour of the value's sign."""
    red, green, blue = colours(np.array(value), Scale(max(abs(value), np.finfo(float).tiny), signed=True)).tolist()
    return red, green, blue
