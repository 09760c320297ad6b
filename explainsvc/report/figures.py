"""Figures of a page: the maps as a table of pictures, and the charts of a randomisation check."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from explainsvc.checks.rows import DIGEST, MODEL, REFUSED, Row
from explainsvc.report import page as p
from explainsvc.report import render
from explainsvc.report.charts import cascade_svg, curves_svg, lines_of, method_svg
from explainsvc.report.page import Html, code, esc, join, tag, text

ORDERS = {
    "cascading": "Units are re-initialised one after the other, from the output to the input; all stay random.",
    "bottom_up": "Units are re-initialised one after the other, from the input to the output; all stay random.",
    "independent": "Only the named unit is re-initialised; all others keep their trained weights.",
}
MOST_NUMBERS = 60
READING = "1: the maps rank as before; 0: no relation. A method that depends on the weights falls."


def map_table(rows: Sequence[render.GridRow]) -> Html:
    """Inputs by methods as small pictures, smaller where there are many methods."""
    methods = list(dict.fromkeys(name for row in rows for name in row.maps))
    side = max(72, min(120, 860 // (1 + len(methods))))
    heads = [tag("th", Html("")), *(tag("th", breakable(name)) for name in ("input", *methods))]
    body = [tag("tr", join([_caption(row.caption), *_cells(row, methods, side)])) for row in rows]
    note = "Red speaks for the explained output, blue against it, no colour is zero. Each map has its own scale."
    table = tag("table", join([tag("tr", join(heads)), *body]))
    return tag("figure", Html(tag("div", table, class_="maps") + text(note, "figcaption")))


def charts(rows: Sequence[Row], controls: Sequence[str] = (), checks: Mapping[str, Any] | None = None) -> Html:
    """The figures of each check: curves where rows have an amount or steps, a table of numbers where they have not.

    Args:
        rows: Of all checks.
        controls: Methods drawn in grey.
        checks: Check → what the report's header says of it: ``axis`` and ``main``.
    """
    names = dict.fromkeys(row.check for row in rows)
    return join(_check([r for r in rows if r.check == name], controls, (checks or {}).get(name, {})) for name in names)


def _check(rows: Sequence[Row], controls: Sequence[str], about: Mapping[str, Any]) -> Html:
    known = [row for row in rows if row.measure not in (REFUSED, DIGEST)]
    if any(math.isfinite(row.amount) for row in known):
        body = _curves(known, controls, about)
    elif any(row.order in ORDERS for row in known):
        orders = dict.fromkeys(row.order for row in known)
        body = join(_steps([r for r in known if r.order == order], order, controls, about) for order in orders)
    else:
        body = _numbers(known)
    return Html(text(rows[0].check, "h3") + body)


def _steps(rows: Sequence[Row], order: str, controls: Sequence[str], about: Mapping[str, Any]) -> Html:
    """Similarity step by step: all methods in one chart, then each with its interval."""
    caption = f"{ORDERS[order]} {READING}"
    small = join(
        tag("figure", Html(text("the model's own output" if method == MODEL else method, "h4") + method_svg(rows, method)))
        for method in dict.fromkeys(row.method for row in rows)
    )
    large = cascade_svg(rows, similarity=_main(rows, about), controls=controls)
    note = text("Each method with its 95 % bootstrap interval over the inputs:", class_="quiet")
    heading = text(order, "h4")
    return Html(
        heading
        + tag("figure", Html(tag("div", large, class_="broad") + text(caption, "figcaption")))
        + note
        + tag("div", small, class_="charts")
    )


def _main(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """The measure of the large figure."""
    main = str(about.get("main") or "")
    return main if any(row.measure == main for row in rows) else rows[0].measure


def _curves(rows: Sequence[Row], controls: Sequence[str], about: Mapping[str, Any]) -> Html:
    """One chart per order: the main measure of every method over the amount."""
    measure, axis = _main(rows, about), str(about.get("axis") or "amount")
    drawn = [row for row in rows if math.isfinite(row.amount) and row.measure == measure]
    left = [row for row in rows if math.isnan(row.amount)]
    figures = []
    for order in dict.fromkeys(row.order for row in drawn):
        lines = lines_of([row for row in drawn if row.order == order], measure, controls)
        figures += [
            *([text(order, "h4")] if order else []),
            tag("figure", tag("div", curves_svg(lines, axis, measure), class_="broad")),
        ]
    return join([*figures, *([_numbers(left)] if left else [])])


def _numbers(rows: Sequence[Row]) -> Html:
    """What has no curve: method, what was looked at, measure, mean and interval; the first of many."""
    body = [
        (code(r.method), esc(" ".join(filter(None, [r.order, r.unit]))), esc(r.measure), esc(number(r.mean)),
         esc(interval(r)), esc(r.n), esc(r.note))
        for r in rows[:MOST_NUMBERS]
    ]  # fmt: skip
    heads = ["method", "where", "measure", "mean", "95 % interval", "n", "note"]
    more = len(rows) - len(body)
    words = text(f"… and {more} more rows below, under “Every number”.", class_="quiet") if more > 0 else Html("")
    return Html(p.table(heads, body, frozenset({3, 4, 5})) + words)


def number(value: Any) -> str:
    """Three significant digits; a dash for what does not exist."""
    if value is None or not isinstance(value, int | float | np.number) or math.isnan(value):
        return "–"
    return f"{value:.3g}"


def interval(row: Row) -> str:
    """Both ends; one dash where there are none."""
    return f"{number(row.low)} … {number(row.high)}" if math.isfinite(row.low) else "–"


def _caption(words: str) -> Html:
    first, *rest = words.split("\n")
    return tag("th", Html(esc(first) + join(text(line, "div", class_="note") for line in rest)), scope="row")


def _cells(row: render.GridRow, methods: Sequence[str], side: int) -> list[Html]:
    """The input, then its maps."""
    maps = (p.picture(render.panel_png(row.maps[m], image=row.image, side=side), m, side) for m in methods)
    return [tag("td", cell) for cell in (p.picture(render.picture_png(row.image, side=side), "input", side), *maps)]


def breakable(name: str) -> Html:
    """A long name may break after an underscore."""
    return Html(esc(name).replace("_", "_<wbr>"))
