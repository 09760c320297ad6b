"""smooth_mprt: Do denoised maps change when the model's weights are replaced by random numbers?

Computes: As parameter_randomization, but each map, of the untouched and of every randomised model, is the mean of the maps
    of N noisy copies of the input, x + g, g ~ N(0, σ²), with σ a share of the item's range (max − min). The copies are the
    same at every step and for every method.
Output: Rows as those of parameter_randomization.
Needs: Float inputs; a model with learned tensors; five inputs or more for a verdict.
Cost: N times that of parameter_randomization, and N explanations of the untouched model.
Properties: The comparison is not led by the noise that gradients of deep networks carry, which alone lowers a rank
    correlation; a method passes by what is left of its maps.
Limits: The copies leave the data distribution. Those of parameter_randomization.
Source: Hedström et al. 2024, arXiv:2401.06465, section 4 (sMPRT), N = 50, σ = 0.1.
Differs: All copies are noisy (Quantus takes the input itself as the last). Noise is drawn once from the seed; Quantus draws
    new noise for every layer, so that its step 0 is not 1. Constant maps count as missing, never as 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject
from explainsvc.checks import maps, verdicts
from explainsvc.checks._neighbours import require_floats
from explainsvc.checks._randomised import Walk, walk, work
from explainsvc.checks.measured import refusal_row
from explainsvc.checks.rows import Row
from explainsvc.errors import MethodNotApplicable
from explainsvc.model import Model
from explainsvc.weights import seed_sequence

NAME = "smooth_mprt"


@dataclass(frozen=True)
class Params(Walk):
    """Those of the walk, and the noise."""

    samples: int = param(50, "int", "noisy copies of each input", low=2, high=10_000)
    noise: float = param(0.1, "float", "σ of the noise, relative to the input's range (max − min)", low=0)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The rows of step 0, 1, … as they are computed; a method that explains integers is left out."""
    fitting = []
    for e in subject.explained:
        try:
            require_floats(subject, e)
            fitting.append(e)
        except MethodNotApplicable as error:
            yield refusal_row(NAME, e.name, error)
    if fitting:
        yield from _walked(replace(subject, explained=tuple(fitting)), p)


def _walked(subject: Subject, p: Params) -> Iterator[Row]:
    feeds = subject.model.internal(subject.feeds)

    def smooth(e: Explained, model: Model, inputs: dict[str, Array], seed: int) -> Array:
        copies = (noisy(inputs, e.wanted, p.noise, subject, n) for n in range(p.samples))
        total = sum(maps.maps_of(e, model, copy, seed).astype(np.float64) for copy in copies)
        return np.asarray(total) / p.samples

    return walk(NAME, subject, p, lambda e: smooth(e, subject.model, feeds, subject.seed), lambda *of: (smooth(*of), None))


def noisy(feeds: dict[str, Array], wanted: tuple[str, ...], share: float, subject: Subject, number: int) -> dict[str, Array]:
    """Copy ``number`` of all items: the same noise at every step and for every method."""
    rng = np.random.default_rng(seed_sequence(subject.seed, f"{NAME}/{number}"))
    batched = subject.model.batched(feeds)
    return feeds | {name: _shaken(feeds[name], share, rng, batched) for name in wanted}


def _shaken(x: Array, share: float, rng: np.random.Generator, batched: bool) -> Array:
    axes = tuple(range(1, x.ndim)) if batched and x.ndim > 1 else None
    spread = share * np.ptp(x.astype(np.float64), axis=axes, keepdims=True)
    return np.asarray(x + spread * rng.standard_normal(x.shape), x.dtype)


CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=verdicts.judge,
    rule=verdicts.RULE,
    family="randomization",
    controls=verdicts.CONTROLS,
    main="spearman_abs",
    work=lambda model, params: work(model, params, params.samples),
)
