"""LRP through attention against the papers' equations, written out in numpy, one item and one product at a time."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import explainsvc
from explainsvc.errors import MethodNotApplicable, NotDifferentiable, NothingToDifferentiate
from tests import models
from tests.methods import dense
from tests.models import Array, numbers

METHODS = ("attn_lrp", "cp_lrp")
TINY = 1e-9
"""The methods' ε."""
WEIGHTS = {name: models.weights(name, 4, 3) for name in ("wq", "wk", "wv")}
MASK = np.triu(np.ones((5, 5), bool), 1)
"""Causal: no query sees what comes after it."""


# The papers' rules ----------------------------------------------------------------------------------------------------


def products(a: Array, b: Array, r: Array) -> tuple[Array, Array]:
    """R_ji = Σ_p a_ji b_ip R_jp / (2 o_jp + ε), R_ip the same summed over j (Achtibat et al. 2024, Proposition 3.3)."""
    share = r / dense.signed(2 * (a @ b), TINY)
    parts = np.einsum("ji,ip,jp->jip", a, b, share)
    return parts.sum(axis=2), parts.sum(axis=0)


def softmax(x: Array) -> Array:
    """Over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def softmax_rule(x: Array, r: Array) -> Array:
    """R_i = x_i (R_i − s_i Σ_j R_j) (ibid., Proposition 3.1), 0 at masked logits."""
    finite = np.where(np.isinf(x), 0, x)
    return np.asarray(finite * (r - softmax(x) * r.sum(axis=-1, keepdims=True)))


def linear(x: Array, w: Array, r: Array) -> Array:
    """The ε-rule at every position."""
    rule = dense.epsilon_rule(TINY)
    return np.stack([rule(dense.dense(w), a, s) for a, s in zip(x, r, strict=True)])


def head(x: Array, r: Array, masked: Array, held: bool, scale: float = 0.5) -> Array:
    """Relevance of x [5, 4] from that of softmax(q kᵀ/2 + mask) v [5, 3]; ``held``: attention weights are constants."""
    x, r = x.astype(np.float64), r.astype(np.float64)
    q, k, v = (x @ WEIGHTS[name].astype(np.float64) for name in ("wq", "wk", "wv"))
    scores = q @ k.T * scale
    logits = np.where(masked, -np.inf, scores)
    s = softmax(logits)
    if held:
        o = dense.signed(s @ v, TINY)
        return linear(x, WEIGHTS["wv"], np.einsum("ji,ip,jp->ip", s, v, r / o))
    r_s, r_v = products(s, v, r)
    r_q, r_k = products(q, k.T, softmax_rule(logits, r_s))
    return np.sum([linear(x, WEIGHTS[f"w{n}"], t) for n, t in zip("qkv", (r_q, r_k.T, r_v), strict=True)], axis=0)


# One head -------------------------------------------------------------------------------------------------------------

HEAD = """g (float[N, 5, 4] x) => (float[N, 5, 3] y) {
  q = MatMul (x, wq)  k = MatMul (x, wk)  v = MatMul (x, wv)  t = Transpose <perm = [0, 2, 1]> (k)
  scores = MatMul (q, t)  scaled = Mul (scores, half)  %s
  s = Softmax (logits)  y = MatMul (s, v)
}"""
EINSUM = """g (float[N, 5, 4] x) => (float[N, 5, 3] y) {
  q = Einsum <equation = "nid,dc->nic"> (x, wq)  k = Einsum <equation = "nid,dc->nic"> (x, wk)  v = MatMul (x, wv)
  scores = Einsum <equation = "nic,njc->nij"> (q, k)  logits = Mul (scores, half)
  s = Softmax (logits)  y = Einsum <equation = "njc,nij->nic"> (v, s)
}"""
HALF = {"half": np.array(0.5, np.float32)}
NOTHING = np.zeros((5, 5), bool)
FULLY = MASK.copy()
FULLY[0] = True
SPELLED: dict[str, tuple[str, dict[str, Array], Array]] = {
    "no mask": (HEAD % "logits = Identity (scaled)", {}, NOTHING),
    "einsum": (EINSUM, {}, NOTHING),
    "added -1e4": (HEAD % "logits = Add (scaled, m)", {"m": np.where(MASK, -1e4, 0).astype(np.float32)}, MASK),
    "added lowest": (HEAD % "logits = Add (scaled, m)", {"m": np.where(MASK, np.finfo("f4").min, 0).astype(np.float32)}, MASK),
    "added -inf": (HEAD % "logits = Add (scaled, m)", {"m": np.where(MASK, -np.inf, 0).astype(np.float32)}, MASK),
    "put in place": (HEAD % "logits = Where (m, low, scaled)", {"m": MASK, "low": np.array(-np.inf, np.float32)}, MASK),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spelling", SPELLED)
def test_one_head_by_the_papers_equations(spelling: str, method: str) -> None:
    """Products, Softmax and mask of one head, with a random seed: every element of both items."""
    text, tensors, masked = SPELLED[spelling]
    model, x, seed = explainsvc.load(models.build(text, WEIGHTS | HALF | tensors)), numbers(2, 5, 4), numbers(2, 5, 3, seed=1)
    found = model.explain({"x": x}, method, {"output": "y", "seed": seed}).values["x"]
    y = model.predict({"x": x})["y"]
    for i in range(2):
        np.testing.assert_allclose(found[i], head(x[i], seed[i] * y[i], masked, method == "cp_lrp"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_row_that_is_masked_altogether_gets_nothing(method: str) -> None:
    """torch puts zeros in place of its NaN; the relevance of all other rows is what it is without that row."""
    text = HEAD.replace("y = MatMul (s, v)", "e = IsNaN (s)  w = Where (e, none, s)  y = MatMul (w, v)")
    tensors = {"m": FULLY, "low": np.array(-np.inf, np.float32), "none": np.zeros((), np.float32)}
    model = explainsvc.load(models.build(text % "logits = Where (m, low, scaled)", WEIGHTS | HALF | tensors))
    x, seed = numbers(1, 5, 4), numbers(1, 5, 3, seed=1)
    found = model.explain({"x": x}, method, {"output": "y", "seed": seed}).values["x"]
    r = seed[0] * model.predict({"x": x})["y"][0]
    np.testing.assert_array_equal(r[0], 0)
    np.testing.assert_allclose(found[0], head(x[0], r, MASK, method == "cp_lrp"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_operator_attention_is_one_head(method: str) -> None:
    """Attention of opset 23, expanded by its own definition, gives the numbers of the head that is written out."""
    text = """g (float[N, 5, 4] x) => (float[N, 5, 3] y) {
      q = MatMul (x, wq)  k = MatMul (x, wk)  v = MatMul (x, wv)
      y = Attention <is_causal = 1, q_num_heads = 1, kv_num_heads = 1, scale = 0.5> (q, k, v)
    }"""
    model = explainsvc.load(models.build(text, WEIGHTS, 23, ir_version=11))
    x, seed = numbers(2, 5, 4), numbers(2, 5, 3, seed=1)
    found = model.explain({"x": x}, method, {"output": "y", "seed": seed}).values["x"]
    y = model.predict({"x": x})["y"]
    for i in range(2):
        np.testing.assert_allclose(found[i], head(x[i], seed[i] * y[i], MASK, method == "cp_lrp"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_onnxruntimes_attention_is_one_head(method: str) -> None:
    """com.microsoft's Attention with its fused projection, expanded by its body."""
    node = helper.make_node(
        "Attention", ["x", "w", "b"], ["y"], "attention", domain="com.microsoft", num_heads=1, scale=0.5, unidirectional=1
    )
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 5, width]) for n, width in (("x", 4), ("y", 3))]
    fused = np.concatenate(list(WEIGHTS.values()), axis=1)
    tensors = [numpy_helper.from_array(a, n) for n, a in {"w": fused, "b": np.zeros(9, np.float32)}.items()]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], tensors)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = explainsvc.load(helper.make_model(graph, opset_imports=opsets, ir_version=10))
    x, seed = numbers(2, 5, 4), numbers(2, 5, 3, seed=1)
    found = model.explain({"x": x}, method, {"output": "y", "seed": seed}).values["x"]
    y = model.predict({"x": x})["y"]
    for i in range(2):
        np.testing.assert_allclose(found[i], head(x[i], seed[i] * y[i], MASK, method == "cp_lrp"), rtol=1e-4, atol=1e-5)


