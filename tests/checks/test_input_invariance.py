from __future__ import annotations

import numpy as np
import onnx
import pytest

import explainsvc
from explainsvc.checks._shift import shifted
from explainsvc.checks.input_invariance import NAME
from explainsvc.model import Model
from tests import models
from tests.checks.models import Array, cnn, linear, numbers, pictures, rows, verdicts_of


def unpadded() -> Model:
    """A convolution without padding first."""
    graph = """g (float[N, 2, 6, 6] x) => (float[N, 3, 4, 4] y) { [conv] c = Conv (x, w, b)  y = Relu (c) }"""
    return explainsvc.load(models.build(graph, {"w": numbers(3, 2, 3, 3), "b": numbers(3)}))


def branching() -> Model:
    """Its only dense layers lie in the branches of an If, whose condition comes first."""
    branch = "g{0} () => (float[N, 3] y{0}) {{ y{0} = Gemm (x, w{0}, b) }}"
    graph = f"""g (float[N, 4] x) => (float[N, 3] y) {{
      s = ReduceSum <keepdims = 0> (x)  c = Greater (s, zero)
      y = If (c) <then_branch = {branch.format(1)}, else_branch = {branch.format(2)}>
    }}"""
    tensors = {"w1": numbers(4, 3), "w2": numbers(4, 3, seed=1), "b": numbers(3), "zero": np.zeros((), np.float32)}
    return explainsvc.load(models.build(graph, tensors))


CASES = {
    "branches": (branching, {"x": numbers(4, 4)}, "Sub"),
    "gemm": (lambda: linear(bias=True), rows(), "Gemm"),
    "no bias": (linear, rows(), "Sub"),
    "conv": (unpadded, {"x": numbers(4, 2, 6, 6)}, "Conv"),
    "padded conv": (cnn, pictures(4), "Sub"),
    "two inputs": (lambda: explainsvc.load(models.two_by_two()), {"a": numbers(4, 3), "b": numbers(4, 2)}, "Sub"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_corrected_model_computes_the_same(name: str) -> None:
    """f₂(x + m) = f(x) by onnxruntime; a bias is corrected where that is exact, else there is a Sub."""
    made, feeds, first = CASES[name]
    model = made()
    other, moved = shifted(model, feeds, dict.fromkeys(feeds, -1.5))
    assert other.proto.graph.node[0].op_type == first
    for output, expected in model.predict(feeds).items():
        np.testing.assert_allclose(other.predict(moved)[output], expected, atol=1e-5 * np.abs(expected).max())
    for x, original in feeds.items():
        np.testing.assert_allclose(moved[x], original - 1.5, rtol=1e-6)


def test_initializers_that_are_inputs() -> None:
    """As exporters wrote them before IR version 4."""
    proto = linear(bias=True).proto
    old = onnx.ModelProto()
    old.CopyFrom(proto)
    old.ir_version, old.opset_import[0].version = 3, 9
    values = [onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in old.graph.initializer]
    old.graph.input.extend(values)
    model, x = explainsvc.load(old), rows()
    for sub in (False, True):
        other, moved = shifted(model, x, {"x": 0.5}, sub=sub)
        np.testing.assert_allclose(other.predict(moved)["y"], model.predict(x)["y"], atol=1e-5)


def test_a_shift_per_feature() -> None:
    """m may differ from feature to feature, as an attack chooses it: b₂ = b − Wᵀm."""
    model, x, m = linear(bias=True), rows(), numbers(12, seed=9)
    other, moved = shifted(model, x, {"x": m})
    bias = onnx.numpy_helper.to_array(other.proto.graph.initializer[-1])
    np.testing.assert_allclose(bias, numbers(4) - numbers(12, 4).T @ m, rtol=1e-5)
    np.testing.assert_allclose(other.predict(moved)["y"], model.predict(x)["y"], atol=1e-5)


@pytest.mark.parametrize("correction", ["bias", "sub"])
def test_gradients_stay_and_factors_move(correction: str) -> None:
    """Kindermans et al. 2017, section 3: the gradient passes, gradient × input fails, on both ways of correcting."""
    methods = ["gradient", "input_x_gradient"]
    found = verdicts_of(linear(bias=True), rows(), NAME, methods, **{NAME: {"correction": correction}})
    assert found == {"gradient": "pass", "input_x_gradient": "fail"}


def integrated(baseline: object, **check: object) -> str:
    """The verdict on integrated gradients of a CNN from a baseline."""
    method = "integrated_gradients"
    return verdicts_of(cnn(), pictures(6), NAME, [method], **{method: {"baseline": baseline}, NAME: check})[method]


def test_a_baseline_must_move_with_the_data() -> None:
    """Section 3.2: a fixed zero fails; the mean of the image, and black when it is shifted along, pass."""
    black: Array = pictures(6)["x"].min()
    assert integrated("zero") == "fail"
    assert integrated(float(black)) == "fail"
    assert integrated("mean") == "pass"
    assert integrated(float(black), baseline_moves=True) == "pass"
