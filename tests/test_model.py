"""The model as users meet it: predicting, explaining, batches, and what bad requests get."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import explainsvc
from explainsvc import errors
from tests import models
from tests.models import Array, numbers


def plain(proto: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Any]:
    """What a bare onnxruntime answers."""
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


CASES: dict[str, tuple[onnx.ModelProto, dict[str, Array]]] = {
    "mlp": (models.mlp(), {"x": numbers(3, 6)}),
    "cnn": (models.cnn(), {"x": numbers(2, 2, 8, 8)}),
    "nhwc": (models.nhwc(), {"x": numbers(2, 8, 6, 2)}),
    "two inputs": (models.two_by_two(), {"a": numbers(3, 3), "b": numbers(3, 2)}),
    "frozen batch": (models.cnn(batch="1"), {"x": numbers(1, 2, 8, 8)}),
    "no batch": (models.without_batch(), {"x": numbers(5)}),
    "integers": (models.embedding(), {"ids": np.arange(10).reshape(2, 5)}),
    "strings": (models.labelled(), {"x": numbers(2, 4), "word": np.array(["a", "b"], object)}),
    "half": (models.half(), {"x": numbers(2, 6).astype(np.float16)}),
    "opset 7": (models.opset7(), {"x": numbers(2, 6)}),
    "functions": (models.functions(), {"x": numbers(2, 4)}),
}


@pytest.mark.parametrize(("proto", "feeds"), CASES.values(), ids=CASES.keys())
def test_predict_is_plain_onnxruntime(proto: onnx.ModelProto, feeds: dict[str, Array]) -> None:
    """The same bits as a bare session on the untouched model."""
    expected = plain(proto, feeds)
    found = explainsvc.load(proto).predict(feeds)
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_predict_gives_a_zipmap_as_it_is() -> None:
    """The untouched model's answer, a list of dicts where that is what it gives."""
    found = explainsvc.load(models.trees()).predict({"x": np.array([[0, 0], [1, 2]], np.float32)})
    assert found["label"].tolist() == [0, 2]
    assert list(found["probabilities"]) == [{0: 1.0, 1: 0.0, 2: 0.0}, {0: 0.0, 1: 0.0, 2: 1.0}]


FLOAT_CASES = {name: case for name, case in CASES.items() if name != "integers"}


@pytest.mark.parametrize(("proto", "feeds"), FLOAT_CASES.values(), ids=FLOAT_CASES.keys())
def test_an_explanation_is_complete_in_itself(proto: onnx.ModelProto, feeds: dict[str, Array]) -> None:
    """Values have their input's shape, S is the plain model's value to rounding, everything needed to repeat it is there."""
    model = explainsvc.load(proto)
    a = model.explain(feeds, target=0)
    expected = next(y for y in plain(proto, feeds).values() if y.dtype.kind == "f").astype(np.float64)
    np.testing.assert_allclose(a.output_value, expected.reshape(-1)[:1] if expected.ndim == 1 else expected[:, 0], rtol=1e-6)
    assert a.values
    for name, values in a.values.items():
        assert values.shape == feeds[name].shape
        assert np.abs(values).max() > 0
    assert (a.method, a.seed, a.model_digest, a.baseline_value, a.residual) == ("gradient", 0, model.digest, None, None)
    assert {"explainsvc", "onnxruntime", "numpy", "python"} <= set(a.versions)
    assert json.loads(json.dumps(a.to_json()))["target"]["output"] == a.target.output


