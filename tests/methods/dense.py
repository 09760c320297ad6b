"""Networks written out as matrices in float64, and relevance rules as the papers print them: slow, one item at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from tests import models
from tests.models import Array

STABILIZER = 1e-6
BATCHNORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Layer:
    """z = a·w + b; ``wired`` says which inputs are connected to which outputs, whatever the weight."""

    w: Array
    b: Array
    wired: Array

    def __call__(self, a: Array) -> Array:
        """The layer's result."""
        return a @ self.w + self.b


Rule = Callable[[Layer, Array, Array], Array]
"""(layer, its input, relevance of its outputs) → relevance of its inputs."""


def dense(w: Array, b: Array | None = None) -> Layer:
    """A dense layer, w [in, out]."""
    wide = w.astype(np.float64)
    return Layer(wide, np.zeros(w.shape[1]) if b is None else b.astype(np.float64), np.ones(w.shape))


def convolution(w: Array, b: Array, height: int, width: int, pad: int) -> Layer:
    """A stride-1 convolution, w [out, in, k, k], as a matrix [in·H·W, out·H·W]; k = 2·pad + 1."""
    outputs, inputs, k, _ = w.shape
    matrix = np.zeros((inputs, height, width, outputs, height, width))
    wired = np.zeros_like(matrix)
    for o, i, dy, dx, y, x in product(range(outputs), range(inputs), range(k), range(k), range(height), range(width)):
        source = y + dy - pad, x + dx - pad
        if 0 <= source[0] < height and 0 <= source[1] < width:
            matrix[i, *source, o, y, x] = w[o, i, dy, dx]
            wired[i, *source, o, y, x] = 1
    size = inputs * height * width, outputs * height * width
    return Layer(matrix.reshape(size), np.repeat(b.astype(np.float64), height * width), wired.reshape(size))


