from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx import helper
from scipy import ndimage

import explainsvc
from explainsvc.checks._causal import auc
from explainsvc.model import Model
from tests.checks.judged import Array, judged, linear, negated, row_of, subject_of, uniform, with_maps
from tests.checks.models import built, cnn, numbers, pictures


def classifier(end: str = "Softmax") -> Model:
    """x [n, 2, 8, 8] → logits [n, 3] → Softmax or LogSoftmax → y."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "w"], ["logits"], "dense"),
        helper.make_node(end, ["logits"], ["y"], "end", axis=1),
    ]
    return explainsvc.load(built(nodes, ["n", 2, 8, 8], {"w": 0.2 * numbers(128, 3)}))


def softmax(z: Array) -> Array:
    """Along the last axis."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def dense_auc(values: Array, start: Array, end: Array, target: int) -> float:
    """One item from ``start`` to ``end``, 4 steps of 16 pixels, most relevant first: trapezoids of the probability."""
    order = np.argsort(-values.sum(axis=0).ravel())
    probabilities = []
    for count in range(0, 65, 16):
        now = start.copy().reshape(2, 64)
        now[:, order[:count]] = end.reshape(2, 64)[:, order[:count]]
        probabilities.append(softmax(now.reshape(1, -1) @ (0.2 * numbers(128, 3)))[0, target])
    return float(sum((a + b) / 2 for a, b in itertools.pairwise(probabilities)) / 4)


@pytest.mark.parametrize("end", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("name", ["deletion", "insertion"])
def test_the_area_is_that_of_a_loop(name: str, end: str) -> None:
    """AUC of the probability, item by item with numpy, from the input to zero or from the blurred input to the input."""
    model, x = classifier(end), pictures(5)["x"]
    logits = x.reshape(5, -1) @ (0.2 * numbers(128, 3))
    target = logits.argmax(axis=1)
    subject = subject_of(model, {"x": x}, ["lrp_epsilon", "gradient"])
    assert {e.name: e.target.output for e in subject.explained} == {"lrp_epsilon": "logits", "gradient": "y"}
    rows, _ = judged(subject, name, steps=4)
    for e in subject.explained:
        expected = []
        for k in range(5):
            blurred = np.stack([ndimage.gaussian_filter(c.astype(np.float64), 10.0) for c in x[k]]).astype(np.float32)
            start, stop = (x[k], np.zeros_like(x[k])) if name == "deletion" else (blurred, x[k])
            expected.append(dense_auc(e.result.values["x"][k], start, stop, target[k]))
        row = row_of(rows, e.name, "auc", "morf")
        assert row.mean == pytest.approx(np.mean(expected), rel=1e-4)
        assert row.note == 'softmax probability "y"'


@pytest.mark.parametrize("name", ["deletion", "insertion"])
def test_contributions_pass_and_their_negation_and_a_uniform_map_fail(name: str) -> None:
    """On a linear model, whose contributions to zero rank rightly; without a softmax S itself is read, and the note says so."""
    subject = with_maps(subject_of(linear(20), {"x": numbers(12, 20)}, ["input_x_gradient"]), opposite=negated, flat=uniform)
    rows, verdicts = judged(subject, name, baseline="zero")
    assert [v.word for v in verdicts.values()] == ["pass", "fail", "fail"]
    assert "no softmax probability belongs to it" in row_of(rows, "input_x_gradient", "auc", "morf").note


def test_insertion_is_deletion_from_behind() -> None:
    """Putting back in the order of the map is deleting in the reverse order, read from the end."""
    subject = with_maps(subject_of(linear(20), {"x": numbers(6, 20)}, ["input_x_gradient"]), opposite=negated)
    inserted = row_of(judged(subject, "insertion", baseline="mean")[0], "input_x_gradient", "auc", "morf")
    deleted = row_of(judged(subject, "deletion", baseline="mean")[0], "opposite", "auc", "morf")
    assert inserted.mean == pytest.approx(deleted.mean, rel=1e-5)


def test_the_area_is_a_mean_over_the_share() -> None:
    """A constant curve has its own height, a line its middle, whatever the steps."""
    shares = np.array([0, 0.1, 0.5, 1.0])
    np.testing.assert_allclose(auc(np.full((4, 2), 3.0), shares), [3, 3])
    np.testing.assert_allclose(auc(1 - shares[:, None], shares), [0.5])


def test_rows_of_numbers_have_no_blur() -> None:
    """insertion needs another baseline for them: its verdict stays open and says why."""
    report = linear(6).audit({"x": numbers(6, 6)}, methods=["gradient"], checks=["insertion", "deletion"])
    assert report.verdicts["gradient", "insertion"] == "inconclusive"
    assert "spatial axes" in report.reasons["gradient", "insertion"]
    assert cnn().audit(pictures(6), methods=["gradient"], checks=["insertion"]).reasons["gradient", "insertion"].startswith("AUC")
