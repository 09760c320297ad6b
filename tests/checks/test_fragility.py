"""fragility: what an attack may do to a map, and the direction that it takes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from onnx import helper

import explainsvc
from explainsvc.check import Subject
from explainsvc.checks import audit
from explainsvc.checks._direction import DISTANCE, Aim, aim_of
from explainsvc.checks._saliency import bounded, intersection, mass_center, pixels_of, top
from explainsvc.checks._smoothing import smoothed
from explainsvc.checks.course import Course
from explainsvc.checks.fragility import MAIN, NAME, RANDOM, Params, _box, _random, _walk
from explainsvc.checks.plan import Question, plan_audit
from explainsvc.checks.rows import Row
from explainsvc.model import Model
from explainsvc.report.report import Report
from tests import models
from tests.checks.models import Array, built, cnn, numbers, pictures

FAST = {NAME: {"steps": 60, "looks": 6}}


def curved() -> Model:
    """x [n, 1, 8, 8] → 100 + Σ over the pixels of softplus(20 x)/20, of two logits: all curvature lies near x = 0.

    ∂y₀/∂x_p is σ(20 x_p): with |x_p| < 0.05, a step of 0.03 reorders the pixels, while y₀ stays far above y₁.
    """
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Mul", ["f", "twenty"], ["z"]),
        helper.make_node("Softplus", ["z"], ["s"]),
        helper.make_node("Gemm", ["s", "w", "b"], ["y"]),
    ]
    w = np.stack([np.full(64, 1 / 20), np.zeros(64)], axis=1).astype(np.float32)
    tensors = {"twenty": np.array(20, np.float32), "w": w, "b": np.array([100, 0], np.float32)}
    return explainsvc.load(built(nodes, ["n", 1, 8, 8], tensors))


def subject_of(model: Model, feeds: dict[str, Array], method: str) -> Subject:
    """What a check gets of one method."""
    smoother = {"lrp_epsilon": {"epsilon": 0.5}} if method == "lrp_epsilon" else {}  # at 1e-6 differences need h ≤ 1e-4
    plan = plan_audit(model, feeds, Question([method], [NAME], target=0, parameters=smoother))
    return audit.subject_of(plan, Course.of(plan))


def end(report: Report, method: str, attack: str, measure: str = MAIN) -> Row:
    """The last row of an attack."""
    return [r for r in report.rows if (r.method, r.order, r.measure) == (method, attack, measure)][-1]


def test_the_gradient_of_a_linear_model_cannot_be_attacked() -> None:
    """It is the same everywhere: all of the most salient pixels survive, exactly."""
    report = explainsvc.load(models.linear()).audit({"x": numbers(6, 4)}, methods=["gradient"], checks=[NAME], parameters=FAST)
    assert report.verdicts["gradient", NAME] == "pass"
    for attack in ("topk", RANDOM):
        row = end(report, "gradient", attack)
        assert (row.mean, row.low, row.high, row.n) == (1, 1, 1, 6)
        assert end(report, "gradient", attack, "spearman").mean == pytest.approx(1)
    assert "no slope" in end(report, "gradient", "topk").note


def test_a_map_of_high_curvature_is_destroyed_while_the_prediction_is_kept() -> None:
    """Every most salient pixel of the gradient can be pushed below the others within ε."""
    x = {"x": np.float32(0.02) * numbers(6, 1, 8, 8)}
    parameters = {NAME: {"steps": 60, "looks": 6, "epsilon": 0.4, "alpha": 0.02}}
    report = curved().audit(x, methods=["gradient"], checks=[NAME], parameters=parameters, target=0)
    assert report.verdicts["gradient", NAME] == "fail"
    attacked, control = end(report, "gradient", "topk"), end(report, "gradient", RANDOM)
    assert attacked.high < 0.2
    assert attacked.mean < control.mean
    assert f"random leaves {control.mean:.3g}" in report.reasons["gradient", NAME]
    assert end(report, "gradient", "topk", "prediction_kept").mean == 1
    assert end(report, "gradient", "topk", "output_change").mean < 0.02


def test_looks_start_at_the_untouched_input_and_keep_the_furthest() -> None:
    """Step 0 gives 1; from look to look no more survives."""
    report = cnn().audit(pictures(5), methods=["gradient"], checks=[NAME], parameters=FAST)
    rows = [r for r in report.rows if (r.method, r.order, r.measure) == ("gradient", "topk", MAIN)]
    assert [r.amount for r in rows] == [0, 10, 20, 30, 40, 50, 60]
    assert rows[0].mean == 1
    assert all(a.mean >= b.mean for a, b in pairwise(rows))
    assert "k = 6 of 64" in rows[-1].note


def slopes_by_differences(aim: Aim, feeds: dict[str, Array], at: list[tuple[int, ...]], h: float) -> list[float]:
    """∂D/∂x at some elements by central differences of D."""
    found = []
    for place in at:
        ends = []
        for sign in (1, -1):
            moved = feeds["x"].copy()
            moved[place] += np.float32(sign * h)
            ends.append(aim.distance({"x": moved})[place[0], 0])
        found.append((float(ends[0]) - float(ends[1])) / (2 * h))
    return found


@pytest.mark.parametrize("method", ["gradient", "input_x_gradient", "lrp_epsilon"])
@pytest.mark.parametrize("distance", ["topk", "mass_center"])
def test_the_direction_is_the_derivative_of_the_distance(method: str, distance: str) -> None:
    """∇D by differentiating the explained graph again, against central differences of D on the smooth model."""
    subject = subject_of(cnn(), pictures(2), method)
    e = subject.explained[0]
    pixels = pixels_of(subject, e)
    aim = aim_of(subject, e, pixels, distance, bounded(1000, pixels.count), 2.0)
    assert not aim.transferred
    feeds = {"x": subject.feeds["x"] + np.float32(0.1) * numbers(2, 2, 8, 8, seed=9)}
    slope = aim.at(feeds)["x"].astype(np.float64)
    largest = [tuple(int(i) for i in np.unravel_index(f, slope.shape)) for f in np.argsort(-np.abs(slope).reshape(-1))[:6]]
    expected = slopes_by_differences(aim, feeds, largest, 2e-3)
    np.testing.assert_allclose([slope[i] for i in largest], expected, rtol=0.01)


def test_the_distance_is_the_papers() -> None:
    """−Σ over the k most salient pixels of |map|/Σ|map|, by numpy from the smooth model's gradient."""
    subject = subject_of(cnn(), pictures(3), "gradient")
    e = subject.explained[0]
    pixels = pixels_of(subject, e)
    aim = aim_of(subject, e, pixels, "topk", 6, 10.0)
    x = subject.feeds["x"] + np.float32(0.05)
    smooth = np.abs(smoothed(subject.model, 10.0).explain({"x": x}, target=0).values["x"]).sum(axis=1).reshape(3, -1)
    before = np.abs(subject.model.explain(subject.feeds, target=0).values["x"]).sum(axis=1).reshape(3, -1)
    expected = [-s[np.argsort(-b)[:6]].sum() / s.sum() for s, b in zip(smooth, before, strict=True)]
    np.testing.assert_allclose(aim.distance({"x": x})[:, 0], expected, rtol=1e-4)
    assert DISTANCE in aim.model.outputs[-1].name


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "Clip"])
def test_the_smooth_copy_tends_to_the_model(activation: str) -> None:
    """Softplus is off by log 2/β at most: at β = 10⁴ the outputs agree, at β = 2 they do not."""
    operands = ["h", "low", "high"] if activation == "Clip" else ["h"]
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"]),
        helper.make_node(activation, operands, ["a"]),
        helper.make_node("Gemm", ["a", "v"], ["y"]),
    ]
    tensors = {"w": numbers(4, 5), "v": numbers(5, 3)}
    if activation == "Clip":
        tensors |= {"low": np.array(-0.5, np.float32), "high": np.array(1, np.float32)}
    model = explainsvc.load(built(nodes, ["n", 4], tensors))
    x = {"x": numbers(7, 4, seed=1)}
    expected = model.predict(x)["y"]
    np.testing.assert_allclose(smoothed(model, 1e4).predict(x)["y"], expected, atol=2e-3)
    assert np.abs(smoothed(model, 2.0).predict(x)["y"] - expected).max() > 0.05


