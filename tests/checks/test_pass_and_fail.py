"""Every check has a model and a method that must pass, and one that must fail, by how they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc import demo
from explainsvc.checks import CHECKS
from explainsvc.checks._distance import SAME_MAP
from explainsvc.checks.implementation_invariance import compare_models
from explainsvc.checks.rows import MODEL
from explainsvc.model import Model
from explainsvc.randomisation import randomised
from tests import models
from tests.checks import judged
from tests.checks.models import Array, cnn, fixed_edges, linear, numbers, pictures, ripples, rows
from tests.checks.test_bam import MASK, indifferent, seen
from tests.checks.test_fragility import curved

WORDS = {"pass": "pass", "sensitive": "pass", "insensitive": "fail", "fail": "fail"}
LINEAR, CNN, RIPPLES, EDGES = (cache(make) for make in (linear, cnn, ripples, fixed_edges))
ROW, PICTURE, CURVED = cache(lambda: judged.linear(20)), cache(lambda: judged.linear(1, 8, 8)), cache(curved)
FLAT = cache(lambda: explainsvc.load(models.linear()))


@cache
def sparse() -> Model:
    """y = x·w with a w of few large numbers: its gradient is simple, that of a random w is not."""
    weights = np.zeros((200, 4), np.float32)
    weights[:4] = np.eye(4)
    return explainsvc.load(models.build("g (float[N, 200] x) => (float[N, 4] y) { [dense] y = MatMul (x, w) }", {"w": weights}))


@cache
def spotlight() -> Model:
    """Two logits that see the object of MASK and nothing else."""
    return explainsvc.load(seen(MASK.reshape(-1, 1) * np.array([1.0, 0.5])))


@cache
def beside() -> Model:
    """The object matters alike to both logits; see test_bam."""
    return explainsvc.load(indifferent())


DIGITS = Path(demo.__file__).with_name("digits.onnx")


@cache
def taught() -> Model:
    """The demo's network, which was trained on digits."""
    return explainsvc.load(DIGITS)


@cache
def untaught() -> Model:
    """The same with its numbers shuffled."""
    return explainsvc.load(randomised(taught(), distribution="permute"))


@dataclass(frozen=True)
class Side:
    """A model, its inputs and a method of which the verdict is known, and why; parameters of the method and of the check."""

    model: Callable[[], Model]
    x: Array
    method: str
    why: str
    method_parameters: Mapping[str, Any] = field(default_factory=dict)
    check_parameters: Mapping[str, Any] = field(default_factory=dict)


TWENTY, TWELVE = numbers(12, 20), rows()["x"]
NEGATIVE = -np.abs(numbers(12, 20))
NOISE, IMAGES, FEW = numbers(12, 1, 8, 8), pictures()["x"], pictures(8)["x"]
BRIGHT = 0.5 + np.abs(numbers(8, 1, 8, 8, seed=3))
CROSS = np.zeros((2, 8, 8))
CROSS[:, 3, :] = CROSS[:, :, 4] = 1
BAM: Mapping[str, Any] = {"masks": MASK, "objects": np.array(10.0)}
ZERO = {"baseline": "zero"}
WALK = {"similarities": "spearman, spearman_abs"}
DIGIT = numbers(2, 1, 8, 8)
UNIFORM = "ranks nothing: its order is the random one"

