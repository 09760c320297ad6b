"""The reproduction of the paper: its page, and how a statement is put to the numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import benchmarks.paper
from benchmarks.paper.audits import MPRT
from benchmarks.paper.claims import CLAIMS, Pair, judged
from benchmarks.paper.tables import by_step, walk
from explainsvc.report.report import Report
from tests.checks.models import cnn, pictures

FOLDER = Path(benchmarks.paper.__file__).parent
METHODS = ("gradient", "input_x_gradient", "guided_backprop")


@pytest.fixture(scope="module")
def pair() -> Pair:
    """Both orders on a small CNN."""
    found = [
        cnn().audit(pictures(6), methods=METHODS, parameters={MPRT: {"order": order}}) for order in ("cascading", "independent")
    ]
    return Pair(*found)


def test_the_page_and_its_figures_are_committed() -> None:
    """Every figure that RESULTS.md shows lies beside it, and none lies there unshown."""
    shown = set(re.findall(r"\((figures/[^)]+)\)", (FOLDER / "RESULTS.md").read_text(encoding="utf-8")))
    assert shown == {f"figures/{path.name}" for path in (FOLDER / "figures").iterdir()}


def test_a_statement_is_judged_for_every_method_that_was_run(pair: Pair) -> None:
    """One line each, five cells; the statement stands once; the methods that were not run have none."""
    lines = list(judged({"small": pair}))
    fit = [claim for claim in CLAIMS if claim.measure != "ssim"]  # eight pixels a side are too few
    asked = [method for claim in fit for method in claim.methods if method in METHODS]
    assert [line[2].strip("`") for line in lines] == asked
    assert all(len(line) == 5 and line[1] == "small" for line in lines)
    assert sum(bool(line[0]) for line in lines) == len({line[0] for line in lines} - {""})


def test_the_word_follows_the_numbers(pair: Pair) -> None:
    """Random maps of the gradient agree with the paper; maps that never change, put in their place, do not."""
    claim = CLAIMS[0]
    assert claim.find(pair, "gradient")[1]
    still = tuple(row for row in pair.cascading.rows if row.method == "sobel")
    assert not claim.find(Pair(Report(pair.cascading.header, still, {}), pair.independent), "sobel")[1]


def test_a_table_holds_the_rows_of_the_report(pair: Pair) -> None:
    """Methods by steps, controls last; a cell is the mean with its interval."""
    header, _, first, *rest = by_step(pair.cascading, "spearman").splitlines()
    assert header == "| method | original | head | second | first |"
    assert first.startswith("| `gradient` | 1.00 |")
    assert [line.split("`")[1] for line in rest] == ["input_x_gradient", "guided_backprop", "random", "sobel"]
    row = walk(pair.cascading, "gradient", "spearman")[1]
    assert f"{row.mean:.2f} [{row.low:.2f}, {row.high:.2f}]" in first
