"""Every pass keeps the function and says what it did."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

import explainsvc
from explainsvc.graph import passes
from explainsvc.graph.passes import PASSES, Prepared, prepare
from explainsvc.graph.probe import probe_inputs
from explainsvc.runtime import new_session
from tests import models

MODELS = {
    maker.__name__: maker
    for maker in (
        models.mlp, models.matmul_mlp, models.quadratic, models.cnn, models.nhwc, models.two_by_two, models.without_batch,
        models.mixing, models.trees, models.embedding, models.labelled, models.opset7, models.functions,
    )
}  # fmt: skip


def prepared(proto: onnx.ModelProto) -> Prepared:
    """The model after all passes."""
    return prepare(proto, new_session(proto.SerializeToString()))


def outputs(proto: onnx.ModelProto, feeds: dict[str, models.Array], names: list[str]) -> list[models.Array]:
    """What a bare onnxruntime answers."""
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(a) for a in session.run(names, feeds)]


@pytest.mark.parametrize("name", MODELS)
def test_the_prepared_graph_computes_what_the_model_computes(name: str) -> None:
    """On the probe inputs all tensor outputs agree to rounding."""
    proto = MODELS[name]()
    feeds = probe_inputs(new_session(proto.SerializeToString()))
    assert feeds is not None
    after = ir.to_proto(prepared(proto).model)
    names = [o.name for o in proto.graph.output if o.type.HasField("tensor_type")]
    for a, b in zip(outputs(proto, feeds, names), outputs(after, feeds, names), strict=True):
        if a.dtype.kind == "f":
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(b, a)


def test_a_model_of_one_item_is_probed_with_one() -> None:
    """The passes of a model whose open batch takes one item only, as exporters write it, are verified all the same."""
    text = "g (float[N, 4] x) => (float[1, 3] y) { r = Reshape (x, one)  m = MatMul (r, w)  y = Add (m, b) }"
    tensors = {"one": np.array([1, 4]), "w": models.weights("w", 4, 3), "b": models.weights("b", 3)}
    errors = {p.name: p.error for p in prepared(models.build(text, tensors)).passes if p.applied}
    assert "matmul_add_to_gemm" in errors
    assert max(errors.values()) < 1e-6


def test_folded_layers_keep_the_name_of_the_layer() -> None:
    """A Conv that took in its BatchNormalization, and a Gemm made of MatMul and Add, are called what the source calls them."""
    assert {n.name for n in prepared(models.cnn()).model.graph if n.op_type == "Conv"} == {"conv1", "conv2", "left", "right"}
    text = "g (float[N, 4] x) => (float[N, 4] y) { [project] n = MatMul (x, A)  [shift] y = Add (n, b) }"
    proto = models.build(text, {"A": models.weights("A", 4, 4), "b": models.weights("b", 4)})
    assert [(n.op_type, n.name) for n in prepared(proto).model.graph] == [("Gemm", "project")]


def test_a_sum_of_two_activations_is_no_bias() -> None:
    """x A + h stays a MatMul and an Add, whose relevance goes to both; with a constant it is one Gemm."""
    tensors = {"A": models.weights("A", 4, 4), "b": models.weights("b", 4)}
    text = "g (float[N, 4] x) => (float[N, 4] y) { m = MatMul (x, A)  h = Relu (m)  n = MatMul (h, A)  y = Add (n, %s) }"
    residual, dense = (models.build(text % second, tensors) for second in ("h", "b"))
    assert [n.op_type for n in prepared(residual).model.graph] == ["MatMul", "Relu", "MatMul", "Add"]
    assert [n.op_type for n in prepared(dense).model.graph] == ["MatMul", "Relu", "Gemm"]


@pytest.mark.parametrize("name", MODELS)
def test_every_pass_is_recorded_with_its_error(name: str) -> None:
    """One record a pass, none taken back, every error measured and far below the tolerance; the result is valid ONNX."""
    result = prepared(MODELS[name]())
    assert [p.name for p in result.passes] == ["tensor_outputs", *(name for name, _ in PASSES)]
    assert [p.note for p in result.passes] == [""] * len(result.passes)
    assert max(p.error for p in result.passes) < 1e-5
    assert result.model.graph.opset_imports[""] >= 21
    onnx.checker.check_model(ir.to_proto(result.model))


def _negate_weights(model: ir.Model) -> bool:
    tensor = model.graph.initializers["w2"]
    assert tensor.const_value is not None
    tensor.const_value = ir.Tensor(-tensor.const_value.numpy(), name="w2")
    return True


def _break(model: ir.Model) -> bool:
    next(iter(model.graph)).op_type = "NoSuchOperator"
    return True


def _want_another_batch(model: ir.Model) -> bool:
    model.graph.inputs[0].shape = ir.Shape([77, 6])
    return True


def _raise(model: ir.Model) -> bool:
    raise RuntimeError("this rewrite has a bug")


@pytest.mark.parametrize(
    ("wrong", "note", "error"),
    [(_negate_weights, "taken back: it changed the model's outputs", True), (_break, "taken back", False),
     (_want_another_batch, "taken back: [ONNXRuntimeError]", False),
     (_raise, "not applied: RuntimeError: this rewrite has a bug", False)],
)  # fmt: skip
def test_a_wrong_pass_is_taken_back_and_reported(
    monkeypatch: pytest.MonkeyPatch, wrong: Callable[[ir.Model], bool], note: str, error: bool
) -> None:
    """A pass that changes the function, makes no model or fails leaves the graph as it was, and says so (negative control)."""
    monkeypatch.setattr(passes, "PASSES", (("wrong", wrong), *PASSES))
    proto = models.mlp()
    result = prepared(proto)
    record = next(p for p in result.passes if p.name == "wrong")
    assert not record.applied
    assert note in record.note
    assert (record.error > 0.1) == error
    feeds = {"x": models.numbers(2, 6)}
    np.testing.assert_allclose(outputs(ir.to_proto(result.model), feeds, ["y"])[0], outputs(proto, feeds, ["y"])[0], rtol=1e-5)


def test_a_small_change_within_rounding_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verification resolves a change of one weight by a thousandth of the weights' size."""

    def nudge(model: ir.Model) -> bool:
        tensor = model.graph.initializers["b3"]
        assert tensor.const_value is not None
        tensor.const_value = ir.Tensor(tensor.const_value.numpy() + np.float32(1e-3), name="b3")
        return True

    monkeypatch.setattr(passes, "PASSES", (("nudge", nudge),))
    assert [p.applied for p in prepared(models.mlp()).passes] == [False, False]


