"""Cards and parameters: every heading filled, every wrong parameter refused."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc import texts
from explainsvc.cards import KINDS, Card, param, read_params
from explainsvc.errors import InvalidParameter
from explainsvc.methods import METHODS

CARDS = {f"method {n}": c for n, c in explainsvc.methods().items()} | {f"check {n}": c for n, c in explainsvc.checks().items()}
REQUIRED = set(
    "gradient input_x_gradient integrated_gradients smoothgrad smoothgrad_squared vargrad guided_backprop deconvnet grad_cam "
    "guided_grad_cam lrp_epsilon lrp_z_plus lrp_epsilon_plus lrp_epsilon_plus_flat occlusion random sobel".split()
)


def test_the_registries_hold_what_was_promised() -> None:
    """All methods and checks of the first landing are there, each under its own name."""
    assert set(explainsvc.methods()) >= REQUIRED
    assert "parameter_randomization" in explainsvc.checks()
    assert all(name.split()[-1] == card.name for name, card in CARDS.items())


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())
def test_every_heading_is_filled(card: Card) -> None:
    """What it computes, output, needs, cost, properties, limits, source and differences are all sentences."""
    texts = {f.name: getattr(card, f.name) for f in dataclasses.fields(card) if f.name not in ("name", "parameters", "axioms")}
    assert [name for name, text in texts.items() if len(text) < 4] == []
    assert [name for name, text in texts.items() if not text.rstrip().endswith((".", "?"))] == []


def test_claimed_axioms_are_shown_as_text_and_json() -> None:
    """By name and manner, in alphabetical order; nothing for what claims none."""
    claiming, silent = explainsvc.methods()["sampling_shap"], explainsvc.methods()["grad_cam"]
    expected = {"completeness": "exact", "dummy": "exact", "implementation_invariance": "exact", "linearity": "exact"}
    assert list(claiming.to_json()["axioms"].items()) == list((expected | {"symmetry": "sampling"}).items())
    assert "linearity (exact), symmetry (sampling)" in texts.card(claiming)
    assert silent.to_json()["axioms"] == {}
    assert "Axioms" not in texts.card(silent)


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())
def test_every_parameter_is_described(card: Card) -> None:
    """Each parameter has a known type, words, and a default that its own reader accepts; the card is plain JSON."""
    assert [p.name for p in card.parameters if p.type not in KINDS or len(p.description) < 4] == []
    assert json.loads(json.dumps(card.to_json()))["name"] == card.name


@pytest.mark.parametrize("name", METHODS)
def test_defaults_are_accepted_when_given(name: str) -> None:
    """Passing every default explicitly is the same as passing nothing."""
    method = METHODS[name]
    defaults = {p.name: p.default for p in method.card.parameters if p.default is not None}
    assert read_params(method.params, defaults, name) == method.params()


@dataclass(frozen=True)
class Params:
    """One parameter of each kind."""

    real: float = param(0.5, "float", "a real", low=0, high=1)
    whole: int = param(3, "int", "a whole number", low=1)
    flag: bool = param(True, "bool", "a flag")
    word: str = param("a", "str", "a word", choices=("a", "b"))
    anything: Any = param(0.0, "value", "number, array or name")
    sizes: Any = param((), "ints", "sizes")
    table: Any = param(None, "array", "an array")
    extra: Any = param(None, "object", "an object")
    rows: Any = param((), "table", "rows")


GOOD: dict[str, tuple[Any, Any]] = {
    "real": (1, 1.0), "whole": (7.0, 7), "flag": (False, False), "word": ("b", "b"), "anything": ("zero", "zero"),
    "sizes": ([3, 4.0], (3, 4)), "extra": ({"a": 1}, {"a": 1}), "rows": ([{"a": 1}], [{"a": 1}]),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_values_are_read_as_their_kind(name: str) -> None:
    """JSON and protobuf write 7.0 for 7 and lists for tuples; both are read."""
    given, expected = GOOD[name]
    found = getattr(read_params(Params, {name: given}, "it"), name)
    assert found == expected
    assert type(found) is type(expected)


BAD: list[tuple[str, Any, str]] = [
    ("real", 1.5, "0 … 1"), ("real", -0.1, "0 … 1"), ("real", "half", "a number"), ("real", float("nan"), "a number"),
    ("real", True, "a number"), ("real", None, "a number"), ("real", np.ones(2), "a number"),
    ("whole", 0, "≥ 1"), ("whole", 1.5, "an integer"), ("whole", "3", "an integer"), ("whole", float("inf"), "an integer"),
    ("whole", float("nan"), "an integer"), ("flag", 1, "true or false"), ("word", "c", "a | b"), ("word", 3, "a string"),
    ("anything", [["x"]], "array"), ("anything", [[1], [1, 2]], "array"), ("sizes", "3", "an integer"),
    ("sizes", [1.5], "an integer"),
    ("table", [[1], [1, 2]], "an array"), ("table", ["a"], "an array"), ("extra", [1], "an object"),
    ("rows", 3, "a list, an object"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "expected"), BAD)
def test_wrong_values_are_refused(name: str, value: Any, expected: str) -> None:
    """The violation names the parameter and what was expected."""
    with pytest.raises(InvalidParameter) as caught:
        read_params(Params, {name: value}, "it")
    (violation,) = caught.value.violations
    assert violation.field == f"parameters.{name}"
    assert expected in violation.description


def test_all_wrong_parameters_are_listed() -> None:
    """An unknown name and two bad values come in one error, which lists the known names."""
    with pytest.raises(InvalidParameter) as caught:
        read_params(Params, {"epsilon": 1, "real": 2, "word": "z"}, "it")
    assert {v.field for v in caught.value.violations} == {"parameters.epsilon", "parameters.real", "parameters.word"}
    assert "whole" in caught.value.violations[0].description