def test_a_wrong_explained_graph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prepared graph that does not compute the model is caught on the first real input (negative control)."""
    proto = models.mlp()
    proto.doc_string = "another digest than in other tests: sessions are shared"
    right, wrong = explainsvc.load(proto), explainsvc.load(models.mlp(activation="Tanh"))
    monkeypatch.setitem(right.__dict__, "prepared", wrong.prepared)
    with pytest.raises(errors.PassChangedFunction, match="deviates"):
        right.explain({"x": numbers(3, 6)})


def test_two_inputs_and_two_outputs() -> None:
    """Each output reaches the inputs that it depends on; `inputs` narrows; the formula of a product decides the numbers."""
    model = explainsvc.load(models.two_by_two())
    a, b = numbers(3, 3), numbers(3, 2)
    feeds = {"a": a, "b": b}
    u = np.tanh(a @ models.weights("wa", 3, 2))
    found = model.explain(feeds, target=1)
    np.testing.assert_allclose(found.values["b"][:, 1], u[:, 1] + 1, rtol=1e-5)
    np.testing.assert_array_equal(found.values["b"][:, 0], 0)
    expected = (b[:, 1] * (1 - u[:, 1] ** 2))[:, None] * models.weights("wa", 3, 2)[:, 1]
    np.testing.assert_allclose(found.values["a"], expected, rtol=1e-4, atol=1e-6)
    assert set(model.explain(feeds, target=1, inputs=["b"]).values) == {"b"}
    other = model.explain(feeds, target={"output": "q"})
    assert set(other.values) == {"b"}
    np.testing.assert_allclose(other.values["b"], np.tile(models.weights("wb", 2, 1).T, (3, 1)), rtol=1e-6)


def test_an_inner_value_can_be_the_target() -> None:
    """Any float value of the graph by its name: here a hidden unit."""
    model = explainsvc.load(models.mlp())
    found = model.explain({"x": numbers(3, 6)}, target={"output": "h1", "index": 2})
    np.testing.assert_allclose(found.values["x"], np.tile(models.weights("w1", 8, 6)[2], (3, 1)), rtol=1e-6)


def test_a_seed_is_any_linear_functional() -> None:
    """The gradient for a seed is that combination of the gradients of the single outputs."""
    model, x = explainsvc.load(models.mlp()), numbers(3, 6)
    seed = numbers(3, 3, seed=1)
    single = np.stack([model.explain({"x": x}, target=k).values["x"] for k in range(3)])
    found = model.explain({"x": x}, target={"output": "y", "seed": seed})
    np.testing.assert_allclose(found.values["x"], np.einsum("nk,kni->ni", seed, single), rtol=1e-4, atol=1e-6)


def test_rules_start_before_the_softmax_and_say_so() -> None:
    """LRP and guided methods explain the logit of a model that ends in Softmax; the gradient that of the probability."""
    soft, hard, x = explainsvc.load(models.mlp(end="Softmax")), explainsvc.load(models.mlp()), numbers(3, 6)
    for method in ("lrp_epsilon", "guided_backprop"):
        found = soft.explain({"x": x}, method, target=1)
        assert found.target.output == "h3"
        assert any("before the Softmax" in caveat for caveat in found.caveats)
        np.testing.assert_allclose(found.values["x"], hard.explain({"x": x}, method, target=1).values["x"], rtol=1e-5, atol=1e-7)
    probability = soft.explain({"x": x}, target=1)
    assert probability.target.output == "y"
    assert any("softmax probability" in caveat for caveat in probability.caveats)


def test_a_log_probability_is_not_called_a_probability() -> None:
    """Of a model that ends in LogSoftmax the caveats name that operator, and the explained value is a logarithm."""
    model, x = explainsvc.load(models.mlp(end="LogSoftmax")), numbers(3, 6)
    (before,) = model.explain({"x": x}, "lrp_epsilon", target=1).caveats
    assert before == 'the explained value is "h3", before the LogSoftmax that makes "y"'
    (itself,) = model.explain({"x": x}, target=1).caveats
    assert 'the explained value "y" is a log-softmax, the logarithm of a probability;' in itself


def test_the_logit_of_an_old_softmax_has_its_own_name() -> None:
    """Opset conversion puts a Flatten before a Softmax of opset 12; the logit is still what the source calls it."""
    graph = """g (float[N, 4] x) => (float[N, 3] y) {
      s = Shape (x)  r = Reshape (x, s)  z = Gemm (r, w, b)  y = LogSoftmax <axis = 1> (z)
    }"""
    tensors = {"w": models.weights("w", 4, 3), "b": models.weights("b", 3)}
    model = explainsvc.load(models.build(graph, tensors, opset=11))
    assert "Flatten" in {n.op_type for n in model.graph}
    assert model.explain({"x": numbers(2, 4)}, "lrp_epsilon", 1).target.output == "z"


@pytest.mark.parametrize("method", ["lrp_epsilon", "lrp_0", "deeplift", "integrated_gradients", "sampling_shap", "occlusion"])
def test_a_masked_logit_does_not_spoil_the_others(method: str) -> None:
    """An output element of −∞ that is not explained changes nothing: 0·∞ is in no value, no S and no residual."""
    body = "[one] h = MatMul (x, w)  [act] r = Relu (h)  [two] z = MatMul (r, w)"
    tensors: dict[str, Array] = {
        "w": models.weights("w", 4, 4),
        "keep": np.array([True, True, False, True]),
        "none": np.array(-np.inf, np.float32),
    }
    masked = models.build(f"g (float[N, 4] x) => (float[N, 4] y) {{ {body}  [mask] y = Where (keep, z, none) }}", tensors)
    plain = models.build(f"g (float[N, 4] x) => (float[N, 4] z) {{ {body} }}", {"w": tensors["w"]})
    found, expected = (explainsvc.load(m).explain({"x": numbers(3, 4)}, method, target=1) for m in (masked, plain))
    np.testing.assert_allclose(found.values["x"], expected.values["x"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.output_value, expected.output_value, rtol=1e-6)
    if expected.residual is not None:
        np.testing.assert_allclose(found.residual, expected.residual, atol=1e-6)


# Batches --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["gradient", "grad_cam", "lrp_epsilon_plus", "integrated_gradients", "occlusion"])
def test_a_frozen_batch_runs_in_a_loop(method: str) -> None:
    """A model whose exporter fixed batch 1 explains three items as three requests would, and as the open model does."""
    frozen, free, x = explainsvc.load(models.cnn(batch="1")), explainsvc.load(models.cnn()), numbers(3, 2, 8, 8)
    together = frozen.explain({"x": x}, method, target=[0, 1, 2])
    for item in range(3):
        alone = frozen.explain({"x": x[item : item + 1]}, method, target=item)
        np.testing.assert_allclose(together.values["x"][item], alone.values["x"][0], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(together.output_value[item], alone.output_value[0], rtol=1e-6)
    whole = free.explain({"x": x}, method, target=[0, 1, 2])
    np.testing.assert_allclose(together.values["x"], whole.values["x"], rtol=1e-4, atol=1e-6)


def test_a_frozen_batch_fills_the_last_group() -> None:
    """Batch 2 frozen, five items: every item's result is that of the open model."""
    x = numbers(5, 2, 8, 8)
    frozen, free = explainsvc.load(models.cnn(batch="2")), explainsvc.load(models.cnn())
    np.testing.assert_allclose(frozen.predict({"x": x})["y"], free.predict({"x": x})["y"], rtol=1e-5)
    found, expected = (m.explain({"x": x}, target=0).values["x"] for m in (frozen, free))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_items_that_mix_are_never_stacked() -> None:
    """Where the batch axis mixes items, each step runs the user's own batch: the sum over its points says what is right."""
    model, x = explainsvc.load(models.mixing()), numbers(3, 4)
    found = model.explain({"x": x}, "integrated_gradients", target=1, steps=8, rule="midpoint", batch_size=64)
    points = [(k + 0.5) / 8 for k in range(8)]
    gradients = [model.explain({"x": (p * x).astype(np.float32)}, target=1).values["x"] for p in points]
    np.testing.assert_allclose(found.values["x"], x * np.mean(gradients, axis=0), rtol=1e-4, atol=1e-6)


