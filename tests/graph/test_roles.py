"""Nodes know what they are to the model, whichever exporter wrote it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import explainsvc
from explainsvc.graph.passes import prepare
from explainsvc.graph.roles import KEY, role, set_role
from explainsvc.model import Model
from explainsvc.runtime import new_session
from tests import models
from tests.graph.exports import EXPORTERS, Grouped, Scaled, exported, seeded


def roles(model: Model | ir.Model) -> Counter[str]:
    """How many nodes have each role."""
    return Counter(found for node in model.graph.all_nodes() if (found := role(node)) is not None)


def with_role(model: Model, wanted: str) -> set[str]:
    """Names of the results of the nodes with a role."""
    return {str(node.outputs[0].name) for node in model.graph if role(node) == wanted}


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("block", [Scaled, Grouped])
def test_a_transformer_block_is_recognised(block: type[torch.nn.Module], exporter: str) -> None:
    """Attention, two residual sums and every dense layer, by each exporter; and the gradient is torch's own."""
    network, x = seeded(block()), torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
    model = explainsvc.load(exported(network, x, EXPORTERS[exporter]))
    found = roles(model)
    dense = len([m for m in network.modules() if isinstance(m, torch.nn.Linear)])
    assert [found[f"attention.{name}"] for name in ("scores", "mask", "softmax", "values")] == [1, 1, 1, 1]
    assert found["residual"] == 2
    assert found["linear"] == dense
    assert found["activation"] == (block is Grouped)
    norm = "LayerNormalization" if block is Scaled else "RMSNormalization"
    operators = Counter(node.op_type for node in model.graph)
    assert (operators[norm], operators["Gelu"]) == (2, int(block is Scaled))
    assert not [p.note for p in model.prepared.passes if p.note]
    seed = np.random.default_rng(2).standard_normal((2, 5, 8)).astype(np.float32)
    leaf = x.clone().requires_grad_(True)
    (network(leaf) * torch.from_numpy(seed)).sum().backward()
    values = model.explain({"x": x.numpy()}, target={"output": "y", "seed": seed}).values["x"]
    np.testing.assert_allclose(values, leaf.grad.numpy(), rtol=1e-4, atol=1e-5)


EINSUM = """g (float[N, 5, 8] x) => (float[N, 5, 8] y) {
  [q] q = Einsum <equation = "abc,cde->abde"> (x, wq)  [k] k = Einsum <equation = "abc,cde->abde"> (x, wk)
  [v] v = Einsum <equation = "abc,cde->abde"> (x, wv)  qs = Mul (q, half)
  [scores] s = Einsum <equation = "aecd,abcd->acbe"> (k, qs)  [softmax] p = Softmax <axis = -1> (s)
  [values] o = Einsum <equation = "acbe,aecd->abcd"> (p, v)  [out] z = Einsum <equation = "abcd,cde->abe"> (o, wo)
  [bias] zb = Add (z, bo)  [sum] y = Add (zb, x)
}"""
NATIVE = """g (float[N, 2, 5, 4] x) => (float[N, 2, 5, 4] y) {
  [q] q = MatMul (x, w)  [attention] a = Attention <is_causal = 1> (q, x, x)  [sum] y = Add (x, a)
}"""


def test_attention_of_keras_is_recognised() -> None:
    """Keras' layers are Einsum throughout: projections are dense layers, products of activations are attention."""
    tensors = {n: models.weights(n, 8, 2, 4) for n in ("wq", "wk", "wv")} | {"half": np.array(0.5, np.float32)}
    tensors |= {"wo": models.weights("wo", 2, 4, 8), "bo": models.weights("bo", 8)}
    model = explainsvc.load(models.build(EINSUM, tensors))
    assert {n.name: role(n) for n in model.graph if role(n) is not None} == {
        "q": "linear", "k": "linear", "v": "linear", "out": "linear", "bias": "linear.bias", "sum": "residual",
        "scores": "attention.scores", "softmax": "attention.softmax", "values": "attention.values",
    }  # fmt: skip


def test_the_native_operator_has_the_roles_in_its_body() -> None:
    """Attention of opset 23 is its body afterwards, and that is attention."""
    model = explainsvc.load(models.build(NATIVE, {"w": models.weights("w", 4, 4)}, 23, ir_version=11))
    found = roles(model)
    assert [found[f"attention.{name}"] for name in ("scores", "mask", "softmax", "values")] == [1, 1, 1, 1]
    assert with_role(model, "residual") == {"y"}