def test_a_factor_whose_input_is_not_explained_is_a_constant() -> None:
    """y = a·b of two inputs: half each together, everything to the one that is explained alone."""
    text = "g (float[N, 2, 3] a, float[N, 3, 2] b) => (float[N, 2, 2] y) { y = MatMul (a, b) }"
    model, feeds = explainsvc.load(models.build(text)), {"a": numbers(1, 2, 3), "b": numbers(1, 3, 2)}
    seed = np.ones((1, 2, 2), np.float32)
    both = model.explain(feeds, "attn_lrp", {"output": "y", "seed": seed}).values
    wanted = products(feeds["a"][0].astype(np.float64), feeds["b"][0].astype(np.float64), model.predict(feeds)["y"][0])
    np.testing.assert_allclose(both["a"][0], wanted[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(both["b"][0], wanted[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(both["a"].sum(), both["b"].sum(), atol=1e-6)
    normalised = explainsvc.load(models.build(text.replace("y = MatMul (a, b)", "c = LpNormalization (a)  y = MatMul (c, b)")))
    alone = normalised.explain(feeds, "attn_lrp", {"output": "y", "seed": seed}, inputs=["a"])
    np.testing.assert_allclose(alone.values["a"].sum(), alone.output_value[0], rtol=1e-5)


# Normalisations, gates, activations -----------------------------------------------------------------------------------


def between(middle: str, opset: int = 17, **tensors: Array) -> explainsvc.Model:
    """A dense layer, ``middle`` from h [N, 4] to m [N, 4], a dense layer."""
    graph = f"g (float[N, 4] x) => (float[N, 2] y) {{ h = MatMul (x, w1)  [it] {middle}  y = MatMul (m, w2) }}"
    given = {"w1": models.weights("w1", 4, 4), "w2": models.weights("w2", 4, 2)} | tensors
    return explainsvc.load(models.build(graph, given, opset, ir_version=11 if opset > 22 else 9))


def through(model: explainsvc.Model, x: Array, rule: dense.Rule, layer: dense.Layer) -> Array:
    """Relevance of x for y₁ with ``rule`` at the middle ``layer``."""
    h, m, y = (model.value_of({"x": x}, n)[0].astype(np.float64) for n in ("h", "m", "y"))
    outer = dense.epsilon_rule(TINY)
    r = outer(dense.dense(models.weights("w2", 4, 2)), m, np.eye(2)[1] * y)
    return outer(dense.dense(models.weights("w1", 4, 4)), x[0].astype(np.float64), rule(layer, h, r))


GAMMA, BETA = 1 + models.weights("gamma", 4), models.weights("beta", 4)


@pytest.mark.parametrize("method", METHODS)
def test_the_fused_sum_and_norm_has_the_operators_own_epsilon(method: str) -> None:
    """SkipLayerNormalization that names no ε has 1e-12, which shows where values are small: as Add and LayerNormalization."""
    parts = helper.make_node("SkipLayerNormalization", ["x", "x", "gamma", "beta"], ["y"], "norm", domain="com.microsoft")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2, 4]) for name in "xy"]
    stored = [numpy_helper.from_array(array, name) for name, array in (("gamma", GAMMA), ("beta", BETA))]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([parts], "g", ends[:1], ends[1:], stored)
    fused = explainsvc.load(helper.make_model(graph, opset_imports=opsets, ir_version=9))
    text = """g (float[N, 2, 4] x) => (float[N, 2, 4] y) {
      s = Add (x, x)  y = LayerNormalization <axis = 2, epsilon = 1e-12> (s, gamma, beta)
    }"""
    plain = explainsvc.load(models.build(text, {"gamma": GAMMA, "beta": BETA}))
    x, target = numbers(2, 2, 4) * np.float32(1e-3), {"output": "y", "seed": numbers(2, 2, 4, seed=1)}
    one, other = (m.explain({"x": x}, method, target).values["x"] for m in (fused, plain))
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    assert np.abs(other).max() > 0.1


@pytest.mark.parametrize("bias", ["counted", "ignored"])
@pytest.mark.parametrize("method", METHODS)
def test_layer_normalisation_is_linear_with_its_deviation_held(method: str, bias: str) -> None:
    """The ε-rule on the matrix (I − 11ᵀ/n) diag(γ)/σ, with β as its bias."""
    model, x = between("m = LayerNormalization <epsilon = 1e-3> (h, gamma, beta)", gamma=GAMMA, beta=BETA), numbers(1, 4)
    h = model.value_of({"x": x}, "h")[0].astype(np.float64)
    matrix = (np.eye(4) - 0.25) * (GAMMA / np.sqrt(h.var() + 1e-3))
    layer = dense.Layer(matrix, BETA.astype(np.float64), np.ones((4, 4)))
    found = model.explain({"x": x}, method, 1, bias=bias).values["x"][0]
    np.testing.assert_allclose(found, through(model, x, dense.epsilon_rule(TINY, bias == "counted"), layer), rtol=1e-4, atol=1e-6)


NORMS = {
    "RMSNormalization": "m = RMSNormalization <epsilon = 1e-3> (h, gamma)",
    "LpNormalization": "m = LpNormalization <axis = -1, p = 2> (h)",
    "normalize of torch": "l = ReduceL2 <keepdims = 1> (h, last)  c = Clip (l, tiny)  e = Expand (c, whole)  m = Div (h, e)",
    "root mean square": "q = Pow (h, two)  v = ReduceMean (q, last)  u = Add (v, tiny)  l = Sqrt (u)  m = Div (h, l)",
}
"""Spelled with fewer nodes or more; the last one is fused by a pass."""
IN_NORMS = {"last": np.array([-1]), "two": np.array(2, np.float32), "tiny": np.array(1e-6, np.float32), "whole": np.array([1, 4])}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_without_a_mean_passes_relevance(norm: str, method: str) -> None:
    """x / g(x) with g held is a scaling: R_in = R_out."""
    model, x = between(NORMS[norm], 23, gamma=GAMMA, **IN_NORMS), numbers(1, 4)
    found = model.explain({"x": x}, method, 1).values["x"][0]
    expected = through(model, x, lambda _layer, _a, r: r, dense.dense(np.eye(4)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.sum(), model.predict({"x": x})["y"][0, 1], rtol=1e-4)


GATED = "g = MatMul (h, w3)  s = Sigmoid (g)  silu = Mul (g, s)  u = MatMul (h, w4)  m = Mul (silu, u)"


@pytest.mark.parametrize("method", METHODS)
def test_a_gated_layer_shares_evenly_or_holds_its_gate(method: str) -> None:
    """silu(g) ⊙ u: half to u and half, through the SiLU that passes it, to g; cp_lrp: everything to u."""
    w3, w4 = models.weights("w3", 4, 4), models.weights("w4", 4, 4)
    model, x = between(GATED, w3=w3, w4=w4), numbers(1, 4)

    def rule(_: dense.Layer, h: Array, r: Array) -> Array:
        linear = dense.epsilon_rule(TINY)
        if method == "cp_lrp":
            return linear(dense.dense(w4), h, r)
        return linear(dense.dense(w3), h, r / 2) + linear(dense.dense(w4), h, r / 2)

    found = model.explain({"x": x}, method, 1).values["x"][0]
    np.testing.assert_allclose(found, through(model, x, rule, dense.dense(np.eye(4))), rtol=1e-4, atol=1e-6)


def test_broadcast_factors_get_the_sum_of_their_halves() -> None:
    """A gate of one number per item, ⊙ a row of four: half of the row's relevance, summed."""
    model, x = between("g = MatMul (h, w3)  m = Mul (g, h)", w3=models.weights("w3", 4, 1)), numbers(1, 4)

    def rule(_: dense.Layer, h: Array, r: Array) -> Array:
        return dense.epsilon_rule(TINY)(dense.dense(models.weights("w3", 4, 1)), h, r.sum(keepdims=True) / 2) + r / 2

    found = model.explain({"x": x}, "attn_lrp", 1).values["x"][0]
    np.testing.assert_allclose(found, through(model, x, rule, dense.dense(np.eye(4))), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_an_embedded_sentence_is_explained_where_its_tokens_cannot_be(method: str) -> None:
    """Token ids have no relevance; the value behind the embedding has, by name, and it is that of the head alone."""
    text = HEAD.replace("float[N, 5, 4] x", "int64[N, 5] ids").replace("q = MatMul", "x = Gather (table, ids)  q = MatMul")
    model = explainsvc.load(models.build(text % "logits = Identity (scaled)", WEIGHTS | HALF | {"table": numbers(9, 4)}))
    ids, seed = np.array([[1, 2, 3, 3, 8]]), numbers(1, 5, 3, seed=1)
    found = model.explain({"ids": ids}, method, {"output": "y", "seed": seed}, inputs=["x"]).values["x"]
    r = seed[0] * model.predict({"ids": ids})["y"][0]
    np.testing.assert_allclose(found[0], head(numbers(9, 4)[ids[0]], r, NOTHING, method == "cp_lrp"), rtol=1e-4, atol=1e-5)


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [models.mlp, models.cnn])
def test_a_network_without_attention_is_refused_with_advice(make: type, method: str) -> None:
    """There lrp_epsilon is the same and says what it is."""
    model = explainsvc.load(make())
    x = numbers(1, 6) if make is models.mlp else numbers(1, 2, 8, 8)
    with pytest.raises(MethodNotApplicable, match="lrp_epsilon"):
        model.explain({"x": x}, method)


REFUSED = {
    "Sin": "n = LpNormalization (h)  m = Sin (n)",
    "Div": "n = LpNormalization (h)  m = Div (h, n)",
    "Div by more than a norm": "l = ReduceL2 <keepdims = 1> (h, last)  t = Tanh (h)  d = Mul (l, t)  m = Div (h, d)",
    "Div by a sum with itself": "l = ReduceL2 <keepdims = 1> (h, last)  d = Add (l, h)  m = Div (h, d)",
    "Pow": "n = LpNormalization (h)  m = Pow (n, two)",
    "InstanceNormalization": "n = LpNormalization (h)  u = Unsqueeze (n, one)  i = InstanceNormalization (u, s, b)  m = Squeeze (i, one)",  # noqa: E501
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("operator", REFUSED)
def test_what_has_no_rule_is_refused(operator: str, method: str) -> None:
    """A typed error that names the node, never a gradient in disguise."""
    tensors = {
        "two": np.array(2, np.float32),
        "one": np.array([1]),
        "last": np.array([-1]),
        "s": np.ones(1, np.float32),
        "b": np.zeros(1, np.float32),
    }
    model = between(REFUSED[operator], 18, **tensors)
    with pytest.raises(NotDifferentiable, match=operator.partition(" ")[0]) as caught:
        model.explain({"x": numbers(2, 4)}, method, 0)
    assert caught.value.where
    assert caught.value.to_do


@pytest.mark.parametrize("middle", ["a = MatMul (h, w3)  m = Mul (a, h)", "g = Sigmoid (h)  t = HardSigmoid (h)  m = Mul (g, t)"])
def test_conservative_propagation_refuses_a_product_without_a_signal(middle: str) -> None:
    """Neither factor is a gate, or both are: the paper does not say which one takes the relevance."""
    model = between(middle, w3=models.weights("w3", 4, 4))
    with pytest.raises(NotDifferentiable, match="Mul"):
        model.explain({"x": numbers(2, 4)}, "cp_lrp", 0)
    assert np.isfinite(model.explain({"x": numbers(2, 4)}, "attn_lrp", 0).values["x"]).all()


def test_conservative_propagation_refuses_a_softmax_that_is_no_gate() -> None:
    """Weights that a dense layer reads are no factor of a product; AttnLRP has its rule for any Softmax."""
    model, x = between("m = Softmax (h)"), numbers(2, 4)
    with pytest.raises(NotDifferentiable, match="Softmax"):
        model.explain({"x": x}, "cp_lrp", 0)
    h, m, y = (model.value_of({"x": x}, name).astype(np.float64) for name in "hmy")
    outer = dense.epsilon_rule(TINY)
    for i, found in enumerate(model.explain({"x": x}, "attn_lrp", 0).values["x"]):
        r = softmax_rule(h[i], outer(dense.dense(models.weights("w2", 4, 2)), m[i], np.eye(2)[0] * y[i]))
        expected = outer(dense.dense(models.weights("w1", 4, 4)), x[i].astype(np.float64), r)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_conservative_propagation_gives_queries_nothing() -> None:
    """An input that leads to the attention weights alone is told that no relevance reaches it."""
    text = """g (float[N, 5, 4] x, float[N, 5, 4] other) => (float[N, 5, 4] y) {
      t = Transpose <perm = [0, 2, 1]> (x)  scores = MatMul (other, t)  s = Softmax (scores)  y = MatMul (s, x)
    }"""
    model, feeds = explainsvc.load(models.build(text)), {"x": numbers(1, 5, 4), "other": numbers(1, 5, 4, seed=1)}
    assert set(model.explain(feeds, "attn_lrp", (0, 0)).values) == {"x", "other"}
    with pytest.raises(NothingToDifferentiate):
        model.explain(feeds, "cp_lrp", (0, 0), inputs=["other"])


@pytest.mark.parametrize("method", METHODS)
def test_the_compiled_graph_is_plain_onnx(method: str) -> None:
    """No domain but ONNX's own, the checker accepts it, and a bare session gives the same numbers."""
    text, tensors, _ = SPELLED["added -inf"]
    model, x, seed = explainsvc.load(models.build(text, WEIGHTS | HALF | tensors)), numbers(2, 5, 4), numbers(2, 5, 3, seed=1)
    proto = model.compile(method, target={"output": "y"}).proto
    onnx.checker.check_model(proto, full_check=True)
    assert {n.domain for n in proto.graph.node} == {""}
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["explain.x"], {"x": x, "explain.seed": seed})
    expected = model.explain({"x": x}, method, {"output": "y", "seed": seed}).values["x"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
