"""The test models in torch and float64: gradients for the slow formulas of the gradient family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tests import models
from tests.models import Array

Gradient = Callable[[Array], Array]
"""x [items, …] → ∂S/∂x, float64."""


def tensor(array: Array) -> torch.Tensor:
    """In float64."""
    return torch.tensor(np.asarray(array, np.float64))


def mlp(x: torch.Tensor, activation: Any = torch.relu) -> torch.Tensor:
    """``models.mlp``: the logits."""
    w1, w2, w3 = (tensor(models.weights(n, *s)) for n, s in (("w1", (8, 6)), ("w2", (8, 7)), ("w3", (7, 3))))
    b1, b2, b3 = (tensor(models.weights(n, s)) for n, s in (("b1", 8), ("b2", 7), ("b3", 3)))
    return activation(activation(x @ w1.T + b1) @ w2 + b2) @ w3 + b3


def cnn(x: torch.Tensor) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]:
    """``models.cnn``: the logits, and (z, the bias that it contains) per layer, BatchNorm folded into its convolution."""
    sizes = {"w1": (4, 2, 3, 3), "w2": (4, 4, 3, 3), "w3": (2, 4, 1, 1), "w4": (3, 4, 3, 3), "w5": (3, 5)}
    w = {n: tensor(models.weights(n, *s)) for n, s in sizes.items()}
    b = {n: tensor(models.weights(n, s)) for n, s in {"b1": 4, "b2": 4, "b3": 2, "b4": 3, "b5": 3}.items()}
    scale, shift = tensor(1 + models.weights("g", 4, scale=0.2)), tensor(models.weights("s", 4))
    mean, deviation = tensor(models.weights("m", 4)), tensor(1 + models.weights("v", 4) ** 2).add(1e-5).sqrt()
    layers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def biased(z: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        shape = [1, -1, *[1] * (z.ndim - 2)]
        layers.append((z + bias.reshape(shape), bias.reshape(shape)))
        return layers[-1][0]

    def normed(z: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return biased(z * (scale / deviation).reshape(1, -1, 1, 1), (bias - mean) * scale / deviation + shift)

    r1 = torch.relu(normed(F.conv2d(x, w["w1"], padding=1), b["b1"]))
    r2 = torch.relu(normed(F.conv2d(r1, w["w2"], padding=1), b["b2"]) + r1)
    p = F.avg_pool2d(r2, 2)
    both = [biased(F.conv2d(p, w["w3"]), b["b3"]), biased(F.conv2d(p, w["w4"], padding=1), b["b4"])]
    pooled = torch.relu(torch.cat(both, dim=1)).mean(dim=(2, 3))
    return biased(pooled @ w["w5"].T, b["b5"]), layers


def gradient_of(network: Callable[[torch.Tensor], torch.Tensor], weights: Array) -> Gradient:
    """∂⟨weights, network(x)⟩/∂x by torch autograd."""

    def gradient(x: Array) -> Array:
        leaf = tensor(x).requires_grad_()
        (found,) = torch.autograd.grad((network(leaf) * tensor(weights)).sum(), leaf)
        return found.numpy()

    return gradient


TARGETS: dict[str, tuple[Any, Array]] = {
    "class": (1, np.array([0.0, 1, 0])),
    "contrast": ({"output": "y", "index": 2, "against": 0}, np.array([-1.0, 0, 1])),
}
"""A target of a model with three classes, and the weights of S = ⟨weights, y⟩."""
