"""What the LRP methods share: parameters, and the backward pass by a table of rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from explainsvc.autograd import Rulebook, Term
from explainsvc.axioms import up_to_residual
from explainsvc.cards import param, read_card
from explainsvc.explained import Builder
from explainsvc.method import Method
from explainsvc.rules.lrp_rulebooks import LrpRulebook, Table


@dataclass(frozen=True)
class BiasParams:
    """The treatment of biases."""

    bias: str = param("counted", "str", "whether a bias takes its share of relevance", choices=("counted", "ignored"))

    @property
    def counted(self) -> bool:
        """Whether biases count."""
        return self.bias == "counted"


@dataclass(frozen=True)
class EpsilonParams(BiasParams):
    """ε and the treatment of biases."""

    epsilon: float = param(1e-6, "float", "ε of the ε-rule, in units of the layer's result", low=0)


@dataclass(frozen=True)
class PresetParams(BiasParams):
    """ε as the presets of iNNvestigate have it, and the treatment of biases."""

    epsilon: float = param(0.1, "float", "ε of the ε-rule, in units of the layer's result", low=0)


LOW = "least value of the input: a number, an array that broadcasts to it, one number per channel, or these by input name"
HIGH = "greatest value of the input, likewise"

Preset = Callable[[Any], Table]
"""Params → the table."""


def lrp_method(
    name: str,
    docstring: str | None,
    params: type[Any],
    preset: Preset,
    complete: Literal["", "output"] = "output",
    own: bool = False,
) -> Method:
    """The method that sends the target's value back by the rules of ``preset``, which the user may have written (``own``)."""
    card = read_card(name, docstring, params, up_to_residual("conservation") if complete else {})
    return Method(
        card,
        params,
        program=partial(_propagate, preset, own),
        rulebook=partial(_rulebook, preset, own),
        complete=complete,
        from_logit=True,
    )


def _propagate(preset: Preset, own: bool, b: Builder, p: Any) -> Mapping[str, Term]:
    """Relevance starts as S itself, R = seed ⊙ value at the target; or as the table says."""
    output = preset(p).output
    start = b.seed if output == "one" else b.relevance_of(b.target if output == "value" else b.emit.op("Relu", b.target))
    return b.backward(_rulebook(preset, own, b, p), seed=start)


def _rulebook(preset: Preset, own: bool, b: Builder, p: Any) -> Rulebook:
    return LrpRulebook(preset(p).rows, b.path(), p.counted, own)