def operators(result: Prepared) -> list[str]:
    """Operator names of the prepared graph."""
    return [node.op_type for node in result.model.graph]


def test_batchnorm_is_folded_into_the_convolution() -> None:
    """No BatchNormalization is left, and every convolution has gained a bias."""
    result = prepared(models.cnn(bias=False))
    assert "BatchNormalization" not in operators(result)
    folded = [node for node in result.model.graph if node.name in ("conv1", "conv2", "c1", "c2") or node.op_type == "Conv"][:2]
    assert [len(node.inputs) for node in folded] == [3, 3]


def test_matmul_and_add_become_one_gemm() -> None:
    """A dense layer written as two nodes is one Gemm afterwards, in graphs and in inlined functions."""
    assert operators(prepared(models.matmul_mlp())) == ["Gemm", "Relu", "Gemm"]
    assert operators(prepared(models.functions())) == ["Gemm", "Elu", "Gemm", "Elu"]


def test_values_keep_the_names_of_the_source() -> None:
    """Results that exist before and after the passes have the source's names, so that a user can name a layer."""
    for make in (models.mlp, models.cnn, models.nhwc, models.matmul_mlp):
        proto = make()
        source = {name for node in proto.graph.node for name in node.output}
        kept = [v.name for node in prepared(proto).model.graph for v in node.outputs]
        assert set(kept) <= source, make.__name__


def test_nodes_keep_the_names_of_the_source() -> None:
    """Nodes that no pass replaced have the source's names."""
    kept = [node.name for node in prepared(models.cnn(batchnorm=False)).model.graph]
    expected = "conv1 relu1 conv2 residual relu2 pool left right concat relu3 global flat head".split()
    assert kept == expected


def test_half_precision_becomes_single() -> None:
    """No float16 is left anywhere, inputs and outputs included, and the outputs agree to half precision."""
    proto = models.half()
    result = prepared(proto)
    values = [*result.model.graph.inputs, *result.model.graph.outputs, *result.model.graph.initializers.values()]
    assert result.upcast
    assert result.tolerance == pytest.approx(0.03, rel=0.02)
    assert {v.dtype for v in values if v.dtype is not None} <= {ir.DataType.FLOAT, ir.DataType.INT64}
    x = models.numbers(4, 6).astype(np.float16)
    before = outputs(proto, {"x": x}, ["y"])[0]
    after = outputs(ir.to_proto(result.model), {"x": x.astype(np.float32)}, ["y"])[0]
    np.testing.assert_allclose(after, before, rtol=1e-2, atol=1e-2)


def test_a_zipmap_becomes_its_score_tensor() -> None:
    """The list of dicts of a scikit-learn exporter is the tensor of its values, in class order."""
    proto = models.trees()
    x = np.array([[0, 0], [1, -2], [1, 2]], np.float32)
    after = outputs(ir.to_proto(prepared(proto).model), {"x": x}, ["label", "probabilities"])
    np.testing.assert_array_equal(after[0], [0, 1, 2])
    np.testing.assert_array_equal(after[1], np.eye(3))


