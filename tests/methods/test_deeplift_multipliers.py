"""Every multiplier of DeepLIFT against its axioms, and the rules of products, quotients, softmax and maxima by hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest

import explainsvc
from explainsvc.errors import InvalidParameter, NotDifferentiable
from tests import models
from tests.methods.deeplift_cases import CASES, DOUBLE
from tests.models import Array, numbers

METHODS = ["deeplift", "deeplift_reveal_cancel"]


@cache
def subject(name: str) -> explainsvc.Model:
    """The model of a case."""
    return explainsvc.load(CASES[name].proto())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_contributions_sum_to_the_difference(name: str, method: str) -> None:
    """Σ m Δx = S(x) − S(x′) to 1e-9 in float64; S by plain onnxruntime; no value is NaN; the residual says so too."""
    case = CASES[name]
    x, x0 = case.feed(0), case.feed(1)
    found = subject(name).explain({"x": x}, method, baseline=x0)
    session = ort.InferenceSession(case.proto().SerializeToString(), providers=["CPUExecutionProvider"])
    gap = [np.subtract(*(session.run(None, {"x": a[k : k + 1]})[0][0, 0].astype(float) for a in (x, x0))) for k in range(2)]
    total = found.values["x"].astype(np.float64).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(total, gap, rtol=case.tolerance, atol=case.tolerance * max(1.0, np.abs(gap).max()))
    np.testing.assert_allclose(found.residual, total - gap, atol=case.tolerance * max(1.0, np.abs(gap).max()))
    assert found.values["x"].dtype == case.dtype


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_without_a_difference_there_is_nothing(name: str, method: str) -> None:
    """At x = x′ every value is exactly 0: no 0/0 comes through."""
    x = CASES[name].feed(0)
    found = subject(name).explain({"x": x}, method, baseline=x)
    assert not found.values["x"].any()
    assert not np.isnan(found.values["x"]).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_input_and_baseline_exchanged_change_the_sign(name: str, method: str) -> None:
    """What x has over x′ is what x′ lacks: no rule prefers one side, where differences are not tiny."""
    case = CASES[name]
    x, x0 = case.feed(0), case.feed(1)
    there, back = (subject(name).explain({"x": a}, method, baseline=b).values["x"] for a, b in ((x, x0), (x0, x)))
    np.testing.assert_allclose(there, -back, rtol=0, atol=case.tolerance * np.abs(there).max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [n for n, case in CASES.items() if not case.single and n not in DOUBLE.split()[-4:]])
def test_multipliers_tend_to_the_derivative(name: str, method: str) -> None:
    """With x′ near x a value is the gradient times the difference, for differences both above and below 1e-7."""
    x = CASES[name].feed(0)
    gradient = subject(name).explain({"x": x}).values["x"]
    for step in (1e-5, 1e-9):
        x0 = x - step
        found = subject(name).explain({"x": x}, method, baseline=x0).values["x"] / (x - x0)
        np.testing.assert_allclose(found, gradient, rtol=0, atol=(100 * step + 1e-6) * np.abs(gradient).max())


@pytest.mark.parametrize("body", ["Sqrt (x)", "Pow (x, half)", "ReduceL2 <axes = [1]> (x)", "LpNormalization (x)"])
def test_infinite_slopes_do_not_come_through(body: str) -> None:
    """At x = x′ = 0, where a root has no finite derivative, every value is 0; from 0 to 4 a root is its difference."""
    text = f"g (float[N, 1] x) => (float[N, 1] y) {{ y = {body} }}"
    model = explainsvc.load(models.build(text, {"half": np.array(0.5, np.float32)}))
    for method in METHODS:
        np.testing.assert_array_equal(model.explain({"x": np.zeros((1, 1), np.float32)}, method).values["x"], [[0]])
        found = model.explain({"x": np.full((1, 1), 4, np.float32)}, method)
        np.testing.assert_allclose(found.values["x"], found.output_value[:, None], rtol=1e-6)


def test_linear_models_give_weight_times_difference() -> None:
    """w (x − x′), exactly the gradient times the difference."""
    model, x, x0 = explainsvc.load(models.linear()), numbers(2, 4), numbers(2, 4, seed=1)
    for method in [*METHODS, "deep_shap"]:
        found = model.explain({"x": x}, method, target=1, baseline=x0).values["x"]
        np.testing.assert_allclose(found, (x - x0) * models.weights("w", 4, 3)[:, 1], rtol=1e-5, atol=1e-7)


def _of(text: str, x: Sequence[float], x0: Sequence[float], **tensors: Array) -> Array:
    """deeplift's values of a graph of x [N, n] in float64, for one item."""
    model = explainsvc.load(models.build(f"g (double[N, {len(x)}] x) => (double[N, 1] y) {{ {text} }}", tensors))
    found = model.explain({"x": np.array([x], float)}, "deeplift", baseline=np.array([x0], float))
    return np.asarray(found.values["x"][0])