PAIRS: dict[str, tuple[Side, Side]] = {
    "bam": (
        Side(beside, BRIGHT, "gradient", "the object's weights are the same in both logits, whatever is there", {}, BAM),
        Side(beside, BRIGHT, "input_x_gradient", "an object ten times as bright gets ten times as much", {}, BAM),
    ),
    "completeness": (
        Side(LINEAR, TWELVE, "input_x_gradient", "Σ x·w is S"),
        Side(LINEAR, TWELVE, "gradient", "Σ w is not"),
    ),
    "complexity": (
        Side(sparse, numbers(8, 200), "gradient", "w has one element that is not 0"),
        Side(ROW, TWENTY, "constant", "all elements are equal"),
    ),
    "conservation": (
        Side(LINEAR, TWELVE, "lrp_0", "a dense layer without a bias hands all on"),
        Side(LINEAR, TWELVE, "lrp_epsilon", "ε = 1 absorbs as much as S is large", {"epsilon": 1.0}),
    ),
    "continuity": (
        Side(RIPPLES, TWELVE, "input", "the map changes as the input does"),
        Side(RIPPLES, TWELVE, "gradient", "ripples of a hundredth turn the gradient over"),
    ),
    "deletion": (
        Side(ROW, TWENTY, "input_x_gradient", "w·x is what each element's loss costs", {}, ZERO),
        Side(ROW, TWENTY, "constant", UNIFORM, {}, ZERO),
    ),
    "dummy": (
        Side(CNN, FEW, "gradient", "∂S/∂d is 0"),
        Side(CNN, FEW, "sobel", "edges of d are edges"),
    ),
    "efficient_mprt": (
        Side(sparse, numbers(12, 200), "gradient", "few large weights become many normal ones"),
        Side(EDGES, numbers(12, 12), "gradient", "no map of this model contains its weights"),
    ),
    "fragility": (
        Side(FLAT, numbers(6, 4), "gradient", "w is w everywhere", {}, {"steps": 20, "looks": 3}),
        Side(CURVED, np.float32(0.02) * numbers(6, 1, 8, 8), "gradient", "σ(20 x) reorders within ε", {},
             {"steps": 60, "looks": 6, "epsilon": 0.4, "alpha": 0.02}),
    ),
    "implementation_invariance": (
        Side(CNN, pictures(5)["x"], "gradient", "a function has one derivative"),
        Side(CNN, pictures(5)["x"], "deeplift_reveal_cancel", "shares of |x| and x are none of relu(x) = (x + |x|)/2"),
    ),
    "infidelity": (
        Side(PICTURE, NOISE, "gradient", "Iᵀw is the change of a linear S"),
        Side(PICTURE, NOISE, "constant", "a square's area is not"),
    ),
    "input_invariance": (
        Side(CNN, pictures(6)["x"], "integrated_gradients", "the mean moves with the data", {"baseline": "mean"}),
        Side(CNN, pictures(6)["x"], "integrated_gradients", "a fixed 0 does not: m is explained with x", ZERO),
    ),
    "insertion": (
        Side(ROW, TWENTY, "input_x_gradient", "w·x is what each element's return brings", {}, ZERO),
        Side(ROW, TWENTY, "constant", UNIFORM, {}, ZERO),
    ),
    "learned": (
        Side(taught, DIGIT, "gradient", "weights of different outputs point the same way"),
        Side(untaught, DIGIT, "gradient", "weights in a random order"),
    ),
    "linearity": (
        Side(CNN, FEW, "gradient", "∂(a S₁ + b S₂) = a ∂S₁ + b ∂S₂"),
        Side(CNN, FEW, "sobel", "the same for every S"),
    ),
    "localization": (
        Side(spotlight, NOISE, "gradient", "the model sees the object alone", {}, {"masks": np.repeat(MASK[None], 12, axis=0)}),
        Side(spotlight, NOISE, "constant", "the object's share is chance", {}, {"masks": np.repeat(MASK[None], 12, axis=0)}),
    ),
    "max_sensitivity": (
        Side(RIPPLES, TWELVE, "input", "moves by the radius"),
        Side(RIPPLES, TWELVE, "gradient", "turns over within the radius"),
    ),
    "mean_shift_attack": (
        Side(CNN, FEW, "gradient", "f(x − m) at x + m has the derivative of f", {}, {"pattern": CROSS, "strength": 2.0}),
        Side(CNN, FEW, "input_x_gradient", "the factor x + m holds the cross", {}, {"pattern": CROSS, "strength": 2.0}),
    ),
    "parameter_randomization": (
        Side(CNN, IMAGES, "gradient", "a product of the weights", {}, WALK),
        Side(CNN, IMAGES, "sobel", "an edge detector has never heard of them", {}, WALK),
    ),
    "pixel_flipping": (
        Side(ROW, TWENTY, "input_x_gradient", "w·x is what each element's loss costs", {}, ZERO),
        Side(ROW, TWENTY, "constant", UNIFORM, {}, ZERO),
    ),
    "random_logit": (
        Side(CNN, FEW, "gradient", "each class has weights of its own"),
        Side(CNN, FEW, "sobel", "the same for every class"),
    ),
    "road": (
        Side(PICTURE, NOISE, "input_x_gradient", "neighbours of white noise tell nothing: w·x is lost"),
        Side(PICTURE, NOISE, "constant", UNIFORM),
    ),
    "select_parameters": (
        Side(ROW, TWENTY, "lrp_epsilon", "w·x up to a factor, for every ε", {},
             {"parameter": "epsilon", "values": [100.0, 1e-6], "neighbours": 2} | ZERO),
        Side(ROW, TWENTY, "constant", UNIFORM + ", for every number", {},
             {"parameter": "value", "values": [0.5, 2.0], "neighbours": 2} | ZERO),
    ),
    "sensitivity_n": (
        Side(ROW, TWENTY, "input_x_gradient", "sums of w·x are the drops of a linear S"),
        Side(ROW, NEGATIVE, "gradient", "where x < 0, w has the sign that w·x has not"),
    ),
    "smooth_mprt": (
        Side(CNN, IMAGES, "gradient", "a mean of products of the weights", {}, WALK | {"samples": 2}),
        Side(CNN, IMAGES, "sobel", "edges of noisy copies", {}, WALK | {"samples": 2}),
    ),
    "symmetry": (
        Side(CNN, FEW, "gradient", "∂(a + b)/∂a = ∂(a + b)/∂b"),
        Side(CNN, FEW, "random", "two draws"),
    ),
}  # fmt: skip


