from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import explainsvc
from explainsvc.cards import HEADINGS
from explainsvc.checks import CHECKS
from explainsvc.checks.parameter_randomization import NAME
from explainsvc.checks.rows import Row
from explainsvc.errors import InvalidInput, InvalidParameter, MethodNotApplicable, UnknownMethod
from explainsvc.report.report import Report
from tests.checks.models import cnn, fixed_edges, numbers, pictures


def test_controls_run_beside_and_are_not_judged() -> None:
    """They have rows and a place in the header, but a verdict only when the caller asked for them."""
    report = cnn().audit(pictures(6), methods=["gradient"])
    assert {row.method for row in report.rows} == {"model", "gradient", "random", "sobel"}
    assert report.header["controls"] == ["random", "sobel"]
    assert set(report.verdicts) == {("gradient", NAME)}


def test_a_control_that_does_not_fit_is_left_out_unless_asked_for() -> None:
    """Rows of numbers have no edges: sobel is skipped beside the others, and refused by name."""
    model, x = fixed_edges(), {"x": numbers(6, 12)}
    assert model.audit(x, methods=["gradient"]).header["controls"] == ["random"]
    with pytest.raises(MethodNotApplicable):
        model.audit(x, methods=["sobel"])


def test_rows_stream_and_closing_cancels() -> None:
    """Rows come while later steps have not been computed; after close nothing is computed any more."""
    heard: list[tuple[int, int, str]] = []
    rows = cnn().audit_rows(pictures(6), methods=["gradient"], progress=lambda *step: heard.append(step))
    assert not heard
    first = next(row for row in rows if row.method == "gradient")
    assert first.step == 0
    assert heard[-1][0] < heard[-1][1]
    count = len(heard)
    rows.close()  # type: ignore[attr-defined]
    assert len(heard) == count
    assert list(rows) == []


def test_the_first_rows_come_before_any_method_explains() -> None:
    """Those of a first check on the model itself wait for no method, and come once."""
    heard: list[str] = []
    checks = ["learned", "parameter_randomization"]
    rows = cnn().audit_rows(
        pictures(6), methods=["gradient"], checks=checks, progress=lambda _done, _total, what: heard.append(what)
    )
    first = next(rows)
    assert (first.check, first.method) == ("learned", "model")
    assert heard == ["learned: weights: model"]
    keys = [(row.check, row.method, row.step, row.measure) for row in (first, *rows)]
    assert len(set(keys)) == len(keys)
    assert any(what.startswith("untouched") for what in heard)


def test_rows_are_the_reports() -> None:
    """audit_rows, on_row and the report give the same rows; progress ends with all done."""
    model, x = cnn(), pictures(6)
    seen: list[Row] = []
    heard: list[tuple[int, int, str]] = []
    report = model.audit(x, methods=["gradient"], on_row=seen.append, progress=lambda *step: heard.append(step))
    assert tuple(seen) == report.rows
    assert [r.to_json() for r in model.audit_rows(x, methods=["gradient"])] == [r.to_json() for r in report.rows]
    assert heard[-1][0] == heard[-1][1]


def test_an_audit_repeats_itself() -> None:
    """The same seed gives the same document; another seed other numbers."""
    model, x = cnn(), pictures(6)
    documents = [json.dumps(model.audit(x, methods=["gradient"], seed=s).to_json()) for s in (0, 0, 1)]
    assert documents[0] == documents[1] != documents[2]


def test_the_report_says_what_it_takes_to_repeat_it(tmp_path: Path) -> None:
    """Digests of model and inputs, methods with parameters, the check's parameters and rule; it survives JSON and HTML."""
    model, x = cnn(), pictures(6)
    parameters = {NAME: {"distribution": "permute"}, "random": {"distribution": "uniform"}}
    report = model.audit(x, methods=["gradient"], target=2, seed=7, parameters=parameters)
    header = report.header
    assert header["model"]["digest"] == model.digest
    assert header["inputs"]["x"]["digest"] == hashlib.sha256(x["x"].tobytes()).hexdigest()
    assert header["methods"]["random"]["parameters"] == {"distribution": "uniform"}
    assert header["checks"][NAME]["parameters"]["distribution"] == "permute"
    assert "0.5" in header["checks"][NAME]["rule"]
    assert header["checks"][NAME]["units"] == ["head", "second", "first"]
    assert (header["seed"], header["target_given"], header["target"]) == (7, 2, "y[2]")
    assert header["equality"]["max_error"] < 1e-5
    report.save(tmp_path / "report.json")
    report.save(tmp_path / "report.html")
    again = Report.from_json(json.loads((tmp_path / "report.json").read_text()))
    assert (again.rows, again.verdicts) == (report.rows, report.verdicts)
    assert NAME in (tmp_path / "report.html").read_text()


def test_what_does_not_fit_is_refused() -> None:
    """Unknown names, parameters of what is not run, labels of the wrong length, no method at all: each a typed error."""
    model, x = cnn(), pictures(6)
    with pytest.raises(UnknownMethod, match="gradiant"):
        model.audit(x, methods=["gradiant"])
    with pytest.raises(UnknownMethod, match="parameter_randomisation"):
        model.audit(x, methods=["gradient"], checks=["parameter_randomisation"])
    with pytest.raises(InvalidParameter, match="methods: is empty"):
        model.audit(x, methods=[])
    with pytest.raises(InvalidParameter, match="no method or check of this audit"):
        model.audit(x, methods=["gradient"], parameters={"occlusion": {"window": 3}})
    with pytest.raises(InvalidParameter, match="he_norml"):
        model.audit(x, methods=["gradient"], parameters={NAME: {"distribution": "he_norml"}})
    with pytest.raises(InvalidInput, match="labels"):
        model.audit(x, methods=["gradient"], labels=np.zeros(5, int))
    with pytest.raises(InvalidInput, match="labels"):
        model.audit(x, methods=["gradient"], labels=np.zeros(6))


@pytest.mark.parametrize("name", CHECKS)
def test_cards_are_complete(name: str) -> None:
    """Every heading of every check's card is filled, and the card is listed."""
    card = explainsvc.checks()[name]
    assert card.name == name
    assert card.summary
    assert all(getattr(card, heading.lower()) for heading in HEADINGS)
    assert all(p.description for p in card.parameters)
