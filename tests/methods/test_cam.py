"""grad_cam and guided_grad_cam: the paper's formula in numpy, over channels-first and channels-last inputs."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import MethodNotApplicable
from tests import models
from tests.methods.cams import FORMULAS, activation, expected_map, gradient_at, upsampled
from tests.models import Array, numbers


def cnn_map(x: Array, target: int, relu: bool = True) -> Array:
    """The last activation is averaged and weighed by w₅: α = w₅ / 16."""
    a = activation(models.cnn(), x, "r3")
    heat = np.einsum("k,nkhw->nhw", models.weights("w5", 3, 5)[target] / 16, a)
    return np.maximum(heat, 0) if relu else heat


@pytest.mark.parametrize("relu", [True, False])
def test_the_map_is_the_papers_formula(relu: bool) -> None:
    """(Σ α_k A_k)⁺ at the last activation, upsampled, the same in both channels; signed without the ReLU."""
    x = numbers(3, 2, 8, 8)
    found = explainsvc.load(models.cnn()).explain({"x": x}, "grad_cam", target=0, relu=relu).values["x"]
    expected = upsampled(cnn_map(x, 0, relu), 8, 8)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, np.stack([expected, expected], axis=1), rtol=1e-4, atol=1e-6)


def test_channels_last_inputs_keep_their_layout() -> None:
    """On [N, H, W, C] the map lies over H and W, also when they differ."""
    x = numbers(2, 8, 6, 2)
    a = activation(models.nhwc(), x, "r")
    heat = np.maximum(np.einsum("k,nkhw->nhw", models.weights("w2", 4, 3)[:, 2] / 48, a), 0)
    assert heat.max() > 1e-3
    found = explainsvc.load(models.nhwc()).explain({"x": x}, "grad_cam", target=2).values["x"]
    np.testing.assert_allclose(found, np.stack([heat, heat], axis=3), rtol=1e-4, atol=1e-7)


@cache
def plain() -> explainsvc.Model:
    """The network without BatchNorm, whose values keep their names."""
    return explainsvc.load(models.cnn(batchnorm=False))


@cache
def at(layer: str) -> tuple[Array, Array]:
    """A layer's activation, and the gradient of class 0 there."""
    a = activation(models.cnn(batchnorm=False), numbers(2, 2, 8, 8), layer)
    return a, gradient_at(models.cnn(batchnorm=False), layer, a, target=0)


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("layer", ["r1", "a2", "p", "both"])
@pytest.mark.parametrize("method", FORMULAS)
def test_any_spatial_value_can_be_the_layer(method: str, layer: str, relu: bool) -> None:
    """Each paper's formula on the activation and its gradient at the layer named, of the network cut there."""
    x, (a, gradient) = numbers(2, 2, 8, 8), at(layer)
    assert np.abs(gradient).max() > 0
    options = {} if method == "hires_cam" else {"relu": relu}
    found = plain().explain({"x": x}, method, target=0, layer=layer, **options)
    expected = expected_map(method, a, gradient, (8, 8), relu)
    np.testing.assert_allclose(found.values["x"][:, 0], expected, rtol=1e-4, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(found.values["x"][:, 0], found.values["x"][:, 1])
    assert found.parameters["layer"] == layer


def test_guided_grad_cam_is_the_product() -> None:
    """Upsampled Grad-CAM ⊙ guided backpropagation, at the same layer."""
    model, x = explainsvc.load(models.cnn()), numbers(2, 2, 8, 8)
    for options in ({}, {"layer": "p"}):
        cam = model.explain({"x": x}, "grad_cam", target=0, **options).values["x"]
        guided = model.explain({"x": x}, "guided_backprop", target=0).values["x"]
        found = model.explain({"x": x}, "guided_grad_cam", target=0, **options).values["x"]
        assert np.abs(found).max() > 0
        np.testing.assert_allclose(found, cam * guided, rtol=1e-5, atol=1e-8)


METHODS = [*FORMULAS, "guided_grad_cam", "eigen_cam", "score_cam", "ablation_cam"]


@pytest.mark.parametrize("method", METHODS)
def test_models_without_spatial_activations_are_refused(method: str) -> None:
    """A perceptron has no positions: typed, with advice."""
    with pytest.raises(MethodNotApplicable, match="spatial") as caught:
        explainsvc.load(models.mlp()).explain({"x": numbers(1, 6)}, method)
    assert caught.value.to_do


@pytest.mark.parametrize("method", METHODS)
def test_inspection_knows_that_they_are(method: str) -> None:
    """That a method does not apply is known before anything runs; that it does, too."""
    assert "spatial" in explainsvc.load(models.mlp()).info.methods[method]
    assert not explainsvc.load(models.cnn()).info.methods[method]


@pytest.mark.parametrize("method", METHODS)
def test_a_map_without_evidence_says_so(method: str) -> None:
    """Dead activations give a map of zeros, never NaN, and a caveat that names the items."""
    x = np.concatenate([numbers(1, 2, 8, 8), np.zeros((1, 2, 8, 8), np.float32)])
    found = explainsvc.load(models.cnn(bias=False, batchnorm=False)).explain({"x": x}, method, target=0)
    assert not found.values["x"][1].any()
    blank = [caveat for caveat in found.caveats if "zero everywhere" in caveat]
    assert len(blank) == 1
    assert "1)" in blank[0]


@pytest.mark.parametrize("method", METHODS)
def test_zeros_are_said_once(method: str) -> None:
    """Where the maps of all items are zero, the caveat that names layer and items is the only one."""
    x = np.zeros((2, 2, 8, 8), np.float32)
    found = explainsvc.load(models.cnn(bias=False, batchnorm=False)).explain({"x": x}, method, target=0)
    (blank,) = [caveat for caveat in found.caveats if "zero" in caveat]
    assert "(items 0, 1)" in blank


@pytest.mark.parametrize("method", METHODS)
def test_a_value_without_positions_is_no_layer(method: str) -> None:
    """A value by name that lies over no positions is refused, and spatial ones are named."""
    with pytest.raises(MethodNotApplicable, match=r"parameters\.layer") as caught:
        explainsvc.load(models.cnn()).explain({"x": numbers(1, 2, 8, 8)}, method, layer="f")
    assert "r3" in caught.value.expected


def test_xgrad_cam_conserves() -> None:
    """Before the ReLU and at the input's size the map sums to Σ A ⊙ ∂S/∂A, times the pixels per position."""
    x = numbers(2, 2, 8, 8)
    a = activation(models.cnn(), x, "r3")
    logit = np.einsum("k,nkhw->n", models.weights("w5", 3, 5)[0] / 16, a)
    found = explainsvc.load(models.cnn()).explain({"x": x}, "xgrad_cam", target=0, relu=False).values["x"]
    np.testing.assert_allclose(found[:, 0].sum(axis=(1, 2)), 4 * logit, rtol=1e-4)


def test_grad_cam_plus_plus_weighs_tiny_gradients() -> None:
    """α is scale-free in the limit of small gradients, w → Σ g⁺ / 2: no epsilon cuts them off."""
    x, tiny = numbers(2, 2, 8, 8), np.array([[1e-12, 0, 0]] * 2, np.float32)
    a = activation(models.cnn(), x, "r3")
    weights = np.maximum(models.weights("w5", 3, 5)[0], 0) / 2
    heat = np.einsum("k,nkhw->nhw", 1e-12 * weights, a)
    found = explainsvc.load(models.cnn()).explain({"x": x}, "grad_cam_plus_plus", target={"seed": tiny}).values["x"][:, 0]
    np.testing.assert_allclose(found, upsampled(heat, 8, 8), rtol=1e-4, atol=1e-18)
