"""Activation maps over inputs of one, two and three spatial axes, channels first and last, with and without a batch axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest

import explainsvc
from explainsvc.errors import MethodNotApplicable
from tests import models
from tests.methods.cams import FORMULAS, expected_map, run, upsampled
from tests.models import Array, numbers

PADS = {1: "[1, 1]", 2: "[1, 1, 1, 1]", 3: "[1, 1, 1, 1, 1, 1]"}


@dataclass(frozen=True)
class Case:
    """A network, an input, and how [N, positions…] lies over the input's axes.

    Attributes:
        proto: x → y [N, 3], its last activation in [N, C, positions…] called ``r``.
        x: The input.
        places: The input's axes that the positions run along.
    """

    proto: onnx.ModelProto
    x: Array
    places: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The input's lengths along the positions."""
        return tuple(self.x.shape[axis] for axis in self.places)


def head(rank: int, channels: int, before: str, declared: str) -> onnx.ModelProto:
    """declared x → ``before`` (makes t) → Conv Relu MaxPool → r → mean over positions → y [N, 3]."""
    two = ", ".join(["2"] * rank)
    graph = f"""g ({declared} x) => (float[N, 3] y) {{
      {before}
      c = Conv <pads = {PADS[rank]}> (t, w, b)  a = Relu (c)
      r = MaxPool <kernel_shape = [{two}], strides = [{two}]> (a)
      s = Mul (r, r)  m = GlobalAveragePool (s)  f = Flatten (m)  y = Gemm (f, v)
    }}"""
    kernel = {"w": models.weights("w", 4, channels, *[3] * rank), "b": models.weights("b", 4), "v": models.weights("v", 4, 3)}
    axes = {f"axis{i}": np.array([i], np.int64) for i in range(3)}
    return models.build(graph, kernel | {n: t for n, t in axes.items() if n in before})


CASES = {
    "1-d": Case(head(1, 2, "t = Identity (x)", "float[N, 2, 12]"), numbers(2, 2, 12), (2,)),
    "1-d channels last": Case(head(1, 2, "t = Transpose <perm = [0, 2, 1]> (x)", "float[N, 12, 2]"), numbers(2, 12, 2), (1,)),
    "1-d without channels": Case(head(1, 1, "t = Unsqueeze (x, axis1)", "float[N, 12]"), numbers(2, 12), (1,)),
    "2-d": Case(head(2, 2, "t = Identity (x)", "float[N, 2, 8, 6]"), numbers(2, 2, 8, 6), (2, 3)),
    "2-d channels last": Case(
        head(2, 2, "t = Transpose <perm = [0, 3, 1, 2]> (x)", "float[N, 8, 6, 2]"), numbers(2, 8, 6, 2), (1, 2)
    ),
    "2-d on its side": Case(
        head(2, 2, "t = Transpose <perm = [0, 3, 2, 1]> (x)", "float[N, 8, 6, 2]"), numbers(2, 8, 6, 2), (2, 1)
    ),
    "2-d without channels": Case(head(2, 1, "t = Unsqueeze (x, axis1)", "float[N, 8, 6]"), numbers(2, 8, 6), (1, 2)),
    "2-d without items": Case(head(2, 2, "t = Unsqueeze (x, axis0)", "float[2, 8, 6]"), numbers(2, 8, 6), (1, 2)),
    "3-d": Case(head(3, 1, "t = Identity (x)", "float[N, 1, 4, 6, 8]"), numbers(2, 1, 4, 6, 8), (2, 3, 4)),
    "3-d channels last": Case(
        head(3, 1, "t = Transpose <perm = [0, 4, 1, 2, 3]> (x)", "float[N, 4, 6, 8, 1]"), numbers(2, 4, 6, 8, 1), (1, 2, 3)
    ),
}


def laid_over(heat: Array, case: Case) -> Array:
    """[N, positions…] repeated over the input's other axes."""
    items = case.proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    axes = [0, *case.places] if items else list(case.places)
    flat = heat if items else heat[0]
    turned = flat.transpose(np.argsort(axes))
    return np.broadcast_to(np.expand_dims(turned, [a for a in range(case.x.ndim) if a not in axes]), case.x.shape)


