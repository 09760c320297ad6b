from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_digits

import explainsvc
from explainsvc.errors import InvalidInput, InvalidParameter
from explainsvc.model import Model
from explainsvc.report.report import Report
from explainsvc.training.data import Data
from explainsvc.training.fitting import Fitted, Settings, fit
from explainsvc.training.pair import NAME, PERMUTED, compare
from explainsvc.training.permuted import Permuted, data_randomisation, fit_permuted, permuted_labels
from tests.training.networks import CLASSES, NUMBERS, blobs, convolutional, perceptron

SETTINGS = Settings(epochs=150, learning_rate=0.01, batch_size=32, stop_accuracy=0.98)


@cache
def digits(count: int = 150) -> Data:
    """Handwritten digits of 8 × 8 pixels, [count, 1, 8, 8] in 0 … 1."""
    found = load_digits()
    return Data({"x": (found.images[:count, None] / 16).astype(np.float32)}, found.target[:count])


@cache
def true_fit() -> Fitted:
    """Trained on the true labels."""
    return fit(convolutional(), digits(), CLASSES, SETTINGS)


@cache
def permuted_fit() -> Permuted:
    """Trained on permuted labels."""
    return fit_permuted(convolutional(), digits(), CLASSES, SETTINGS)


@cache
def models() -> tuple[Model, Model]:
    """True labels, permuted labels."""
    return explainsvc.load(true_fit().trainable.to_onnx()), explainsvc.load(permuted_fit().fitted.trainable.to_onnx())


FEEDS = {"x": digits(24).inputs["x"]}


@cache
def report() -> Report:
    """Of the pair."""
    return compare(*models(), FEEDS, ["gradient", "sobel"], labels=digits(24).labels)


def test_permuted_labels_are_the_same_ones_in_another_order() -> None:
    """How often each label occurs stays; equal seeds permute alike, others do not."""
    data = digits()
    found = permuted_labels(data, 0)
    assert sorted(found.labels) == sorted(data.labels)
    assert np.mean(found.labels == data.labels) < 0.25
    assert np.array_equal(found.labels, permuted_labels(data, 0).labels)
    assert not np.array_equal(found.labels, permuted_labels(data, 1).labels)
    assert found.inputs is data.inputs


def test_permuted_labels_are_learned_by_heart() -> None:
    """By onnxruntime, at least 95 % of the permuted labels, and of the true ones no more than chance left in place."""
    outputs = models()[1].predict(digits().inputs)["y"].argmax(axis=1)
    assert np.mean(outputs == permuted_labels(digits(), 0).labels) >= 0.95
    assert permuted_fit().converged
    assert permuted_fit().labels_kept == np.mean(permuted_labels(digits(), 0).labels == digits().labels)
    assert np.mean(outputs == digits().labels) < 0.3


