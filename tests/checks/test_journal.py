"""An audit that goes on from a journal has the report of one that was never interrupted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explainsvc import engine, journals
from explainsvc.check import Part
from explainsvc.checks import CHECKS
from explainsvc.checks.journal import Finished
from explainsvc.checks.rows import Row
from explainsvc.errors import JournalMismatch
from explainsvc.exchange import Exchange
from explainsvc.journals import contents, kept
from explainsvc.model import Model
from explainsvc.report.report import Report
from tests.checks.models import cnn, pictures

METHODS = ("gradient", "integrated_gradients")
MASKS = np.zeros((6, 8, 8))
MASKS[:, 2:5, 2:5] = 1
PARAMETERS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 4},
    "localization": {"masks": MASKS},
    "select_parameters": {"parameter": "steps", "values": [2, 4], "neighbours": 2},
    "smooth_mprt": {"samples": 2},
    "fragility": {"steps": 4, "looks": 2},
    "sensitivity_n": {"subsets": 8},
    "infidelity": {"samples": 8},
}


@dataclass
class Kept:
    """A journal in memory; dies after a number of parts, as a process does."""

    known: Mapping[Part, Finished] = field(default_factory=dict)
    found: list[Finished] = field(default_factory=list)
    parts: float = math.inf

    def begin(self, _question: str) -> Mapping[Part, Finished]:
        """See Journal."""
        return self.known

    def record(self, finished: Finished) -> None:
        """See Journal."""
        self.found.append(finished)
        if len(self.found) >= self.parts:
            raise KeyboardInterrupt


def audited(model: Model, checks: Sequence[str], **more: Any) -> Report:
    """A report on six pictures, with the parameters that its checks need."""
    methods = ["integrated_gradients"] if list(checks) == ["select_parameters"] else METHODS
    parameters = {name: PARAMETERS[name] for name in (*methods, *checks) if name in PARAMETERS}
    return model.audit(pictures(6), methods=methods, checks=checks, parameters=parameters, **more)


def text(report: Report) -> str:
    """The whole report."""
    return json.dumps(report.to_json())


@pytest.mark.parametrize("check", CHECKS)
def test_parts_do_not_depend_on_each_other(check: str) -> None:
    """Whichever parts of a check are finished, the others make the rows that they make when all are made."""
    model, first = cnn(), Kept()
    whole = audited(model, [check], journal=first)
    assert len(first.found) > 0
    assert [row.to_json() for part in first.found for row in part.rows] == [row.to_json() for row in whole.rows]
    for odd in (0, 1):
        second = Kept({part.part: part for number, part in enumerate(first.found) if number % 2 == odd})
        assert text(audited(model, [check], journal=second)) == text(whole)
        assert [part.part for part in second.found] == [part.part for part in first.found[1 - odd :: 2]]


SEVERAL = ("parameter_randomization", "completeness", "random_logit")


def test_killed_again_and_again(tmp_path: Path) -> None:
    """An audit that dies after every third part, and goes on from its file each time, ends in the same report."""
    model, path = cnn(), tmp_path / "audit.jsonl"
    whole = text(audited(model, SEVERAL))
    heard: list[int] = []
    parts, deaths, report = 0, 0, None
    while report is None:
        with kept(path, resumed=heard.append) as journal:
            mortal = Mortal(journal)
            try:
                report = audited(model, SEVERAL, journal=mortal)
            except KeyboardInterrupt:
                deaths += 1
        lines = path.read_bytes().count(b"\n") - 1
        assert lines == parts + mortal.recorded
        parts = lines
    assert text(report) == whole
    assert deaths == parts // 3
    assert heard == sorted(set(heard))
    assert len(heard) == deaths


@dataclass
class Mortal:
    """A journal whose process dies at the third part that it records."""

    journal: journals.JournalFile
    recorded: int = 0

    def begin(self, question: str) -> Mapping[Part, Finished]:
        """See Journal."""
        return self.journal.begin(question)

    def record(self, finished: Finished) -> None:
        """See Journal."""
        self.journal.record(finished)
        self.recorded += 1
        if self.recorded == 3:
            raise KeyboardInterrupt


def test_what_is_finished_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a whole journal nothing is explained but the untouched model; the randomised models are not even built."""
    first = Kept()
    audited(cnn(), SEVERAL, journal=first)
    count: dict[str, int] = {"explanations": 0, "models": 0}

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            count[name] += 1
            return real(*arguments, **more)

        return call

    model = cnn()
    monkeypatch.setattr(engine, "attribute", counted("explanations", engine.attribute))
    monkeypatch.setattr(Exchange, "with_weights", counted("models", Exchange.with_weights))
    audited(model, SEVERAL, journal=Kept())
    everything, count["explanations"], models, count["models"] = count["explanations"], 0, count["models"], 0
    audited(model, SEVERAL, journal=Kept({part.part: part for part in first.found}))
    assert count == {"explanations": len(METHODS) + 2, "models": 0}  # sobel and random are explained beside
    assert everything >= 5 * count["explanations"]
    assert models == 4


