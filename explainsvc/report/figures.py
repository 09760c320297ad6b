"""Figures of a page: the maps as a table of pictures, and the charts of a randomisation check."""

from __future__ import annotations

from collections.abc import Sequence

from explainsvc.checks.rows import DIGEST, MODEL, Row
from explainsvc.report import page as p
from explainsvc.report import render
from explainsvc.report.charts import cascade_svg, method_svg
from explainsvc.report.page import Html, esc, join, tag, text

ORDERS = {
    "cascading": "Units are re-initialised one after the other, from the output to the input; all stay random.",
    "bottom_up": "Units are re-initialised one after the other, from the input to the output; all stay random.",
    "independent": "Only the named unit is re-initialised; all others keep their trained weights.",
}
READING = "1: the maps rank as before; 0: no relation. A method that depends on the weights falls."


def map_table(rows: Sequence[render.GridRow]) -> Html:
    """Inputs by methods as small pictures, smaller where there are many methods."""
    methods = list(dict.fromkeys(name for row in rows for name in row.maps))
    side = max(72, min(120, 860 // (1 + len(methods))))
    heads = [tag("th", Html("")), *(tag("th", _breakable(name)) for name in ("input", *methods))]
    body = [tag("tr", join([_caption(row.caption), *_cells(row, methods, side)])) for row in rows]
    note = "Red speaks for the explained output, blue against it, no colour is zero. Each map has its own scale."
    table = tag("table", join([tag("tr", join(heads)), *body]))
    return tag("figure", Html(tag("div", table, class_="maps") + text(note, "figcaption")))


def charts(rows: Sequence[Row], controls: Sequence[str] = ()) -> Html:
    """For each check and order: all methods in one chart, then each with its interval."""
    rows = [row for row in rows if row.measure != DIGEST]
    groups = dict.fromkeys((row.check, row.order) for row in rows if row.step > 0)
    return join(_chart_group([r for r in rows if (r.check, r.order) == group], group, controls) for group in groups)


def _chart_group(rows: Sequence[Row], group: tuple[str, str], controls: Sequence[str]) -> Html:
    check, order = group
    similarity = "spearman_abs" if any(row.measure == "spearman_abs" for row in rows) else rows[0].measure
    caption = f"{ORDERS.get(order, '')} {READING}"
    small = join(
        tag("figure", Html(text("the model's own output" if method == MODEL else method, "h3") + method_svg(rows, method)))
        for method in dict.fromkeys(row.method for row in rows)
    )
    large = cascade_svg(rows, similarity=similarity, controls=controls)
    note = text("Each method with its 95 % bootstrap interval over the inputs:", class_="quiet")
    return Html(
        text(f"{check}, {order}".rstrip(", "), "h3")
        + tag("figure", Html(large + text(caption, "figcaption")))
        + note
        + tag("div", small, class_="charts")
    )


def _caption(words: str) -> Html:
    first, *rest = words.split("\n")
    return tag("th", Html(esc(first) + join(text(line, "div", class_="note") for line in rest)), scope="row")


def _cells(row: render.GridRow, methods: Sequence[str], side: int) -> list[Html]:
    """The input, then its maps."""
    maps = (p.picture(render.panel_png(row.maps[m], image=row.image, side=side), m, side) for m in methods)
    return [tag("td", cell) for cell in (p.picture(render.picture_png(row.image, side=side), "input", side), *maps)]


def _breakable(name: str) -> Html:
    """A long name may break after an underscore."""
    return Html(esc(name).replace("_", "_<wbr>"))
