"""smoothgrad, smoothgrad_squared, vargrad: moments of the base method under noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import InvalidParameter
from tests import models
from tests.models import Array, numbers

LINEAR, MLP, QUADRATIC = (explainsvc.load(make()) for make in (models.linear, models.mlp, models.quadratic))


def values(model: explainsvc.Model, x: Array, method: str, **options: Any) -> Array:
    """The map of class 0 as float64."""
    return model.explain({"x": x}, method, target=0, **options).values["x"].astype(np.float64)


def test_a_linear_model_has_its_weights_under_any_noise() -> None:
    """The gradient is the same everywhere: SmoothGrad is w, SmoothGrad² is w², VarGrad is 0."""
    x, w = numbers(3, 4), models.weights("w", 4, 3)[:, 0]
    np.testing.assert_allclose(values(LINEAR, x, "smoothgrad"), np.tile(w, (3, 1)), rtol=1e-6)
    np.testing.assert_allclose(values(LINEAR, x, "smoothgrad_squared"), np.tile(w**2, (3, 1)), rtol=1e-6)
    np.testing.assert_allclose(values(LINEAR, x, "vargrad"), 0, atol=1e-12)


@pytest.mark.parametrize("base", ["gradient", "input_x_gradient", "lrp_epsilon", "integrated_gradients"])
def test_without_noise_it_is_the_base_method(base: str) -> None:
    """σ = 0: every copy is the input itself, whatever the base method."""
    x = numbers(2, 6)
    parameters = {"base": base, "noise": 0, "samples": 3}
    expected = values(MLP, x, base)
    np.testing.assert_allclose(values(MLP, x, "smoothgrad", **parameters), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(values(MLP, x, "smoothgrad_squared", **parameters), expected**2, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(values(MLP, x, "vargrad", **parameters), 0, atol=1e-10)


def test_the_three_are_moments_of_the_same_draws() -> None:
    """E[g²] = Var[g] + E[g]² exactly, for the same seed and samples."""
    x = numbers(2, 6)
    mean, square, variance = (
        values(MLP, x, m, samples=20, seed=3, noise=0.4) for m in ("smoothgrad", "smoothgrad_squared", "vargrad")
    )
    assert variance.max() > 1e-3
    np.testing.assert_allclose(square, variance + mean**2, rtol=1e-4, atol=1e-6)


def test_noise_is_relative_to_each_items_range() -> None:
    """σ = noise · (max − min) of the item: the gradient 2 c x has variance (2 c σ)², measured on 4000 draws."""
    x = np.array([[0, 0, 0, 1], [0, 0, 0, 10]], np.float32)
    found = values(QUADRATIC, x, "vargrad", samples=4000, noise=0.1, batch_size=500)
    sigma = 0.1 * np.array([[1], [10]])
    expected = (2 * np.array([[1, -2, 0.5, 3]]) * sigma) ** 2 + np.array([[9, 9, 0, 0]]) * sigma**2
    np.testing.assert_allclose(found, expected, rtol=0.12)  # the standard error of a variance is √(2/4000) = 2.2 %


def test_the_mean_converges_to_the_smoothed_gradient() -> None:
    """SmoothGrad of a quadratic function is its gradient, within four standard errors of 4000 draws."""
    x = numbers(1, 4)
    found, exact = values(QUADRATIC, x, "smoothgrad", samples=4000, batch_size=500), values(QUADRATIC, x, "gradient")
    sigma = 0.15 * np.ptp(x)
    error = sigma * np.sqrt((2 * np.array([1, -2, 0.5, 3])) ** 2 + np.array([9, 9, 0, 0])) / np.sqrt(4000)
    assert (np.abs(found - exact) < 4 * error).all()


@pytest.mark.parametrize("method", ["smoothgrad", "smoothgrad_squared", "vargrad"])
def test_the_seed_decides(method: str) -> None:
    """The same seed gives the same bits in any batching of copies; another seed does not."""
    x = numbers(2, 6)
    first, again, other = (values(MLP, x, method, samples=6, noise=0.5, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    np.testing.assert_allclose(values(MLP, x, method, samples=6, noise=0.5, seed=1, batch_size=1), first, rtol=1e-4, atol=1e-6)


def test_parameters_reach_the_base_method() -> None:
    """base_parameters are those of the base method's card."""
    x = numbers(1, 6)
    options = {"base": "lrp_epsilon", "noise": 0.0, "samples": 2}
    found = values(MLP, x, "smoothgrad", base_parameters={"epsilon": 0.5}, **options)
    np.testing.assert_allclose(found, values(MLP, x, "lrp_epsilon", epsilon=0.5), rtol=1e-5, atol=1e-7)
    assert np.abs(found - values(MLP, x, "lrp_epsilon")).max() > 1e-2


