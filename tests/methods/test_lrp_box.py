"""z^B, and how the bounds of the input reach the first layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import InvalidParameter, MethodNotApplicable
from tests import models
from tests.methods import dense
from tests.methods.test_lrp_rules import close
from tests.models import Array, numbers

LOW, HIGH = np.array([-4, -3.5], np.float32), np.array([3, 5], np.float32)
"""Per channel."""
CNN, X = explainsvc.load(models.cnn()), numbers(2, 2, 8, 8)


def spread(bound: Array) -> Array:
    """One number per channel at every cell, as the dense layer's input."""
    return np.repeat(bound.astype(np.float64), 64)


@pytest.mark.parametrize("shape", [(2,), (2, 1, 1), (1, 2, 1, 1), (2, 8, 8)])
def test_bounds_per_channel(shape: tuple[int, ...]) -> None:
    """A vector, an array that broadcasts, or a whole array: the same map, equal to the formula with whole arrays."""
    low, high = ((b if shape == (2,) else np.broadcast_to(b.reshape(2, 1, 1), shape)) for b in (LOW, HIGH))
    found = CNN.explain({"x": X}, "lrp_z_box", target=[0, 2], low=low, high=high).values["x"]
    plus = dense.z_plus_rule()
    for item, target in enumerate([0, 2]):
        close(found[item], dense.cnn_relevance(X[item], target, dense.z_box_rule(spread(LOW), spread(HIGH)), plus, plus))


def test_two_arrays_give_two_maps() -> None:
    """Sessions are cached by every number of a bound: two arrays that print alike are not the same."""
    low = np.full((2, 40, 40), -4, np.float32)
    other = low.copy()
    other[1, 20, 20] = -40
    graph = "g (float[N, 2, 40, 40] x) => (float[N, 1, 1, 1] y) { y = Conv (x, w) }"
    model, x = explainsvc.load(models.build(graph, {"w": models.weights("w", 1, 2, 40, 40)})), numbers(1, 2, 40, 40)
    first, second = (model.explain({"x": x}, "lrp_z_box", low=bound, high=4).values["x"] for bound in (low, other))
    assert np.abs(first - second).max() > 1e-3 * np.abs(first).max()


BEFORE: dict[str, tuple[str, dict[str, Array]]] = {
    "normalised": ("c = Sub (x, mean)  t = Div (c, std)", {}),
    "turned around": ("n = Neg (x)  t = Mul (n, std)", {}),
    "one minus": ("t = Sub (one, x)", {}),
    "clipped and moved": ("c = Clip (x, mean, one)  m = Transpose <perm = [1, 0]> (c)  t = Transpose <perm = [1, 0]> (m)", {}),
    "joined and cut": ("j = Concat <axis = 1> (x, x)  t, rest = Split <axis = 1, num_outputs = 2> (j)", {}),
}
STD = np.array([0.5, -2, 1, 3], np.float32)
CONSTANTS: dict[str, Array] = {"mean": np.array(0.4, np.float32), "std": STD, "one": np.array(1, np.float32)}


def through(name: str, x: Array) -> Array:
    """What stands before the layer, in numpy."""
    ways: dict[str, Array] = {
        "normalised": (x - 0.4) / STD,
        "turned around": -x * STD,
        "one minus": 1 - x,
        "clipped and moved": np.clip(x, 0.4, 1),
        "joined and cut": x,
    }
    return ways[name]


@pytest.mark.parametrize("name", BEFORE)
def test_bounds_go_through_what_stands_before_the_layer(name: str) -> None:
    """The layer's box is the image of the input's: ends exchanged where a factor is negative."""
    graph = f"g (float[N, 4] x) => (float[N, 3] y) {{ {BEFORE[name][0]}  y = MatMul (t, w) }}"
    w = models.weights("w", 4, 3)
    model = explainsvc.load(models.build(graph, {"w": w} | CONSTANTS, opset=18))
    x = np.random.default_rng(0).uniform(0, 1, (2, 4)).astype(np.float32)
    found = model.explain({"x": x}, "lrp_z_box", target=1, low=0, high=1, bias="ignored").values["x"]
    ends = through(name, np.zeros(4)), through(name, np.ones(4))
    rule = dense.z_box_rule(np.minimum(*ends), np.maximum(*ends))
    for item in range(2):
        a = through(name, x[item].astype(np.float64))
        close(found[item], rule(dense.dense(w), a, np.eye(3)[1] * (a @ w)))


def test_bounds_that_cannot_be_followed_are_refused() -> None:
    """sin is not monotone; LRP has no rule for it either, so it stands where only the box has to pass."""
    graph = """g (float[N, 4] x) => (float[N, 3] y) {
      h = HardSwish (x)  y = MatMul (h, w)
    }"""
    model = explainsvc.load(models.build(graph, {"w": models.weights("w", 4, 3)}))
    with pytest.raises(MethodNotApplicable, match="HardSwish"):
        model.explain({"x": numbers(1, 4)}, "lrp_z_box", low=0, high=1)


def test_a_vector_that_fits_two_axes_is_refused() -> None:
    """[N, 3, 3] with three numbers: channels or columns? The error asks for all axes."""
    graph = "g (float[N, 3, 3] x) => (float[N, 3, 1] y) { y = MatMul (x, w) }"
    model = explainsvc.load(models.build(graph, {"w": models.weights("w", 3, 1)}))
    parameters: dict[str, Any] = {"low": [0, 0, 0], "high": 9}
    with pytest.raises(InvalidParameter, match="two axes"):
        model.explain({"x": numbers(1, 3, 3)}, "lrp_z_box", 0, **parameters)


def test_bounds_by_input_name() -> None:
    """Each input has a box of its own."""
    graph = "g (float[N, 2] a, float[N, 2] b) => (float[N, 3] y) { j = Concat <axis = 1> (a, b)  y = MatMul (j, w) }"
    w = models.weights("w", 4, 3)
    model = explainsvc.load(models.build(graph, {"w": w}))
    feeds = {"a": numbers(1, 2), "b": numbers(1, 2, seed=1)}
    found = model.explain(feeds, "lrp_z_box", 2, low={"a": -5, "b": [-3, -2.5]}, high={"a": 4, "b": 6}).values
    x = np.concatenate([feeds["a"], feeds["b"]], axis=1)[0].astype(np.float64)
    rule = dense.z_box_rule(np.array([-5, -5, -3, -2.5]), np.array([4.0, 4, 6, 6]))
    expected = rule(dense.dense(w), x, np.eye(3)[2] * (x @ w))
    close(np.concatenate([found["a"], found["b"]], axis=1)[0], expected)
