"""What is explained may be any linear functional, and an explained graph may be explained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from tests import models
from tests.methods.torch_truth import cnn, gradient_of
from tests.models import Array, numbers

X = numbers(2, 2, 8, 8)
OPTIONS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {}, "expected_gradients": {"background": numbers(3, 2, 8, 8, seed=1)}, "blur_ig": {"max_sigma": 3},
}  # fmt: skip


@pytest.mark.parametrize("method", OPTIONS)
def test_methods_that_are_linear_in_the_target_subtract(method: str) -> None:
    """On a fixed path the map of S_a − S_b is that of S_a less that of S_b, and its residual too."""
    model = explainsvc.load(models.cnn())
    a, b, contrast = (
        model.explain({"x": X}, method, target=target, **OPTIONS[method])
        for target in (2, 0, {"output": "y", "index": 2, "against": 0})
    )
    assert np.abs(contrast.values["x"]).max() > 1e-3
    np.testing.assert_allclose(contrast.values["x"], a.values["x"] - b.values["x"], rtol=1e-4, atol=1e-6)
    assert a.residual is not None
    assert b.residual is not None
    np.testing.assert_allclose(contrast.residual, a.residual - b.residual, atol=1e-6)


METHODS = ["gradient", "input_x_gradient", "integrated_gradients", "guided_integrated_gradients", "blur_ig", "xrai", "fullgrad"]


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_says_what_index_and_against_say(method: str) -> None:
    """The weights −1, 0, 1 of the three classes are the contrast of the last and the first."""
    model = explainsvc.load(models.cnn())
    seed = np.tile(np.array([-1, 0, 1], np.float32), (2, 1))
    found = model.explain({"x": X}, method, target={"output": "y", "seed": seed}).values["x"]
    expected = model.explain({"x": X}, method, target={"output": "y", "index": 2, "against": 0}).values["x"]
    np.testing.assert_array_equal(found, expected)


def test_the_softmax_gradient_is_a_seed() -> None:
    """∂p_c/∂z = p_c (e_c − p): given as the seed on the logits it explains the probability, linearised at the input.

    Gu, Yang, Tresp 2018, and Iwana, Kuroki, Uchida 2019 contrast classes so.
    """
    x = numbers(2, 6)
    logits = explainsvc.load(models.mlp())
    probability = explainsvc.load(models.mlp(end="Softmax"))
    p = probability.predict({"x": x})["y"]
    seed = p[:, [1]] * (np.eye(3, dtype=np.float32)[[1, 1]] - p)
    found = logits.explain({"x": x}, target={"output": "y", "seed": seed}).values["x"]
    expected = probability.explain({"x": x}, target={"output": "y", "index": 1}).values["x"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("activation", ["Tanh", "Softplus"])
def test_the_gradient_of_a_gradient_is_a_hessian_vector_product(activation: str) -> None:
    """load(compile("gradient")) explained at explain.x with seed v: H v, by central differences of the gradient."""
    first = explainsvc.load(models.mlp(activation=activation))
    second = explainsvc.load(first.compile("gradient").proto)
    x, v = numbers(2, 6), numbers(2, 6, seed=3)
    one_hot = np.eye(3, dtype=np.float32)[[1, 1]]
    target = {"output": "explain.x", "seed": v}
    found = second.explain({"x": x, "explain.seed": one_hot}, "gradient", target=target, inputs=["x"]).values["x"]

    def slope(at: Array) -> Array:
        return first.explain({"x": at}, target=1).values["x"].astype(np.float64)

    step = np.float32(1e-2)
    expected = (slope(x + step * v) - slope(x - step * v)) / (2 * step)
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-4)


def test_gradients_of_the_test_models_are_torchs() -> None:
    """The truth that other tests build on: torch's network has the gradient of the ONNX one."""
    found = explainsvc.load(models.cnn()).explain({"x": X}, target=1).values["x"]
    np.testing.assert_allclose(found, gradient_of(lambda v: cnn(v)[0], np.array([0, 1, 0]))(X), rtol=1e-4, atol=1e-6)