def test_items_that_do_not_mix_give_the_same_stacked_and_alone() -> None:
    """The batch size of a sampling method changes its speed, not its result."""
    model, x = explainsvc.load(models.mlp()), numbers(2, 6)
    for method, options in (("integrated_gradients", {"steps": 12}), ("smoothgrad", {"samples": 12}), ("occlusion", {})):
        one, many = (model.explain({"x": x}, method, target=0, batch_size=n, **options).values["x"] for n in (1, 64))
        np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "smoothgrad", "occlusion", "input_x_gradient"])
def test_an_input_may_lack_the_batch_axis(method: str) -> None:
    """A factor [1] shared by all items is explained in its own shape; with one item the sums are per item as always."""
    model = explainsvc.load(models.scaled())
    x, k = numbers(3, 3), np.array([1.5], np.float32)
    found = model.explain({"x": x, "k": k}, method, target=0)
    assert {n: v.shape for n, v in found.values.items()} == {"x": (3, 3), "k": (1,)}
    assert found.output_value.shape == (3,)
    s = (x @ models.weights("w", 3, 2))[:, 0] ** 2
    if method == "gradient":
        np.testing.assert_allclose(found.values["k"], [s.sum()], rtol=1e-5)
    if method == "occlusion":
        np.testing.assert_allclose(found.values["k"], [1.5 * s.sum()], rtol=1e-5)
    if method == "integrated_gradients":
        assert found.residual is not None
        np.testing.assert_allclose(found.residual.sum(), 0, atol=1e-4)


