"""Line charts of a check as inline SVG, by step or by amount, with the interval over the inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from explainsvc.checks.rows import Row
from explainsvc.report.page import Html, esc

# Okabe & Ito, "Color Universal Design" (2008), without yellow, which is too light for lines on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195")
CONTROL = "#7d868f"
DASHES = ("", "7 4", "2 3")
MOST_LABELS = 16
LABEL_LENGTH = 26
MOST_SMALL_LABELS, SMALL_LABEL_LENGTH = 8, 13
LEGEND_LINE, LEGEND_EDGE, LETTER = 16, 4.0, 6.4
"""Of a small chart's legend: pixels from line to line, before the first name, and of a letter at most."""
SIMILARITY_WORDS = {
    "spearman_abs": "rank correlation of |map|",
    "spearman": "rank correlation of the signed map",
}


@dataclass(frozen=True)
class Line:
    """One curve: its rows in step order, and how it is drawn."""

    name: str
    rows: tuple[Row, ...]
    colour: str
    dash: str = ""


@dataclass(frozen=True)
class Frame:
    """The plot area in pixels and the values it spans."""

    left: int
    top: int
    width: int
    height: int
    last: float
    low: float
    high: float = 1.0
    first: float = 0.0

    def x(self, place: float) -> float:
        """Pixel of a step or an amount; the first is at the left edge."""
        return self.left + self.width * (place - self.first) / ((self.last - self.first) or 1.0)

    def y(self, value: float) -> float:
        """Pixel of a value, kept within the frame; the highest is at the top."""
        share = (self.high - min(self.high, max(self.low, value))) / ((self.high - self.low) or 1.0)
        return self.top + self.height * share


def place_of(row: Row) -> float:
    """Where a row stands on the axis: its amount, or its step where it has none."""
    return row.step if math.isnan(row.amount) else row.amount


def lines_of(rows: Sequence[Row], measure: str, controls: Collection[str] = ()) -> tuple[Line, ...]:
    """One line per method, in the rows' order; controls are grey and dashed."""
    chosen: dict[str, list[Row]] = {}
    for row in sorted((row for row in rows if row.measure == measure), key=place_of):
        chosen.setdefault(row.method, []).append(row)
    plain = [method for method in chosen if method not in controls]
    greys = [method for method in chosen if method in controls]
    styles = {m: (COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]) for i, m in enumerate(plain)}
    styles |= {method: (CONTROL, DASHES[1 + index % 2]) for index, method in enumerate(greys)}
    return tuple(Line(method, tuple(found), *styles[method]) for method, found in chosen.items())


def cascade_svg(rows: Sequence[Row], *, similarity: str = "spearman_abs", controls: Collection[str] = ()) -> Html:
    """All methods of one check and order in one chart, names at the line's end."""
    lines = lines_of(rows, similarity, controls)
    return _svg(lines, 1040, 430, 190, SIMILARITY_WORDS.get(similarity, similarity), band=False)


def method_svg(rows: Sequence[Row], method: str) -> Html:
    """One method: every similarity with its 95 % interval."""
    own = [row for row in rows if row.method == method]
    names = dict.fromkeys(row.measure for row in own)
    lines = tuple(
        Line(name, tuple(sorted((r for r in own if r.measure == name), key=lambda r: r.step)), colour)
        for name, colour in zip(names, COLOURS, strict=False)
    )
    return _svg(lines, 350, 250, 8, "", band=True)


def _svg(lines: Sequence[Line], width: int, height: int, right: int, label: str, band: bool) -> Html:
    rows = [row for line in lines for row in line.rows]
    steps = max((row.step for row in rows), default=0)
    least = min((value for row in rows for value in (row.mean, row.low) if math.isfinite(value)), default=0.0)
    small = width < 500
    low = 0.0 if least >= 0 else max(-1.0, math.floor(least * 4) / 4)
    labels = _labels(rows, small)
    longest = max((len(words) for words in labels.values()), default=0)
    # A slanted label reaches down by its length times sin 32°, about half, at 6 to 7 pixels a letter.
    bottom, left = (34 + 3 * longest, 44) if small else (28 + math.ceil(3.6 * longest), 74)
    frame = Frame(left, 14, width - left - right, height - 14 - bottom, steps, low)
    height += LEGEND_LINE * (_legend_rows(lines, width - right) - 1) if small else 0
    parts = [*_grid(frame, label), *_units(labels, frame, 10 if small else 12)]
    parts += [part for line in lines for part in (*(_band(line, frame) if band else ()), *_curve(line, frame))]
    parts += _names_below(lines, frame, height) if small else _names_beside(lines, frame)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    font = 'font-family="system-ui, DejaVu Sans, Arial, sans-serif" font-size="12"'
    title = f"Similarity to the untouched model's maps by randomised unit{', ' + label if label else ''}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{esc(title)}" {size} {font}>'
    return Html(f"{head}{''.join(parts)}</svg>")


