from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import explainsvc
from explainsvc import cli, demo
from explainsvc.checks._spectra import LEVEL, traces_of
from explainsvc.checks.learned import NAME
from explainsvc.checks.rows import MODEL
from explainsvc.checks.verdicts import UNTAUGHT
from explainsvc.errors import MethodNotApplicable
from explainsvc.model import Model
from explainsvc.randomisation import randomised
from explainsvc.report.report import Report
from tests.checks.models import Array, built, cnn, linear, numbers, pictures, rows, squares

DIGITS = Path(demo.__file__).with_name("digits.onnx")
MPRT = "parameter_randomization"
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array]:
    """Held-out pictures of the demo's model, and their labels."""
    with np.load(DIGITS.with_suffix(".npz")) as data:
        return data["image"], data["label"]


def audited(model: Model, x: Array, labels: Array | None = None, checks: tuple[str, ...] = (NAME,), **question: Any) -> Report:
    """The gradient on these inputs, put through the check."""
    return model.audit({model.inputs[0].name: x}, methods=["gradient"], checks=checks, labels=labels, **question)


def word(report: Report) -> str:
    """The verdict on the model."""
    return report.verdicts[MODEL, NAME]


def untrained() -> Iterator[tuple[str, Model]]:
    """The demo's architecture as three initialisers draw it, and the trained weights in another order."""
    trained = explainsvc.load(DIGITS)
    for seed, distribution in enumerate(("he_normal", "glorot_uniform", "lecun_normal", "permute")):
        yield distribution, explainsvc.load(randomised(trained, distribution=distribution, seed=seed))


def test_a_trained_model_passes_with_and_without_labels(digits: tuple[Array, Array]) -> None:
    """The demo's model classifies held-out digits: the accuracy says so, and so do the weights alone."""
    x, labels = digits
    model = explainsvc.load(DIGITS)
    assert word(audited(model, x, labels)) == "pass"
    assert word(audited(model, x)) == "pass"


@pytest.mark.parametrize("model", [pytest.param(model, id=name) for name, model in untrained()])
def test_an_untrained_model_fails_with_and_without_labels(model: Model, digits: tuple[Array, Array]) -> None:
    """Freshly drawn or shuffled weights of the same architecture have learned nothing, whatever the initialiser."""
    x, labels = digits
    assert word(audited(model, x, labels)) == "fail"
    assert word(audited(model, x)) == "fail"


def test_a_model_that_learned_something_else_fails_by_its_accuracy(digits: tuple[Array, Array]) -> None:
    """Labels that say another digit than the trained model's: weights pass, accuracy does not, and both are said."""
    x, labels = digits
    report = audited(explainsvc.load(DIGITS), x, (labels + 1) % 10)
    assert word(report) == "fail"
    assert "accuracy 0.0" in report.reasons[MODEL, NAME]
    assert "ordered as by learning" in report.reasons[MODEL, NAME]


def test_accuracies_are_those_of_the_public_interface(digits: tuple[Array, Array]) -> None:
    """The model's own by predict; guessing is the best of the models that `randomised` gives for the next seeds."""
    x, labels = digits
    model = explainsvc.load(DIGITS)
    found = {row.measure: row for row in audited(model, x, labels, seed=5, parameters={NAME: {"redraws": 4}}).rows}
    drawn = [explainsvc.load(randomised(model, seed=5 + k)) for k in range(4)]
    right = [float((m.predict({"image": x})["logits"].argmax(1) == labels).mean()) for m in (model, *drawn)]
    assert found["accuracy"].mean == right[0]
    assert found["redrawn_accuracy"].mean == pytest.approx(np.mean(right[1:]))
    assert found["guessing"].mean == pytest.approx(max(*right[1:], 0.1))  # ten classes, as many pictures of each
    assert found["accuracy"].n == len(x)


def dense(weights: Array) -> Model:
    """x [n, in] → x·Wᵀ → y [n, out]; W is [out, in]."""
    return explainsvc.load(
        built([helper.make_node("MatMul", ["x", "w"], ["y"], "dense")], ["n", len(weights.T)], {"w": weights.T})
    )


def draws(count: int, heavy: bool) -> Iterator[Array]:
    """Independent weights, normal or of heavy tails, each output with a scale of its own."""
    for seed in range(count):
        rng = np.random.default_rng([seed, heavy])
        w = rng.standard_t(3, (12, 20)) if heavy else rng.normal(size=(12, 20))
        yield (w * rng.lognormal(size=(12, 1))).astype(np.float32)


@pytest.mark.parametrize("heavy", [False, True])
def test_the_p_value_is_uniform_for_weights_as_they_are_drawn(heavy: bool) -> None:
    """Of 60 untrained layers half have p ≤ 1/2, within four standard deviations, whatever tails and scales they have."""
    p = np.array([traces_of(dense(w), 0)[0].p_value for w in draws(60, heavy)])
    assert abs((p <= 0.5).sum() - 30) < 4 * math.sqrt(60 * 0.5 * 0.5)


