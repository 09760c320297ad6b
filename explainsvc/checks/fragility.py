"""fragility: Can a perturbation too small to see destroy the map, while the prediction stays?

Computes: An iterative attack on the map: x ← Π(x + α sign ∇D), where Π keeps |x − x₀| ≤ ε and the range of the inputs, and D
    says how far the map has gone: away from its k most salient pixels, or its centre of mass away from where it was. ∇D is
    the derivative of the explained graph, with Softplus in place of ReLU (in a copy that serves for the direction only).
    Looked at ten times on the way, on the true model by the true method; of the looks at which the prediction (arg-max of
    the output) is that of x₀, the one furthest gone counts. Beside it random signs of the same size, drawn at every look.
Output: Rows (method, attack, look): share of the k most salient pixels that still are, Spearman's correlation of the saliencies,
    shift of the centre of mass in pixels, relative change of the output, share of inputs whose prediction is kept.
Needs: Float inputs; a gradient; positions in the input for the centre of mass; five inputs or more for a verdict.
Cost: `steps` passes through the differentiated explained graph (three to five times a gradient), and 2 · `looks` explanations.
Properties: A map that does not depend on the input (that of the gradient of a linear model) passes exactly.
Limits: An attack that fails shows no more than that this attack fails. ε is relative to the range of all elements of an input:
    columns of a table in different units should be scaled first. A method that is not one graph (SHAP, integrated gradients),
    or whose graph has no second derivative, is attacked by the direction of the gradient's map, and its rows say so. An
    output of one number counts as kept within a tenth of its range over the given inputs.
Source: Ghorbani, Abid, Zou 2019, arXiv:1710.10547, algorithm 1; verdict by interval: ours.
Differs: Saliency is Σ_channels |map|, for the centre of mass too; k is at most a tenth of the pixels, since the k most salient
    of k pixels cannot change. The centre of mass is not rounded to whole pixels: where D has no slope (at x₀, or on a map
    that is constant) a step of random signs is taken, which the authors' code gets by the rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict, Work
from explainsvc.checks import maps
from explainsvc.checks._direction import LEVEL, TRANSFER, Aim, aim_of
from explainsvc.checks._saliency import Pixels, bounded, intersection, mass_center, pixels_of
from explainsvc.checks.judging import at_least, each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row
from explainsvc.checks.similarity import spearman
from explainsvc.errors import MethodNotApplicable
from explainsvc.weights import seed_sequence

Points = Iterator[tuple[int, dict[str, Array]]]
"""Step and the explained inputs after it."""

NAME = "fragility"
MAIN = "topk_intersection"
RANDOM = "random"
KEPT = 0.1
"""Share of the outputs' range within which an output of one number counts as the same prediction."""
RULE = (
    "fail: the 95 % interval of the share of the k most salient pixels that survive the attack, or random signs of the same size "
    "where they leave fewer, lies below the limit, the prediction being kept; pass: it lies at or above it"
)


@dataclass(frozen=True)
class Params:
    """The attack, how long it goes on, and what counts as destroyed."""

    distance: str = param(
        "topk",
        "str",
        "what the attack moves: the k most salient pixels, or the centre of mass; random: signs only",
        choices=("topk", "mass_center", RANDOM),
    )
    k: int = param(1000, "int", "most salient pixels; at most a tenth of all", low=1)
    epsilon: float = param(8 / 255, "float", "largest change of an element, relative to the range of the inputs", low=0, high=1)
    alpha: float = param(0.5 / 255, "float", "size of a step, likewise", low=0, high=1)
    steps: int = param(300, "int", "steps of the attack", low=1, high=100_000)
    looks: int = param(10, "int", "iterates that are explained by the true method", low=1, high=1000)
    beta: float = param(10.0, "float", "β of the softplus, the larger the closer to ReLU", low=1e-3)
    limit: float = param(0.5, "float", "share of the k most salient pixels that must survive", low=0, high=1)


