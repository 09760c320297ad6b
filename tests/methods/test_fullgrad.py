"""fullgrad: the authors' formula in torch, and the decomposition's completeness."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F

import explainsvc
from explainsvc.errors import MethodNotApplicable
from tests import models
from tests.methods.torch_truth import TARGETS, cnn, tensor
from tests.models import Array, numbers

CNN = explainsvc.load(models.cnn())


def psi(term: torch.Tensor) -> torch.Tensor:
    """|t| rescaled to [0, 1] over the item; summed over channels, [N, 1, h, w]."""
    size = term.abs()
    low, high = size.amin(dim=(1, 2, 3), keepdim=True), size.amax(dim=(1, 2, 3), keepdim=True)
    return ((size - low) / (high - low + 1e-6)).sum(1, keepdim=True)


def formula(x: Array, weights: Array) -> tuple[Array, Array]:
    """ψ(x ⊙ ∂S/∂x) + Σ_l ψ(b_l ⊙ ∂S/∂z_l), upsampled; and the sum of all terms per item before ψ."""
    leaf = tensor(x).requires_grad_()
    y, layers = cnn(leaf)
    slopes = torch.autograd.grad((y * tensor(weights)).sum(), [leaf, *(z for z, _ in layers)])
    terms = [leaf.detach() * slopes[0], *(bias * slope for (_, bias), slope in zip(layers, slopes[1:], strict=True))]
    total = sum(term.flatten(1).sum(1) for term in terms)
    maps = [F.interpolate(psi(t), size=x.shape[2:], mode="bilinear", align_corners=False) for t in terms if t.ndim == 4]
    return sum(maps).numpy(), total.detach().numpy()


@pytest.mark.parametrize("name", TARGETS)
def test_it_is_the_papers_formula(name: str) -> None:
    """Four layers with positions and the input, each rescaled and upsampled; both channels alike; no sign left."""
    target, weights = TARGETS[name]
    x = numbers(3, 2, 8, 8)
    found = CNN.explain({"x": x}, "fullgrad", target=target)
    expected, total = formula(x, weights)
    np.testing.assert_allclose(found.values["x"], np.repeat(expected, 2, axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(total, found.output_value, rtol=1e-5)


def unusual_biases() -> onnx.ModelProto:
    """x [N, 2, 6, 6] → Sub, BatchNorm first, ConvTranspose, Add of a map, constant minus, MatMul and Add."""
    text = """g (float[N, 2, 6, 6] x) => (float[N, 3] y) {
      d = Sub (x, m)  n = BatchNormalization (d, scale, shift, mean, var)  r0 = Relu (n)
      c = ConvTranspose <pads = [1, 1, 1, 1]> (r0, w1, b1)  r1 = Relu (c)
      a = Add (place, r1)  s = Sub (level, a)  r2 = LeakyRelu (s)
      f = Flatten (r2)  h = MatMul (f, w2)  y = Add (h, b2)
    }"""
    shapes = {"m": (2, 1, 1), "scale": (2,), "shift": (2,), "mean": (2,), "w1": (2, 3, 3, 3), "b1": (3,), "place": (3, 6, 6)}
    tensors = {n: models.weights(n, *s) for n, s in (shapes | {"level": (1,), "w2": (108, 3), "b2": (3,)}).items()}
    return models.build(text, tensors | {"var": 1 + models.weights("var", 2) ** 2})


SUBJECTS: dict[str, Any] = {"cnn": models.cnn, "no batchnorm": lambda: models.cnn(batchnorm=False), "unusual": unusual_biases}
SUBJECTS |= {"channels last": models.nhwc}


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_decomposition_is_complete_for_relu_networks(name: str) -> None:
    """x·∂S/∂x + Σ b·∂S/∂b = S per item: the residual is rounding, wherever a bias is written."""
    shape = {"unusual": (3, 2, 6, 6), "channels last": (3, 8, 6, 2)}.get(name, (3, 2, 8, 8))
    found = explainsvc.load(SUBJECTS[name]()).explain({"x": numbers(*shape)}, "fullgrad", target=[0, 1, 2])
    assert found.residual is not None
    assert found.residual.shape == (3,)
    np.testing.assert_allclose(found.residual, 0, atol=2e-6)
    assert np.abs(found.output_value).max() > 0.1


def test_implicit_biases_show_in_the_residual() -> None:
    """Softplus is not linear by pieces: what it adds is no bias, and the residual is Σ of the terms less S."""
    text = """g (float[N, 1, 4, 4] x) => (float[N, 1] y) {
      c = Conv (x, w, b)  s = Softplus (c)  f = Flatten (s)  y = ReduceSum <keepdims = 1> (f, one) }"""
    tensors = {"w": models.weights("w", 2, 1, 3, 3), "b": models.weights("b", 2), "one": np.array([1], np.int64)}
    x = numbers(2, 1, 4, 4)
    z = F.conv2d(tensor(x), tensor(tensors["w"]), tensor(tensors["b"]))
    expected = (torch.sigmoid(z) * z - F.softplus(z)).flatten(1).sum(1).numpy()  # Σ σ(z) z − Σ softplus(z), z bias included
    found = explainsvc.load(models.build(text, tensors)).explain({"x": x}, "fullgrad", target=0)
    assert found.residual is not None
    np.testing.assert_allclose(found.residual, expected, rtol=1e-4)


def test_networks_without_positions_are_refused() -> None:
    """Biases of dense layers lie over no position: the map would leave most of the decomposition out."""
    with pytest.raises(MethodNotApplicable, match="positions and biases"):
        explainsvc.load(models.mlp()).explain({"x": numbers(1, 6)}, "fullgrad")
