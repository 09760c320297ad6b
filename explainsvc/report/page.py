"""The bricks of a self-contained HTML page: every text goes through ``esc``, every picture is inline."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NewType

Html = NewType("Html", str)
"""Markup that is already safe; plain strings are escaped wherever they are put."""

CSS = """
:root { color-scheme: light; --ink:#20242a; --quiet:#5c6570; --line:#dfe3e8; --wash:#f6f8fa; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue",
  "DejaVu Sans", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 28px 64px; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 6px; } h2 { font-size: 1.25rem; margin: 44px 0 10px; }
h3 { font-size: 1.05rem; margin: 28px 0 6px; } h4 { font-size: .95rem; margin: 16px 0 4px; } p { margin: 8px 0; max-width: 78ch; }
.quiet, figcaption, .note { color: var(--quiet); font-size: .9rem; }
code { font: .88em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.long { overflow-wrap: anywhere; }
pre { background: var(--wash); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px;
  overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 10px 0; font-size: .94rem; }
th { text-align: left; color: var(--quiet); font-weight: 600; font-size: .84rem; }
th, td { padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
table.facts th { width: 180px; font-size: .94rem; font-weight: 500; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.number + td, th.number + th { padding-left: 16px; }
.badge { display: inline-block; border-radius: 999px; padding: 1px 11px; font-size: .86rem; font-weight: 600;
  white-space: nowrap; background: #e9ecf0; color: #3c4650; }
.good { background: #d9f0e1; color: #12592f; } .bad { background: #fbdedb; color: #8a1710; }
.open { background: #fdf0cf; color: #6f4a00; }
.rule { border-left: 4px solid #c9d1da; background: var(--wash); padding: 10px 16px; border-radius: 0 8px 8px 0; }
.lead { font-size: 1.08rem; }
figure { margin: 14px 0; } figure svg, figure img { max-width: 100%; height: auto; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 10px 22px; }
.charts figure { margin: 6px 0; }
.wide, .maps, .broad { overflow-x: auto; } .maps table { width: auto; } .broad svg { min-width: 600px; }
.maps td, .maps th { border: 0; padding: 4px 10px 4px 0; text-align: center; vertical-align: middle; }
.maps th { font-weight: 500; color: var(--ink); } .maps th[scope=row] { text-align: left; white-space: nowrap; }
.maps img { display: block; max-width: none; border: 1px solid var(--line); margin: 0 auto; }
details { margin: 10px 0; } summary { cursor: pointer; color: var(--quiet); }
.matrix table { width: auto; } .matrix th, .matrix td { padding: 6px 12px 6px 0; vertical-align: middle; }
.matrix th { color: var(--ink); font-weight: 500; } .matrix td, .matrix code { white-space: nowrap; }
@media (max-width: 640px) { main { padding: 20px 16px 40px; } .stack thead { display: none; }
  .stack tr { display: block; padding: 8px 0; border-bottom: 1px solid var(--line); }
  .stack td { display: inline-block; border: 0; padding: 2px 10px 2px 0; } .stack td:last-child { display: block; }
  table.facts th { width: auto; } table.facts th, table.facts td { display: block; padding-right: 0; }
  table.facts th { border: 0; padding-bottom: 0; } td, code { overflow-wrap: anywhere; }
  .wide td, .wide code { overflow-wrap: normal; } .wide td { min-width: 3.5rem; } .wide td:last-child { min-width: 13rem; }
  .wide .long, .stack td, .stack code { overflow-wrap: anywhere; } .stack .wide td { min-width: 0; } }
@media print { main { max-width: none; padding: 0; } details { display: block; } }
"""


def esc(value: object) -> Html:
    """The value as text, harmless in elements and in quoted attributes."""
    return Html(html.escape(str(value), quote=True))


def join(parts: Iterable[Html], between: str = "") -> Html:
    """Safe pieces one after the other."""
    return Html(between.join(parts))


def tag(name: str, content: Html, **attributes: object) -> Html:
    """An element; ``class_`` stands for ``class``, and every attribute value is escaped."""
    written = "".join(f' {key.rstrip("_")}="{esc(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{written}>{content}</{name}>")


def text(words: str, name: str = "p", **attributes: object) -> Html:
    """An element that holds plain text."""
    return tag(name, esc(words), **attributes)


def code(words: object) -> Html:
    """Something a machine reads: a name, a digest, a value."""
    return tag("code", esc(words), class_="long") if len(str(words)) > 48 else tag("code", esc(words))


def section(title: str, *parts: Html) -> Html:
    """A heading and what belongs to it."""
    return tag("section", Html(text(title, "h2") + join(parts)))


def facts(entries: Mapping[str, Html]) -> Html:
    """A table of name and value; empty values are left out."""
    rows = (Html(text(name, "th", scope="row") + tag("td", value)) for name, value in entries.items() if value)
    return tag("table", join(tag("tr", row) for row in rows), class_="facts")


def table(heads: Sequence[str], rows: Iterable[Sequence[Html]], numbers: frozenset[int] = frozenset()) -> Html:
    """A table, which scrolls by itself where the page is narrow; the columns in ``numbers`` are set right-aligned."""

    def cell(name: str, column: int, content: Html) -> Html:
        return tag(name, content, class_="number") if column in numbers else tag(name, content)

    head = join(cell("th", column, esc(words)) for column, words in enumerate(heads))
    body = join(tag("tr", join(cell("td", column, part) for column, part in enumerate(row))) for row in rows)
    return tag("div", tag("table", Html(tag("thead", tag("tr", head)) + tag("tbody", body))), class_="wide")


def picture(png: bytes, alt: str, width: int | None = None) -> Html:
    """A PNG inside the page."""
    data = base64.b64encode(png).decode("ascii")
    size = "" if width is None else f' width="{width}"'
    return Html(f'<img src="data:image/png;base64,{data}" alt="{esc(alt)}"{size}>')


def parameters(values: Mapping[str, Any]) -> Html:
    """``name = value`` pairs on one line; a dash when there are none."""
    return join((code(f"{name} = {value!r}") for name, value in values.items()), ", ") or esc("none")


def page(title: str, *parts: Html) -> str:
    """A whole document that loads nothing from anywhere and runs no script."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{esc(title)}</title><style>{CSS}</style></head>"
        f"<body><main>{join(parts, chr(10))}</main></body></html>\n"
    )