def test_a_method_of_many_graphs_is_attacked_by_the_gradients_direction() -> None:
    """Integrated gradients run many graphs: the rows say that the attack is a transfer."""
    report = cnn().audit(pictures(5), methods=["integrated_gradients"], checks=[NAME],
                         parameters={NAME: {"steps": 20, "looks": 2}, "integrated_gradients": {"steps": 4}})  # fmt: skip
    assert "transferred" in end(report, "integrated_gradients", "topk").note
    assert "transferred" in report.reasons["integrated_gradients", NAME]
    assert "transferred" not in end(report, "integrated_gradients", RANDOM).note


def test_the_centre_of_mass_moves() -> None:
    """Its attack shifts the centre further than random signs do; a table has no centre and is refused."""
    parameters = {NAME: {"steps": 60, "looks": 3, "distance": "mass_center", "epsilon": 0.1, "alpha": 0.01}}
    report = cnn().audit(pictures(6), methods=["gradient"], checks=[NAME], parameters=parameters)
    attacked, control = (end(report, "gradient", a, "mass_center_shift") for a in ("mass_center", RANDOM))
    assert attacked.mean > control.mean
    table = explainsvc.load(models.linear()).audit(
        {"x": numbers(6, 4)}, methods=["gradient"], checks=[NAME], parameters=parameters
    )
    assert table.verdicts["gradient", NAME] == "inconclusive"
    assert "no positions" in table.reasons["gradient", NAME]


