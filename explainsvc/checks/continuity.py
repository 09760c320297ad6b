"""continuity: Do nearly equal inputs get nearly equal maps?

Computes: Over uniform neighbours x̃ of each input within the radius, the target kept: the largest ‖R(x) − R(x̃)‖₂/‖x − x̃‖₂
    (a local Lipschitz estimate), and the largest relative change of the map over that of the output, or of the input where
    that is larger. When asked, the same along 28 translations of a picture, from each to the next.
Output: Rows (method, measure): ``lipschitz``, ``ratio_to_change``, ``map_change``, ``output_change``, ``input_change`` at
    amount = radius; with order = translation, ``map_change`` and ``output_change`` at amount = pixels, and their largest
    ``lipschitz``.
Needs: Float inputs, pictures for translations; five inputs or more for a verdict.
Cost: ``samples`` explanations and forward passes per input and method; 28 more for translations.
Properties: The gradient of a ReLU network jumps where a unit switches, though the output does not; LRP's rules and averages
    over noise or paths smooth that. Input × a constant changes as the input does: 1.
Limits: Random neighbours give a lower bound of the maximum. A constant map is continuous. Translations change the output of
    most models: only the noise is judged. The ratio depends on the zero point of inputs and outputs.
Source: Alvarez-Melis & Jaakkola 2018, arXiv:1806.08049, section 3; Montavon et al. 2018, doi:10.1016/j.dsp.2017.10.011,
    section 7.1 (explanation continuity, translated digits); changes relative to those of input and output: Agarwal et al.
    2022, arXiv:2203.06877 (relative input and output stability); the larger of both as the reference, and the limit: ours.
Differs: Quantus's LocalLipschitzEstimate divides maps by the largest value of their batch before, and its Continuity compares
    every translation with the untouched picture. The tutorial of 2018 takes the 1-norm of the map's change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict, Work
from explainsvc.checks import maps
from explainsvc.checks._distance import norm, share, zero_note
from explainsvc.checks._neighbours import RADIUS, flat_inputs, noisy, translated
from explainsvc.checks.judging import at_most, each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row

NAME = "continuity"
LIPSCHITZ, RATIO, TRANSLATION = "lipschitz", "ratio_to_change", "translation"


@dataclass(frozen=True)
class Params:
    """The neighbours, and the limit."""

    radius: float = param(0.02, "float", RADIUS, low=1e-6, high=1)
    samples: int = param(10, "int", "neighbours per input", low=1)
    limit: float = param(10.0, "float", "largest mean of ratio_to_change that passes", low=0)
    translations: bool = param(False, "bool", "whether pictures are moved by −14 … 13 pixels too")


@dataclass(frozen=True)
class Place:
    """Maps, inputs and outputs at one neighbour, all [item, element], float64."""

    maps: Array
    inputs: Array
    output: Array

    def __sub__(self, other: Place) -> Place:
        """What changed."""
        return Place(self.maps - other.maps, self.inputs - other.inputs, self.output - other.output)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """Noise, then translations."""
    return method_by_method(NAME, subject, lambda e: _measured(subject, e, p))


def _measured(subject: Subject, e: Explained, p: Params) -> Iterator[Measured]:
    start = _placed(subject, e, subject.feeds, e.maps)
    changes = [_at(subject, e, feeds) - start for feeds in noisy(subject, e, p.radius, p.samples)]
    moved = share(_largest([norm(c.maps) for c in changes]), norm(start.maps))
    output = share(_largest([norm(c.output) for c in changes]), norm(start.output))
    inputs = share(_largest([norm(c.inputs) for c in changes]), norm(start.inputs))
    ratio = share(moved, np.maximum(output, inputs))
    yield Measured(e.name, LIPSCHITZ, _lipschitz(changes), amount=p.radius)
    yield Measured(e.name, RATIO, ratio, amount=p.radius, note=zero_note(ratio, "a map of zeros"))
    yield Measured(e.name, "map_change", moved, amount=p.radius)
    yield Measured(e.name, "output_change", output, amount=p.radius)
    yield Measured(e.name, "input_change", inputs, amount=p.radius)
    if p.translations:
        yield from _translations(subject, e)


def _translations(subject: Subject, e: Explained) -> Iterator[Measured]:
    """From each place to the next; relative to the map and the output before."""
    before, largest = None, np.zeros(len(e.maps))
    for step, (pixels, feeds) in enumerate(translated(subject, e)):
        place = _at(subject, e, feeds)
        if before is not None:
            change = place - before
            found = {"map_change": share(norm(change.maps), norm(before.maps))}
            found["output_change"] = share(norm(change.output), norm(before.output))
            for measure, values in found.items():
                yield Measured(e.name, measure, values, TRANSLATION, step, amount=pixels)
            largest = np.fmax(largest, _lipschitz([change]))
        before = place
    yield Measured(e.name, LIPSCHITZ, largest, TRANSLATION)


def _at(subject: Subject, e: Explained, feeds: dict[str, Array]) -> Place:
    return _placed(subject, e, feeds, maps.maps_of(e, subject.model, feeds, subject.seed))


def _placed(subject: Subject, e: Explained, feeds: dict[str, Array], found: Array) -> Place:
    items = len(found)
    output = maps.value_of(subject.model, feeds, e.target.output).astype(np.float64)
    return Place(found.astype(np.float64), flat_inputs(e, feeds, items), output.reshape(items, -1))


def _lipschitz(changes: Sequence[Place]) -> Array:
    """Alvarez-Melis & Jaakkola 2018; NaN where no neighbour differs."""
    return _largest([share(norm(c.maps), norm(c.inputs)) for c in changes])


def _largest(values: Sequence[Array]) -> Array:
    return np.asarray(np.fmax.reduce(values))


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The ratio to the output's change against the limit."""
    return each_method(subject, rows, lambda _, own: at_most(next(r for r in own if r.measure == RATIO), p.limit))


RULE = (
    "Pass: the 95 % interval of the mean ratio lies at or below the limit 10; fail: above; inconclusive: neither, or "
    "fewer than 5 inputs. The ratio is the largest ‖R(x̃) − R(x)‖/‖R(x)‖ over the neighbours, over the largest such "
    "change of the whole explained output, or of the input where that is larger: a map may change ten times as strongly "
    "as what it is a map of. A Lipschitz constant has units and no natural limit: lipschitz itself is reported, not "
    "judged."
)

CHECK = Check(
    read_card(NAME, __doc__, Params), Params, run=run, judge=judge, rule=RULE, family="robustness",
    axis="radius relative to the range of the input, or pixels", main="map_change",
    work=lambda _model, p: Work(explanations=p.samples + 28 * p.translations, forwards=p.samples),
)  # fmt: skip
