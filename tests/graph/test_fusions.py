"""Formulas that exporters wrote out become one operator, and only where they are that formula."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import explainsvc
from explainsvc.model import Model
from tests import models
from tests.graph import spelled
from tests.models import Array


def operators(model: Model) -> list[str]:
    """Operator names of the prepared graph."""
    return [node.op_type for node in model.graph]


def applied(model: Model) -> set[str]:
    """Passes that changed the graph."""
    return {p.name for p in model.prepared.passes if p.applied}


def untouched(model: Model) -> bool:
    """Whether no pass was taken back."""
    return not [p.note for p in model.prepared.passes if p.note]


def directional(proto: onnx.ModelProto, x: Array, u: Array, step: float = 1e-2) -> float:
    """∂(Σ y · weights)/∂x along ``u`` by central differences of the untouched model."""
    model = explainsvc.load(proto)
    ends = [model.predict({"x": (x + s * u).astype(np.float32)})["y"].astype(np.float64) for s in (step, -step)]
    return float(((ends[0] - ends[1]) * _seed(ends[0].shape)).sum() / (2 * step))


def _seed(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def agrees_with_differences(proto: onnx.ModelProto, x: Array) -> None:
    """The gradient of the fused graph is the slope of the untouched model, in several directions."""
    model = explainsvc.load(proto)
    seed = _seed(model.predict({"x": x})["y"].shape)
    g = model.explain({"x": x}, target={"output": "y", "seed": seed}).values["x"].astype(np.float64)
    for number in range(4):
        u = models.numbers(*x.shape, seed=number + 10)
        scale = np.linalg.norm(g) * np.linalg.norm(u)
        assert abs(float((g * u).sum()) - directional(proto, x, u)) < 2e-3 * scale


@pytest.mark.parametrize("name", spelled.ACTIVATIONS)
def test_a_written_out_activation_becomes_one_operator(name: str) -> None:
    """Every spelling is found; one node is left, under the last node's name and result, and its gradient is the model's slope."""
    expected, body = spelled.ACTIVATIONS[name]
    proto = spelled.activation(body)
    model = explainsvc.load(proto)
    assert operators(model) == ["Gemm", expected, "Gemm"]
    assert untouched(model)
    fused = model.graph[1]
    assert (fused.name, fused.outputs[0].name) == ("/act/a", "a")
    if expected == "Gelu":
        assert fused.attributes["approximate"].as_string() == ("tanh" if "tanh" in name else "none")
    agrees_with_differences(proto, models.numbers(3, 6))


def test_a_written_out_swish_becomes_one_operator_where_the_opset_has_it() -> None:
    """x σ(αx) is Swish from opset 24 on; older graphs keep its two nodes (raising their opset costs GPU kernels)."""
    body = "u = Mul (h, alpha)  s = Sigmoid (u)  a = Mul (h, s)"
    model = explainsvc.load(spelled.activation(body, opset=24))
    assert operators(model) == ["Gemm", "Swish", "Gemm"]
    assert model.graph[1].attributes["alpha"].as_float() == pytest.approx(1.702, abs=1e-6)
    agrees_with_differences(spelled.activation(body, opset=24), models.numbers(3, 6))
    assert "Swish" not in operators(explainsvc.load(spelled.activation(body)))


@pytest.mark.parametrize(
    "body",
    [
        "d = Div (h, wrong2)  e = Erf (d)  p = Add (e, one)  m = Mul (h, p)  a = Mul (m, half)",
        "d = Div (h, r2)  e = Erf (d)  p = Add (e, half)  m = Mul (h, p)  a = Mul (m, half)",
        "d = Div (h, r2)  e = Erf (d)  p = Add (e, one)  m = Mul (d, p)  a = Mul (m, half)",
        "s = Add (h, wrong3)  c = Clip (s, zero, six)  d = Div (c, six)  a = Mul (h, d)",
        "s = Add (h, three)  c = Clip (s, one, six)  d = Div (c, six)  a = Mul (h, d)",
        "s = Softplus (h)  t = Sigmoid (s)  a = Mul (h, t)",
        "d = Div (h, r2)  e = Erf (d)  p = Add (e, one)  m = Mul (x0, p)  a = Mul (m, half)",
    ],
    ids=["sqrt 2", "one half", "not x", "three", "lower bound", "sigmoid", "two sources"],
)
def test_an_almost_activation_is_left_alone(body: str) -> None:
    """A wrong constant, another function or a second source: nothing is fused (negative control)."""
    if "x0" in body:
        body = f"x0 = Gemm (x, w1)  {body}"
    model = explainsvc.load(spelled.activation(body))
    assert not {"fuse_activations", "fuse_norms"} & applied(model)
    assert untouched(model)


@pytest.mark.parametrize("name", spelled.NORMS)
def test_a_written_out_norm_becomes_one_operator(name: str) -> None:
    """Every spelling is found; scale and shift are the source's initializers, ε is its own, the gradient is the slope."""
    expected, body = spelled.NORMS[name]
    proto = spelled.norm(body)
    model = explainsvc.load(proto)
    assert operators(model) == [expected, "Tanh", "MatMul"]
    assert untouched(model)
    fused = model.graph[0]
    assert (fused.name, fused.outputs[0].name) == ("/act/h", "h")
    assert fused.attributes["epsilon"].as_float() == pytest.approx(1e-5)
    learned = {p.name for unit in explainsvc.weights.parameter_units(model) for p in unit.tensors}
    assert learned >= {t.name for t in proto.graph.initializer} - {"two", "eps"}
    agrees_with_differences(proto, models.numbers(3, 4, 6))


