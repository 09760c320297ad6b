"""linearity: Is the map of a sum of outputs the sum of their maps?

Computes: For two elements of the explained output, a random other one beside the target's, the maps E(S₁), E(S₂) and E(a S₁ +
    b S₂): ‖E(a S₁ + b S₂) − a E(S₁) − b E(S₂)‖ / (‖a E(S₁)‖ + ‖b E(S₂)‖), with a = 1 and b = −1/2.
Output: Rows (method, measure): ``linearity_error``.
Needs: An explained output of two elements or more; five inputs or more for a verdict.
Cost: Three explanations per input and method.
Properties: Linear in S: gradients, path integrals, Shapley values for the same samples, and relevance rules that do not ask
    for the sign of what they share out. Squares and variances of gradients, and maps cut at zero, fail.
Limits: One pair of elements per input and one pair of factors. Methods that draw random numbers keep theirs. Methods that
    start at the output rather than at its seed may not take a combination.
Source: Sundararajan et al. 2017, arXiv:1703.01365, section 3.1; additivity: Shapley 1953.
Differs: No peer has it. A negative factor, since a method may be linear in positive combinations only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict
from explainsvc.checks import maps
from explainsvc.checks._classes import at_elements, one_hot, other_elements
from explainsvc.checks._distance import SAME_MAP, norm, share
from explainsvc.checks.judging import at_most, each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row

NAME = "linearity"
ERROR = "linearity_error"
A, B = 1.0, -0.5


@dataclass(frozen=True)
class Params:
    """What is no more than rounding."""

    tolerance: float = param(SAME_MAP, "float", "largest mean error that passes", low=0, high=2)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The error, method by method."""
    return method_by_method(NAME, subject, lambda e: _measured(subject, e))


def _measured(subject: Subject, e: Explained) -> Iterator[Measured]:
    first = at_elements(subject, e)
    second = other_elements(subject, e, first)
    one, two = one_hot(e, first), one_hot(e, second)
    parts = [factor * _map(subject, e, seed) for factor, seed in ((A, one), (B, two))]
    whole = _map(subject, e, (A * one + B * two).astype(one.dtype))
    yield Measured(e.name, ERROR, share(norm(whole - parts[0] - parts[1]), norm(parts[0]) + norm(parts[1])))


def _map(subject: Subject, e: Explained, seed: Array) -> Array:
    target = replace(e.target, seed=seed, index=None)
    return maps.maps_of(replace(e, target=target), subject.model, subject.feeds, subject.seed).astype(np.float64)


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The mean error against the tolerance."""
    return each_method(subject, rows, lambda _, own: at_most(own[0], p.tolerance))


RULE = (
    "Pass: the 95 % interval of the mean error, relative to ‖a E(S₁)‖ + ‖b E(S₂)‖, lies at or below the tolerance "
    f"{SAME_MAP:g} (0 is expected, but for rounding); fail: above; inconclusive: neither, or fewer than 5 inputs."
)

CHECK = Check(read_card(NAME, __doc__, Params), Params, run=run, judge=judge, rule=RULE, family="axioms", main=ERROR)
