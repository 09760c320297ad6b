"""infidelity: How far is the map's prediction of an output change from the change itself?

Computes: E[(Iᵀφ − (S(x) − S(x − I)))²] over random perturbations I of the input: a window moved to the baseline (square), or
    normal noise (gaussian). Iᵀφ is the change that the map φ predicts: a map per unit of input is multiplied by I; a map of
    contributions is summed over the window, as if φ/(x − x′) were multiplied by I.
Output: Rows (method, measure), in S²: ``infidelity``, ``infidelity_scaled`` (with the factor β that fits φ best, per item),
    ``infidelity_zero`` (of the map of zeros: E[(S(x) − S(x − I))²]); ``relative_infidelity`` is the first over the last.
Needs: Nothing of the model; five inputs or more for a verdict.
Cost: samples forwards per input, once for all methods with the same target.
Properties: 0 for a linear model and its gradient or its contributions; a map of zeros has a relative infidelity of exactly 1.
Limits: The unscaled measure asks for values in the right unit: maps that only rank (CAMs, random numbers) fail by their scale;
    infidelity_scaled, which no scale can spoil and which is never above infidelity_zero, says what is left of them.
Source: Yeh et al. 2019, arXiv:1901.09392, definition 2.1, noise and square removal as there; β minimises it;
    verdict against the map of zeros: ours.
Differs: Captum's multiply_by_inputs is found from the method's card (units=auto). One side of square, that of `window`; the
    paper's code draws it. One square at a time, as in the paper; Quantus puts none back before the next.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict
from explainsvc.checks import _flipping as flipping
from explainsvc.checks import maps
from explainsvc.checks._controls import below
from explainsvc.checks._perturbations import KINDS, Perturbations, perturbations
from explainsvc.checks.judging import each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row
from explainsvc.method import Request

NAME = "infidelity"
RELATIVE = "relative_infidelity"
PER_UNIT, CONTRIBUTION = "gradient", "contribution"


@dataclass(frozen=True)
class Params:
    """The perturbations, and how the map is read."""

    perturbation: str = param("square", "str", "square: a window goes to the baseline; gaussian: noise", choices=KINDS)
    samples: int = param(100, "int", "perturbations", low=2)
    window: Any = param((), "ints", "square: size per axis; empty: as occlusion, up to 15 pixels; one integer: all channels")
    baseline: Any = param(
        "zero", "value", "square: what a window becomes, x′: a number, an array, zero, mean, blur, or {input: …}"
    )
    noise: float = param(0.2, "float", "gaussian: standard deviation, relative to the range of the item", low=1e-6)
    units: str = param(
        "auto", "str", "gradient: the map is per unit of input; contribution: in units of S; auto: as the method's card says",
        choices=("auto", PER_UNIT, CONTRIBUTION),
    )  # fmt: skip


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The measures of one method after the other."""
    known: dict[Hashable, Array] = {}
    return method_by_method(NAME, subject, lambda e: _measured(subject, e, p, known))


def _measured(subject: Subject, e: Explained, p: Params, known: dict[Hashable, Array]) -> Iterator[Measured]:
    request = flipping.request_of(subject, e)
    changes = perturbations(request, p.perturbation, p.samples, p)
    key, units = flipping.same_target(request), units_of(e) if p.units == "auto" else p.units
    if key not in known:
        known[key] = _drops(request, changes)
    predicted, drops = _predicted(request, e, changes, units), known[key]
    zero = np.square(drops).mean(axis=0)
    plain = np.square(predicted - drops).mean(axis=0)
    note = f"map read as {units}"
    yield Measured(e.name, "infidelity", plain, unit=p.perturbation, note=note)
    yield Measured(e.name, "infidelity_scaled", scaled(predicted, drops), unit=p.perturbation, note=note)
    yield Measured(e.name, "infidelity_zero", zero, unit=p.perturbation)
    relative = np.divide(plain, zero, out=np.full(len(zero), np.nan), where=zero > 0)
    lost = int((zero == 0).sum())
    left_out = f"; {lost} of {len(zero)} inputs left out: no perturbation changes S" if lost else ""
    yield Measured(e.name, RELATIVE, relative, unit=p.perturbation, note=note + left_out)


def units_of(e: Explained) -> str:
    """How a map is read, from the card of the method, or of the method that a wrapper runs."""
    method = e.method if e.method.inner is None else e.method.inner(e.params)
    return PER_UNIT if "per unit of input" in method.card.output else CONTRIBUTION


def scaled(predicted: Array, drops: Array) -> Array:
    """Infidelity of β φ with the best β = E[Iᵀφ ΔS] / E[(Iᵀφ)²], the minimum over β; arrays [sample, item]."""
    power = np.square(predicted).mean(axis=0)
    beta = np.divide((predicted * drops).mean(axis=0), power, out=np.zeros(len(power)), where=power > 0)
    return np.asarray(np.square(beta * predicted - drops).mean(axis=0))


def _predicted(request: Request, e: Explained, every: Perturbations, units: str) -> Array:
    """Iᵀφ, or Iᵀ(φ/(x − x′)): [sample, item]."""
    maps_of = {name: e.result.values[name].astype(np.float64) for name in every.others}
    values = {name: value.reshape(every.others[name].x.shape) for name, value in maps_of.items()}
    parts = []
    for group in maps.groups(request.model, request.feeds):
        part, cut = every.of(group), {name: value[group] for name, value in values.items()}
        predicts = part.contribution if units == CONTRIBUTION else part.product
        parts.append(np.stack([predicts(k, cut) for k in range(part.samples)]))
    return np.concatenate(parts, axis=1)


def _drops(request: Request, every: Perturbations) -> Array:
    """S(x) − S(x − I), [sample, item]."""
    parts = []
    for group in maps.groups(request.model, request.feeds):
        part = maps.part_of(request, group)
        whole, *rest = flipping.values_of(part, every.of(group).variations(part))
        parts.append(whole - np.stack(rest))
    return np.concatenate(parts, axis=1)


def judge(subject: Subject, _params: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The relative infidelity against 1, that of the map of zeros."""
    return each_method(subject, rows, lambda _, own: _verdict(own))


def _verdict(own: Sequence[Row]) -> Verdict:
    by_name = {row.measure: row for row in own}
    left = by_name["infidelity_scaled"].mean / by_name["infidelity_zero"].mean if by_name["infidelity_zero"].mean > 0 else np.nan
    return below(by_name[RELATIVE], 1.0, words=f"infidelity relative to the map of zeros' ({left:.2g} with the best scale)")


CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=judge,
    rule="Pass: the 95 % interval of the infidelity, relative to that of a map of zeros on the same perturbations, lies below 1: "
    "the map predicts output changes better than predicting none; fail: it lies at 1 or above; inconclusive: neither, or fewer "
    "than 5 inputs.",
    family="faithfulness",
    main=RELATIVE,
)
