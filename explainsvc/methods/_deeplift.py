"""What the DeepLIFT methods share: the program from a rulebook, its run against a baseline, and what it leaves unexplained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from explainsvc.autograd import Rulebook, Term
from explainsvc.autograd.reference import Reference
from explainsvc.autograd.shapes import Array
from explainsvc.axioms import exactly
from explainsvc.baselines import baselines
from explainsvc.cards import param, read_card
from explainsvc.engine import run_graph
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.explained import Builder
from explainsvc.method import Method, Request, Result
from explainsvc.variations import target_values

NOTICED = 1e-2
"""A residual above this part of S(x) − S(x′) is a caveat."""
ROUNDING = 1e-4
"""Of S itself, in float32 through many layers: no caveat below it."""

Rules = Callable[[Reference], Rulebook]
"""The multipliers of every operator."""


@dataclass(frozen=True)
class Params:
    """The reference."""

    baseline: Any = param(0.0, "value", "x′: a number, an array, zero, mean, blur, or {input: any of these}")


def deeplift_method(name: str, docstring: str | None, rules: Rules) -> Method:
    """The method that sends multipliers back by ``rules``."""
    return Method(
        read_card(name, docstring, Params, exactly("completeness", "linearity")),
        Params,
        program=partial(contributions, rules),
        run=partial(_run, name, rules),
        rulebook=partial(rulebook, rules),
        complete="difference",
        from_logit=True,
    )


def rulebook(rules: Rules, b: Builder, _: Any) -> Rulebook:
    """The multipliers of the backward pass."""
    return rules(b.reference)


def contributions(rules: Rules, b: Builder, p: Any) -> Mapping[str, Term]:
    """C = m Δx (Shrikumar et al. 2017, equation 2), m by the chain rule (equation 3) from the seed at the target."""
    multipliers = b.backward(rules(b.reference))
    return {name: b.reference.difference(b.wanted[name]) * m for name, m in multipliers.items()}


def lifted(name: str, rules: Rules, request: Request, start: Mapping[str, Array]) -> dict[str, Array]:
    """The contributions of one run against the baselines ``start``."""
    return run_graph(name, None, lambda b: contributions(rules, b, None), request, start)[0]


def _run(name: str, rules: Rules, request: Request, p: Params) -> Result:
    """One run, and what its sum leaves of S(x) − S(x′), S by plain forwards of the untouched model."""
    start = baselines(p.baseline, request.feeds, request.wanted)
    values = lifted(name, rules, request, start)
    at_input, at_baseline = target_values(request), target_values(request.on(request.feeds | start))
    return summed(request, values, at_input, at_baseline)


def summed(request: Request, values: dict[str, Array], at_input: Array, at_baseline: Array) -> Result:
    """The values, and what their sum leaves of S(x) − S(x′).

    Raises:
        InvalidParameter: The model has a finite value at x, and none at x′ or on the way: a logarithm of 0, say.
    """
    finite = all(np.isfinite(v).all() for v in (at_baseline, *values.values()))
    if not finite and np.isfinite(at_input).all():
        raise InvalidParameter("contributions against this baseline are not finite numbers", violations=[Violation(
            "parameters.baseline", "is where an operator of the model has no finite value (a logarithm of 0, a root of −1)")],
            to_do="Choose a baseline inside the domain of the model")  # fmt: skip
    residual = request.excess(values, at_input - at_baseline)
    return Result(values, at_baseline, residual, unexplained(residual, at_input, at_baseline))


def unexplained(residual: Array, at_input: Array, at_baseline: Array) -> tuple[str, ...]:
    """A caveat where the values do not sum to S(x) − S(x′)."""
    gap, size = at_input - at_baseline, np.abs(at_input) + np.abs(at_baseline)
    if len(residual) != len(gap):
        gap, size = gap.sum(keepdims=True), size.sum(keepdims=True)
    missed = np.abs(residual) > NOTICED * np.abs(gap) + ROUNDING * size
    if not missed.any():
        return ()
    worst = int(np.argmax(np.where(missed, np.abs(residual), 0)))
    text = "the values do not sum to S(x) − S(x′): {:.3g} is left of {:.3g} (item {}); the cause may be {}"
    causes = "a condition that changes between input and baseline, items that influence one another, or rounding"
    return (text.format(residual[worst], gap[worst], worst, causes),)