PAIR = "a, b = Split <axis = 1> (x)"


def test_products_are_shared_as_shapley_values() -> None:
    """a b: the mean over both orders of exchanging a and b for their baselines."""
    found = _of(f"{PAIR}  y = Mul (a, b)", (3.0, -2.0), (1.0, 4.0))
    a, b, a0, b0 = 3.0, -2.0, 1.0, 4.0
    np.testing.assert_allclose(found, [((a - a0) * b0 + (a - a0) * b) / 2, (a * (b - b0) + a0 * (b - b0)) / 2], atol=1e-12)


@pytest.mark.parametrize("b", [2.0, -2.0])
def test_quotients(b: float) -> None:
    """a/b: (Δa − ȳ Δb)/b̄ where the signs of b and b′ agree, the Shapley values of a · (1/b) where they differ."""
    a, a0, b0 = 3.0, 1.0, 4.0
    found = _of(f"{PAIR}  y = Div (a, b)", (a, b), (a0, b0))
    middle, size = (a / b + a0 / b0) / 2, (b + b0) / 2
    agreeing = [(a - a0) / size, -middle * (b - b0) / size]
    shapley = [(a - a0) * (1 / b + 1 / b0) / 2, (a + a0) / 2 * (1 / b - 1 / b0)]
    np.testing.assert_allclose(found, agreeing if b > 0 else shapley, atol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 700.0])
def test_softmax_is_its_definition_rescaled(shift: float) -> None:
    """exp, sum and quotient one after the other in numpy; unchanged where the exponentials themselves overflow."""
    x, x0 = np.array([0.3, -1.0, 2.0]), np.array([1.0, 0.5, -0.5])
    found = _of("p = Softmax (x)  y = MatMul (p, w)", x + shift, x0 + shift, w=np.array([[1.0], [-2.0], [0.5]]))
    e, e0, m = np.exp(x), np.exp(x0), np.array([1.0, -2.0, 0.5])
    middle, size = (e / e.sum() + e0 / e0.sum()) / 2, (e.sum() + e0.sum()) / 2
    np.testing.assert_allclose(found, (e - e0) / size * (m - (m * middle).sum()), atol=1e-10)


def test_a_maximum_goes_to_the_winner_of_the_higher_side() -> None:
    """max(1, 5, 2) against max(4, 0, 3): 5 > 4, so that the second gets Δy = 1; exchanged, it loses it."""
    for op in ("ReduceMax <axes = [1]> (x)", "MaxPool <kernel_shape = [3]> (u)"):
        text = f"u = Unsqueeze (x, o)  z = {op}  y = Reshape (z, r)"
        tensors = {"o": np.array([1]), "r": np.array([-1, 1])}
        np.testing.assert_allclose(_of(text, (1, 5, 2), (4, 0, 3), **tensors), [0, 1, 0], atol=1e-12)
        np.testing.assert_allclose(_of(text, (4, 0, 3), (1, 5, 2), **tensors), [0, -1, 0], atol=1e-12)


