"""integrated_gradients: completeness, and integrals that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.methods._path import quadrature
from tests import models
from tests.methods.torch_truth import mlp, tensor
from tests.models import Array, numbers

IG = "integrated_gradients"


@pytest.mark.parametrize("rule", ["gauss_legendre", "midpoint"])
def test_one_step_is_exact_on_a_quadratic_function(rule: str) -> None:
    """The gradient of c x² + 3 x₀x₁ is linear along the path: IG_i = c x_i² + 1.5 x₀x₁ for i = 0, 1, from one point."""
    x = numbers(3, 4)
    found = explainsvc.load(models.quadratic()).explain({"x": x}, IG, steps=1, rule=rule)
    expected = np.array([1, -2, 0.5, 3]) * x**2
    expected[:, :2] += 1.5 * x[:, :1] * x[:, 1:2]
    np.testing.assert_allclose(found.values["x"], expected, rtol=1e-5, atol=1e-6)
    assert found.residual is not None
    np.testing.assert_allclose(found.residual, 0, atol=1e-5)


@pytest.mark.parametrize("make", [models.mlp, models.cnn])
def test_it_is_complete(make: Any) -> None:
    """Σ values = S(x) − S(x′) up to the residual, which is what is missing, and shrinks with the steps."""
    model = explainsvc.load(make())
    x = numbers(3, 6) if make is models.mlp else numbers(3, 2, 8, 8)
    base = numbers(*x.shape[1:], seed=9)
    found = model.explain({"x": x}, IG, target=1, baseline=base, steps=400, rule="midpoint")
    total = found.values["x"].astype(np.float64).reshape(3, -1).sum(axis=1)
    at = [model.predict({"x": v})["y"][:, 1].astype(np.float64) for v in (x, np.broadcast_to(base, x.shape).copy())]
    assert found.baseline_value is not None
    assert found.residual is not None
    np.testing.assert_allclose(found.output_value, at[0], rtol=1e-6)
    np.testing.assert_allclose(found.baseline_value, at[1], rtol=1e-6)
    np.testing.assert_allclose(found.residual, total - (at[0] - at[1]), atol=1e-5)
    np.testing.assert_allclose(total, at[0] - at[1], atol=1e-2 * np.abs(at[0] - at[1]).max())


def riemann(rule: str, n: int) -> float:
    """∫₀¹ 3α² dα as numpy computes it by each rule with n points."""
    f = lambda a: 3 * a**2  # noqa: E731
    if rule == "trapezoid":
        points = np.linspace(0, 1, n)
        return float(np.trapezoid(f(points), points))
    offset = {"left": 0, "right": 1, "midpoint": 0.5}[rule]
    return float(np.mean(f((np.arange(n) + offset) / n)))


@pytest.mark.parametrize("steps", [2, 5, 16])
@pytest.mark.parametrize("rule", ["left", "right", "midpoint", "trapezoid"])
def test_quadrature_rules_are_numpys(rule: str, steps: int) -> None:
    """On Σ x³ each rule gives x³ times its own value of ∫ 3α²; the residual is its error."""
    x = numbers(2, 3)
    found = explainsvc.load(models.cube()).explain({"x": x}, IG, steps=steps, rule=rule)
    value = riemann(rule, steps)
    np.testing.assert_allclose(found.values["x"], x**3 * value, rtol=1e-5, atol=1e-6)
    assert found.residual is not None
    np.testing.assert_allclose(found.residual, (x.astype(np.float64) ** 3).sum(axis=1) * (value - 1), rtol=1e-4, atol=1e-6)


def test_nodes_are_computed_once_and_cannot_be_changed() -> None:
    """They are shared by all questions of as many steps."""
    nodes, weights = quadrature("gauss_legendre", 7)
    assert quadrature("gauss_legendre", 7)[0] is nodes
    for array in (nodes, weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_gauss_legendre_is_exact_to_its_degree(steps: int) -> None:
    """n points integrate every power below 2n on [0, 1] exactly; all weights are positive and sum to one."""
    nodes, weights = quadrature("gauss_legendre", steps)
    assert weights.min() > 0
    np.testing.assert_allclose(weights.sum(), 1)
    for power in range(min(2 * steps, 12)):
        np.testing.assert_allclose((weights * nodes**power).sum(), 1 / (power + 1), rtol=1e-12)


@pytest.mark.parametrize("rule", ["gauss_legendre", "left", "right", "midpoint", "trapezoid"])
@pytest.mark.parametrize("steps", [1, 3])
def test_weights_sum_to_one(rule: str, steps: int) -> None:
    """A constant gradient is integrated exactly by every rule, one step included."""
    nodes, weights = quadrature(rule, steps)
    np.testing.assert_allclose(weights.sum(), 1)
    assert 0 <= nodes.min() <= nodes.max() <= 1


def test_steps_double_until_the_tolerance_is_met() -> None:
    """The left rule is off by 3/(2n) − 1/(2n²): from 2 steps on, 16 are the first doubling below a tenth."""
    found = explainsvc.load(models.cube()).explain({"x": numbers(2, 3)}, IG, steps=2, rule="left", tolerance=0.1)
    assert found.parameters["steps"] == 16
    assert found.residual is not None
    gap = np.abs(found.output_value)
    assert (np.abs(found.residual) <= 0.1 * gap).all()
    np.testing.assert_allclose(np.abs(found.residual) / gap, 3 / 32 - 1 / 512, rtol=1e-4)
    assert not any("tolerance" in caveat for caveat in found.caveats)


def test_a_tolerance_that_cannot_be_met_is_confessed() -> None:
    """Doubling ends, the residual stays in the result, and a caveat says so."""
    found = explainsvc.load(models.cube()).explain({"x": numbers(1, 3)}, IG, steps=1000, rule="left", tolerance=1e-9)
    assert any("was not met" in caveat for caveat in found.caveats)
    assert found.parameters["steps"] == 4000


def baseline_cases() -> dict[str, tuple[Any, Array]]:
    """Baselines for an image [2, 3, 6, 6], and the arrays they stand for."""
    x = numbers(2, 3, 6, 6)
    array = numbers(3, 6, 6, seed=4)
    return {
        "number": (0.25, np.full_like(x, 0.25)),
        "zero": ("zero", np.zeros_like(x)),
        "mean": ("mean", np.broadcast_to(x.mean(axis=(1, 2, 3), keepdims=True), x.shape)),
        "array": (array, np.broadcast_to(array, x.shape)),
        "list": ([[[1.0]], [[2.0]], [[3.0]]], np.broadcast_to(np.array([1, 2, 3], np.float32)[:, None, None], x.shape)),
        "by input": ({"x": 0.5}, np.full_like(x, 0.5)),
    }


@pytest.mark.parametrize("name", baseline_cases())
def test_baselines_mean_what_they_say(name: str) -> None:
    """On a linear function IG is w ⊙ (x − x′): it shows the baseline that was used."""
    given, expected = baseline_cases()[name]
    x = numbers(2, 3, 6, 6)
    w = models.weights("w", 108, 1)
    model = explainsvc.load(
        models.build("g (float[N, 3, 6, 6] x) => (float[N, 1] y) { f = Flatten (x)  y = MatMul (f, w) }", {"w": w})
    )
    found = model.explain({"x": x}, IG, baseline=given, steps=2).values["x"]
    np.testing.assert_allclose(found, w.reshape(3, 6, 6) * (x - expected), rtol=1e-4, atol=1e-6)


def test_a_blurred_baseline_keeps_colours_apart() -> None:
    """Blur works on positions: a constant image has no difference to it, and channels do not mix."""
    x = np.broadcast_to(np.array([1, -2], np.float32)[:, None, None], (1, 2, 8, 8)).copy()
    found = explainsvc.load(models.cnn()).explain({"x": x}, IG, baseline="blur")
    np.testing.assert_allclose(found.values["x"], 0, atol=1e-6)


def test_several_inputs_move_together() -> None:
    """Two inputs share one path: their attributions together are complete."""
    model = explainsvc.load(models.two_by_two())
    found = model.explain({"a": numbers(3, 3), "b": numbers(3, 2)}, IG, target=0, baseline={"a": 0.5, "b": -0.5})
    assert found.residual is not None
    np.testing.assert_allclose(found.residual, 0, atol=1e-5)
    total = sum(v.sum(axis=1) for v in found.values.values())
    np.testing.assert_allclose(total, found.output_value - found.baseline_value, atol=1e-5)


def test_several_baselines_are_averaged() -> None:
    """The map over background rows is the mean of the maps of each row; so are value and residual."""
    model, x, rows = explainsvc.load(models.cnn()), numbers(2, 2, 8, 8), numbers(3, 2, 8, 8, seed=6)
    found = model.explain({"x": x}, IG, target=1, background=rows, steps=20)
    each = [model.explain({"x": x}, IG, target=1, baseline=row, steps=20) for row in rows]
    np.testing.assert_allclose(found.values["x"], np.mean([e.values["x"] for e in each], axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.baseline_value, np.mean([e.baseline_value for e in each], axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.residual, np.mean([e.residual for e in each], axis=0), atol=1e-6)


def test_the_tolerance_holds_for_the_mean_over_baselines() -> None:
    """On Σ x³ with two baselines the steps double until the mean's residual is below a tenth of the mean difference."""
    rows = np.array([[0, 0, 0], [-1, 0.5, 0.2]], np.float32)
    found = explainsvc.load(models.cube()).explain(
        {"x": numbers(1, 3) + 2}, IG, background=rows, steps=2, rule="left", tolerance=0.1
    )
    gap = found.output_value - found.baseline_value
    assert found.parameters["steps"] > 2
    assert (np.abs(found.residual) <= 0.1 * np.abs(gap)).all()
    np.testing.assert_allclose(found.baseline_value, [(rows.astype(np.float64) ** 3).sum() / 2], rtol=1e-5)


CAPTUM = {"gauss_legendre": "gausslegendre", "midpoint": "riemann_middle", "left": "riemann_left", "right": "riemann_right"}


@pytest.mark.parametrize("rule", CAPTUM)
def test_it_is_captums(rule: str) -> None:
    """The same points and weights as captum's rule, with torch's gradients in float64."""
    attr = pytest.importorskip("captum.attr")
    x, base = numbers(2, 6), numbers(1, 6, seed=3)
    expected = attr.IntegratedGradients(mlp).attribute(tensor(x), tensor(base), target=2, n_steps=9, method=CAPTUM[rule]).numpy()
    found = explainsvc.load(models.mlp()).explain({"x": x}, IG, target=2, baseline=base, steps=9, rule=rule).values["x"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