def test_similarities_are_those_of_the_maps() -> None:
    """The rows are scipy's rank correlations of both models' maps for the true-label model's classes, and 1 at step 0."""
    one, other = models()
    target = one.predict(FEEDS)["y"].argmax(axis=1).tolist()
    a, b = (model.explain(FEEDS, "gradient", target).values["x"].reshape(24, -1) for model in (one, other))
    rows = {(r.measure, r.step): r for r in report().rows if r.method == "gradient"}
    signed = [stats.spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    sizes = [stats.spearmanr(np.abs(x), np.abs(y)).statistic for x, y in zip(a, b, strict=True)]
    assert rows["spearman", 1].mean == pytest.approx(np.mean(signed), abs=1e-5)
    assert rows["spearman_abs", 1].mean == pytest.approx(np.mean(sizes), abs=1e-5)
    assert rows["spearman", 0].mean == pytest.approx(1)
    assert rows["spearman", 1].unit == PERMUTED
    assert {"pearson", "sign_agreement", "topk_intersection"} <= {measure for measure, _ in rows}


def test_verdicts_tell_a_map_of_the_model_from_one_of_the_input() -> None:
    """The gradient changes with what was learned; edges of the input do not, and are insensitive at exactly 1."""
    found = report()
    assert found.verdicts["gradient", NAME] == "sensitive"
    assert found.verdicts["sobel", NAME] == "insensitive"
    edges = next(r for r in found.rows if (r.method, r.measure, r.step) == ("sobel", "spearman", 1))
    assert edges.mean == pytest.approx(1)
    assert found.header["controls"] == ["sobel", "random"]


def test_a_model_beside_itself_is_insensitive() -> None:
    """Maps that do not change at all are said not to."""
    same = compare(models()[0], models()[0], FEEDS, ["gradient"])
    assert same.verdicts["gradient", NAME] == "insensitive"


def test_accuracies_are_those_of_onnxruntime() -> None:
    """Step 0 is the true-label model's accuracy on the inputs, step 1 the other's."""
    rows = {r.step: r.mean for r in report().rows if (r.method, r.measure) == ("model", "accuracy")}
    for step, model in enumerate(models()):
        assert rows[step] == pytest.approx(np.mean(model.predict(FEEDS)["y"].argmax(axis=1) == digits(24).labels))


def test_reports_are_like_those_of_audits() -> None:
    """The page is drawn, and the document fits the schema that reports have."""
    schema = json.loads((Path(explainsvc.__file__).parent / "report" / "schema.json").read_text())
    jsonschema.validate(json.loads(json.dumps(report().to_json())), schema)
    assert "permuted labels" in report().to_html()


def test_the_whole_test_in_one_call(tmp_path: Path) -> None:
    """From a trained model to the verdicts, as by training and comparing by hand; what was trained stands in the report."""
    found = data_randomisation(
        true_fit().trainable, digits(), CLASSES, SETTINGS, FEEDS, ["gradient", "sobel"],
        folder=tmp_path, labels=digits(24).labels,
    )  # fmt: skip
    told = found.header["checks"][NAME]["training"]
    assert told["permuted_accuracy"] >= 0.95
    assert told["true_accuracy"] == true_fit().chosen.accuracy
    assert 0 < told["labels_kept"] < 0.25
    assert [replace(row, note="") for row in found.rows if row.measure == "spearman"] == [
        replace(row, note="") for row in report().rows if row.measure == "spearman"
    ]
    assert found.verdicts == report().verdicts


def test_labels_that_were_not_learned_leave_the_verdict_open() -> None:
    """Too few epochs: every verdict is inconclusive, says how much was learned, and the measured rows are there."""
    found = data_randomisation(true_fit().trainable, digits(), CLASSES, replace(SETTINGS, epochs=2), FEEDS, ["gradient", "sobel"])
    assert set(found.verdicts.values()) == {"inconclusive"}
    assert "of the permuted labels in 2 epochs, 95% are needed" in found.reasons["gradient", NAME]
    assert any(row.measure == "spearman" and row.step == 1 for row in found.rows)


def test_a_model_that_never_learned_the_true_labels_leaves_the_verdict_open() -> None:
    """An untrained model beside one that learned permuted labels shows nothing of the labels."""
    found = data_randomisation(convolutional(), digits(), CLASSES, SETTINGS, FEEDS, ["gradient"])
    assert found.header["checks"][NAME]["training"]["true_accuracy"] < 0.15
    assert digits().guessing() == np.bincount(digits().labels).max() / 150
    assert found.verdicts["gradient", NAME] == "inconclusive"
    assert "no more than guessing does" in found.reasons["gradient", NAME]


def test_a_method_that_fails_on_the_other_model_leaves_its_verdict_open() -> None:
    """The layer that is explained exists in one model alone: that method is refused with the reason, the others go on."""
    one, other = models()
    proto = type(other.proto)()
    proto.CopyFrom(other.proto)
    for node in proto.graph.node:
        node.input[:] = ["renamed" if name == "r" else name for name in node.input]
        node.output[:] = ["renamed" if name == "r" else name for name in node.output]
    found = compare(one, explainsvc.load(proto), FEEDS, ["grad_cam", "gradient"], parameters={"grad_cam": {"layer": "r"}})
    assert found.verdicts["grad_cam", NAME] == "inconclusive"
    assert '"r"' in found.reasons["grad_cam", NAME]
    assert found.verdicts["gradient", NAME] == "sensitive"


def test_models_of_other_architectures_are_refused() -> None:
    """What differs is named."""
    with pytest.raises(InvalidInput, match=r'inputs\["x"\]'):
        compare(models()[0], explainsvc.load(perceptron().graph), FEEDS, ["gradient"])


def test_numbers_cannot_be_learned_by_heart() -> None:
    """Without classes there is no training accuracy that would end the training."""
    data = replace(blobs(), labels=np.random.default_rng(0).normal(size=(120, 3)))
    with pytest.raises(InvalidParameter, match="labels that can be met"):
        fit_permuted(perceptron(), data, NUMBERS, SETTINGS)


def test_comparing_a_pair_needs_no_torch() -> None:
    """Importing what compares two given models imports no torch."""
    code = "import sys, explainsvc.training.pair; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])