def test_constants_are_folded_and_lifted() -> None:
    """Arithmetic on weights alone is done once: one Gemm with one initializer is left."""
    graph = """g (float[N, 3] x) => (float[N, 2] y) {
      [k] k = Constant <value_float = 2.0> ()  [t] wt = Transpose <perm = [1, 0]> (w)  [s] ws = Mul (wt, k)
      [m] y = Gemm (x, ws)
    }"""
    proto = models.build(graph, {"w": models.weights("w", 2, 3)})
    result = prepared(proto)
    assert operators(result) == ["Gemm"]
    used = result.model.graph[0].inputs[1]
    assert used is not None
    assert used.const_value is not None
    np.testing.assert_allclose(used.const_value.numpy(), 2 * models.weights("w", 2, 3).T)


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25])
def test_every_opset_gives_the_same_explanation(opset: int) -> None:
    """The convolutional network and a Softmax declared in each opset from 7 up: one gradient, one relevance."""
    x = models.numbers(2, 2, 8, 8)
    proto, reference = models.cnn(), explainsvc.load(models.cnn())
    head = proto.graph.node[-1]
    head.output[0] = "logits"
    proto.graph.node.append(onnx.helper.make_node("Softmax", ["logits"], ["y"], "soft", axis=1))
    proto.opset_import[0].version = opset
    proto.ir_version = 8 if opset < 20 else 11
    model = explainsvc.load(proto)
    assert [p.note for p in model.prepared.passes if p.note] == []
    target = {"output": "logits", "index": 1}
    np.testing.assert_allclose(
        model.explain({"x": x}, target=target).values["x"],
        reference.explain({"x": x}, target=1).values["x"],
        rtol=1e-4,
        atol=1e-6,
    )
    relevance = model.explain({"x": x}, "lrp_epsilon_plus", target=1)
    assert relevance.target.output == "logits"
    expected = reference.explain({"x": x}, "lrp_epsilon_plus", target=1).values["x"]
    np.testing.assert_allclose(relevance.values["x"], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("opset", [7, 9, 12])
def test_softmax_of_old_opsets_flattens(opset: int) -> None:
    """Before opset 13 Softmax meant all axes from the given one on: the logit behind [N, C, 1, 1] is found, the numbers stay."""
    graph = """g (float[N, 2, 4, 4] x) => (float[N, 3, 1, 1] y) {
      c = Conv (x, w, b)  r = Relu (c)  logits = GlobalAveragePool (r)  y = Softmax (logits)
    }"""
    tensors = {"w": models.weights("w", 3, 2, 3, 3), "b": models.weights("b", 3)}
    proto = models.build(graph, tensors, opset, ir_version=8)
    model, x = explainsvc.load(proto), models.numbers(2, 2, 4, 4)
    relevance = model.explain({"x": x}, "lrp_epsilon", target=2, bias="ignored")
    assert relevance.target.output == "logits"
    y = outputs(proto, {"x": x}, ["y"])[0]
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    found = model.explain({"x": x}, target={"output": "y", "index": (2, 0, 0)})
    np.testing.assert_allclose(found.output_value, y[:, 2, 0, 0], rtol=1e-6)
    step = np.float32(1e-2)
    u = models.numbers(*x.shape, seed=3)
    ends = [outputs(proto, {"x": x + s * u}, ["y"])[0][:, 2].sum(dtype=np.float64) for s in (step, -step)]
    np.testing.assert_allclose(
        (found.values["x"] * u).sum(dtype=np.float64), (ends[0] - ends[1]) / (2 * step), rtol=1e-2, atol=1e-4
    )


@pytest.mark.parametrize("opset", [13, 18, 21, 22])
@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool"])
def test_pools_that_round_up_have_the_size_that_onnxruntime_gives(pool: str, opset: int) -> None:
    """A window that would start in the padding is left out; before opset 22 onnx's shape inference counts it."""
    graph = f"""g (float[1, 1, 3] x) => (float[N, C, L] y) {{
      p = {pool} <ceil_mode = 1, kernel_shape = [2], pads = [1, 1], strides = [2]> (x)  y = Mul (p, p)
    }}"""
    x, seed = np.array([[[1, 2, 3]]], np.float32), np.array([[[1, 10]]], np.float32)
    model = explainsvc.load(models.build(graph, opset=opset))
    assert model.predict({"x": x})["y"].shape == (1, 1, 2)
    found = model.explain({"x": x}, target={"output": "y", "seed": seed}).values["x"]
    np.testing.assert_allclose(found, [[[2, 0, 60]]] if pool == "MaxPool" else [[[2, 25, 25]]], rtol=1e-6)
