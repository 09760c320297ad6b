"""The walk that parameter_randomization and smooth_mprt share: step by step, the model's output and every method's maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param
from explainsvc.check import Explained, Subject
from explainsvc.checks import maps
from explainsvc.checks.measured import Measured, summary_rows
from explainsvc.checks.outputs import output_changes
from explainsvc.checks.rows import DIGEST, MODEL, Row
from explainsvc.checks.similarity import SIMILARITIES, Reference, Scene, chosen
from explainsvc.exchange import Exchange
from explainsvc.model import Model
from explainsvc.randomisation import Draws, Step, changes_of, count_steps, steps_of
from explainsvc.weights import DISTRIBUTIONS, ORDERS, STATISTICS


@dataclass(frozen=True)
class Draw:
    """What new weights are drawn from."""

    distribution: str = param("he_normal", "str", "what the new weights are drawn from", choices=DISTRIBUTIONS)
    statistics: str = param(
        "reset", "str", "mean and variance of a BatchNormalization: 0 and 1, or as they were measured", choices=STATISTICS
    )
    resamples: int = param(1000, "int", "bootstrap resamples behind an interval", low=100, high=100_000)


@dataclass(frozen=True)
class Walk(Draw):
    """How the weights are replaced, and what is compared."""

    order: str = param(
        "cascading", "str",
        "cascading: from the output on, all stay random; bottom_up: from the input on; independent: one unit at a time",
        choices=ORDERS,
    )  # fmt: skip
    blocks: Any = param(
        "", "table", 'what a step re-initialises: one unit; "scope": those of one module; or a list of scopes, each a step'
    )
    similarities: str = param("all", "str", f"all that the maps have, or some, separated by commas: {', '.join(SIMILARITIES)}")
    top: float = param(0.1, "float", "share of the elements that topk_intersection looks at", low=0, high=1)


Answer = tuple[Array, Array | None]
"""Maps, [item, element], and the explained value where it was computed on the way."""
Explain = Callable[[Explained, Model, dict[str, Array], int], Answer]
"""(method, model, feeds, seed) → its maps of this model."""


def draws_of(subject: Subject, p: Draw, order: str = "cascading", blocks: Any = "") -> Draws:
    """The check's parameters as those of the randomisation."""
    return Draws(order, p.distribution, subject.seed, p.statistics, blocks)


def walk(name: str, subject: Subject, p: Walk, untouched: Callable[[Explained], Array], explain: Explain) -> Iterator[Row]:
    """The rows of step 0, 1, … as they are computed.

    Args:
        name: The check's.
        subject: What is checked.
        p: The check's parameters.
        untouched: A method's maps of the untouched model.
        explain: Those of a step's model.

    Raises:
        MethodNotApplicable: The model has no learned tensors.
        InvalidParameter: Blocks or similarities that do not exist.
    """
    chosen(p.similarities, Scene())
    draws = draws_of(subject, p, p.order, p.blocks)
    total, done = count_steps(subject.model, draws) * len(subject.explained), 0
    feeds = subject.model.internal(subject.feeds)
    before = maps.value_of(subject.model, subject.feeds, subject.output)
    references = {e.name: Reference.of(untouched(e), scene_of(subject, e, p.top), p.similarities) for e in subject.explained}
    exchange, teller = Exchange(subject.model, changes_of(subject.model, draws)), _teller(subject)
    for step in steps_of(subject.model, draws):
        model = exchange.with_weights(step.weights)
        ask = cache(partial(_ask, subject, explain, model, feeds, step))
        told = None if teller is None else ask(teller)[1]
        after = maps.value_of(model, feeds, subject.output) if told is None else told
        yield from _rows(name, subject, p, step, about_model(subject, model.digest, before, after))
        for place, e in enumerate(subject.explained):
            subject.progress(done, total, f"{step.name or 'untouched'}: {e.name}")
            found = references[e.name].against(ask(place)[0])
            yield from _rows(
                name, subject, p, step, (Measured(e.name, measure, values, note=note) for measure, values, note in found)
            )
            done += 1
    subject.progress(total, total, name)


def opening(name: str, subject: Subject, p: Walk) -> Iterator[Row]:
    """The first rows of :func:`walk`, about the model of step 0, which need no method."""
    step = next(steps_of(subject.model, draws_of(subject, p, p.order, p.blocks)))
    model = Exchange(subject.model).with_weights(step.weights)
    before = maps.value_of(subject.model, subject.feeds, subject.output)
    after = maps.value_of(model, subject.model.internal(subject.feeds), subject.output)
    yield from _rows(name, subject, p, step, about_model(subject, model.digest, before, after))


def _teller(subject: Subject) -> int | None:
    """A method whose own run tells the output: one that is one graph, and explains it."""
    tells = (e.method.run is None and e.target.output == subject.output for e in subject.explained)
    return next((place for place, so in enumerate(tells) if so), None)


def _ask(subject: Subject, explain: Explain, model: Model, feeds: dict[str, Array], step: Step, place: int) -> Answer:
    e = subject.explained[place]
    return explain(e, model, feeds, seed_at(subject, e, step.number))


def _rows(name: str, subject: Subject, p: Walk, step: Step, measured: Iterable[Measured]) -> list[Row]:
    placed = [replace(m, order=p.order, step=step.number, unit=step.name) for m in measured]
    return summary_rows(name, placed, subject.seed, p.resamples)


def scene_of(subject: Subject, e: Explained, top: float) -> Scene:
    """The shape of a method's map of one item, where it explains one input."""
    values = next(iter(e.result.values.values()))
    batched = len(values) == len(e.maps) and subject.model.batched(subject.feeds)
    return Scene((values.shape[1:] if batched else values.shape) if len(e.result.values) == 1 else (), top)


def about_model(subject: Subject, digest: str, before: Array, after: Array) -> Iterator[Measured]:
    """What a step did to the model itself: the digest of the model, and how far its output moved."""
    yield Measured(MODEL, DIGEST, np.empty(0), note=digest)
    for measure, values, note in output_changes(before, after, subject.model.batched(subject.feeds), subject.labels):
        yield Measured(MODEL, measure, values, note=note)


def seed_at(subject: Subject, e: Explained, step: int) -> int:
    """Sampling methods keep their noise, so that only weights differ; controls are drawn anew after step 0."""
    return subject.seed + (step if e.is_control else 0)
