"""Two spellings of one layer become one: biases as sums of their own, and rectifiers as maxima or bounds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import explainsvc
from explainsvc.graph.passes import prepare
from explainsvc.runtime import new_session
from explainsvc.weights import parameter_units
from tests import models
from tests.models import Array, numbers, weights


def operators(proto: onnx.ModelProto) -> list[str]:
    """Those of the prepared graph."""
    return [node.op_type for node in prepare(proto, new_session(proto.SerializeToString())).model.graph]


def conv(constant: Array, own: str = "", rest: str = "y = Relu (s)") -> onnx.ModelProto:
    """x [N, 2, 5, 6] → Conv (bias ``own``) → Add of a constant → s; ``rest`` of the graph."""
    graph = f"""g (float[N, 2, 5, 6] x) => (float[N, 4, 3, 4] y) {{
      [layer] c = Conv (x, w{own})  [sum] s = Add (c, k)  {rest}
    }}"""
    tensors = {"w": weights("w", 4, 2, 3, 3), "k": constant} | ({"b": weights("b", 4)} if own else {})
    return models.build(graph, tensors, opset=21)


TRANSPOSED = """g (float[N, 4, 3, 3] x) => (float[N, 6, 5, 5] y) {
  [layer] c = ConvTranspose <group = 2> (x, w)  [sum] y = Add (k, c)
}"""
GEMM = """g (float[N, 5] x) => (float[N, 4] y) {
  [layer] c = Gemm <transB = 1, alpha = 0.5, beta = 3.0> (x, w, b)  [sum] y = Add (c, k)
}"""
FOLDED = {
    "channels": conv(weights("k", 4, 1, 1)),
    "items of one": conv(weights("k", 1, 4, 1, 1)),
    "beside a bias": conv(weights("k", 4, 1, 1), ", b"),
    "one dimension": models.build(
        "g (float[N, 2, 8] x) => (float[N, 4, 6] y) { [layer] c = Conv (x, w)  y = Add (c, k) }",
        {"w": weights("w", 4, 2, 3), "k": weights("k", 4, 1)},
    ),
    "transposed": models.build(TRANSPOSED, {"w": weights("w", 4, 3, 3, 3), "k": weights("k", 6, 1, 1)}),
    "gemm": models.build(GEMM, {"w": weights("w", 4, 5), "b": weights("b", 1, 4), "k": weights("k", 4)}),
}


@pytest.mark.parametrize("name", FOLDED)
def test_a_bias_as_a_sum_is_the_bias_of_the_layer(name: str) -> None:
    """No Add is left, the layer keeps its name and the result its own, and onnxruntime computes the same of both."""
    proto = FOLDED[name]
    model = explainsvc.load(proto)
    layer, *rest = model.prepared.model.graph
    assert layer.name == "layer"
    assert [node.op_type for node in rest] == (["Relu"] if "s" in {o for n in proto.graph.node for o in n.output} else [])
    assert layer.outputs[0].name in {"s", "y"}
    record = next(p for p in model.prepared.passes if p.name == "fold_affine")
    assert record.applied
    assert record.error < 1e-6
    x = {"x": numbers(3, *(d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim[1:]), seed=4)}
    session = new_session(ir.to_proto(model.prepared.model).SerializeToString())
    np.testing.assert_allclose(session.run(x, ["y"])["y"], model.predict(x)["y"], rtol=1e-5, atol=1e-6)


FACTORS = {
    "conv": models.build(
        "g (float[N, 2, 5, 6] x) => (float[N, 4, 3, 4] y) { [layer] c = Conv (x, w, b) s = Mul (k, c)  y = Add (s, l) }",
        {"w": weights("w", 4, 2, 3, 3), "b": weights("b", 4), "k": weights("k", 4, 1, 1), "l": weights("l", 1, 4, 1, 1)},
    ),
    "transposed": models.build(
        """g (float[N, 4, 3, 3] x) => (float[N, 6, 5, 5] y) {
          [layer] c = ConvTranspose <group = 2> (x, w)  s = Mul (c, k)  y = Add (s, l)
        }""",
        {"w": weights("w", 4, 3, 3, 3), "k": weights("k", 6, 1, 1), "l": weights("l", 6, 1, 1)},
    ),
    "gemm": models.build(
        """g (float[N, 5] x) => (float[N, 4] y) {
          [layer] c = Gemm <transB = 1, alpha = 0.5, beta = 3.0> (x, w, b)  s = Mul (c, k)  y = Add (l, s)
        }""",
        {"w": weights("w", 4, 5), "b": weights("b", 1), "k": weights("k", 4), "l": weights("l", 1, 4)},
    ),
    "matmul": models.build(
        "g (float[N, 5] x) => (float[N, 4] y) { [layer] c = MatMul (x, w) s = Mul (c, k)  y = Add (s, l) }",
        {"w": weights("w", 5, 4), "k": weights("k", 4), "l": weights("l", 4)},
    ),
}


@pytest.mark.parametrize("name", FACTORS)
def test_a_frozen_normalisation_is_the_layers_weights(name: str) -> None:
    """A factor and a sum per channel, as exporters write BatchNormalization that is frozen: one node that computes the same."""
    model = explainsvc.load(FACTORS[name])
    (layer,) = model.prepared.model.graph
    assert layer.name == "layer"
    assert {v.name for v in layer.inputs[1:]} <= {"w", "b", "l"}
    x = {"x": numbers(3, *(d.dim_value for d in model.proto.graph.input[0].type.tensor_type.shape.dim[1:]), seed=4)}
    session = new_session(ir.to_proto(model.prepared.model).SerializeToString())
    np.testing.assert_allclose(session.run(x, ["y"])["y"], model.predict(x)["y"], rtol=1e-5, atol=1e-5)


def test_weights_that_others_read_stay() -> None:
    """Two layers of one weight, one of them scaled: the other keeps its numbers."""
    graph = """g (float[N, 5] x) => (float[N, 5] y) {
      a = MatMul (x, w)  s = Mul (a, k)  r = Relu (s)  y = MatMul (r, w)
    }"""
    model, x = explainsvc.load(models.build(graph, {"w": weights("w", 5, 5), "k": weights("k", 5)})), {"x": numbers(3, 5)}
    assert [n.op_type for n in model.prepared.model.graph] == ["MatMul", "Relu", "MatMul"]
    session = new_session(ir.to_proto(model.prepared.model).SerializeToString())
    np.testing.assert_allclose(session.run(x, ["y"])["y"], model.predict(x)["y"], rtol=1e-5, atol=1e-6)


LEFT = {
    "read elsewhere": conv(weights("k", 4, 1, 1), rest="t = Relu (s) y = Mul (t, c)"),
    "an output": models.build(
        "g (float[N, 2, 5, 6] x) => (float[N, 4, 3, 4] y, float[N, 4, 3, 4] c) { c = Conv (x, w)  y = Add (c, k) }",
        {"w": weights("w", 4, 2, 3, 3), "k": weights("k", 4, 1, 1)},
    ),
    "a scalar": conv(np.array(3, np.float32)),
    "along the width": conv(weights("k", 4)),
    "per place": conv(weights("k", 4, 3, 4)),
    "per item": models.build(
        "g (float[4, 5] x) => (float[4, 4] y) { c = Gemm (x, w, b)  y = Add (c, k) }",
        {"w": weights("w", 5, 4), "b": weights("b", 4, 1), "k": weights("k", 4)},
    ),
    "more channels": models.build(
        "g (float[N, 2, 5, 6] x) => (float[N, 4, 3, 4] y) { c = Conv (x, w)  y = Add (c, k) }",
        {"w": weights("w", 1, 2, 3, 3), "k": weights("k", 4, 1, 1)},
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_other_sums_and_products_stay(name: str) -> None:
    """Where the bare result is wanted too, and where the constant is not one number per channel."""
    summed, multiplied = LEFT[name], onnx.ModelProto()
    assert operators(summed).count("Add") == 1
    multiplied.CopyFrom(summed)
    next(node for node in multiplied.graph.node if node.op_type == "Add").op_type = "Mul"
    before = [node.op_type for node in multiplied.graph.node].count("Mul")
    assert operators(multiplied).count("Mul") == before


def test_both_spellings_have_one_map_and_the_same_units() -> None:
    """LRP's signed rules gave a bias as a sum another map, 19 % apart; the learned tensors keep their names."""
    k = weights("k", 4)
    whole = models.build(
        "g (float[N, 2, 5, 6] x) => (float[N, 4, 3, 4] y) { [layer] c = Conv (x, w, k)  y = Relu (c) }",
        {"w": weights("w", 4, 2, 3, 3), "k": k},
    )
    one, other = explainsvc.load(whole), explainsvc.load(conv(k.reshape(4, 1, 1)))
    x = {"x": numbers(3, 2, 5, 6)}
    target = {"output": "y", "index": (1, 1, 2)}
    for method in ("lrp_z_plus", "lrp_epsilon", "deep_taylor"):
        expected = one.explain(x, method, target=target).values["x"]
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(other.explain(x, method, target=target).values["x"], expected, rtol=1e-5, atol=1e-7)
    assert [(u.name, {t.name for t in u.tensors}) for u in parameter_units(other)] == [("layer", {"w", "k"})]


