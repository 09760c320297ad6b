"""What the LRP methods share: parameters, and the backward pass by a preset's rulebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from explainsvc.autograd import Rulebook, Term
from explainsvc.cards import param, read_card
from explainsvc.explained import Builder
from explainsvc.method import Method
from explainsvc.rules.lrp_rulebooks import Row, lrp_rulebook


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


Preset = Callable[..., Sequence[Row]]
"""Params → rows of the rulebook."""


def lrp_method(name: str, docstring: str | None, params: type[BiasParams], preset: Preset) -> Method:
    """The method that sends the target's value back by the rules of ``preset``."""
    card = read_card(name, docstring, params)
    return Method(
        card,
        params,
        program=partial(_propagate, preset),
        rulebook=partial(_rulebook, preset),
        complete="output",
        from_logit=True,
    )


def _propagate(preset: Preset, b: Builder, p: BiasParams) -> Mapping[str, Term]:
    """Relevance starts as S itself: R = seed ⊙ value at the target."""
    return b.backward(_rulebook(preset, b, p), seed=b.seed * b.target)


def _rulebook(preset: Preset, b: Builder, p: BiasParams) -> Rulebook:
    return lrp_rulebook(preset(p), b.path(), p.counted)
