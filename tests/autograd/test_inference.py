"""Shapes that inference tells of a whole model, where rules need them."""

from __future__ import annotations

import numpy as np
import pytest

import explainsvc
from tests import models

torch = pytest.importorskip("torch")


def test_the_ranks_of_a_loops_states() -> None:
    """The rank behind a Loop is that before it where the body keeps it: a normalisation that counts axes from the start."""
    graph = """g (float[1, 6] x) => (float[A, B] y) {
      h = Loop (n, t, x) <body = body (int64 i, bool c, float[1, 6] a) => (bool d, float[1, 6] b) {
        f = Sin (a)  b = Add (f, a)  d = Identity (c)
      }>
      y = LayerNormalization <axis = 1, epsilon = 0.1> (h, w)
    }"""
    w, x = models.weights("w", 6), models.numbers(1, 6)
    model = explainsvc.load(models.build(graph, {"n": np.array(2), "t": np.array(True), "w": w}, opset=18))
    found = model.explain({"x": x}, target={"output": "y", "index": (3,)}).values["x"]
    tensor = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    h = tensor
    for _ in range(2):
        h = h.sin() + h
    torch.nn.functional.layer_norm(h, (6,), torch.tensor(w, dtype=torch.float64), eps=0.1)[0, 3].backward()
    np.testing.assert_allclose(found, tensor.grad, rtol=1e-4, atol=1e-6)


def test_omitted_results_have_no_shape() -> None:
    """An LSTM of which only the cell state is read has the same gradient as one that gives all its results."""
    graph = """g (float[3, 1, 2] x) => (float[1, 2, 3, 2] y OTHERS) {
      a, b, c = LSTM <hidden_size = 4> (x, w, r)
      f = Gather <axis = 2> (c, at)  q = Reshape (f, dims)  y = RotaryEmbedding <interleaved = 1> (q, co, si)
    }"""
    shapes = {"w": (1, 16, 2), "r": (1, 16, 4), "co": (1, 3, 1), "si": (1, 3, 1)}
    tensors = {name: models.weights(name, *shape) for name, shape in shapes.items()}
    tensors |= {"at": np.arange(12) % 4, "dims": np.array([1, 2, 3, 2])}
    x = {"x": models.numbers(3, 1, 2)}
    found = []
    for others in ("", ", float[3, 1, 1, 4] a, float[1, 1, 4] b"):
        model = explainsvc.load(models.build(graph.replace("OTHERS", others), tensors, opset=23))
        found.append(model.explain(x, target={"output": "y", "index": (0, 0, 1, 0)}).values["x"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-7)