def test_a_dense_layer_needs_no_declared_shapes() -> None:
    """MatMul + Add is one Gemm also where the file says no shape of an inner value and no converter has inferred any."""
    graph = "g (float[N, 2, 3] x) => (float[N, 4] y) { f = Flatten (x)  m = MatMul (f, w)  y = Add (m, b) }"
    assert operators(models.build(graph, {"w": weights("w", 6, 4), "b": weights("b", 4)}, opset=21)) == ["Flatten", "Gemm"]


def rectifier(node: str, opset: int = 17, **tensors: Array) -> onnx.ModelProto:
    """x [N, 6] → dense → the node, h to r → y = r²."""
    graph = f"g (float[N, 6] x) => (float[N, 5] y) {{ h = MatMul (x, w)  [act] r = {node}  y = Mul (r, r) }}"
    return models.build(graph, {"w": weights("w", 6, 5), **tensors}, opset)


ZERO, ONE = np.zeros((), np.float32), np.zeros(1, np.float32)
INFINITE: Mapping[str, Array] = {"zero": ZERO, "top": np.array(np.inf, np.float32)}
RECTIFIERS = {
    "max": rectifier("Max (h, zero)", zero=ZERO),
    "max, turned, [1]": rectifier("Max (zero, h)", opset=21, zero=ONE),
    "max, -0": rectifier("Max (h, zero)", zero=-ZERO),
    "clip": rectifier("Clip (h, zero)", zero=ZERO),
    "clip to infinity": rectifier("Clip (h, zero, top)", **INFINITE),
    "clip by attributes": rectifier("Clip <min = 0.0> (h)", opset=9),
}


