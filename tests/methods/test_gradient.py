"""gradient: the derivative of S."""

from __future__ import annotations

import numpy as np

import explainsvc
from tests import models
from tests.models import Array, numbers


def test_a_perceptron_by_the_chain_rule() -> None:
    """W₁ᵀ diag(1[h₁ > 0]) W₂ diag(1[h₂ > 0]) W₃, in numpy."""
    x = numbers(4, 6)
    w1, w2, w3 = models.weights("w1", 8, 6).T, models.weights("w2", 8, 7), models.weights("w3", 7, 3)
    h1 = x @ w1 + models.weights("b1", 8)
    h2 = np.maximum(h1, 0) @ w2 + models.weights("b2", 7)
    expected = np.einsum("ih,nh,hk,nk,k->ni", w1, h1 > 0, w2, h2 > 0, w3[:, 1])
    found = explainsvc.load(models.mlp()).explain({"x": x}, target=1)
    np.testing.assert_allclose(found.values["x"], expected, rtol=1e-5, atol=1e-6)


def test_a_convolutional_network_by_differences() -> None:
    """⟨gradient, u⟩ is the slope of the plain model along u, for random directions of a smooth twin."""
    proto = models.cnn()
    for node in proto.graph.node:
        node.op_type = "Tanh" if node.op_type == "Relu" else node.op_type
    model, x = explainsvc.load(proto), numbers(2, 2, 8, 8)
    seed = numbers(2, 3, seed=5)
    gradient = model.explain({"x": x}, target={"seed": seed}).values["x"].astype(np.float64)
    for k in range(4):
        u = numbers(*x.shape, seed=10 + k)
        ends = [(model.predict({"x": x + np.float32(t) * u})["y"] * seed).sum(dtype=np.float64) for t in (5e-3, -5e-3)]
        np.testing.assert_allclose((gradient * u).sum(), (ends[0] - ends[1]) / 1e-2, rtol=2e-3, atol=2e-3)


def test_graphs_of_one_function_have_one_gradient() -> None:
    """Implementation invariance: dense layers as Gemm, as MatMul and Add, and inside a function."""
    x = numbers(3, 4)

    def gradient(text: str) -> Array:
        proto = models.build(text, {"w": models.weights("w", 4, 2), "b": models.weights("b", 2)})
        return explainsvc.load(proto).explain({"x": x}, target=0).values["x"]

    gemm = gradient("g (float[N, 4] x) => (float[N, 2] y) { h = Gemm (x, w, b)  y = Tanh (h) }")
    pair = gradient("g (float[N, 4] x) => (float[N, 2] y) { m = MatMul (x, w)  h = Add (m, b)  y = Tanh (h) }")
    call = gradient("""g (float[N, 4] x) => (float[N, 2] y) { y = local.f (x, w, b) }
        <domain: "local", opset_import: ["" : 17]> f (x, w, b) => (y) { m = MatMul (x, w)  h = Add (b, m)  y = Tanh (h) }""")
    np.testing.assert_allclose(pair, gemm, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(call, gemm, rtol=1e-5, atol=1e-7)