def test_without_a_batch_axis_there_is_one_item() -> None:
    """x [5] → y [3]: one S, one residual, attributions of the input's shape."""
    model, x = explainsvc.load(models.without_batch()), numbers(5)
    found = model.explain({"x": x}, "integrated_gradients", target=1)
    assert (found.values["x"].shape, found.output_value.shape) == ((5,), (1,))
    assert found.residual is not None
    np.testing.assert_allclose(found.residual, [0], atol=1e-5)


SUMMED = models.build(
    "g (float[N, 4] x) => (float y) { m = MatMul (x, w)  t = Tanh (m)  y = ReduceSum <keepdims = 0> (t) }",
    {"w": models.weights("w", 4, 3)},
)
POOLED = models.build(
    "g (float[N, 4] x) => (float[1, 3] y) { m = MatMul (x, w)  y = ReduceMax <axes = [0]> (m) }",
    {"w": models.weights("w", 4, 3)},
)
SQUARE = models.build("g (float x) => (float y) { y = Mul (x, x) }")


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "smoothgrad", "occlusion", "lrp_epsilon"])
@pytest.mark.parametrize(("proto", "target"), [(SUMMED, None), (POOLED, 1)], ids=["one number", "one row"])
def test_an_open_axis_may_count_something_else_than_items(proto: onnx.ModelProto, target: int | None, method: str) -> None:
    """Five rows that become one result are one item: S is one number, completeness holds over all rows."""
    x = numbers(5, 4)
    found = explainsvc.load(proto).explain({"x": x}, method, target)
    y = plain(proto, {"x": x})["y"]
    np.testing.assert_allclose(found.output_value, [y if target is None else y[0, 1]], rtol=1e-6)
    assert found.values["x"].shape == (5, 4)
    if found.residual is not None:
        np.testing.assert_allclose(found.residual, [0], atol=1e-5)
    if method == "occlusion":
        covered = np.where(np.arange(20).reshape(5, 4) == 6, 0, x).astype(np.float32)
        drop = y - plain(proto, {"x": covered})["y"]
        np.testing.assert_allclose(found.values["x"][1, 2], drop if target is None else drop[0, 1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "value"),
    [("gradient", 6), ("integrated_gradients", 9), ("occlusion", 9), ("smoothgrad", 6), ("input_x_gradient", 18)],
)
def test_a_single_number_is_an_input_too(method: str, value: float) -> None:
    """y = x² at 3, without any axis: the shape stays ()."""
    found = explainsvc.load(SQUARE).explain({"x": np.array(3, np.float32)}, method).values["x"]
    assert isinstance(found, np.ndarray)
    assert found.shape == ()
    np.testing.assert_allclose(found, value, rtol=1e-6)