def test_most_salient_pixels_and_centre_by_hand() -> None:
    """Two maps of four pixels that share one of two; the centre of mass of a single pixel is its place."""
    a, b = np.array([[4.0, 3, 1, 0]]), np.array([[0.0, 3, 1, 4]])
    assert top(a, 2).tolist() == [[True, True, False, False]]
    assert intersection(a, b, 2).tolist() == [0.5]
    assert np.isnan(intersection(a, np.ones((1, 4)), 2)).all()
    places = np.indices((2, 2)).reshape(2, -1).astype(np.float64)
    assert mass_center(np.array([[0.0, 0, 5, 0]]), places).tolist() == [[1, 0]]
    assert (bounded(1000, 64), bounded(1000, 3), bounded(5, 1000)) == (6, 1, 5)


def test_random_signs_that_do_more_than_the_attack_decide() -> None:
    """A map that noise of this size destroys is not saved by an attack that is too short to."""
    x = {"x": np.float32(0.02) * numbers(6, 1, 8, 8)}
    parameters = {NAME: {"steps": 1, "looks": 1, "epsilon": 0.9, "alpha": 1e-6}}
    report = curved().audit(x, methods=["gradient"], checks=[NAME], parameters=parameters, target=0)
    attacked, control = end(report, "gradient", "topk"), end(report, "gradient", RANDOM)
    assert attacked.mean == 1
    assert control.high < 0.5
    assert report.verdicts["gradient", NAME] == "fail"
    assert report.reasons["gradient", NAME].startswith("random: ")


@pytest.mark.parametrize("name", ["without_batch", "two_by_two", "half", "frozen"])
def test_models_of_other_shapes_are_attacked(name: str) -> None:
    """Without a batch axis, with two inputs, in half precision, with a frozen batch: numbers for every item."""
    proto = models.cnn(batch="1") if name == "frozen" else getattr(models, name)()
    model = explainsvc.load(proto)
    feeds = {t.name: _drawn(t.shape, t.dtype) for t in model.inputs}
    report = model.audit(feeds, methods=["gradient"], checks=[NAME], parameters={NAME: {"steps": 6, "looks": 2}})
    row = end(report, "gradient", "topk")
    assert row.n == (1 if name == "without_batch" else 5)
    assert row.note.startswith("k = ")


def _drawn(shape: tuple[int | str | None, ...] | None, dtype: str) -> Array:
    """Five items, where axis 0 counts them."""
    assert shape is not None
    first = shape[0] if len(shape) == 1 else 5
    return numbers(first, *shape[1:]).astype(dtype)


def test_the_iterates_stay_within_epsilon_and_the_range_of_the_inputs() -> None:
    """Every point that is looked at, of the attack and of random signs."""
    subject = subject_of(cnn(), pictures(3), "gradient")
    e = subject.explained[0]
    pixels = pixels_of(subject, e)
    p, x = Params(steps=20, looks=4, epsilon=0.05, alpha=0.01), subject.feeds["x"]
    box, rng = _box(subject, e, p.epsilon), np.random.default_rng(0)
    points = [*_walk(subject, aim_of(subject, e, pixels, "topk", 6, 10.0), box, rng, p), *_random(box, rng, p)]
    assert [step for step, _ in points] == [5, 10, 15, 20] * 2
    for _, at in points:
        moved = np.abs(at["x"] - x)
        assert 0.9 * 0.05 * np.ptp(x) < moved.max() <= 0.05 * np.ptp(x) * (1 + 1e-5)
        assert at["x"].min() >= x.min()
        assert at["x"].max() <= x.max()