@pytest.mark.parametrize(
    "body",
    [
        spelled.LAYER.format(square="q = Pow (d, two)").replace("[-1]", "[1]")
        + "  n = Div (d, s)  k = Mul (n, g)  h = Add (k, b)",
        spelled.LAYER.format(square="q = Pow (d, third)") + "  n = Div (d, s)  k = Mul (n, g)  h = Add (k, b)",
        spelled.LAYER.format(square="q = Mul (x, x)") + "  n = Div (d, s)  k = Mul (n, g)  h = Add (k, b)",
        spelled.LAYER.format(square="q = Pow (d, two)").replace("v = ReduceMean <axes = [-1]>", "v = ReduceMean <axes = [1]>")
        + "  n = Div (d, s)  k = Mul (n, g)  h = Add (k, b)",
        "q = Pow (x, two)  v = ReduceMean <axes = [-1]> (q)  s = Sqrt (v)  e = Add (s, eps)  n = Div (x, e)  h = Mul (n, g)",
    ],
    ids=["another axis", "cubes", "not centred squares", "mixed axes", "epsilon outside"],
)
def test_an_almost_norm_is_left_alone(body: str) -> None:
    """Another axis, other squares, ε at another place: nothing is fused (negative control)."""
    model = explainsvc.load(spelled.norm(body))
    assert not {"fuse_activations", "fuse_norms"} & applied(model)
    assert untouched(model)


def test_a_scale_per_position_stays_outside() -> None:
    """What is constant along the normalised axis is no scale of it: only x̂ is fused, with a scale of ones."""
    body = spelled.LAYER.format(square="q = Pow (d, two)") + "  n = Div (d, s)  h = Mul (n, gg)"
    model = explainsvc.load(spelled.norm(body))
    assert operators(model) == ["LayerNormalization", "Mul", "Tanh", "MatMul"]
    scale = model.graph[0].inputs[1]
    np.testing.assert_array_equal(scale.const_value.numpy(), np.ones(6))
    agrees_with_differences(spelled.norm(body), models.numbers(3, 4, 6))


@pytest.mark.parametrize("change", [{}, {"scale": (1, 6, 1, 1)}, {"rows": (0, 6, -1)}])
def test_groupnorm_through_instancenorm_becomes_one_operator(change: dict) -> None:
    """The five nodes of torch's exporters are one GroupNormalization with the source's scale and shift, as vectors."""
    proto = spelled.groupnorm(**change)
    model = explainsvc.load(proto)
    assert operators(model) == ["Conv", "GroupNormalization", "Tanh", "GlobalAveragePool", "Flatten"]
    fused = model.graph[1]
    assert (fused.name, fused.outputs[0].name) == ("/norm/Add", "h")
    assert [v.name for v in fused.inputs] == ["c", "scale", "shift"]
    assert [list(v.shape) for v in fused.inputs[1:]] == [[6], [6]]
    assert untouched(model)
    agrees_with_differences(proto, models.numbers(2, 6, 4, 6))


def test_a_scale_along_another_axis_is_none_of_the_groupnorm() -> None:
    """A factor per column stays a Mul behind the GroupNormalization, though there are as many columns as channels."""
    proto = spelled.groupnorm(scale=(1, 1, 6))
    model = explainsvc.load(proto)
    assert operators(model)[:4] == ["Conv", "GroupNormalization", "Mul", "Add"]
    assert untouched(model)
    agrees_with_differences(proto, models.numbers(2, 6, 4, 6))


def test_an_instancenorm_with_a_scale_of_its_own_is_left_alone() -> None:
    """Rows that are scaled before they are put back are no GroupNorm (negative control)."""
    model = explainsvc.load(spelled.groupnorm(instance=2.0))
    assert "fuse_groupnorm" not in applied(model)
    assert "InstanceNormalization" in operators(model)
