"""meaningful_perturbation: The smallest and smoothest part of the picture whose blurring takes the target away.

Computes: 1 − m with m = argmin λ₁ Σ|1 − m| + λ₂ Σ|∇m|^β + S(Φ(x(· − τ), m)), Φ = m ⊙ x + (1 − m) ⊙ x_blurred, over m in [0, 1]
on a coarse grid, upsampled and blurred; by Adam, a random shift τ of the picture at every step, from the smallest centred disc
that takes off 99 % of what blurring all of it does.
Output: 0 … 1, the input's shape, no unit: how far an element is replaced; the same in every channel.
Needs: A gradient from the target to the input; positions (images, or inputs of convolutions, or `axes`).
Cost: `steps` forward and backward passes (two forwards with softmax) and 20 forwards for the disc.
Properties: The map is what it says: replacing as it shows lowers S to `perturbed` from `original` (in the parameters).
Limits: Not a sum of contributions, not signed. λ₁, λ₂ weigh against S: the defaults are made for probabilities. A local minimum.
Source: Fong, Vedaldi 2017, arXiv:1704.03296, equation 4 and section 4.3; constants and the disc from the authors' code.
Differs: τ is centred and repeats the picture's edge (theirs crops a larger picture and shifts one way); the gradient goes through
the mask's blur (theirs skips it); |∇m|^β is the sum over axes as in the paper (their code: of the length of ∇m). Sizes are pixels
of a picture of 224 and grow or shrink with the input. For logits, S is their softmax (see `softmax`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.baselines import baselines
from explainsvc.cards import param, read_card
from explainsvc.engine import gradients
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import find_value
from explainsvc.features import channel_axis, result_type
from explainsvc.method import Method, Request, Result
from explainsvc.methods._canvas import Canvas, outside_disc, roughness, roughness_gradient
from explainsvc.methods._positions import blurred, convolved_axes, declared_item, position_axes, upsampling
from explainsvc.variations import target_values

if TYPE_CHECKING:
    from explainsvc.model import Model

PAPER_SIZE = 224
"""Pixels along a side of the pictures that the paper's sizes are made for."""
SUPPRESSED = 0.99
"""Of S(x) − S(blurred), what the first disc takes off."""
RADII = 20
"""Discs tried, up to the one that covers the corners."""
KEPT = 0.5
"""Of S(x) − S(blurred), what the mask must take off not to be told a failure."""


@dataclass(frozen=True)
class Params:
    """The objective, and how it is minimised; sizes are pixels of a picture of 224."""

    steps: int = param(300, "int", "steps of Adam", low=1, high=100_000)
    learning_rate: float = param(0.1, "float", "of Adam", low=0)
    lambda1: float = param(1e-4, "float", "λ₁: weight of the area", low=0)
    lambda2: float = param(1e-2, "float", "λ₂: weight of the roughness", low=0)
    beta: float = param(3.0, "float", "β: exponent of the roughness", low=1.001, high=100)
    cell: float = param(8.0, "float", "size of the mask's cells, in pixels of 224", low=0.1)
    mask_blur: float = param(5.0, "float", "σ of the upsampled mask's blur, in pixels of 224", low=0)
    jitter: int = param(4, "int", "number of shifts τ per axis, in pixels of 224; 0: none", low=0)
    baseline: Any = param("blur", "value", "the replacement: blur (σ: blur), a number, an array, zero, mean, {input: these}")
    blur: float = param(10.0, "float", "σ of the blurred picture, in pixels of 224", low=0)
    softmax: str = param(
        "auto",
        "str",
        "S is the softmax of the output; auto: of [N, C > 1] made by no Softmax or Sigmoid",
        choices=("auto", "yes", "no"),
    )
    axes: Any = param((), "ints", "axes of one item that hold positions; empty: those of convolutions and images")


Masks = dict[str, Array]
Canvases = Mapping[str, Canvas]


def requires(model: Model, output: str, inputs: Sequence[str]) -> None:
    """Every input has positions."""
    for name in inputs:
        item = declared_item(model, name)
        if item is not None and not convolved_axes(model.graph, name, output) and channel_axis(item) is None:
            raise _without_positions(name, item)


def _without_positions(name: str, item: tuple[int, ...]) -> MethodNotApplicable:
    return MethodNotApplicable(
        f"meaningful_perturbation blurs positions; an item of shape {list(item)} shows none",
        where=f'input "{name}"',
        expected="an image, an input of convolutions, or parameter axes",
        to_do="Use lime or occlusion",
    )


