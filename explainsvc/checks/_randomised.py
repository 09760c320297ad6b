"""The walk that parameter_randomization and smooth_mprt share: step by step, the model's output and every method's maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param
from explainsvc.check import Explained, Part, Subject, Work
from explainsvc.checks import maps
from explainsvc.checks._ahead import Ahead
from explainsvc.checks.measured import Measured, summary_rows
from explainsvc.checks.outputs import output_changes
from explainsvc.checks.rows import DIGEST, MODEL, Row
from explainsvc.checks.similarity import SIMILARITIES, Reference, Scene, chosen
from explainsvc.exchange import Exchange
from explainsvc.files import Source
from explainsvc.lanes import MOST, once
from explainsvc.model import Model
from explainsvc.randomisation import Draws, Step, changes_of, count_steps, names_of, steps_of
from explainsvc.runtime import lanes
from explainsvc.weights import DISTRIBUTIONS, ORDERS, STATISTICS

WAITING, WAITING_BYTES = 16, 2**28
"""Results that are computed before they are asked for: at most as many, of about as many bytes."""


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
    names = names_of(subject.model, draws)
    exchange = once(lambda: Exchange(subject.model, changes_of(subject.model, draws)))
    before = once(partial(_untouched_output, subject))

    def referred(e: Explained) -> Reference:
        return Reference.of(untouched(e), scene_of(subject, e, p.top), p.similarities)

    references = {e.name: once(partial(referred, e)) for e in subject.explained}

    def reference_of(e: Explained) -> Reference:
        return references[e.name]()

    def explained_at(step: Step) -> Explain:
        """At step 0 the maps are those that all others are compared with."""
        return explain if step.number else lambda e, *_: (reference_of(e).maps, before())

    steps = (_tasks(Randomised(subject, step, exchange, explained_at(step))) for step in steps_of(subject.model, draws))
    with Ahead(steps, len(names), lanes(), _room(subject)) as ahead:
        for number, unit in enumerate(names):
            yield from _step(_Place(name, subject, p, number, unit), ahead, before, reference_of)


@dataclass(frozen=True)
class Randomised:
    """The model of one step and what methods say of it; nothing is made before it is asked for."""

    subject: Subject
    step: Step
    exchange: Callable[[], Exchange]
    explain: Explain
    answers: dict[str, Answer] = field(default_factory=dict)

    @cached_property
    def model(self) -> Model:
        """With the step's weights."""
        return self.exchange().with_weights(self.step.weights)

    def answer(self, e: Explained) -> Answer:
        """A method's maps, and the explained value where it was computed on the way."""
        if e.name not in self.answers:
            feeds = self.subject.model.internal(self.subject.feeds)
            self.answers[e.name] = self.explain(e, self.model, feeds, seed_at(self.subject, e, self.step.number))
        return self.answers[e.name]

    def output(self) -> Array:
        """The output whose change is reported: from a method's own run, where one is a single graph that explains it."""
        teller = _teller(self.subject)
        told = None if teller is None else self.answer(teller)[1]
        if told is not None:
            return told
        return maps.value_of(self.model, self.subject.model.internal(self.subject.feeds), self.subject.output)


def _untouched_output(subject: Subject) -> Array:
    """As it was told with the maps; computed where no method told it."""
    teller = _teller(subject)
    told = None if teller is None else teller.result.output
    return maps.value_of(subject.model, subject.feeds, subject.output) if told is None else told


def _teller(subject: Subject) -> Explained | None:
    tells = (e for e in subject.explained if e.method.one_run and e.target.output == subject.output)
    return next(tells, None)


Told = tuple[Source, Array]
"""The file of a step's model, and its output or a method's maps. Sessions go with the model, when the next step begins."""


def _tasks(randomised: Randomised) -> list[Callable[[], Told]]:
    """Of one step, in the order of its parts: the model, then method by method."""

    def of_method(e: Explained) -> Told:
        return randomised.model.source, randomised.answer(e)[0]

    return [
        lambda: (randomised.model.source, randomised.output()),
        *(partial(of_method, e) for e in randomised.subject.explained),
    ]


def _room(subject: Subject) -> int:
    """Results that may wait: one of every lane at least."""
    largest = max((e.maps.nbytes for e in subject.explained), default=1)
    return max(MOST, min(WAITING, WAITING_BYTES // max(1, largest)))


@dataclass(frozen=True)
class _Place:
    """Where rows belong: the check's name and parameters, and the step."""

    name: str
    subject: Subject
    params: Walk
    number: int
    unit: str

    def part(self, what: str) -> Part:
        """The step's part about a method, or about the model."""
        return self.name, f"{self.number} {self.unit or 'untouched'}", what

    def rows(self, measured: Iterable[Measured]) -> list[Row]:
        """The rows of a part."""
        placed = [replace(m, order=self.params.order, step=self.number, unit=self.unit) for m in measured]
        return summary_rows(self.name, placed, self.subject.seed, self.params.resamples)


def _step(
    place: _Place, ahead: Ahead[Told], before: Callable[[], Array], reference_of: Callable[[Explained], Reference]
) -> Iterator[Row]:
    """The rows of one step: of the model, then method by method. Its model is only made where one of them is not finished."""
    subject = place.subject

    def of_model() -> Iterable[Row]:
        file, after = ahead.result((place.number, 0))
        return place.rows(about_model(subject, file.digest, before(), after))

    def of_method(number: int, e: Explained) -> Iterable[Row]:
        found = reference_of(e).against(ahead.result((place.number, number))[1])
        return place.rows(Measured(e.name, measure, values, note=note) for measure, values, note in found)

    yield from subject.once(place.part(MODEL), of_model)
    for number, e in enumerate(subject.explained, 1):
        yield from subject.once(place.part(e.name), partial(of_method, number, e))


def work(model: Model, p: Walk, explanations: float = 1.0) -> Work:
    """A part for every method and one for the model itself at each step."""
    steps = count_steps(model, Draws(p.order, p.distribution, 0, p.statistics, p.blocks))
    return Work(steps, steps, explanations)


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