@pytest.mark.parametrize("method", FORMULAS)
@pytest.mark.parametrize("name", CASES)
def test_the_map_lies_over_the_inputs_positions(name: str, method: str) -> None:
    """S = Σ_k v_k mean A_k², so G = 2 v_k A_k / positions: the formula, resized along the axes that hold positions."""
    case = CASES[name]
    a = run(case.proto, {"x": case.x}, "r")[0].astype(np.float64)
    shape = (1, -1, *[1] * (a.ndim - 2))
    g = 2 * models.weights("v", 4, 3)[:, 1].reshape(shape) * a / np.prod(a.shape[2:])
    expected = laid_over(expected_map(method, a, g, case.sizes), case)
    assert np.abs(expected).max() > 0
    found = explainsvc.load(case.proto).explain({"x": case.x}, method, target=1, layer="r").values["x"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


SIGNED: dict[str, dict[str, Any]] = {"eigen_cam": {}, "score_cam": {"relu": False}, "ablation_cam": {"relu": False}}


@pytest.mark.parametrize("method", SIGNED)
@pytest.mark.parametrize("name", CASES)
def test_maps_made_outside_the_graph_lie_over_them_too(name: str, method: str) -> None:
    """A linear combination of channels is resized along the same axes: it is constant along all others."""
    case = CASES[name]
    found = explainsvc.load(case.proto).explain({"x": case.x}, method, target=1, layer="r", **SIGNED[method]).values["x"]
    a = run(case.proto, {"x": case.x}, "r")[0]
    basis = [laid_over(expected_map("hires_cam", a[:, [k]], np.ones_like(a[:, [k]]), case.sizes), case) for k in range(4)]
    for item in range(len(a)):
        part = found[item] if len(a) > 1 else found
        matrix = np.stack([(b[item] if len(a) > 1 else b).ravel() for b in basis], axis=1)
        combined = matrix @ np.linalg.lstsq(matrix, part.ravel(), rcond=None)[0]
        assert np.linalg.norm(part) > 0
        np.testing.assert_allclose(part.ravel(), combined, rtol=0, atol=1e-5 * np.abs(part).max())


def test_an_inner_value_in_another_layout_is_read_by_its_own_axes() -> None:
    """Channels last inside the network: the same map as of the value before the Transpose."""
    model, x = explainsvc.load(models.nhwc()), numbers(2, 8, 6, 2)
    for method in (*FORMULAS, "eigen_cam", "score_cam", "ablation_cam"):
        first, last = (model.explain({"x": x}, method, target=2, layer=layer).values["x"] for layer in ("r", "l"))
        assert np.abs(first).max() > 0
        np.testing.assert_allclose(last, first, rtol=1e-4, atol=1e-6 * np.abs(first).max())


def test_items_along_another_axis() -> None:
    """Items second, as in torch's attention: one graph reads it; what would run it in batches refuses, with advice."""
    graph = """g (float[N, 2, 6, 6] x) => (float[N, 3] y) {
      c = Conv (x, w)  r = Relu (c)  t = Transpose <perm = [2, 0, 1, 3]> (r)
      s = Mul (t, t)  u = Transpose <perm = [1, 2, 0, 3]> (s)  m = GlobalAveragePool (u)  f = Flatten (m)  y = Gemm (f, v)
    }"""
    model = explainsvc.load(models.build(graph, {"w": models.weights("w", 4, 2, 3, 3), "v": models.weights("v", 4, 3)}))
    x = numbers(2, 2, 6, 6)
    first, turned = (model.explain({"x": x}, "hires_cam", target=1, layer=layer).values["x"] for layer in ("r", "t"))
    assert np.abs(first).max() > 0
    np.testing.assert_allclose(turned, first, rtol=1e-4, atol=1e-6)
    for method in ("eigen_cam", "score_cam", "ablation_cam"):
        with pytest.raises(MethodNotApplicable, match="first axis") as caught:
            model.explain({"x": x}, method, target=1, layer="t")
        assert caught.value.to_do


def test_an_input_that_the_layer_does_not_lie_over_is_refused() -> None:
    """A vector beside a picture: refused by name with the input that can be explained, which then is."""
    graph = """g (float[N, 2, 6, 6] x, float[N, 4] z) => (float[N, 3] y) {
      c = Conv (x, w)  r = Relu (c)  m = GlobalAveragePool (r)  f = Flatten (m)
      both = Concat <axis = 1> (f, z)  y = Gemm (both, v)
    }"""
    model = explainsvc.load(models.build(graph, {"w": models.weights("w", 4, 2, 3, 3), "v": models.weights("v", 8, 3)}))
    feeds = {"x": numbers(2, 2, 6, 6), "z": numbers(2, 4)}
    with pytest.raises(MethodNotApplicable, match='input "z"') as caught:
        model.explain(feeds, "grad_cam")
    assert 'inputs=["x"]' in caught.value.to_do
    assert model.explain(feeds, "grad_cam", inputs=["x"]).values["x"].shape == (2, 2, 6, 6)


@pytest.mark.parametrize("method", [*FORMULAS, "eigen_cam", "ablation_cam"])
def test_a_layer_over_two_pictures_is_laid_over_both(method: str) -> None:
    """Two inputs of different size and layout that meet in one value get one map, each at its own size."""
    graph = """g (float[N, 2, 8, 8] x, float[N, 4, 4, 3] z) => (float[N, 3] y) {
      a = Conv <strides = [2, 2], kernel_shape = [2, 2]> (x, w)  t = Transpose <perm = [0, 3, 1, 2]> (z)  b = Conv (t, u)
      s = Add (a, b)  r = Relu (s)  m = GlobalAveragePool (r)  f = Flatten (m)  y = Gemm (f, v)
    }"""
    tensors = {"w": models.weights("w", 4, 2, 2, 2), "u": models.weights("u", 4, 3, 1, 1), "v": models.weights("v", 4, 3)}
    feeds = {"x": numbers(2, 2, 8, 8), "z": numbers(2, 4, 4, 3)}
    found = explainsvc.load(models.build(graph, tensors)).explain(feeds, method, target=1).values
    assert np.abs(found["z"]).max() > 0
    np.testing.assert_allclose(found["x"][:, 0], upsampled(found["z"][..., 0], 8, 8), rtol=1e-4, atol=1e-5)
