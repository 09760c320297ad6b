"""Tables of a report's numbers, as Markdown: a mean and its 95 % interval per method and step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.paper.audits import MPRT
from benchmarks.results import table
from explainsvc.checks.rows import MODEL, Row
from explainsvc.report.report import Report

OTHERS = ("pearson", "ssim", "hog", "sign_agreement", "topk_intersection")


def walk(report: Report, method: str, measure: str) -> list[Row]:
    """A method's rows of the randomisation, step by step."""
    found = [r for r in report.rows if (r.check, r.method, r.measure) == (MPRT, method, measure)]
    return sorted(found, key=lambda row: row.step)


def methods_of(report: Report) -> list[str]:
    """Those that were asked for and could be run, then the controls."""
    known = {row.method for row in report.rows if row.check == MPRT}
    asked = [name for name in report.header["asked"] if name in known]
    return asked + [name for name in report.header["controls"] if name in known and name not in asked]


def by_step(report: Report, measure: str) -> str:
    """Methods by steps: mean [interval]."""
    names = [row.unit.strip("/") or "original" for row in walk(report, methods_of(report)[0], measure)]
    lines = [[f"`{method}`", *map(cell, walk(report, method, measure))] for method in methods_of(report)]
    return table(["method", *names], lines)


def at_the_end(report: Report) -> str:
    """Methods by the other similarities, all units random; the verdict beside them."""
    measures = [m for m in OTHERS if walk(report, methods_of(report)[0], m)]
    lines = [
        [f"`{name}`", *(cell(walk(report, name, m)[-1]) for m in measures), report.verdicts.get((name, MPRT), "–")]
        for name in methods_of(report)
    ]
    return table(["all units random", *measures, "verdict"], lines)


def of_the_model(report: Report) -> str:
    """What each step did to the model's own output."""
    measures = [m for m in ("accuracy", "argmax_agreement", "output_correlation") if walk(report, MODEL, m)]
    names = [row.unit.strip("/") or "original" for row in walk(report, MODEL, measures[0])]
    return table(["the model", *names], [[m, *map(cell, walk(report, MODEL, m))] for m in measures])


def cell(row: Row) -> str:
    """0.43 [0.41, 0.45]; a dash where there is none, and n where items were left out."""
    if row.n < 2:
        return "–"
    interval = f" [{row.low:.2f}, {row.high:.2f}]" if f"{row.low:.2f}" != f"{row.high:.2f}" else ""
    return f"{row.mean:.2f}{interval}".replace("-0.00", "0.00") + (f" (n {row.n})" if "left out" in row.note else "")


def facts(report: Report, words: Sequence[str]) -> Iterator[str]:
    """Digest, inputs, and what could not be run."""
    yield f"- model sha256 `{report.header['model']['digest']}`"
    for name, array in report.header["inputs"].items():
        yield f"- input `{name}` {array['shape']}, sha256 `{array['digest']}`"
    yield from (f"- {word}" for word in words)
    for method, reason in report.header["refused"].items():
        yield f"- `{method}` does not apply: {reason.split('. expected')[0].removeprefix('model: ')}"
