"""Every axiom that a card claims, on random networks: to float32 rounding, up to the residual, or up to the sampling error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.axioms import AXIOMS, MANNERS, Axiom
from explainsvc.methods import METHODS
from tests.axioms.claims import Case, claims, inputs, level, named
from tests.axioms.networks import blind, network, symmetric
from tests.axioms.violations import VIOLATION, baseline_rows, explained, gap, linearity_in_the_seed, off
from tests.models import Array

ROUNDING = 1e-5
"""Of the largest value: a hundred roundings of float32, for networks of some ten layers whose values are around one."""


def test_a_sum_is_reported_where_one_is_claimed() -> None:
    """A method has a residual exactly where it claims completeness (against a baseline) or conservation (of S)."""
    kinds: dict[str, set[str]] = {"": set(), "output": {"conservation"}, "difference": {"completeness"}}
    for name, method in METHODS.items():
        assert {"completeness", "conservation"} & set(method.card.axioms) == kinds[method.complete], name
        assert set(method.card.axioms) <= set(AXIOMS)
        assert set(method.card.axioms.values()) <= set(MANNERS)
        assert not (method.family == "control" and method.card.axioms)


EXACT = [
    (axiom, case)
    for axiom in VIOLATION
    for case in claims(axiom, "exact")
    if not (axiom == "linearity" and case[1] == "largest")  # a sum of maxima is no maximum: by the seed alone
]


@pytest.mark.parametrize(("axiom", "case"), EXACT, ids=[f"{axiom} {named(case)}" for axiom, case in EXACT])
def test_what_is_claimed_exactly_holds_to_rounding(axiom: Axiom, case: Case) -> None:
    """Method by axiom by kind of network."""
    assert VIOLATION[axiom](case) < ROUNDING


@pytest.mark.parametrize("case", claims("linearity"), ids=named)
def test_values_are_linear_in_the_seed_of_the_target(case: Case) -> None:
    """S = a·y_0 + b·y_1 gets a times the values of y_0 and b times those of y_1."""
    assert linearity_in_the_seed(case) < ROUNDING


@pytest.mark.parametrize("case", claims("completeness", "exact"), ids=named)
def test_what_is_complete_reports_no_residual(case: Case) -> None:
    """It is rounding, against S(x) − S(x′)."""
    found = explained(network(*case[1:]), inputs(*case[1:]), case)
    scale = float(np.abs(found.values["x"]).sum())
    assert found.residual is not None
    assert off(found.residual, np.zeros_like(found.residual), scale) < ROUNDING


# Up to the residual -----------------------------------------------------------------------------------------------------

FINE: dict[str, tuple[dict[str, Any], float]] = {
    "integrated_gradients": ({"steps": 400}, 5e-3),  # the error falls as 1/steps at the kinks of ReLUs, faster elsewhere
    "guided_integrated_gradients": ({"steps": 800}, 0.05),  # first order in the step, whose own gradient is summed
    "blur_ig": ({"steps": 400}, 0.05),  # the kernel grows by whole pixels, at which the path jumps
}
"""Parameters, and the part of Σ|values| that may be missing with them."""


@pytest.mark.parametrize("case", claims("completeness", "residual"), ids=named)
def test_the_residual_is_what_is_missing(case: Case) -> None:
    """Of S(x) − S(x′) by plain forwards; with a path cut finely, or for the number of samples, it is small."""
    model, x = network(*case[1:]), inputs(*case[1:])
    finer, part = FINE.get(case[0], ({}, 0.0))
    found = explained(model, x, case, **finer)
    values = found.values["x"].astype(np.float64).reshape(len(x["x"]), -1)
    scale = np.abs(values).sum(axis=1).max()
    assert found.baseline_value is not None
    assert found.residual is not None
    lost = model.predict(x)["y"][:, 1].astype(np.float64) - found.baseline_value
    assert off(found.residual, values.sum(axis=1) - lost, scale) < ROUNDING
    if case[0] != "blur_ig":  # its baseline is made of x
        assert off(lost, gap(model, x["x"], baseline_rows(case)), scale) < ROUNDING
    allowed = part * scale if part else 5 * np.asarray(found.parameters["residual_standard_error"])
    assert (np.abs(found.residual) <= allowed).all()


# Up to sampling ---------------------------------------------------------------------------------------------------------

REPEATS = 48
MORE: dict[str, dict[str, Any]] = {"vargrad": {"samples": 50}, "smoothgrad_squared": {"samples": 50}}


def repeated(model: explainsvc.Model, x: dict[str, Array], case: Case) -> Array:
    """Values of many seeds, [repeats, items, elements], float64."""
    more = MORE.get(case[0], {})
    return np.stack([explained(model, x, case, seed=s, **more).values["x"] for s in range(REPEATS)]).astype(np.float64)


def vanishes_on_average(draws: Array, values: Array) -> None:
    """The mean over the repeats is 0 as far as its standard error tells, which is small against the values."""
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert float(error.max()) < 0.1 * float(np.abs(values).mean(axis=0).max())
    assert (np.abs(draws.mean(axis=0)) <= 5 * error + 1e-6).all()


def sampled(axiom: Axiom) -> pytest.MarkDecorator:
    """The claims up to sampling, on dense networks."""
    return pytest.mark.parametrize("case", [c for c in claims(axiom, "sampling") if c[1].startswith("dense")], ids=named)


@sampled("symmetry")
def test_symmetric_features_get_the_same_on_average(case: Case) -> None:
    """Over many seeds the values of two symmetric features do not differ by more than their standard error tells."""
    values = repeated(symmetric(*case[1:]), {"x": level(inputs(*case[1:])["x"])}, case)
    vanishes_on_average(values[..., 0] - values[..., 1], values)


@sampled("dummy")
def test_a_dummy_gets_nothing_on_average(case: Case) -> None:
    """Over many seeds its mean is 0 as far as the standard error tells."""
    values = repeated(blind(*case[1:]), inputs(*case[1:]), case)
    vanishes_on_average(values[..., -1], values)