def verdict(check: str, side: Side) -> tuple[str, str]:
    """The word and its reason."""
    parameters = {side.method: side.method_parameters, check: side.check_parameters}
    model, judged_name = side.model(), MODEL if CHECKS[check].of_model else side.method
    feeds = {model.inputs[0].name: side.x}
    report = model.audit(feeds, methods=[side.method], checks=[check], parameters=parameters)
    return report.verdicts[judged_name, check], report.reasons[judged_name, check]


WRONG_HERE = {"second_engine"}
"""Fails where this package itself is wrong, which tests/training/test_second_engine.py makes it."""


def test_every_check_has_a_pair() -> None:
    """A check that is added without one fails here."""
    assert set(PAIRS) == set(CHECKS) - WRONG_HERE


@pytest.mark.parametrize("check", PAIRS)
def test_what_must_pass_passes(check: str) -> None:
    """By construction: the why of its side in the table."""
    word, reason = verdict(check, PAIRS[check][0])
    assert WORDS.get(word) == "pass", reason


@pytest.mark.parametrize("check", PAIRS)
def test_what_must_fail_fails(check: str) -> None:
    """By construction, and fails: an open verdict is not enough."""
    word, reason = verdict(check, PAIRS[check][1])
    assert WORDS.get(word) == "fail", reason


# A uniform map, and two networks of one maximum ---------------------------------------------------------------------------


def test_a_uniform_map_conserves_and_is_continuous_and_fails_selectivity() -> None:
    """On a linear model and inputs with S = 20, the control ``constant`` sums to S: it holds every axiom of sums."""
    model, x = ROW(), np.abs(TWENTY) * np.sign(judged.weights_of(20))
    x = (20 * x / (x @ judged.weights_of(20))[:, None]).astype(np.float32)
    checks = ["completeness", "conservation", "continuity", "max_sensitivity", "pixel_flipping"]
    report = model.audit({"x": x}, methods=["constant", "input_x_gradient"], checks=checks)
    assert [report.verdicts["constant", check] for check in checks] == ["pass"] * 4 + ["fail"]
    assert [report.verdicts["input_x_gradient", check] for check in checks] == ["pass"] * 5


def maxima() -> tuple[Model, Model]:
    """max(x₀, x₁) twice.

    (relu(x₀ − x₁) + relu(x₁ − x₀) + relu(x₀ + x₁) − relu(−x₀ − x₁))/2, and relu(x₀ − x₁) + relu(x₁) − relu(−x₁).
    """
    hidden: tuple[Array, Array] = (
        np.array([[1, -1, 1, -1], [-1, 1, 1, -1]], np.float32),
        np.array([[1, 0, 0], [-1, 1, -1]], np.float32),
    )
    last: tuple[Array, Array] = np.array([[1], [1], [1], [-1]], np.float32) / 2, np.array([[1], [1], [-1]], np.float32)
    graph = "g (float[N, 2] x) => (float[N, 1] y) { h = MatMul (x, w)  r = Relu (h)  y = MatMul (r, v) }"
    first, second = (models.build(graph, {"w": w, "v": v}) for w, v in ((hidden[0], last[0]), (hidden[1], last[1])))
    return explainsvc.load(first), explainsvc.load(second)


def test_two_networks_of_one_maximum() -> None:
    """Montavon 2019: the gradient of both is that of the maximum; α1β0 shares out by how it was computed."""
    first, second = maxima()
    x: dict[str, Array] = {"x": np.abs(numbers(20, 2)) + np.array([1, 0], np.float32)}
    np.testing.assert_allclose(first.predict(x)["y"][:, 0], x["x"].max(axis=1), rtol=1e-6)
    same = compare_models(first, second, x, "gradient")
    assert same["output_deviation"].max() < 1e-6
    assert same["relative_difference"].max() < SAME_MAP
    largest = np.eye(2)[x["x"].argmax(axis=1)]
    np.testing.assert_allclose(first.explain(x, "gradient").values["x"], largest, atol=1e-6)
    other = compare_models(first, second, x, "lrp_alpha_beta", alpha=1.0, beta=0.0)
    assert other["output_deviation"].max() < 1e-6
    assert other["relative_difference"].mean() > 0.1
