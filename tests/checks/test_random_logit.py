from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

import explainsvc
from explainsvc.checks.random_logit import NAME
from tests.checks.models import built, cnn, linear, means_of, numbers, pictures, rows


def test_the_other_class_has_another_map() -> None:
    """The gradients of two classes of a linear model are columns of w: the row is scipy's correlation of them."""
    w = numbers(12, 4).astype(np.float64)
    columns = [spearmanr(w[:, 0], w[:, j]).statistic for j in (1, 2, 3)]
    report = linear().audit(rows(40), methods=["gradient"], checks=[NAME], target=0)
    assert report.verdicts["gradient", NAME] == "pass"
    row = next(row for row in report.rows if row.measure == "spearman")
    assert min(columns) <= row.low <= np.mean(columns) <= row.high <= max(columns)


def test_a_map_that_ignores_the_class_fails() -> None:
    """Edges of the input, whatever is asked; and a model whose classes differ by a factor."""
    assert cnn().audit(pictures(8), methods=["sobel"], checks=[NAME]).verdicts["sobel", NAME] == "fail"
    factors = numbers(12, 1) * np.array([[1, 2, 3]], np.float32)
    same = explainsvc.load(built([helper.make_node("MatMul", ["x", "w"], ["y"], "dense")], ["n", 12], {"w": factors}))
    assert same.audit(rows(), methods=["gradient"], checks=[NAME]).verdicts["gradient", NAME] == "fail"


def test_two_classes_of_opposite_sign_pass() -> None:
    """S_b = −S_a: the magnitudes agree fully, which is right; the signed maps are opposite."""
    w = numbers(12, 1) * np.array([[1, -1]], np.float32)
    model = explainsvc.load(built([helper.make_node("MatMul", ["x", "w"], ["y"], "dense")], ["n", 12], {"w": w}))
    report = model.audit(rows(), methods=["gradient"], checks=[NAME])
    assert means_of(report, "gradient", "spearman") == pytest.approx([-1])
    assert means_of(report, "gradient", "spearman_abs") == pytest.approx([1])
    assert report.verdicts["gradient", NAME] == "pass"


def test_ssim_is_skimages() -> None:
    """Of [1, 12, 12] pictures, maps divided by their largest magnitude; there are two classes, so the other one is known."""
    nodes = [helper.make_node("Flatten", ["x"], ["f"], "flat"), helper.make_node("MatMul", ["f", "w"], ["y"], "dense")]
    w = numbers(144, 2)
    model = explainsvc.load(built(nodes, ["n", 1, 12, 12], {"w": w}))
    report = model.audit({"x": numbers(6, 1, 12, 12)}, methods=["gradient"], checks=[NAME], target=0)
    a, b = ((v / np.abs(v).max()).reshape(12, 12).astype(np.float64) for v in w.T)
    expected = structural_similarity(a, b, data_range=2, gaussian_weights=True, use_sample_covariance=False, sigma=1.5)
    assert means_of(report, "gradient", "ssim") == pytest.approx([expected], rel=1e-5)
