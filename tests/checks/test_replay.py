"""Computing a report again: the same numbers, or what differs by name."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from explainsvc.checks.replay import compared, question_of, require_same_subject
from explainsvc.errors import InvalidInput
from explainsvc.report.report import Report
from tests.checks.models import cnn, numbers, pictures

MODEL, X = cnn(), pictures(6)


@pytest.fixture(scope="module")
def report() -> Report:
    """Two methods, one with parameters, a contrastive target and labels; as it comes from its file."""
    parameters = {"lime": {"samples": 40}, "parameter_randomization": {"order": "independent"}}
    target = {"output": "y", "index": 1, "against": 2}
    found = MODEL.audit(X, methods=["gradient", "lime"], target=target, labels=np.arange(6) % 5, seed=3, parameters=parameters)
    return Report.from_json(json.loads(json.dumps(found.to_json())))


def test_the_same_machine_gives_the_same_bits(report: Report) -> None:
    """Every number and every verdict again, from what the file says alone."""
    result = compared(report, MODEL.audit(X, **question_of(report)))
    assert result.exact
    assert result.differences == ()
    assert result.compared > 5 * len(report.rows)


def test_a_changed_number_is_found_by_name(report: Report) -> None:
    """A last digit of one mean, and a verdict."""
    row = next(r for r in report.rows if r.method == "gradient" and r.step == 1)
    forged = dataclasses.replace(row, mean=np.nextafter(row.mean, 2.0))
    rows = tuple(forged if r is row else r for r in report.rows)
    words = report.verdicts | {("gradient", row.check): "insensitive"}
    result = compared(dataclasses.replace(report, rows=rows, verdicts=words), report)
    assert [d.what.rpartition(" ")[2] if ":" in d.what else d.what for d in result.differences] == [
        "mean", "verdict of gradient by parameter_randomization",
    ]  # fmt: skip


def test_another_machine_may_round_otherwise_but_not_decide_otherwise(report: Report) -> None:
    """A hundredth is within the stated tolerance there, a tenth is not; missing rows are differences everywhere."""
    elsewhere = dataclasses.replace(report, header=report.header | {"machine": "another"})
    for shift, differs in ((0.01, False), (0.1, True)):
        rows = tuple(dataclasses.replace(r, mean=r.mean + shift) for r in report.rows)
        assert bool(compared(dataclasses.replace(elsewhere, rows=rows), report).differences) == differs
    assert compared(elsewhere, dataclasses.replace(report, rows=report.rows[1:])).differences


def test_another_model_or_input_is_refused_with_both_digests(report: Report) -> None:
    """Before anything is computed."""
    require_same_subject(report, MODEL.digest, X)
    with pytest.raises(InvalidInput, match=MODEL.digest):
        require_same_subject(report, "0" * 64, X)
    with pytest.raises(InvalidInput, match=r'inputs\["x"\]'):
        require_same_subject(report, MODEL.digest, {"x": X["x"] + 1})
    with pytest.raises(InvalidInput, match="is missing"):
        require_same_subject(report, MODEL.digest, {})


def test_a_large_array_is_asked_for_by_its_digest() -> None:
    """The report holds the digest of a background of 12,800 numbers; the array given again must have it."""
    background = numbers(100, 2, 8, 8)
    given = {"expected_gradients": {"background": background, "samples": 4}}
    report = MODEL.audit(X, methods=["expected_gradients"], parameters=given)
    with pytest.raises(InvalidInput, match=r"expected_gradients\.background: is missing"):
        question_of(report)
    with pytest.raises(InvalidInput, match="is another array"):
        question_of(report, {"expected_gradients": {"background": background + 1}})
    again = question_of(report, {"expected_gradients": {"background": background}})
    assert compared(report, MODEL.audit(X, **again)).differences == ()