def canvas(request: Request, name: str, p: Params) -> Canvas:
    """The canvas of one input.

    Raises:
        MethodNotApplicable: It has no positions.
    """
    axes = position_axes(request, name, p.axes)
    if not axes:
        raise _without_positions(name, request.item_shape(name))
    lead = int(request.has_items(name))
    x = request.feeds[name].astype(np.float64)
    null = _replacement(request, name, p, tuple(a + lead for a in axes))
    sizes = [request.item_shape(name)[a] for a in axes]
    unit = max(sizes) / PAPER_SIZE
    counts = [max(1, round(n / max(1.0, p.cell * unit))) for n in sizes]
    up = tuple(blurred(upsampling(c, n), p.mask_blur * unit, [0]) for n, c in zip(sizes, counts, strict=True))
    return Canvas(x if lead else x[None], null if lead else null[None], tuple(a + 1 for a in axes), up)


def _replacement(request: Request, name: str, p: Params, axes: tuple[int, ...]) -> Array:
    """What is seen where the mask is 0, float64: the blurred picture, or a baseline."""
    given = p.baseline if isinstance(p.baseline, Mapping) else dict.fromkeys(request.wanted, p.baseline)
    own = {n for n in request.wanted if _is_blur(given.get(n, "blur"))}
    plain = baselines({n: 0.0 if n in own else spec for n, spec in given.items()}, request.feeds, request.wanted)
    x = request.feeds[name].astype(np.float64)
    if name not in own:
        return plain[name].astype(np.float64)
    return blurred(x, p.blur * max(x.shape[a] for a in axes) / PAPER_SIZE, axes)


def _is_blur(spec: Any) -> bool:
    return isinstance(spec, str) and spec == "blur"


@dataclass(frozen=True)
class Objective:
    """λ₁ Σ|1 − m| + λ₂ Σ|∇m|^β + S(Φ), all items together, and its gradient."""

    request: Request
    p: Params
    softmax: bool
    canvases: Canvases = field(repr=False)

    def feeds(self, masks: Masks, canvases: Canvases | None = None) -> dict[str, Array]:
        """The inputs with Φ in place of the explained ones."""
        shown = {}
        for name, c in (self.canvases if canvases is None else canvases).items():
            like = self.request.feeds[name]
            shown[name] = c.blended(masks[name]).reshape(like.shape).astype(like.dtype)
        return self.request.feeds | shown

    def score(self, feeds: Mapping[str, Array]) -> Array:
        """S per item: of the output, or of its softmax."""
        request = self.request.on(feeds)
        if not self.softmax:
            return target_values(request)
        return request.target.value(_softmax(self._output(request)), request.batched)

    def _output(self, request: Request) -> Array:
        return request.model.value_of(request.feeds, request.target.output).astype(np.float64)

    def value(self, masks: Masks, canvases: Canvases | None = None) -> float:
        """The objective, summed over the items."""
        penalties = sum(self.p.lambda1 * np.abs(1 - m).sum() + self.p.lambda2 * roughness(m, self.p.beta) for m in masks.values())
        return float(self.score(self.feeds(masks, canvases)).sum() + penalties)

    def gradient(self, masks: Masks, canvases: Canvases | None = None) -> Masks:
        """Its gradient: through the model by its graph, from Φ to the mask by the adjoints."""
        by_input = gradients(self._seeded(self.request.on(self.feeds(masks, canvases))))
        found = {}
        for name, c in (self.canvases if canvases is None else canvases).items():
            m = masks[name]
            pulled = c.pulled(by_input[name].astype(np.float64).reshape(c.x.shape))
            found[name] = pulled - self.p.lambda1 * np.sign(1 - m) + self.p.lambda2 * roughness_gradient(m, self.p.beta)
        return found

    def _seeded(self, request: Request) -> Request:
        """For softmax: its vjp at this output as the seed, p ⊙ (s − ⟨s, p⟩)."""
        if not self.softmax:
            return request
        seed, shares = request.target.seed, _softmax(self._output(request))
        return request.on(request.feeds, seed=shares * (seed - (seed * shares).sum(axis=-1, keepdims=True)))


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def run(request: Request, p: Params) -> Result:
    """Finds the mask and tells what it does."""
    canvases = {n: canvas(request, n, p) for n in request.wanted}
    made = p.softmax == "yes" or (p.softmax == "auto" and _is_logits(request))
    objective = Objective(request, p, made, canvases)
    masks = minimised(objective, first_masks(objective))
    original, null = (objective.score(objective.feeds(_uniform(canvases, level))) for level in (1.0, 0.0))
    perturbed = objective.score(objective.feeds(masks))
    values = {}
    for name, c in canvases.items():
        x = request.feeds[name]
        values[name] = np.array(np.broadcast_to(c.spread(1 - masks[name]), c.x.shape).reshape(x.shape), result_type(x))
    told = {"original": original, "perturbed": perturbed, "blurred": null}
    return Result(values, caveats=_caveats(request, made, original, perturbed, null), parameters={"scores": told})


