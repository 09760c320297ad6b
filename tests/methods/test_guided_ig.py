"""guided_integrated_gradients: the paper's algorithm one element at a time, and what its bounds mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import explainsvc
from explainsvc.errors import MethodNotApplicable
from tests import models
from tests.methods.torch_truth import TARGETS, Gradient, gradient_of, mlp
from tests.models import Array, numbers

GUIDED = "guided_integrated_gradients"


def slow(x: Array, base: Array, gradient: Gradient, steps: int, fraction: float, max_dist: float) -> Array:
    """Algorithm 1 of one item in loops over elements."""
    end, start = [v.astype(np.float64).tolist() for v in (x, base)]
    here, total, n = list(start), [0.0] * len(start), len(start)
    whole = sum(abs(e - s) for e, s in zip(end, start, strict=True))
    for step in range(1, steps + 1):
        alpha = step / steps
        slope = gradient(np.array([here]))[0].tolist()
        before = list(here)
        low, high = max(0.0, alpha - max_dist), min(1.0, alpha + max_dist)
        for i in range(n):
            if end[i] != start[i] and (here[i] - start[i]) / (end[i] - start[i]) < low:
                here[i] = start[i] + low * (end[i] - start[i])
        while True:
            to_go = sum(abs(e - h) for e, h in zip(end, here, strict=True)) - (1 - alpha) * whole
            free = [i for i in range(n) if abs(here[i] - (start[i] + high * (end[i] - start[i]))) > 1e-12]
            if to_go < 1e-9 * whole or not free:
                break
            ranked = sorted([abs(slope[i]) for i in free] + [np.inf] * (n - len(free)))
            limit = ranked[int(fraction * (n - 1))]
            chosen = [i for i in free if abs(slope[i]) <= limit]
            reach = {i: start[i] + high * (end[i] - start[i]) - here[i] for i in chosen}
            share = min(1.0, to_go / sum(map(abs, reach.values())))
            for i in chosen:
                here[i] += share * reach[i]
        for i in range(n):
            total[i] += (here[i] - before[i]) * slope[i]
    return np.array(total)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(("fraction", "max_dist"), [(0.1, 0.02), (0.4, 0.3), (0.3, 1.0)])
def test_it_is_the_papers_algorithm(fraction: float, max_dist: float, name: str) -> None:
    """Three items walk as in loops over elements with torch's gradients, each on a path of its own."""
    target, weights = TARGETS[name]
    x, base = numbers(3, 6), numbers(6, seed=7)
    base[2] = x[1, 2]  # nothing to go for one element
    options = {"steps": 25, "fraction": fraction, "max_dist": max_dist}
    found = explainsvc.load(models.mlp(activation="Tanh")).explain({"x": x}, GUIDED, target=target, baseline=base, **options)
    gradient = gradient_of(lambda v: mlp(v, torch.tanh), weights)
    expected = np.stack([slow(item, base, gradient, **options) for item in x])
    np.testing.assert_allclose(found.values["x"], expected, rtol=1e-3, atol=1e-5)


def test_without_freedom_it_is_the_left_riemann_sum() -> None:
    """max_dist = 0 leaves the straight line: integrated gradients by the left rule."""
    model, x = explainsvc.load(models.mlp()), numbers(2, 6)
    found = model.explain({"x": x}, GUIDED, target=0, steps=30, max_dist=0.0)
    left = model.explain({"x": x}, "integrated_gradients", target=0, steps=30, rule="left")
    np.testing.assert_allclose(found.values["x"], left.values["x"], rtol=1e-4, atol=1e-6)


def test_a_linear_model_does_not_depend_on_the_path() -> None:
    """w ⊙ (x − x′) for any way from x′ to x, without residual; a contrast subtracts the weights."""
    model, x, w = explainsvc.load(models.linear()), numbers(2, 4), models.weights("w", 4, 3)
    target = {"output": "y", "index": 0, "against": 2}
    found = model.explain({"x": x}, GUIDED, target=target, steps=20, max_dist=1.0, baseline=0.5)
    np.testing.assert_allclose(found.values["x"], (w[:, 0] - w[:, 2]) * (x - 0.5), rtol=1e-4, atol=1e-6)
    assert found.residual is not None
    np.testing.assert_allclose(found.residual, 0, atol=1e-5)


def test_the_residual_is_what_is_missing_and_shrinks() -> None:
    """Σ values − (S(x) − S(x′)), a tenth of it with ten times the steps on a smooth model."""
    model, x = explainsvc.load(models.mlp(activation="Tanh")), numbers(2, 6)
    coarse, fine = (model.explain({"x": x}, GUIDED, target=2, steps=steps, max_dist=0.1) for steps in (200, 2000))
    assert coarse.baseline_value is not None
    assert coarse.residual is not None
    assert fine.residual is not None
    total = coarse.values["x"].astype(np.float64).sum(axis=1)
    np.testing.assert_allclose(coarse.residual, total - (coarse.output_value - coarse.baseline_value), atol=1e-5)
    assert np.abs(coarse.residual).max() > 1e-3
    assert (np.abs(fine.residual) < 0.2 * np.abs(coarse.residual)).all()


def test_the_input_itself_as_baseline_owes_nothing() -> None:
    """Where there is no way to go every value is 0, not NaN."""
    x = numbers(1, 6)
    found = explainsvc.load(models.mlp()).explain({"x": x}, GUIDED, baseline=x, steps=3)
    np.testing.assert_array_equal(found.values["x"], 0)


def test_inputs_that_items_share_are_walked_together() -> None:
    """x of every item and the one factor k are elements of one path: k (x w)² is complete up to the reported residual."""
    x, k = numbers(2, 3), np.array([0.7], np.float32)
    found = explainsvc.load(models.scaled()).explain({"x": x, "k": k}, GUIDED, target=0, steps=400)
    total = sum(float(v.astype(np.float64).sum()) for v in found.values.values())
    assert found.residual is not None
    assert found.residual.shape == (1,)
    np.testing.assert_allclose(found.residual[0], total - found.output_value.sum(), atol=1e-5)
    assert np.abs(found.values["k"]).max() > 1e-3


@pytest.mark.parametrize(("method", "options"), [
    (GUIDED, {"steps": 4}), ("integrated_gradients", {"rule": "left"}), ("integrated_gradients", {"rule": "trapezoid"}),
])  # fmt: skip
def test_a_baseline_without_a_derivative_is_refused(method: str, options: dict[str, Any]) -> None:
    """√x has no derivative at 0: an error that names the input and says what to do, never NaN; another baseline is fine."""
    model = explainsvc.load(models.build("g (float[N, 3] x) => (float[N, 3] y) { y = Sqrt (x) }"))
    x = np.abs(numbers(2, 3)) + 1
    with pytest.raises(MethodNotApplicable, match="not finite") as caught:
        model.explain({"x": x}, method, target=0, **options)
    assert caught.value.where == 'input "x"'
    found = model.explain({"x": x}, method, target=0, baseline=0.5, **options)
    assert np.isfinite(found.values["x"]).all()
    assert np.abs(found.values["x"][:, 0]).min() > 0.1
