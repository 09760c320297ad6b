"""The rules that a rulebook can name: their parameters, the operators that they are defined for, and how they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from explainsvc.autograd import Rule
from explainsvc.cards import param
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.rules.beta_smooth import smooth_relu
from explainsvc.rules.lrp import (
    ACTIVATION,
    CONVOLUTION,
    DENSE,
    LINEAR,
    ROUTING,
    SHARING,
    lrp_0,
    lrp_epsilon,
    pass_through,
    refuse,
    route,
    share,
)  # fmt: skip
from explainsvc.rules.lrp_box import Bound
from explainsvc.rules.lrp_input import lrp_flat, lrp_w_square, lrp_z_box
from explainsvc.rules.lrp_signed import gamma_weights, lrp_alpha_beta, lrp_gamma, lrp_z_plus

NORMALIZATION = frozenset(
    "Softmax LogSoftmax LayerNormalization RMSNormalization BatchNormalization InstanceNormalization GroupNormalization "
    "MeanVarianceNormalization LpNormalization LRN".split()
)
KINDS: Mapping[str, frozenset[str]] = {
    "convolution": CONVOLUTION,
    "dense": DENSE,
    "linear": LINEAR,
    "activation": ACTIVATION,
    "routing": ROUTING,
    "sharing": SHARING,
    "normalization": NORMALIZATION,
}
"""Words for groups of operators."""

BIAS = ("counted", "ignored")
FORMS = ("damp_negative", "add_positive")
FORM_TEXT = "damp_negative: weights w⁺ + γw⁻, γ ≤ 1; add_positive: w + γw⁺ as zennit and captum write it"


@dataclass(frozen=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True)
class Bias:
    """Whether biases count at these nodes."""

    bias: str = param("", "str", "whether a bias takes its share; default: as in the whole rulebook", choices=BIAS)


@dataclass(frozen=True)
class Epsilon(Bias):
    """Of the ε-rule."""

    epsilon: float = param(1e-6, "float", "ε, in units of the layer's result", low=0)


@dataclass(frozen=True)
class AlphaBeta(Bias):
    """Of the α-β-rule."""

    alpha: float = param(2.0, "float", "weight of positive contributions, 1 + beta", low=1)
    beta: float = param(1.0, "float", "weight of negative contributions", low=0)


@dataclass(frozen=True)
class Gamma(Bias):
    """Of the γ-rule."""

    gamma: float = param(0.8, "float", "γ in the given form", low=0)
    form: str = param("damp_negative", "str", FORM_TEXT, choices=FORMS)


@dataclass(frozen=True)
class Box:
    """Of z^B."""

    low: Any = param(None, "value", "least value of the input: a number, an array, one per channel, or these by input name")
    high: Any = param(None, "value", "greatest value of the input, likewise")


@dataclass(frozen=True)
class Beta:
    """Of the smoothed ReLU."""

    beta: float = param(10.0, "float", "sharpness of the softplus", low=0)


@dataclass(frozen=True)
class RuleKind:
    """A rule by name.

    Attributes:
        params: Dataclass of its parameters.
        make: ``(params, whether biases count)`` → the rule, None for the vjp; InvalidParameter where they do not go together.
        operators: What it is defined for; None: every operator.
    """

    params: type
    make: Callable[[Any, bool], Rule | None]
    operators: frozenset[str] | None


def _alpha_beta(p: AlphaBeta, bias: bool) -> Rule:
    """α and β.

    Raises:
        InvalidParameter: The shares would not add up to the relevance.
    """
    if abs(p.alpha - p.beta - 1) > 1e-9 * p.alpha:
        violation = Violation("parameters.alpha", f"is {p.alpha:g} with beta {p.beta:g}, expected alpha − beta = 1")
        raise InvalidParameter("α and β do not go together", violations=[violation])
    return lrp_alpha_beta(p.alpha, p.beta, bias)


def _gamma(p: Gamma, bias: bool) -> Rule:
    """γ in either form.

    Raises:
        InvalidParameter: Negative contributions would be favoured.
    """
    if p.form == "damp_negative" and p.gamma > 1:
        violation = Violation("parameters.gamma", f"is {p.gamma:g}, expected 0 … 1 in the form damp_negative")
        raise InvalidParameter("γ is out of range", violations=[violation])
    return lrp_gamma(*gamma_weights(p.gamma, "damp_negative" if p.form == "damp_negative" else "add_positive"), bias)


def _z_box(p: Box, _: bool) -> Rule:
    return lrp_z_box(Bound.of("low", p.low), Bound.of("high", p.high))


def _fixed(rule: Rule | None) -> Callable[[Any, bool], Rule | None]:
    """A rule without parameters."""
    return lambda _, __: rule


RULES: Mapping[str, RuleKind] = {
    "lrp_0": RuleKind(Bias, lambda _, bias: lrp_0(bias), LINEAR),
    "lrp_epsilon": RuleKind(Epsilon, lambda p, bias: lrp_epsilon(p.epsilon, bias), LINEAR),
    "lrp_z_plus": RuleKind(Bias, lambda _, bias: lrp_z_plus(bias), LINEAR),
    "lrp_alpha_beta": RuleKind(AlphaBeta, _alpha_beta, LINEAR),
    "lrp_gamma": RuleKind(Gamma, _gamma, LINEAR),
    "lrp_flat": RuleKind(Nothing, _fixed(lrp_flat), LINEAR),
    "lrp_w_square": RuleKind(Nothing, _fixed(lrp_w_square), LINEAR),
    "lrp_z_box": RuleKind(Box, _z_box, LINEAR),
    "share": RuleKind(Bias, lambda _, bias: share(bias), SHARING),
    "pass_through": RuleKind(Nothing, _fixed(pass_through), ACTIVATION | NORMALIZATION),
    "route": RuleKind(Nothing, _fixed(route), ROUTING),
    "smooth_relu": RuleKind(Beta, lambda p, _: smooth_relu(p.beta), frozenset({"Relu"})),
    "gradient": RuleKind(Nothing, _fixed(None), None),
    "refuse": RuleKind(Nothing, _fixed(refuse), None),
}
"""Name → rule: those of LRP, and "gradient" for the vjp, which is never taken unless a row says so."""