def _uniform(canvases: Canvases, level: float) -> Masks:
    return {n: np.full(c.cells, level) for n, c in canvases.items()}


def first_masks(objective: Objective) -> Masks:
    """Per item the smallest centred disc that takes off 99 % of S(x) − S(blurred); cells in it are 0, all others 1.

    Where the items share an explained input, one disc serves all of them.
    """
    canvases, items = objective.canvases, len(objective.request.target.seed)
    shared = any(len(c.x) < items for c in canvases.values())

    def scores(masks: Masks) -> Array:
        found = objective.score(objective.feeds(masks))
        return found.sum(keepdims=True) if shared else found

    whole, null = scores(_uniform(canvases, 1.0)), scores(_uniform(canvases, 0.0))
    found, done = _uniform(canvases, 0.0), np.zeros(len(whole), bool)
    for k in range(RADII):
        discs = {n: outside_disc(c, k / RADII) for n, c in canvases.items()}
        new = ~done & (whole - scores(discs) >= SUPPRESSED * (whole - null))
        for name, disc in discs.items():
            rows = np.broadcast_to(new, len(disc))
            found[name][rows] = disc[rows]
        done |= new
    return found


def minimised(objective: Objective, masks: Masks) -> Masks:
    """Adam (Kingma & Ba 2015, algorithm 1), every step cut back to [0, 1]."""
    p, rng = objective.p, np.random.default_rng(objective.request.seed)
    first = {n: np.zeros(m.shape) for n, m in masks.items()}
    second = {n: np.zeros(m.shape) for n, m in masks.items()}
    for t in range(1, p.steps + 1):
        slopes = objective.gradient(masks, _jittered(objective.canvases, p.jitter, rng))
        for n, g in slopes.items():
            first[n] = 0.9 * first[n] + 0.1 * g
            second[n] = 0.999 * second[n] + 0.001 * g**2
            step = first[n] / (1 - 0.9**t) / (np.sqrt(second[n] / (1 - 0.999**t)) + 1e-8)
            masks[n] = np.clip(masks[n] - p.learning_rate * step, 0, 1)
        objective.request.progress(t, p.steps, "meaningful_perturbation")
    return masks


def _jittered(canvases: Canvases, jitter: int, rng: np.random.Generator) -> Canvases:
    """Every canvas at one of ``jitter`` shifts per axis around none."""
    moved = {}
    for name, c in canvases.items():
        count = round(jitter * max(m.shape[0] for m in c.up) / PAPER_SIZE)
        shifts = tuple(int(rng.integers(0, max(count, 1))) - count // 2 for _ in c.axes)
        moved[name] = c.shifted(shifts) if any(shifts) else c
    return moved


def _is_logits(request: Request) -> bool:
    """An index into an output [N, C > 1] that no Softmax or Sigmoid made."""
    seed, value = request.target.seed, find_value(request.model.graph, request.target.output)
    producer = value.producer()
    while producer is not None and producer.op_type in ("Identity", "Reshape", "Flatten", "Squeeze", "Cast"):
        producer = None if producer.inputs[0] is None else producer.inputs[0].producer()
    made = "" if producer is None else producer.op_type
    return seed.ndim == 2 and seed.shape[1] > 1 and request.target.index is not None and made not in ("Softmax", "Sigmoid")


def _caveats(request: Request, made: bool, original: Array, perturbed: Array, null: Array) -> tuple[str, ...]:
    said = [f'the minimised score is the softmax of "{request.target.output}", as in the paper'] if made else []
    if np.any(original <= null):
        said.append("the target is not lower where all is replaced: there is nothing to delete")
    elif np.any(original - perturbed < KEPT * (original - null)):
        share = float(np.min((original - perturbed) / (original - null)))
        said.append(f"the mask takes off only {share:.0%} of what replacing all does; lower lambda1 or more steps may find more")
    return tuple(said)


METHOD = Method(read_card("meaningful_perturbation", __doc__, Params), Params, run=run, family="sampling", requires=requires)