def curves_svg(lines: Sequence[Line], axis: str, measure: str) -> Html:
    """Curves over an amount, such as the output over the share of flipped pixels; names at the curves' ends."""
    width, height, left, right = 1040, 400, 74, 230
    rows = [row for line in lines for row in line.rows]
    values = [v for row in rows for v in (row.mean, row.low, row.high) if math.isfinite(v)] or [0.0, 1.0]
    places = [place_of(row) for row in rows] or [0.0, 1.0]
    ticks = _ticks(min(*values, 0.0), max(values))
    frame = Frame(left, 14, width - left - right, height - 14 - 56, max(places), ticks[0], ticks[-1], min(places))
    parts = [*_grid(frame, measure, ticks), *_amounts(frame, axis)]
    parts += [part for line in lines for part in (*_band(line, frame), *_curve(line, frame))]
    parts += _names_beside(lines, frame)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    font = 'font-family="system-ui, DejaVu Sans, Arial, sans-serif" font-size="12"'
    title = esc(f"{measure} over {axis}")
    return Html(f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{title}" {size} {font}>{"".join(parts)}</svg>')


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers from at or below ``low`` to at or above ``high``."""
    span = (high - low) or 1.0
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    return [step * k for k in range(first, math.ceil(high / step - 1e-9) + 1)] or [0.0, 1.0]


def _amounts(frame: Frame, axis: str) -> Iterator[str]:
    """Numbers under the axis, and what they are."""
    base = frame.top + frame.height
    for value in _ticks(frame.first, frame.last):
        if frame.first <= value <= frame.last:
            x = frame.x(value)
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{base + 5}" stroke="#9aa3ac"/>'
            yield f'<text x="{x:.1f}" y="{base + 19}" text-anchor="middle" fill="#5c6570">{value:g}</text>'
    middle = frame.left + frame.width / 2
    yield f'<text x="{middle:.0f}" y="{base + 40}" text-anchor="middle" fill="#5c6570">{esc(axis)}</text>'


QUARTERS = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)


def _grid(frame: Frame, label: str, ticks: Sequence[float] = QUARTERS) -> Iterator[str]:
    for value in (tick for tick in ticks if frame.low <= tick <= frame.high):
        y = frame.y(value)
        ink = "#9aa3ac" if value == 0 else "#e3e7eb"
        yield f'<line x1="{frame.left}" x2="{frame.left + frame.width}" y1="{y:.1f}" y2="{y:.1f}" stroke="{ink}"/>'
        yield f'<text x="{frame.left - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#5c6570">{value:g}</text>'
    if label:
        at = f"14,{frame.top + frame.height / 2:.0f}"
        yield f'<text transform="translate({at}) rotate(-90)" text-anchor="middle" fill="#5c6570">{esc(label)}</text>'


def _labels(rows: Sequence[Row], small: bool) -> dict[int, str]:
    """Step → the unit re-initialised at it; some of many only, and in a small chart their number instead."""
    names = {row.step: row.unit if row.step else "original" for row in rows}
    most, length = (MOST_SMALL_LABELS, SMALL_LABEL_LENGTH) if small else (MOST_LABELS, LABEL_LENGTH)
    chosen = sorted(names)[:: max(1, math.ceil(len(names) / most))]
    if small and len(names) > most:
        return {step: str(step) for step in chosen}
    return {s: names[s] if len(names[s]) <= length else "…" + names[s][1 - length :] for s in chosen}


def _units(labels: Mapping[int, str], frame: Frame, size: int) -> Iterator[str]:
    """The labels, slanted under their steps."""
    for step, words in labels.items():
        at = f"{frame.x(step) + 4:.1f},{frame.top + frame.height + 16}"
        slant = f'transform="translate({at}) rotate(-32)"'
        yield f'<text {slant} text-anchor="end" font-size="{size}" fill="#5c6570">{esc(words)}</text>'


def _curve(line: Line, frame: Frame) -> Iterator[str]:
    """Points and the stroke through them; a step without a number leaves a gap and a small cross on the floor."""
    stroke = f'fill="none" stroke="{line.colour}" stroke-width="2.2" stroke-dasharray="{line.dash}"'
    for piece in _pieces(line.rows, lambda row: math.isfinite(row.mean)):
        points = " ".join(f"{frame.x(place_of(row)):.1f},{frame.y(row.mean):.1f}" for row in piece)
        yield f'<polyline points="{points}" {stroke} stroke-linejoin="round"/>'
    radius = 3 if len(line.rows) <= 20 else 1.8
    for row in line.rows:
        known, unit = math.isfinite(row.mean), row.unit if row.step else "original"
        x, y = frame.x(place_of(row)), frame.y(row.mean if known else frame.low)
        value = f"{row.mean:.3f} [{row.low:.3f}, {row.high:.3f}], n = {row.n}" if known else row.note or "undefined"
        tip = f"<title>{esc(f'{line.name}, {unit}: {value}')}</title>"
        if known:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{line.colour}">{tip}</circle>'
        else:
            yield f'<text x="{x:.1f}" y="{y - 3:.1f}" text-anchor="middle" fill="{line.colour}">×{tip}</text>'


def _band(line: Line, frame: Frame) -> Iterator[str]:
    """The 95 % interval as a pale area."""
    for piece in _pieces(line.rows, lambda row: math.isfinite(row.mean + row.low + row.high)):
        upper = [f"{frame.x(place_of(row)):.1f},{frame.y(row.high):.1f}" for row in piece]
        lower = [f"{frame.x(place_of(row)):.1f},{frame.y(row.low):.1f}" for row in reversed(piece)]
        yield f'<polygon points="{" ".join(upper + lower)}" fill="{line.colour}" opacity="0.18"/>'


def _pieces(rows: Sequence[Row], drawable: Callable[[Row], bool]) -> list[list[Row]]:
    """Runs of rows that can be drawn; one input alone has a mean but no interval."""
    runs: list[list[Row]] = [[]]
    for row in rows:
        if drawable(row):
            runs[-1].append(row)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _names_beside(lines: Sequence[Line], frame: Frame) -> Iterator[str]:
    """Each name at its line's end, pushed apart where lines end together."""
    ends = sorted(lines, key=lambda line: frame.y(_last(line)))
    floor = frame.top + frame.height + 14.0 - 17.0 * len(ends)
    y = frame.top - 17.0
    for index, line in enumerate(ends):
        wanted = frame.y(_last(line))
        y = max(y + 17.0, min(wanted, floor + 17.0 * (index + 1)))
        x = frame.left + frame.width
        yield f'<line x1="{x + 4}" y1="{wanted:.1f}" x2="{x + 16}" y2="{y:.1f}" stroke="{line.colour}"/>'
        yield f'<text x="{x + 20}" y="{y + 4:.1f}" fill="{line.colour}" font-weight="600">{esc(line.name)}</text>'


def _names_below(lines: Sequence[Line], frame: Frame, height: int) -> Iterator[str]:
    rows = _legend_rows(lines, frame.left + frame.width)
    for line, (row, x) in zip(lines, _legend(lines, frame.left + frame.width), strict=True):
        y = height - LEGEND_LINE * (rows - 1 - row)
        yield f'<rect x="{x:.1f}" y="{y - 12}" width="10" height="10" fill="{line.colour}"/>'
        yield f'<text x="{x + 15:.1f}" y="{y - 3}" font-size="11" fill="#20242a">{esc(line.name)}</text>'


def _legend(lines: Sequence[Line], width: float) -> list[tuple[int, float]]:
    """Row and left edge of each name; a name that does not fit beside the one before begins a row."""
    found, row, x = [], 0, LEGEND_EDGE
    for line in lines:
        needed = 15 + LETTER * len(line.name)
        if x > LEGEND_EDGE and x + needed > width:
            row, x = row + 1, LEGEND_EDGE
        found.append((row, x))
        x += needed + 10
    return found


def _legend_rows(lines: Sequence[Line], width: float) -> int:
    return 1 + max((row for row, _ in _legend(lines, width)), default=0)


def _last(line: Line) -> float:
    known = [row.mean for row in line.rows if math.isfinite(row.mean)]
    return known[-1] if known else 0.0
