"""Where gradients or relevance of several uses meet: summed in the layout and with the factor that cost least."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import explainsvc
from tests import models
from tests.models import Array, numbers


def strided_block(channels: int) -> onnx.ModelProto:
    """x → h = Relu(Conv x); a strided 3×3 branch and a strided 1×1 shortcut of h, summed; the sum of its channels' means."""
    graph = f"""g (float[N, 3, 8, 8] x) => (float[N, {channels}] y) {{
      [stem] c = Conv (x, w0)
      [relu] h = Relu (c)
      [long] l = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (h, w1)
      [short] s = Conv <strides = [2, 2]> (h, w2)
      [sum] a = Add (l, s)
      [gap] p = GlobalAveragePool (a)
      y = Flatten (p)
    }}"""
    shapes = {"w0": (channels, 3, 1, 1), "w1": (channels, channels, 3, 3), "w2": (channels, channels, 1, 1)}
    return models.build(graph, {name: models.weights(name, *shape) for name, shape in shapes.items()})


def operators(model: explainsvc.Model, method: str) -> list[str]:
    """Of the nodes that the method adds to the model's graph."""
    return [n.op_type for n in model.compile(method).proto.graph.node if n.name.startswith("explain.")]


@pytest.mark.parametrize("channels", [16, 6])
def test_a_strided_convolutions_gradient_is_brought_to_blocks_where_it_meets_another(channels: int) -> None:
    """A 1×1 pool per strided gradient that is summed, where channels fill blocks; the gradient is torch's either way."""
    torch: Any = pytest.importorskip("torch")
    proto, x = strided_block(channels), numbers(2, 3, 8, 8)
    model = explainsvc.load(proto)
    assert operators(model, "gradient").count("AveragePool") == (2 if channels == 16 else 0)
    w = {t.name: torch.tensor(onnx.numpy_helper.to_array(t)) for t in proto.graph.initializer}
    tensor = torch.tensor(x, requires_grad=True)
    h = torch.relu(torch.nn.functional.conv2d(tensor, w["w0"]))
    long = torch.nn.functional.conv2d(h, w["w1"], stride=2, padding=1)
    y = (long + torch.nn.functional.conv2d(h, w["w2"], stride=2)).mean(dim=(2, 3))
    y[:, 1].sum().backward()
    found = model.explain({"x": x}, target=1).values["x"]
    np.testing.assert_allclose(found, tensor.grad.numpy(), rtol=1e-4, atol=1e-6)


def epsilon_by_hand(w: dict[str, Array], x: Array, epsilon: float) -> Array:
    """The ε-rule through h = x A, y = h B + h (one item): two uses of h, one relevance."""
    h = x @ w["A"]
    z = h @ w["B"]
    y = z + h
    relevance = y.copy()
    share = relevance / (y + epsilon * np.where(y >= 0, 1, -1))
    at_h = h * share + h * (w["B"] @ (z * share / (z + epsilon * np.where(z >= 0, 1, -1))))
    h_stable = h + epsilon * np.where(h >= 0, 1, -1)
    return x * (w["A"] @ (at_h / h_stable))


def test_the_factor_that_two_uses_share_is_multiplied_once() -> None:
    """R_h = h ⊙ u + h ⊙ v is emitted as h ⊙ (u + v), and is the ε-rule's relevance still."""
    tensors = {"A": models.weights("A", 5, 4).astype(np.float64), "B": models.weights("B", 4, 4).astype(np.float64)}
    graph = "g (double[N, 5] x) => (double[N, 4] y) { h = MatMul (x, A)  z = MatMul (h, B)  y = Add (z, h) }"
    model, x = explainsvc.load(models.build(graph, tensors)), numbers(1, 5).astype(np.float64)
    kinds = operators(model, "lrp_epsilon")
    seed = np.ones((1, 4))
    found = model.explain({"x": x}, "lrp_epsilon", {"output": "y", "seed": seed}, epsilon=1e-6).values["x"]
    np.testing.assert_allclose(found[0], epsilon_by_hand(tensors, x[0], 1e-6), rtol=1e-9)
    products = [n for n in model.compile("lrp_epsilon").proto.graph.node if n.op_type == "Mul" and "h" in n.input]
    assert len(products) == 1, kinds