def test_the_target_stays_that_of_the_input() -> None:
    """The arg-max is taken once, at the input: noise that changes the winner does not change what is explained."""
    x = numbers(4, 6)
    found = MLP.explain({"x": x}, "smoothgrad", noise=2.0, samples=8)
    winners = MLP.predict({"x": x})["y"].argmax(axis=1)
    assert found.target.index == tuple((int(w),) for w in winners)
    expected = MLP.explain({"x": x}, "smoothgrad", target=winners.tolist(), noise=2.0, samples=8)
    np.testing.assert_array_equal(found.values["x"], expected.values["x"])


BASES: dict[str, dict[str, Any]] = {
    "gradient": {}, "input_x_gradient": {}, "integrated_gradients": {"steps": 5}, "guided_integrated_gradients": {"steps": 5},
    "blur_ig": {"steps": 5, "max_sigma": 2}, "xrai": {"steps": 5}, "fullgrad": {}, "cgi": {}, "guided_backprop": {},
    "expected_gradients": {"samples": 4, "background": [[[[0.5] * 8] * 8] * 2] * 2}, "deconvnet": {}, "lrp_epsilon": {},
    "lrp_z_plus": {}, "lrp_epsilon_plus": {}, "lrp_epsilon_plus_flat": {}, "grad_cam": {}, "guided_grad_cam": {},
    "occlusion": {"window": 4}, "sobel": {}, "random": {},
}  # fmt: skip
CNN = explainsvc.load(models.cnn())


@pytest.mark.parametrize("base", BASES)
def test_any_method_can_be_the_base(base: str) -> None:
    """Rules, paths, activation maps, perturbations and controls: the moments of its own maps of the same noisy copies."""
    x, options = numbers(1, 2, 8, 8), {"noise": 0.1, "samples": 3, "seed": 5, "batch_size": 1}
    rng = np.random.default_rng(5)
    copies = [(x + 0.1 * np.ptp(x.astype(np.float64)) * rng.standard_normal(x.shape)).astype(np.float32) for _ in range(3)]
    maps = np.stack([values(CNN, copy, base, seed=5, **BASES[base]) for copy in copies])
    wrapped = {"base": base, "base_parameters": BASES[base], **options}
    scale = np.abs(maps).max()
    assert scale > 0
    np.testing.assert_allclose(values(CNN, x, "smoothgrad", **wrapped), maps.mean(axis=0), rtol=1e-4, atol=1e-5 * scale)
    squared = values(CNN, x, "smoothgrad_squared", **wrapped)
    np.testing.assert_allclose(squared, (maps**2).mean(axis=0), rtol=1e-4, atol=1e-5 * scale**2)
    np.testing.assert_allclose(values(CNN, x, "vargrad", **wrapped), maps.var(axis=0), rtol=1e-3, atol=1e-5 * scale**2)


@pytest.mark.parametrize("method", ["smoothgrad", "smoothgrad_squared", "vargrad"])
def test_what_the_base_confesses_is_passed_on(method: str) -> None:
    """The caveats of the base's card, and those of its runs, once."""
    x = numbers(1, 6)
    found = MLP.explain({"x": x}, method, base="random", samples=2)
    assert [c for c in found.caveats if "random numbers" in c] == ["a control: random numbers, not an explanation"]
    missed = {"steps": 2, "rule": "left", "tolerance": 1e-9}
    found = MLP.explain({"x": x}, method, base="integrated_gradients", base_parameters=missed, samples=2, noise=0)
    assert len([c for c in found.caveats if "was not met" in c]) == 1


@pytest.mark.parametrize("base", ["lrp_epsilon", "gradient"])
def test_the_base_decides_where_a_default_target_starts(base: str) -> None:
    """Before the Softmax for LRP, which has no rule for it; behind it for the gradient; the caveats say which."""
    x, model = numbers(1, 6), explainsvc.load(models.mlp(end="Softmax"))
    found, alone = (
        model.explain({"x": x}, m, target=1, **o) for m, o in (("smoothgrad", {"base": base, "noise": 0}), (base, {}))
    )
    assert found.target.output == alone.target.output
    assert set(alone.caveats) <= set(found.caveats)
    np.testing.assert_allclose(found.values["x"], alone.values["x"], rtol=1e-5, atol=1e-7)


def test_a_wrapper_is_no_base() -> None:
    """Noise on noise is refused by name."""
    with pytest.raises(InvalidParameter, match="wrapper"):
        MLP.explain({"x": numbers(1, 6)}, "smoothgrad", base="vargrad")