@dataclass(frozen=True)
class Box:
    """|x − x₀| ≤ size, inside [low, high], per explained input."""

    start: dict[str, Array]
    size: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]

    def projected(self, x: Mapping[str, Array]) -> dict[str, Array]:
        """The nearest point of the box."""
        return {n: self._nearest(n, np.asarray(a)) for n, a in x.items()}

    def _nearest(self, name: str, x: Array) -> Array:
        x0, size = self.start[name], self.size[name]
        return np.asarray(np.clip(np.clip(x, x0 - size, x0 + size), self.low[name], self.high[name]), x0.dtype)


@dataclass(frozen=True)
class Looked:
    """What one look gave, one number per item."""

    kept: Array
    measures: dict[str, Array]

    def furthest(self, other: Looked, by: str) -> Looked:
        """Per item the one that has gone further of this look and another, which counts where it keeps the prediction."""
        sign = 1 if by == "mass_center_shift" else -1
        better = other.kept & (sign * other.measures[by] > sign * self.measures[by])
        return Looked(other.kept, {name: np.where(better, other.measures[name], a) for name, a in self.measures.items()})


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """Rows method by method."""
    return method_by_method(NAME, subject, partial(_attacked, subject, p))


def _attacked(subject: Subject, p: Params, e: Explained) -> Iterator[Measured]:
    box, pixels = _box(subject, e, p.epsilon), pixels_of(subject, e)
    if p.distance == "mass_center" and not pixels.placed:
        raise MethodNotApplicable(
            "its inputs have no positions", where=f"check {NAME}, {e.name}", expected="one input with positions",
            to_do='Use distance="topk"',
        )  # fmt: skip
    k = bounded(p.k, pixels.count)
    look = partial(_look, subject, e, pixels, k)
    for attack in dict.fromkeys((p.distance, RANDOM)):
        rng = np.random.default_rng(seed_sequence(subject.seed, f"{NAME}/{e.name}/{attack}"))
        aim = None if attack == RANDOM else aim_of(subject, e, pixels, attack, k, p.beta)
        points = _random(box, rng, p) if aim is None else _walk(subject, aim, box, rng, p)
        note = "; ".join([f"k = {k} of {pixels.count}", *([] if aim is None else _remarks(subject, aim))])
        for step, found in _furthest(look, points, box, p):
            yield from _measured(e.name, attack, step, found, note)


def _remarks(subject: Subject, aim: Aim) -> list[str]:
    """What weakens the attack; that the centre of mass has no slope where it starts is no remark."""
    level = len(aim.weights) == 1 and aim.is_level(subject.model.internal(subject.feeds))
    return [*([TRANSFER] if aim.transferred else []), *([LEVEL] if level else [])]


def _furthest(look: Callable[[Mapping[str, Array]], Looked], points: Points, box: Box, p: Params) -> Iterator[tuple[int, Looked]]:
    """Step 0, then after every look the iterate that has gone furthest so far."""
    best = look(box.start)
    yield 0, best
    by = "mass_center_shift" if p.distance == "mass_center" else MAIN
    for step, x in points:
        best = best.furthest(look(x), by)
        yield step, best


def _measured(method: str, attack: str, step: int, found: Looked, note: str) -> Iterator[Measured]:
    """The rows of one look."""
    values = {**found.measures, "prediction_kept": found.kept.astype(np.float64)}
    for name, numbers in values.items():
        lost = int(np.isnan(numbers).sum())
        words = [note] if name == MAIN else []
        words += [f"{lost} of {len(numbers)} inputs left out: a constant map, or NaN in it"] if lost else []
        yield Measured(method, name, numbers, order=attack, step=step, note="; ".join(words), amount=float(step))


def _box(subject: Subject, e: Explained, epsilon: float) -> Box:
    """The perturbations that are allowed, relative to the range of each input over all items."""
    start = {n: subject.feeds[n] for n in e.wanted}
    for name, x in start.items():
        if x.dtype.kind != "f" or not np.ptp(x) > 0:
            raise MethodNotApplicable(
                f"its elements are {x.dtype}" if x.dtype.kind != "f" else "all its elements are equal: it has no range",
                where=f'check {NAME}, {e.name}, input "{name}"', expected="float elements that differ", to_do="Give other inputs",
            )  # fmt: skip
    low, high = ({n: float(f(x)) for n, x in start.items()} for f in (np.min, np.max))
    return Box(start, {n: epsilon * (high[n] - low[n]) for n in start}, low, high)