@pytest.mark.parametrize("op", ["Attention", "MultiHeadAttention"])
def test_onnxruntimes_own_operators_have_the_roles_in_their_bodies(op: str) -> None:
    """What onnxruntime's optimiser fuses is attention again afterwards; the fused projection is a dense layer."""
    operands = ["x", "w", "b"] if op == "Attention" else ["x", "x", "x"]
    attention = helper.make_node(op, operands, ["a"], "attention", domain="com.microsoft", num_heads=2)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 5, 8]) for name in "xy"]
    tensors = {"w": models.weights("w", 8, 24), "b": models.weights("b", 24)} if op == "Attention" else {}
    initializers = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    graph = helper.make_graph(
        [attention, helper.make_node("Add", ["a", "x"], ["y"], "sum")], "g", ends[:1], ends[1:], initializers
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    found = roles(explainsvc.load(helper.make_model(graph, opset_imports=opsets, ir_version=10)))
    assert [found[f"attention.{name}"] for name in ("scores", "softmax", "values")] == [1, 1, 1]
    assert (found["linear"], found["linear.bias"], found["residual"]) == ((1, 1, 1) if op == "Attention" else (0, 0, 0))


def test_a_pointwise_convolution_between_transposes_is_a_dense_layer() -> None:
    """A 1×1 Conv over transposed tokens is linear; one on an image, or of three positions, is a convolution."""
    graph = """g (float[N, 5, 4] x, float[N, 4, 3, 3] image) => (float[N, 5, 3] y, float[N, 3, 3, 3] z) {
      t = Transpose <perm = [0, 2, 1]> (x)  [dense] c = Conv (t, w, b)  y = Transpose <perm = [0, 2, 1]> (c)
      [conv] z = Conv (image, w2)
    }"""
    tensors = {"w": models.weights("w", 3, 4, 1), "b": models.weights("b", 3), "w2": models.weights("w2", 3, 4, 1, 1)}
    assert with_role(explainsvc.load(models.build(graph, tensors)), "linear") == {"c"}
    wide = models.build(graph.replace("c = Conv", "c = Conv <pads = [1, 1]>"), tensors | {"w": models.weights("w", 3, 4, 3)})
    assert with_role(explainsvc.load(wide), "linear") == set()


def test_residual_sums_of_a_convolutional_network() -> None:
    """Sums with x itself and with its 1×1 Conv are residual; sums of parallel branches are not (negative control)."""
    graph = """g (float[N, 3, 6, 6] x, float[N, 3, 6, 6] other) => (float[N, 3, 6, 6] y) {
      f = Conv <pads = [1, 1, 1, 1]> (x, w1)  r = Relu (f)  h = Conv <pads = [1, 1, 1, 1]> (r, w2)  a = Add (x, h)
      s = Conv (a, w0)  f2 = Conv <pads = [1, 1, 1, 1]> (a, w1)  r2 = Relu (f2)  h2 = Conv <pads = [1, 1, 1, 1]> (r2, w2)
      b = Add (h2, s)
      left = Conv (b, w0)  right = Conv <pads = [1, 1, 1, 1]> (b, w1)  parallel = Add (left, right)
      double = Add (parallel, parallel)  two = Add (double, other)  p = Mul (two, two)  square = Add (two, p)
      shifted = Add (square, c)  y = Relu (shifted)
    }"""
    tensors = {n: models.weights(n, 3, 3, 3, 3) for n in ("w1", "w2")}
    tensors |= {"w0": models.weights("w0", 3, 3, 1, 1), "c": models.weights("c", 3, 1, 1)}
    assert with_role(explainsvc.load(models.build(graph, tensors)), "residual") == {"a", "b"}


def test_other_softmaxes_are_no_attention() -> None:
    """The classes' Softmax, and weights that a dense layer makes (additive attention, gates), have no role (negative control)."""
    graph = """g (float[N, 5, 4] x) => (float[N, 5, 3] y) {
      [dense] s = MatMul (x, w)  [gate] p = Softmax <axis = 1> (s)  t = Transpose <perm = [0, 2, 1]> (p)  [pool] v = MatMul (t, x)
      [head] z = MatMul (x, w2)  m = ReduceMean <axes = [1], keepdims = 1> (v)  q = MatMul (m, w2)
      j = Add (z, q)  y = Softmax (j)
    }"""
    model = explainsvc.load(models.build(graph, {"w": models.weights("w", 4, 1), "w2": models.weights("w2", 4, 3)}))
    assert not [name for name in roles(model) if name.startswith("attention")]


def test_roles_survive_copies_and_files_but_are_not_taken_from_a_file() -> None:
    """A clone and a serialized graph have the same roles; what a file says about itself is forgotten."""
    proto = models.cnn(batchnorm=False)
    for node in proto.graph.node:
        node.metadata_props.append(onnx.StringStringEntryProto(key=KEY, value="attention.softmax"))
    result = prepare(proto, new_session(proto.SerializeToString()))
    assert roles(result.model) == {"residual": 1, "linear": 1}
    assert roles(result.model.clone()) == roles(ir.from_proto(ir.to_proto(result.model))) == roles(result.model)
    add = next(node for node in result.model.graph if role(node) == "residual")
    assert add.name == "residual"
    set_role(add, None)
    assert role(add) is None
    add.metadata_props[KEY] = "no such role"
    assert role(add) is None