@pytest.mark.parametrize("name", RECTIFIERS)
def test_rectifiers_become_relu(name: str) -> None:
    """Methods with a rule for ReLUs, and those without one for a maximum, get the map that the Relu gets, to the last bit."""
    proto, relu = RECTIFIERS[name], explainsvc.load(rectifier("Relu (h)"))
    model = explainsvc.load(proto)
    assert [(n.op_type, n.name) for n in model.prepared.model.graph][1] == ("Relu", "act")
    x = {"x": numbers(4, 6)}
    for method in ("gradient", "guided_backprop", "deeplift_reveal_cancel"):
        found, expected = (m.explain(x, method, target=2).values["x"] for m in (model, relu))
        np.testing.assert_array_equal(found, expected)


OTHERS = {
    "relu6": rectifier("Clip (h, zero, top)", zero=ZERO, top=np.array(6, np.float32)),
    "from below": rectifier("Clip (h, low)", low=np.array(-0.1, np.float32)),
    "above one": rectifier("Max (h, one)", one=np.ones((), np.float32)),
    "of zeros": rectifier("Max (h, zeros)", zeros=np.zeros(5, np.float32)),
    "of three": rectifier("Max (h, zero, h)", zero=ZERO),
    "one axis more": models.build(
        "g (float[N, 6] x) => (float[1, N, 6] y) { y = Max (x, zero) }", {"zero": np.zeros((1, 1, 1), np.float32)}, 21
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_bounds_stay(name: str) -> None:
    """What has another bound, a bound per element, or another shape is no Relu."""
    assert "Relu" not in operators(OTHERS[name])