def _signs(x: Mapping[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    return {n: rng.choice(np.array([-1.0, 1.0]), a.shape) for n, a in x.items()}


def _random(box: Box, rng: np.random.Generator, p: Params) -> Points:
    """ε in random signs, drawn anew at every look."""
    for step in _looks(p):
        signs = _signs(box.start, rng)
        yield step, box.projected({n: x + box.size[n] * signs[n] for n, x in box.start.items()})


def _looks(p: Params) -> list[int]:
    """The steps after which is looked, the last one among them."""
    return sorted({round(p.steps * (i + 1) / p.looks) for i in range(p.looks)} - {0})


def _walk(subject: Subject, aim: Aim, box: Box, rng: np.random.Generator, p: Params) -> Points:
    """The iterates that are looked at (Ghorbani et al. 2019, algorithm 1)."""
    x, model, looked = dict(box.start), subject.model, set(_looks(p))
    batched = model.batched(subject.feeds)
    for step in range(1, p.steps + 1):
        slope = aim.at(model.internal(subject.feeds | x))
        signs = _or_random({n: np.sign(np.nan_to_num(g)) for n, g in slope.items()}, rng, batched)
        x = box.projected({n: a + p.alpha * (box.high[n] - box.low[n]) * signs[n] for n, a in x.items()})
        if step in looked:
            yield step, x


def _or_random(signs: dict[str, Array], rng: np.random.Generator, batched: bool) -> dict[str, Array]:
    """Items without any slope get random signs."""
    still = np.all(maps.flat(signs, batched) == 0, axis=1)
    drawn = _signs(signs, rng)
    return {n: np.where(still.reshape(-1, *[1] * (a.ndim - 1)) if batched else still[0], drawn[n], a) for n, a in signs.items()}


def _look(subject: Subject, e: Explained, pixels: Pixels, k: int, x: Mapping[str, Array]) -> Looked:
    """The true method on the true model at x, against the untouched inputs."""
    feeds, model = subject.feeds | dict(x), subject.model
    before = pixels.saliency(e.maps)
    after = pixels.saliency(maps.maps_of(e, model, feeds, subject.seed))
    old, new = (maps.value_of(model, f, subject.output).astype(np.float64) for f in (subject.feeds, feeds))
    y, z = (v.reshape(len(before) if model.batched(feeds) else 1, -1) for v in (old, new))
    measures = {MAIN: intersection(before, after, k), "spearman": spearman(before, after)}
    if pixels.placed:
        places = pixels.coordinates()
        measures["mass_center_shift"] = np.linalg.norm(mass_center(after, places) - mass_center(before, places), axis=1)
    size = np.linalg.norm(y, axis=1)
    measures["output_change"] = np.divide(np.linalg.norm(z - y, axis=1), size, out=np.full(len(y), np.nan), where=size > 0)
    return Looked(_kept(y, z), measures)


def _kept(before: Array, after: Array) -> Array:
    """Whether the prediction is the same, per item."""
    if before.shape[1] == 1:
        return np.asarray(np.abs(after - before)[:, 0] <= KEPT * np.ptp(before))
    return np.asarray(before.argmax(axis=1) == after.argmax(axis=1))


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """By what survives at the end of the attack, or random signs: an attack may be the weaker of the two."""
    return each_method(subject, rows, partial(_verdict, p))


def _verdict(p: Params, e: Explained, rows: Sequence[Row]) -> Verdict:
    ends = {row.order: row for row in rows if row.measure == MAIN}  # the last of each attack
    worse = min(ends[p.distance], ends[RANDOM], key=lambda row: row.mean)
    found = at_least(worse, p.limit)
    beside = [
        f"{attack} leaves {r.mean:.3g} [{r.low:.3g}, {r.high:.3g}] ({r.note})" for attack, r in ends.items() if r is not worse
    ]
    return Verdict(found.word, "; ".join([f"{worse.order}: {found.reason}", *beside]))


CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=judge,
    rule=RULE,
    family="robustness",
    axis="steps of the attack",
    main=MAIN,
    work=lambda _model, p: Work(explanations=2 * p.looks, forwards=12 * p.steps),
)