@pytest.mark.parametrize(("times", "found"), [(3.0, True), (0.3, False)])
def test_a_direction_shows_from_the_share_on_that_is_reported(times: float, found: bool) -> None:
    """A common direction of three times the detectable share of the variance is found, one of a third of it is not."""
    noise = numbers(40, 90)
    share = 1 / math.sqrt(noise.size)
    u, v = (side / np.linalg.norm(side) for side in (numbers(40, 1, seed=1), numbers(1, 90, seed=1)))
    (trace,) = traces_of(dense(noise + math.sqrt(times * share * noise.size) * u @ v), 0)
    assert trace.share == pytest.approx(share)
    assert (trace.p_value <= LEVEL) == found


def test_orthogonal_weights_are_not_learned() -> None:
    """An orthogonal initialisation has no largest eigenvalue that stands out: all are equal."""
    orthogonal, _ = np.linalg.qr(numbers(40, 40))
    (trace,) = traces_of(dense(orthogonal), 0)
    assert trace.p_value > 0.5


def test_small_tensors_leave_it_open_unless_there_are_labels() -> None:
    """Twelve by four weights hide what they learned; labels that the model itself gives decide it."""
    model, x = linear(), rows(40)["x"]
    assert word(audited(model, x)) == "inconclusive"
    assert word(audited(model, x, model.predict({"x": x})["y"].argmax(1))) == "pass"
    assert word(audited(model, x[:4], np.array([0, 1, 2, 3]))) == "inconclusive"


def test_the_verdict_is_in_every_form_of_the_report(digits: tuple[Array, Array], tmp_path: Path) -> None:
    """JSON and page hold the verdict on the model, the command line prints it, and --fail-on ends in 3."""
    (tmp_path / "fresh.onnx").write_bytes(randomised(explainsvc.load(DIGITS)).SerializeToString())
    np.savez(tmp_path / "x.npz", image=digits[0])
    command = ["audit", str(tmp_path / "fresh.onnx"), "--inputs", str(tmp_path / "x.npz"), "--methods", "gradient"]
    assert cli.main([*command, "--checks", NAME, "--out", str(tmp_path), "--fail-on", "fail"]) == 3
    document = json.loads((tmp_path / "report.json").read_text())
    assert [(v["method"], v["check"], v["verdict"]) for v in document["verdicts"]] == [(MODEL, NAME, "fail")]
    assert "drawn at random" in (tmp_path / "report.html").read_text()


def test_randomisation_says_that_there_was_nothing_to_lose(digits: tuple[Array, Array]) -> None:
    """The gradient of an untrained model changes with the weights, and the verdict says what that is worth."""
    trained = explainsvc.load(DIGITS)
    fresh = explainsvc.load(randomised(trained, seed=11))
    reports = [audited(model, digits[0], checks=(MPRT,)) for model in (fresh, trained)]
    assert [r.verdicts["gradient", MPRT] for r in reports] == ["sensitive", "sensitive"]
    assert [r.reasons["gradient", MPRT].endswith(UNTAUGHT) for r in reports] == [True, False]


def test_accuracy_that_is_lost_is_enough_to_have_learned() -> None:
    """Random weights that classify as the labels say: randomising costs the accuracy, and nothing is held against the model."""
    model, x = cnn(), pictures()["x"]
    labels = model.predict({"x": x})["y"].argmax(axis=1)
    assert not audited(model, x, labels, checks=(MPRT,)).reasons["gradient", MPRT].endswith(UNTAUGHT)


def test_a_model_without_learned_tensors_is_left_open_beside_other_checks() -> None:
    """A sum of squares has no weights to look at: an error alone, an open verdict on the model beside another check."""
    model, x = squares(), rows()["x"]
    with pytest.raises(MethodNotApplicable, match="no learned tensors"):
        audited(model, x)
    report = audited(model, x, checks=(NAME, "complexity"))
    assert word(report) == "inconclusive"
    assert "no learned tensors" in report.reasons[MODEL, NAME]


def test_recurrent_weights_are_read_by_output() -> None:
    """W and R of an LSTM are [direction, gate · cell, input]: each is a matrix of its own, named by the same unit."""
    node = helper.make_node("LSTM", ["x", "w", "r"], ["", "h", ""], "lstm", hidden_size=4)
    squeeze = helper.make_node("Squeeze", ["h", "axis"], ["y"], "squeeze")
    tensors = {"w": numbers(1, 16, 5), "r": numbers(1, 16, 4), "axis": np.array([0])}
    found = traces_of(explainsvc.load(built([node, squeeze], [7, "n", 5], tensors)), 0)
    assert [(t.unit, round(t.share, 6)) for t in found] == [("lstm", round((16 * 5) ** -0.5, 6)), ("lstm", 0.125)]


TRAINED = ("mnist-cnn-torch-tribuo", "mnist-mlp5x20-leaky-torch", "squeezenet10-fp32-derived")
UNTRAINED = ("control-mnist-mlp-untrained", "control-tinybert-random")


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpus is not beside this checkout")
@pytest.mark.parametrize("name", [*TRAINED, *UNTRAINED])
def test_models_of_other_people(name: str) -> None:
    """Those that were trained have weights that show it; the two that are untrained on purpose have not."""
    traces = traces_of(explainsvc.load(CORPUS / name / "model.onnx"), 0)
    assert (min(t.p_value for t in traces) <= LEVEL) == (name in TRAINED)
