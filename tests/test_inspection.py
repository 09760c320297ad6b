"""What inspect says about a model."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import numpy as np
import onnx
import pytest

import explainsvc
from explainsvc.autograd import Emitter, Rulebook, Term, gradient_rulebook
from explainsvc.errors import ExplainsvcError, MethodNotApplicable
from explainsvc.explained import Builder
from explainsvc.methods import METHODS
from tests import models
from tests.methods.little import little
from tests.methods.required import required
from tests.models import numbers


def test_facts_are_those_of_the_file() -> None:
    """Operators, opsets, weights, size and digest are counted on the model as it was given."""
    proto = models.trees()
    proto.producer_name, proto.producer_version = "skl2onnx", "1.2"
    model = explainsvc.load(proto)
    info = model.info
    assert (info.producer, info.ir_version) == ("skl2onnx 1.2", 9)
    assert info.opsets == {"ai.onnx": 17, "ai.onnx.ml": 3}
    assert info.operators == {"ai.onnx.ml::TreeEnsembleClassifier": 1, "ai.onnx.ml::ZipMap": 1}
    assert info.size_bytes == len(proto.SerializeToString())
    assert info.digest == model.digest
    assert explainsvc.load(models.mlp()).info.parameters == 6 * 8 + 8 + 8 * 7 + 7 + 7 * 3 + 3


def test_the_record_is_plain_json() -> None:
    """Nothing in it needs Python to be read, a pass without a measured error included."""
    for make in (models.cnn, models.trees, models.labelled):
        assert json.loads(json.dumps(explainsvc.load(make()).info.to_json(), allow_nan=False))["digest"]


@pytest.mark.parametrize(
    ("proto", "reached"),
    [
        (models.mlp(), {"x": True}),
        (models.two_by_two(), {"a": True, "b": True}),
        (models.labelled(), {"x": True, "word": False}),
        (models.embedding(), {"ids": False}),
    ],
)
def test_differentiability_is_told_per_input(proto: onnx.ModelProto, reached: dict[str, bool]) -> None:
    """An empty reason where a gradient reaches the input, else words that name its type."""
    info = explainsvc.load(proto).info
    assert {name: reason == "" for name, reason in info.differentiable.items()} == reached


IMAGE = numbers(2, 2, 8, 8)
SUBJECTS = {"cnn": (models.cnn(), IMAGE), "mlp": (models.mlp(), numbers(2, 6)), "tree": (models.trees(), numbers(2, 2))}
SUBJECTS["tanh"] = (models.mlp(activation="Tanh"), numbers(2, 6))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SUBJECTS)
def test_applicability_is_what_explain_does(name: str, method: str) -> None:
    """A method that inspect calls applicable explains; one with a reason refuses with that reason."""
    proto, x = SUBJECTS[name]
    model = explainsvc.load(proto)
    reason = model.info.methods[method]
    options = little(method, {"x": x}, model)
    if reason == "":
        assert model.explain({"x": x}, method, **options).values["x"].shape == x.shape
        return
    options.pop("feature_mask", None)  # inspect speaks of the features that a method takes by default
    with pytest.raises(ExplainsvcError) as caught:
        model.explain({"x": x}, method, **options)
    declared, given = (re.sub(r"\[[^]]*\]", "[…]", text) for text in (reason, str(caught.value)))  # shapes: with N, with 2
    assert given == declared


def test_units_are_named_after_the_source_output_side_first() -> None:
    """The learned layers of the model in the order in which a cascade destroys them."""
    units = explainsvc.load(models.cnn()).info.units
    assert [u for u in units if u.startswith("bn")] == []
    assert units == ("head", "right", "left", "conv2", "conv1")


def rules(**methods: str) -> dict[str, str]:
    """What a node gets from every method with rules: ``lrp``, ``deeplift``, ``guided`` stand for all of their kind."""
    ruled = [m for m, method in METHODS.items() if method.rulebook is not None]
    kinds = {m: "lrp" if "lrp" in m or m in ("deep_taylor", "excitation_backprop") else "guided" for m in ruled}
    kinds |= {m: "deeplift" for m in ruled if m.startswith(("deeplift", "deep_shap"))}
    return {m: methods.get(m, methods.get(kinds[m], "")) for m in ruled}


PLUS = dict.fromkeys(
    "lrp lrp_z_plus lrp_epsilon_plus lrp_epsilon_plus_flat lrp_preset_a lrp_preset_a_flat lrp_z_box deep_taylor "
    "excitation_backprop".split(), "lrp_z_plus",
)  # fmt: skip
BOTH = "lrp_preset_b lrp_preset_b_flat lrp_epsilon_alpha2_beta1 lrp_epsilon_alpha2_beta1_flat lrp_alpha_beta".split()
OWN = {name: name for name in "lrp_0 lrp_epsilon lrp_z_plus lrp_alpha_beta lrp_gamma lrp_w_square lrp_flat".split()}
CONV = OWN | PLUS | dict.fromkeys(BOTH, "lrp_alpha_beta") | {"lrp_epsilon_gamma_box": "lrp_gamma"}
UNBOUNDED = "refused: the rule z^B needs the bounds of the input"
FIRST = CONV | {m: "lrp_flat" for m in METHODS if m.endswith("_flat")} | dict.fromkeys(
    ["lrp_z_box", "lrp_epsilon_gamma_box"], UNBOUNDED
)  # fmt: skip
DENSE = OWN | {"deep_taylor": "lrp_w_square", "excitation_backprop": "lrp_z_plus", "lrp_z_box": "lrp_z_plus"}


def test_every_node_of_the_file_is_accounted_for() -> None:
    """Under its own name: what it became, its vjp, and by each preset the rule that the papers put there."""
    nodes = {node.name: node for node in explainsvc.load(models.cnn()).info.nodes}
    assert list(nodes) == [node.name for node in models.cnn().graph.node]
    signs = {"deeplift_reveal_cancel": "deeplift_linear_by_sign"}
    dense = {"deeplift": "deeplift_multilinear", "guided": "vjp"} | signs
    attention = {"attn_lrp": "lrp_epsilon", "cp_lrp": "lrp_epsilon"}
    assert nodes["conv1"].rules == rules(**FIRST, **dense, **attention)
    assert nodes["bn1"].rules == nodes["conv1"].rules  # folded into it
    assert nodes["conv2"].rules == rules(**CONV, **dense, **attention)
    relu = {"guided": "guided_relu", "deconvnet": "deconvnet_relu", "beta_smooth": "smooth_relu"}
    relu |= {"deeplift": "deeplift_rescale", "deeplift_reveal_cancel": "deeplift_reveal_cancel"}
    assert nodes["relu1"].rules == {m: rule or "pass_through" for m, rule in rules(**relu).items()}
    linear = {"guided": "vjp", "deeplift": "deeplift_linear"}
    sums = linear | signs | dict.fromkeys(attention, "lrp_sum")
    assert nodes["residual"].rules == {m: rule or "share" for m, rule in rules(**sums).items()}
    assert nodes["concat"].rules == {m: rule or "route" for m, rule in rules(**linear).items()}
    assert nodes["head"].rules == {m: rule or "lrp_epsilon" for m, rule in rules(**DENSE, **dense).items()}
    assert {node.vjp for node in nodes.values()} == {"vjp"}
    assert (nodes["bn1"].operator, nodes["bn1"].becomes) == ("BatchNormalization", ("Conv",))
    (output,) = nodes["left"].outputs
    assert (output.name, output.dtype, output.shape) == ("l", "float32", ("N", 2, 4, 4))


def test_refusals_are_told_per_node() -> None:
    """Every node that a preset refuses says so, not only the first one that the walk meets; the others keep their rules."""
    text = """g (float[N, 4] x) => (float[N, 4] y) {
      [one] a = MatMul (x, w)  [two] b = Softmax (a)  [act] c = LeakyRelu (b)  [three] d = MatMul (c, w)  [four] y = Mul (d, c)
    }"""
    info = explainsvc.load(models.build(text, {"w": models.weights("w", 4, 4)})).info
    nodes = {node.name: node for node in info.nodes}
    assert nodes["one"].rules["lrp_epsilon_plus_flat"] == "lrp_flat"
    assert nodes["two"].rules["lrp_epsilon"] == "refused: LRP has no rule for this operator (Softmax)"
    assert nodes["four"].rules["lrp_z_plus"] == "refused: LRP has no rule for a product of two activations (Mul)"
    assert nodes["three"].rules["lrp_z_plus"] == "lrp_z_plus"
    assert nodes["act"].rules["deconvnet"] == "refused: deconvnet is not defined for the activation LeakyRelu"
    assert nodes["two"].rules["deconvnet"] == "vjp"
    assert "(Mul)" in info.methods["lrp_epsilon"]  # the walk starts at the output


def test_treatments_without_a_gradient() -> None:
    """Steps stop the gradient, constants fold, Identity is left out, functions are expanded; a tree has no derivative."""
    text = """g (float[N, 4] x) => (float[N, 4] y, float[N, 4] z) {
      [fixed] c = Exp (w)  [same] i = Identity (x)  [join] a = Add (i, c)  [step] s = Sign (a)  [norm] y = MeanVarianceNormalization <axes = [1]> (a)  [end] z = Mul (s, s)
    }"""  # noqa: E501
    nodes = {n.name: n for n in explainsvc.load(models.build(text, {"w": models.weights("w", 4)})).info.nodes}
    assert nodes["fixed"].vjp == "none: a constant, folded"
    assert nodes["fixed"].becomes == ()
    assert nodes["same"].vjp == "none: hands on its input, left out"
    assert nodes["step"].vjp == "stop"
    assert set(nodes["end"].rules.values()) == {""}  # the default target is y
    assert {n.vjp for n in explainsvc.load(models.functions()).info.nodes} == {"expanded into its body"}
    forest, zipped = explainsvc.load(models.trees()).info.nodes
    assert forest.vjp == "none: operator ai.onnx.ml::TreeEnsembleClassifier has no derivative rule for its input 0"
    assert (zipped.name, zipped.becomes) == ("zip", forest.becomes)  # the tensor that it wraps


def test_quantised_operators_are_told_by_their_twins() -> None:
    """A layer is its real twin and the range that saturates; what only rounds is left out; products are counted."""
    text = """g (float[2, 4] x) => (float[2, 3] y) {
      [q] a = QuantizeLinear (x, s, z)
      [layer] b = QLinearMatMul (a, s, z, w, s, z, s, z)
      [back] c = DequantizeLinear (b, s, z)  [act] y = Relu (c)
    }"""
    tensors = {"s": np.array(0.1, np.float32), "z": np.array(3, np.int8), "w": np.arange(12, dtype=np.int8).reshape(4, 3)}
    nodes = {node.name: node for node in explainsvc.load(models.build(text, tensors)).info.nodes}
    assert (nodes["q"].vjp, nodes["q"].becomes) == ("by its real twin", ("Clip",))
    assert nodes["layer"].becomes == ("MatMul", "Clip")
    assert nodes["layer"].rules["lrp_z_plus"] == "lrp_z_plus + pass_through"
    assert nodes["layer"].flops == 2 * 2 * 4 * 3
    assert nodes["back"].vjp == "none: hands on its input, left out"
    assert nodes["act"].vjp == "vjp"


def test_every_program_with_rules_names_its_rulebook() -> None:
    """A method whose backward pass replaces vjps says by what: the table of nodes and the documentation read it there."""
    used: list[str] = []

    class Watching(Builder):
        def backward(self, rulebook: Rulebook = gradient_rulebook, seed: Term | None = None) -> dict[str, Term]:
            used.append("vjp" if rulebook is gradient_rulebook else "rules")
            return super().backward(rulebook, seed)

    for method in METHODS.values():
        if method.program is None:
            continue
        graph = explainsvc.load(models.cnn()).prepared.model.clone().graph
        emit = Emitter(graph)
        (x,), (y,) = graph.inputs, graph.outputs
        used.clear()
        needed = required(method.card.name)
        with suppress(MethodNotApplicable):  # there is no attention in it
            method.program(Watching(emit, emit.term(y), emit.input("seed", y), {"x": emit.term(x)}), method.params(**needed))
        assert ("rules" in used) == (method.rulebook is not None), method.card.name


@pytest.mark.parametrize("name", SUBJECTS)
def test_alternatives_are_methods_that_apply(name: str) -> None:
    """Every method that does not apply names all that do, its own family first; random numbers are no alternative."""
    info = explainsvc.load(SUBJECTS[name][0]).info
    controls = {m for m, method in METHODS.items() if method.family == "control"}
    refused = {m for m, reason in info.methods.items() if reason}
    fitting = info.methods.keys() - refused - controls
    assert info.alternatives.keys() == refused
    for method, others in info.alternatives.items():
        assert set(others) == fitting
        own = [METHODS[other].family == METHODS[method].family for other in others]
        assert own == sorted(own, reverse=True)


def test_open_axes_are_assumed_and_said() -> None:
    """One item, and the probe's length for every other axis that the model leaves open, also where it computes shapes."""
    text = """g (float[N, L, 4] x) => (float[N, L, 3] y) {
      [shape] s = Shape (x)  [size] n = Gather <axis = 0> (s, one)  [split] c = Concat <axis = 0> (first, n, two, two)
      [fold] f = Reshape (x, c)  [back] b = Reshape (f, s)  [dense] y = MatMul (b, w)
    }"""
    tensors = {"w": models.weights("w", 4, 3), "one": np.array([1]), "first": np.array([0]), "two": np.array([2])}
    info = explainsvc.load(models.build(text, tensors)).info
    assert info.cost.assumed == {"N": 1, "L": 8}
    assert info.cost.flops == 2 * 8 * 4 * 3
    assert explainsvc.load(models.cnn(batch="2")).info.cost.flops == 2 * explainsvc.load(models.cnn()).info.cost.flops
    assert info.cost.methods["gradient"] == METHODS["gradient"].card.cost