def test_a_degenerate_baseline_does_not_blow_up() -> None:
    """Layer normalisation of a constant baseline, whose deviation is √ε: no value exceeds the result's own size tenfold."""
    text = "g (double[N, 4] x) => (double[N, 4] y) { y = LayerNormalization (x, s) }"
    model = explainsvc.load(models.build(text, {"s": np.ones(4)}))
    found = model.explain({"x": np.array([[0.5, -1.0, 2.0, 0.1]])}, "deeplift", target=2)
    assert np.abs(found.values["x"]).max() < 10
    np.testing.assert_allclose(found.residual, 0, atol=1e-9)


def test_a_condition_that_changes_is_left_to_the_residual() -> None:
    """Where (x > 0, x, −x/2): the part of the condition has nobody to go to; the residual has it, and a caveat says so."""
    text = """g (double[N, 2] x) => (double[N, 1] y) {
      c = Greater (x, zero)  n = Mul (x, half)  w = Where (c, x, n)  y = ReduceSum (w, one)
    }"""
    model = explainsvc.load(models.build(text, {"zero": np.array(0.0), "half": np.array(-0.5), "one": np.array([1])}))
    same = model.explain({"x": np.array([[1.0, 2.0]])}, "deeplift", baseline=np.array([0.5, 0.25]))
    np.testing.assert_allclose(same.residual, 0, atol=1e-12)
    assert not same.caveats
    found = model.explain({"x": np.array([[1.0, 2.0]])}, "deeplift", baseline=np.array([-2.0, 1.0]))
    total = found.values["x"].sum()
    assert found.residual is not None
    assert abs(found.residual[0]) > 0.1
    np.testing.assert_allclose(total - found.residual, found.output_value - found.baseline_value, atol=1e-12)
    assert any("do not sum" in caveat for caveat in found.caveats)


LINEAR_MODEL = """g (float[N, 3] x) => (int64[N] label, float[N, 2] y) {
  n = ai.onnx.ml.Normalizer <norm = "L2"> (x)  s = ai.onnx.ml.Scaler <offset = [0.1, 0.2, 0.3], scale = [2.0, 0.5, -1.0]> (n)
  label, y = ai.onnx.ml.LinearClassifier <
    coefficients = [1.0, -2.0, 0.5, 0.3, 0.1, -0.7], intercepts = [0.1, -0.2], classlabels_ints = [0, 1],
    post_transform = "%s"> (s)
}"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_linear_classifiers_sum_to_the_difference(transform: str, method: str) -> None:
    """What scikit-learn's exporter writes: a normaliser (of a zero baseline too), a scaler, a linear classifier."""
    model, x = explainsvc.load(models.build(LINEAR_MODEL % transform)), numbers(3, 3)
    for baseline in (0.0, 0.7):
        found = model.explain({"x": x}, method, {"output": "y", "index": 1}, baseline=baseline)
        np.testing.assert_allclose(found.residual, 0, atol=1e-6)
        start = model.predict({"x": np.full_like(x, baseline)})["y"][:, 1]
        total = found.values["x"].sum(axis=1)
        np.testing.assert_allclose(total, model.predict({"x": x})["y"][:, 1] - start, atol=1e-5)


SKIP = """<ir_version: 9, opset_import: ["" : 17, "com.microsoft" : 1]>
g (float[N, 5, 4] x) => (float[N, 5, 4] y) {
  h = MatMul (x, w)  n, mean, inverse, total = com.microsoft.SkipLayerNormalization <epsilon = 0.001> (h, x, s, b)
  g1 = com.microsoft.BiasGelu (n, b)  y = Add (g1, total)
}"""