def test_floats_come_back_bit_for_bit(tmp_path: Path) -> None:
    """NaN, infinities, the smallest and the longest numbers, through the file."""
    numbers = (math.nan, math.inf, -math.inf, 5e-324, 0.1 + 0.2, -0.0, 1.7976931348623157e308)
    rows = tuple(Row("c", "m", "", 0, "ü", "x", value, value, value, value, 3, "a\nb", value) for value in numbers)
    with kept(tmp_path / "journal") as journal:
        journal.begin("{}")
        journal.record(Finished(("c", "m"), 0.1, rows))
    (found,) = contents((tmp_path / "journal").read_bytes()).finished
    bits = [[np.float64(getattr(row, name)).tobytes() for name in ("mean", "std", "low", "high", "amount")] for row in rows]
    assert [
        [np.float64(getattr(row, name)).tobytes() for name in ("mean", "std", "low", "high", "amount")] for row in found.rows
    ] == bits
    assert [replace(row, mean=0, std=0, low=0, high=0, amount=0) for row in found.rows] == [
        replace(row, mean=0, std=0, low=0, high=0, amount=0) for row in rows
    ]


def test_a_torn_line_is_dropped(tmp_path: Path) -> None:
    """A journal cut at any byte is read up to its last whole line, and is written on from there."""
    path = tmp_path / "journal"
    rows = (Row("c", "m", "", 0, "", "x", 1.0, 1.0, 1.0, 1.0, 3, amount=0.5),)
    parts = [Finished(("c", str(number)), 0.5, rows) for number in range(3)]
    with kept(path) as journal:
        journal.begin('{"seed": 1}')
        for part in parts:
            journal.record(part)
    data = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(data) if byte == ord("\n")]
    for cut in range(0, len(data) + 1, 7):
        whole = max(0, sum(end <= cut for end in ends) - 1)
        path.write_bytes(data[:cut])
        with kept(path) as journal:
            assert list(journal.begin('{"seed": 1}').values()) == parts[:whole]
            journal.record(parts[-1])
        assert contents(path.read_bytes()).finished == (*parts[:whole], parts[-1])


ASKED = {"methods": ["gradient"], "checks": ["complexity"]}
CHANGES: dict[str, dict[str, Any]] = {
    "inputs": {"feeds": pictures(7)},
    "methods": {"methods": ["gradient", "input_x_gradient"]},
    "checks": {"parameters": {"complexity": {"threshold": 0.5}}},
    "target": {"target": {"output": "y", "seed": np.ones((6, 5), np.float32)}},
    "labels": {"labels": np.arange(6) % 5},
    "seed": {"seed": 1},
}


@pytest.mark.parametrize("changed", CHANGES)
def test_the_journal_of_another_question_is_refused(changed: str, tmp_path: Path) -> None:
    """It names what differs, and leaves the journal as it is; asked afresh, the audit begins anew."""
    model, path = cnn(), tmp_path / "journal"
    with kept(path) as journal:
        model.audit(pictures(6), journal=journal, **ASKED)
    before = path.read_bytes()
    question = {"feeds": pictures(6), **ASKED, **CHANGES[changed]}
    with kept(path) as journal, pytest.raises(JournalMismatch, match=f"with other {changed}\\. expected"):
        model.audit(question["feeds"], journal=journal, **{k: v for k, v in question.items() if k != "feeds"})
    assert path.read_bytes() == before
    with kept(path, fresh=True) as journal:
        model.audit(question["feeds"], journal=journal, **{k: v for k, v in question.items() if k != "feeds"})
    assert contents(path.read_bytes()).question != contents(before).question


def test_the_journal_of_another_model_or_environment_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other weights, another number of threads, a file of another format."""
    path = tmp_path / "journal"
    with kept(path) as journal:
        cnn().audit(pictures(6), journal=journal, **ASKED)
    other = cnn().with_weights({"d": np.ones(5, np.float32)})
    with kept(path) as journal, pytest.raises(JournalMismatch, match="other model"):
        other.audit(pictures(6), journal=journal, **ASKED)
    monkeypatch.setenv("EXPLAINSVC_THREADS", "3")
    with kept(path) as journal, pytest.raises(JournalMismatch, match="other threads"):
        cnn().audit(pictures(6), journal=journal, **ASKED)
    path.write_text('{"format": "explainsvc.journal/9"}\n')
    with kept(path) as journal, pytest.raises(JournalMismatch, match="journal/9"):
        cnn().audit(pictures(6), journal=journal, **ASKED)


def test_who_gives_up_while_it_is_opened_leaves_no_lock(tmp_path: Path) -> None:
    """A thread that opens a journal after it was closed, as that of a cancelled audit may, keeps neither file nor lock."""
    with kept(tmp_path / "journal") as abandoned:
        pass
    with pytest.raises(ValueError, match="closed"):
        abandoned.begin('{"model": "m"}')
    with kept(tmp_path / "journal") as journal:
        assert journal.begin('{"model": "m"}') == {}


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A journal in use is refused, and free again afterwards."""
    path = tmp_path / "journal"
    with kept(path) as journal, kept(path) as second:
        journal.begin("{}")
        with pytest.raises(JournalMismatch, match="another process"):
            second.begin("{}")
    with kept(path) as journal:
        assert journal.begin("{}") == {}
        journal.remove()
    assert not path.exists()