def average(channels: int, height: int, width: int, window: int) -> Layer:
    """Average pooling without overlap as a matrix."""
    rows, columns = height // window, width // window
    matrix = np.zeros((channels, height, width, channels, rows, columns))
    for c, y, x in product(range(channels), range(height), range(width)):
        matrix[c, y, x, c, y // window, x // window] = 1 / window**2
    flat = matrix.reshape(channels * height * width, -1)
    return Layer(flat, np.zeros(flat.shape[1]), flat)


def signed(z: Array, epsilon: float) -> Array:
    """z + ε·sign(z), sign(0) = +1."""
    return z + np.where(z >= 0, epsilon, -epsilon)


def epsilon_rule(epsilon: float, bias: bool = True) -> Rule:
    """R_i = Σ_j z_ij / (z_j + ε sign z_j) R_j (Bach et al. 2015, equation 58)."""

    def rule(layer: Layer, a: Array, r: Array) -> Array:
        z = a[:, None] * layer.w
        return np.asarray((z * (r / signed(z.sum(axis=0) + bias * layer.b, epsilon))).sum(axis=1))

    return rule


def z_plus_rule(bias: bool = True) -> Rule:
    """R_i = Σ_j z_ij⁺ / (Σ_i z_ij⁺ + b_j⁺) R_j (Montavon et al. 2017)."""

    def rule(layer: Layer, a: Array, r: Array) -> Array:
        z = np.maximum(a[:, None] * layer.w, 0)
        return np.asarray((z * (r / signed(z.sum(axis=0) + bias * np.maximum(layer.b, 0), STABILIZER))).sum(axis=1))

    return rule


def zero_rule(bias: bool = True) -> Rule:
    """R_i = Σ_j z_ij / z_j R_j (Bach et al. 2015, equation 56)."""
    return epsilon_rule(0.0, bias)


def alpha_beta_rule(alpha: float, beta: float, bias: bool = True) -> Rule:
    """R_i = Σ_j (α z_ij⁺ / z_j⁺ − β z_ij⁻ / z_j⁻) R_j (Bach et al. 2015, equation 60); biases by their sign."""

    def rule(layer: Layer, a: Array, r: Array) -> Array:
        z, b = a[:, None] * layer.w, bias * layer.b
        upper, lower = np.maximum(z, 0), np.minimum(z, 0)
        favour = upper / (upper.sum(axis=0) + np.maximum(b, 0) + STABILIZER)
        against = lower / (lower.sum(axis=0) + np.minimum(b, 0) - STABILIZER)
        return np.asarray(((alpha * favour - beta * against) * r).sum(axis=1))

    return rule


def gamma_rule(gamma: float, bias: bool = True) -> Rule:
    """R_i = Σ_j c_ij / Σ_i c_ij R_j with c = z⁺ + γz⁻ for neurons z_j ≥ 0, γz⁺ + z⁻ for others (Andéol et al. 2021)."""

    def rule(layer: Layer, a: Array, r: Array) -> Array:
        z, b = a[:, None] * layer.w, bias * layer.b
        excited = layer(a) >= 0

        def weighed(t: Array) -> Array:
            up, down = np.where(excited, 1, gamma), np.where(excited, gamma, 1)
            return np.asarray(up * np.maximum(t, 0) + down * np.minimum(t, 0))

        c = weighed(z)
        return np.asarray((c * (r / signed(c.sum(axis=0) + weighed(b), STABILIZER))).sum(axis=1))

    return rule


def added_gamma_rule(gamma: float) -> Rule:
    """R_i = Σ_j a_i (w_ij + γ w_ij⁺) / Σ_i (the same, bias included) R_j (Montavon et al. 2019, section 10.2.3), for a, z ≥ 0."""

    def rule(layer: Layer, a: Array, r: Array) -> Array:
        w, b = (t + gamma * np.maximum(t, 0) for t in (layer.w, layer.b))
        return epsilon_rule(STABILIZER)(Layer(w, b, layer.wired), a, r)

    return rule


def w_square_rule(layer: Layer, a: Array, r: Array) -> Array:
    """R_i = Σ_j w_ij² / Σ_i w_ij² R_j (Montavon et al. 2017)."""
    return np.asarray((layer.w**2 * (r / (np.sum(layer.w**2, axis=0) + STABILIZER))).sum(axis=1))


def z_box_rule(low: Array | float, high: Array | float) -> Rule:
    """R_i = Σ_j (x_i w_ij − l_i w_ij⁺ − h_i w_ij⁻) / Σ_i (the same) R_j (Montavon et al. 2017); bounds as the layer's input."""

    def rule(layer: Layer, a: Array, r: Array) -> Array:
        least, greatest = (np.broadcast_to(bound, a.shape)[:, None] for bound in (low, high))
        z = a[:, None] * layer.w - least * np.maximum(layer.w, 0) - greatest * np.minimum(layer.w, 0)
        return np.asarray((z * (r / signed(z.sum(axis=0), STABILIZER))).sum(axis=1))

    return rule


def flat_rule(layer: Layer, a: Array, r: Array) -> Array:
    """R_i = Σ_j 1 / (Σ_i 1) R_j over the connected inputs."""
    return np.asarray((layer.wired * (r / signed(layer.wired.sum(axis=0), STABILIZER))).sum(axis=1))


SHARES = epsilon_rule(STABILIZER)
"""The z-rule of pooling layers."""


def mlp_relevance(x: Array, target: int, rules: tuple[Rule, Rule, Rule], bias: bool = True) -> Array:
    """Relevance of ``models.mlp(bias)`` for one item, one rule per layer."""
    shapes = {"w1": (8, 6), "w2": (8, 7), "w3": (7, 3)}
    matrices = [models.weights(n, *s) for n, s in shapes.items()]
    layers = [dense(matrices[0].T), dense(matrices[1]), dense(matrices[2])]
    if bias:
        layers = [Layer(f.w, models.weights(f"b{i}", len(f.b)).astype(float), f.wired) for i, f in enumerate(layers, start=1)]
    inputs = [x.astype(np.float64)]
    for layer in layers:
        inputs.append(np.maximum(layer(inputs[-1]), 0))
    r = np.eye(3)[target] * layers[2](inputs[2])
    for layer, a, rule in zip(reversed(layers), reversed(inputs[:3]), reversed(rules), strict=True):
        r = rule(layer, a, r)
    return r


def _folded(conv: str, channels: int) -> tuple[Array, Array]:
    """Weights and bias of a convolution of ``models.cnn`` with its BatchNormalization multiplied in."""
    scale, shift, mean = 1 + models.weights("g", 4, scale=0.2), models.weights("s", 4), models.weights("m", 4)
    factor = scale / np.sqrt(1 + models.weights("v", 4).astype(np.float64) ** 2 + BATCHNORM_EPSILON)
    w, b = models.weights(f"w{conv}", 4, channels, 3, 3), models.weights(f"b{conv}", 4)
    return w * factor[:, None, None, None], (b - mean) * factor + shift


def cnn_relevance(x: Array, target: int, first: Rule, conv: Rule, head: Rule) -> Array:
    """Relevance of ``models.cnn()`` for one item [2, 8, 8]: its six layers, the residual sum, pooling and Concat by hand."""
    one, two = (convolution(*_folded(str(i), c), 8, 8, 1) for i, c in ((1, 2), (2, 4)))
    left = convolution(models.weights("w3", 2, 4, 1, 1), models.weights("b3", 2), 4, 4, 0)
    right = convolution(models.weights("w4", 3, 4, 3, 3), models.weights("b4", 3), 4, 4, 1)
    pool, everywhere = average(4, 8, 8, 2), average(5, 4, 4, 4)
    last = dense(models.weights("w5", 3, 5).T, models.weights("b5", 3))
    x = x.astype(np.float64).reshape(-1)
    r1 = np.maximum(one(x), 0)
    n2 = two(r1)
    r2 = np.maximum(n2 + r1, 0)
    p = pool(r2)
    r3 = np.maximum(np.concatenate([left(p), right(p)]), 0)
    mean = everywhere(r3)
    r = SHARES(everywhere, r3, head(last, mean, np.eye(3)[target] * last(mean)))
    split = 2 * 16
    r = SHARES(pool, r2, conv(left, p, r[:split]) + conv(right, p, r[split:]))
    share = r / signed(n2 + r1, STABILIZER)
    r = conv(two, r1, n2 * share) + r1 * share
    return first(one, x, r).reshape(2, 8, 8)