# Sameness -------------------------------------------------------------------------------------------------------------


def test_half_precision_is_explained_in_single_and_says_so() -> None:
    """The fp16 model's gradient is its fp32 twin's to half precision, in float32, with a caveat."""
    x = numbers(3, 6).astype(np.float16)
    found = explainsvc.load(models.half()).explain({"x": x}, target=0)
    twin = explainsvc.load(models.mlp()).explain({"x": x.astype(np.float32)}, target=0)
    assert found.values["x"].dtype == np.float32
    assert any("half precision" in caveat for caveat in found.caveats)
    np.testing.assert_allclose(found.values["x"], twin.values["x"], rtol=2e-2, atol=2e-2)


def test_seeds_make_results_repeatable() -> None:
    """The same seed gives the same bits, another seed other numbers."""
    model, x = explainsvc.load(models.mlp()), numbers(2, 6)
    first, again, other = (model.explain({"x": x}, "smoothgrad", 0, seed=s, samples=4).values["x"] for s in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


def test_progress_counts_to_its_total() -> None:
    """Long work reports 1, 2, … total, with a word for what it is."""
    seen: list[tuple[int, int, str]] = []
    explainsvc.load(models.mlp()).explain(
        {"x": numbers(1, 6)}, "integrated_gradients", steps=5, progress=lambda *done: seen.append(done)
    )
    assert seen == [(k, 5, "integrated_gradients") for k in range(1, 6)]


def test_parameters_in_force_are_recorded() -> None:
    """Defaults are in the record as well as what was given, and all of it is JSON."""
    found = explainsvc.load(models.mlp()).explain({"x": numbers(1, 6)}, "integrated_gradients", steps=5)
    assert json.loads(json.dumps(found.parameters)) == {
        "steps": 5, "baseline": 0.0, "background": None, "rule": "gauss_legendre", "tolerance": 0.0, "batch_size": 16,
    }  # fmt: skip


def test_exchanged_weights_are_another_model() -> None:
    """with_weights gives what loading the changed model would give, and leaves the model as it was."""
    model, x = explainsvc.load(models.mlp()), numbers(2, 6)
    before = model.explain({"x": x}, target=0).values["x"]
    proto = models.mlp()
    changed = models.weights("other", 7, 3)
    next(t for t in proto.graph.initializer if t.name == "w3").CopyFrom(onnx.numpy_helper.from_array(changed, "w3"))
    other = model.with_weights({"w3": changed})
    expected = explainsvc.load(proto)
    np.testing.assert_allclose(other.predict({"x": x})["y"], expected.predict({"x": x})["y"], rtol=1e-5)
    found = other.explain({"x": x}, target=0).values["x"]
    np.testing.assert_allclose(found, expected.explain({"x": x}, target=0).values["x"], rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(model.explain({"x": x}, target=0).values["x"], before)
    assert other.digest != model.digest


@pytest.mark.parametrize(("operator", "at", "caveat"), [
    ("Relu", [[-1.0, -2.0]], 'every value of "x" is zero'),
    ("Sqrt", [[0.0, 4.0]], '1 of 2 values of "x" are not finite'),
    ("Sqrt", [[1.0, 4.0]], None),
])  # fmt: skip
def test_zeros_and_infinities_do_not_go_unnoticed(operator: str, at: list[list[float]], caveat: str | None) -> None:
    """A map of nothing but zeros, and elements without a finite derivative, are named in the caveats."""
    model = explainsvc.load(models.build(f"g (float[N, 2] x) => (float[N, 2] y) {{ y = {operator} (x) }}"))
    assert model.explain({"x": np.array(at, np.float32)}, "gradient", 0).caveats == (() if caveat is None else (caveat,))