@pytest.mark.parametrize("method", METHODS)
def test_fused_layers_of_onnxruntime_sum_to_the_difference(method: str) -> None:
    """Both results of a SkipLayerNormalization are read: the normalised one and the residual sum."""
    proto = onnx.parser.parse_model(SKIP)
    tensors = {"w": models.weights("w", 4, 4), "s": models.weights("s", 4), "b": models.weights("b", 4)}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in tensors.items())
    model, x, x0 = explainsvc.load(proto), numbers(2, 5, 4), numbers(2, 5, 4, seed=1)
    found = model.explain({"x": x}, method, {"output": "y", "index": (2, 1)}, baseline=x0)
    gap = model.predict({"x": x})["y"][:, 2, 1] - model.predict({"x": x0})["y"][:, 2, 1]
    np.testing.assert_allclose(found.values["x"].sum(axis=(1, 2)), gap, atol=1e-5)


CELL = {"w": models.weights("w", 1, 8, 4), "w2": models.weights("w2", 1, 8, 2)}
REFUSED: dict[str, tuple[str, dict[str, Array]]] = {
    "TopK": ("z, i = TopK (x, k)", {"k": np.array([2])}),
    "Hardmax": ("z = Hardmax (x)", {}),
    "Det": ("u = MatMul (x, w)  v = Reshape (u, r)  z = Det (v)", {"w": models.weights("w", 4, 4), "r": np.array([-1, 2, 2])}),
    "Pow": ("t = Exp (x)  z = Pow (t, x)", {}),
    "Gather": ("i = ArgMax <axis = 1, keepdims = 0> (x)  z = Gather <axis = 1> (x, i)", {}),
    "LSTM": ("u = Unsqueeze (x, o)  z = LSTM <hidden_size = 2> (u, w, w2)", {**CELL, "o": np.array([0])}),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("operator", REFUSED)
def test_what_has_no_multiplier_is_refused(operator: str, method: str) -> None:
    """A typed error that names node and operator, never the gradient in disguise; inspect gives the same reason."""
    body, tensors = REFUSED[operator]
    text = f"g (float[N, 4] x) => (float[N, 1] y) {{ {body}  f = Flatten <axis = 1> (z)  y = ReduceSum (f, one) }}"
    model = explainsvc.load(models.build(text, tensors | {"one": np.array([1])}))
    with pytest.raises(NotDifferentiable, match=operator) as caught:
        model.explain({"x": numbers(2, 4)}, method)
    assert caught.value.where
    assert caught.value.to_do
    assert model.info.methods[method] == str(caught.value)


def test_control_flow_is_refused() -> None:
    """The branches of an If that reads the input are not held against a baseline."""
    text = """g (float[N, 4] x) => (float[N, 4] y) {
      m = ReduceMax <keepdims = 0> (x)  c = Greater (m, zero)
      z = If (c) <then_branch = t () => (float[N, 4] p) { p = Tanh (x) }, else_branch = e () => (float[N, 4] q) { q = Neg (x) }>
      y = Tanh (z)
    }"""
    model = explainsvc.load(models.build(text, {"zero": np.array(0, np.float32)}))
    with pytest.raises(NotDifferentiable, match="If") as caught:
        model.explain({"x": numbers(2, 4)}, "deeplift")
    assert model.info.methods["deep_shap"] == str(caught.value)


@pytest.mark.parametrize("method", [*METHODS, "deep_shap"])
def test_a_baseline_without_a_value_is_refused(method: str) -> None:
    """log 0 = −∞ at the default baseline: a typed error that names the baseline, never NaN; at 1 it is explained."""
    text = "g (double[N, 2] x) => (double[N, 1] y) { l = Log (x)  y = ReduceSum (l, one) }"
    model, x = explainsvc.load(models.build(text, {"one": np.array([1])})), np.array([[2.0, 3.0]])
    with pytest.raises(InvalidParameter, match="baseline"):
        model.explain({"x": x}, method)
    np.testing.assert_allclose(model.explain({"x": x}, method, baseline=1.0).values["x"], np.log(x), atol=1e-12)
