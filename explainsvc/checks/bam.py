"""bam: Does the map give an object no more than what it is known to matter?

Computes: g, the mean of a map over the pixels of an object: positive parts summed over channels, scaled to [0, 1] by the map's
    least value and its 99th percentile. By `metric`: input_independence, the share of inputs for which an object that does not
    change the prediction changes g by no more than `threshold` · g; input_dependence, the share for which it makes g less than
    it was (for objects that are known to matter less than what they cover); model_contrast, the mean of g for the model less g
    for another one, to which the object is known not to matter.
Output: Rows (method, measure): the rate or contrast, g on both sides, the share of inputs whose prediction is kept.
Needs: One explained float input; positions in it, or masks; for the contrast masks and another model; five inputs or more for a
    verdict.
Cost: One explanation per input and method beside the untouched one.
Properties: A map that does not look at the model has a contrast of 0. A map that does not look at the input has an
    independence of 1.
Limits: What the object is known to matter must come from the caller: from how the data and the models were made. Without
    `masks` and `objects` a square in the middle, a quarter of each side long, is painted in the mean of the inputs. Inputs
    whose prediction (arg-max) an object changes are left out of both rates.
Source: Yang & Kim 2019, arXiv:1907.09701 (the three metrics); g and the threshold of 0.1 as in the authors'
    code; the limits and verdict: ours.
Differs: The authors optimise a patch until it does not move the logits; here the caller's object is taken, and counted where the
    arg-max stays. They keep the inputs that are classified correctly; here the prediction of the untouched input is what
    counts. |Δg| = threshold · g counts as independent, for maps that are zero there before and after. The explained class of
    an input stays that of the untouched one; that of the other model is its own arg-max.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict
from explainsvc.checks import maps
from explainsvc.checks._saliency import Part, Pixels, pixels_of
from explainsvc.checks.judging import at_least, each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row
from explainsvc.errors import InvalidParameter, MethodNotApplicable, Violation
from explainsvc.graph.load import load_model
from explainsvc.inputs import check_feeds
from explainsvc.inspection import target_name
from explainsvc.method import Request
from explainsvc.model import Model
from explainsvc.target import resolve_target

NAME = "bam"
PERCENTILE = 99
"""Of a map, where it is clipped (the authors' visualize_pos_attr)."""
SIDE = 4
"""The default object is one part in so many of each side."""
INDEPENDENCE, DEPENDENCE, CONTRAST = METRICS = ("input_independence", "input_dependence", "model_contrast")
RULE = (
    "pass: the 95 % interval of the rate lies at or above the limit (of the model contrast, at or above the least contrast); "
    "fail: it lies below"
)


@dataclass(frozen=True)
class Params:
    """The metric, the object, and what counts as enough."""

    metric: str = param(INDEPENDENCE, "str", "which of the three", choices=METRICS)
    masks: Any = param(None, "array", "where the object is: not 0 there; broadcasts to the input, such as [H, W] to [N, C, H, W]")
    objects: Any = param(None, "array", "what is pasted there: broadcasts to the input; by default the mean of the inputs")
    other: Any = param(None, "array", "the other model of the contrast: the bytes of its .onnx file as uint8 numbers")
    threshold: float = param(0.1, "float", "change of g, relative to g, that counts as none", low=0, high=1)
    limit: float = param(0.5, "float", "least rate", low=0, high=1)
    least_contrast: float = param(0.1, "float", "least contrast of two models", low=1e-6, high=1)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """Rows method by method."""
    other = _other(p) if p.metric == CONTRAST else None
    return method_by_method(NAME, subject, partial(_measured, subject, p, other))


def _other(p: Params) -> Model:
    if p.other is None or p.masks is None:
        missing = [Violation(f"parameters.{n}", "is not given") for n in ("other", "masks") if getattr(p, n) is None]
        raise InvalidParameter("the model contrast needs another model, and where the object is", violations=missing)
    numbers = np.asarray(p.other)
    if numbers.ndim != 1 or not np.array_equal(numbers, numbers.astype(np.uint8)):
        wrong = f"is {numbers.dtype}{list(numbers.shape)}, expected bytes as numbers: np.fromfile(path, np.uint8)"
        raise InvalidParameter("the other model cannot be read", violations=[Violation("parameters.other", wrong)])
    return Model(load_model(numbers.astype(np.uint8).tobytes()))


def _measured(subject: Subject, p: Params, other: Model | None, e: Explained) -> Iterator[Measured]:
    pixels = pixels_of(subject, e)
    if len(e.wanted) != 1 or not (pixels.placed or p.masks is not None):
        raise MethodNotApplicable(
            "an object has no place in what it explains", where=f"check {NAME}, {e.name}",
            expected="one explained input, with positions or with masks", to_do="Give parameters.masks",
        )  # fmt: skip
    x, part = subject.feeds[e.wanted[0]], pixels.parts[0]
    mask = _mask(p, x, part)
    inside = part.saliency(mask.reshape(len(e.maps), -1)) > 0
    before = object_attribution(pixels, e.maps, inside)
    if other is not None:
        elsewhere = object_attribution(pixels, _maps_of_other(subject, e, other), inside)
        yield Measured(e.name, CONTRAST, before - elsewhere)
        yield Measured(e.name, "object", before)
        yield Measured(e.name, "object_other", elsewhere)
        return
    yield from _rates(subject, p, e, (pixels, inside, before), np.where(mask, _objects(p, x), x).astype(x.dtype))


def _rates(subject: Subject, p: Params, e: Explained, known: tuple[Pixels, Array, Array], pasted: Array) -> Iterator[Measured]:
    """The rate of one metric, over the inputs whose prediction the object leaves."""
    pixels, inside, before = known
    feeds = subject.feeds | {e.wanted[0]: pasted}
    kept = _same_prediction(subject, feeds)
    after = object_attribution(pixels, maps.maps_of(e, subject.model, feeds, subject.seed), inside)
    holds = np.abs(after - before) <= p.threshold * before if p.metric == INDEPENDENCE else after < before
    counted = kept & ~np.isnan(before) & ~np.isnan(after)
    note = (
        ""
        if counted.all()
        else f"{int((~counted).sum())} of {len(counted)} inputs left out: another prediction, or a constant map"
    )
    yield Measured(e.name, p.metric, np.where(counted, holds, np.nan), note=note)
    yield Measured(e.name, "object_before", before)
    yield Measured(e.name, "object_after", after)
    yield Measured(e.name, "prediction_kept", kept.astype(np.float64))


def _same_prediction(subject: Subject, feeds: Mapping[str, Array]) -> Array:
    values = [maps.value_of(subject.model, f, subject.output) for f in (subject.feeds, feeds)]
    y, z = (v.reshape(len(v) if subject.model.batched(subject.feeds) else 1, -1) for v in values)
    if y.shape[1] == 1:
        raise MethodNotApplicable(
            "the output is one number: no arg-max tells whether the prediction is kept", where=f"check {NAME}",
            expected="an output with a number per class",
        )  # fmt: skip
    return np.asarray(y.argmax(axis=1) == z.argmax(axis=1))


def object_attribution(pixels: Pixels, values: Array, inside: Array) -> Array:
    """g per item: the mean over ``inside`` [item, pixel] of the scaled map (the authors' visualize_pos_attr and single_attr).

    NaN where the positive part of a map is constant.
    """
    positive = pixels.saliency(np.maximum(values, 0))
    low, high = positive.min(axis=1, keepdims=True), np.percentile(positive, PERCENTILE, axis=1, keepdims=True)
    scaled = np.divide(positive - low, high - low, out=np.full(positive.shape, np.nan), where=high > low)
    return np.asarray((np.clip(scaled, 0, 1) * inside).sum(axis=1) / inside.sum(axis=1))


def _mask(p: Params, x: Array, part: Part) -> Array:
    """Where the object is, bool of the input's shape."""
    if p.masks is None:
        item = np.zeros(part.shape, bool)
        spans = [(n // 2 - n // SIDE // 2, max(1, n // SIDE)) if a in part.axes else (0, n) for a, n in enumerate(part.shape)]
        item[tuple(slice(start, start + size) for start, size in spans)] = True
        return np.broadcast_to(item, x.shape)
    mask = _fitting("masks", p.masks, x) != 0
    if not mask.reshape(-1, *part.shape).any(axis=tuple(range(1, len(part.shape) + 1))).all():
        raise InvalidParameter("a mask is empty", violations=[Violation("parameters.masks", "has an item without any object")])
    return np.asarray(mask)


def _objects(p: Params, x: Array) -> Array:
    return np.asarray(x.mean(dtype=np.float64)) if p.objects is None else _fitting("objects", p.objects, x)


def _fitting(name: str, given: Array, x: Array) -> Array:
    try:
        return np.asarray(np.broadcast_to(np.asarray(given), x.shape))
    except ValueError as error:
        wrong = f"is {list(np.shape(given))}, expected what broadcasts to the input, {list(x.shape)}"
        raise InvalidParameter(f"the {name} do not fit", violations=[Violation(f"parameters.{name}", wrong)]) from error


def _maps_of_other(subject: Subject, e: Explained, other: Model) -> Array:
    """The same method on the other model, of its own arg-max."""
    feeds = check_feeds(subject.feeds, other.inputs, other.frozen_batch)
    output, _ = target_name(other, e.method, None)
    target = resolve_target(None, output, partial(maps.value_of, other, feeds), other.batched(feeds))
    request = Request(other, feeds, e.wanted, target, subject.seed, maps.silent)
    return maps.flat(maps.attribute(e.method, e.params, request).values, request.batched)


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """By the rate or the contrast."""
    limit = p.least_contrast if p.metric == CONTRAST else p.limit

    def verdict(_: Explained, own: Sequence[Row]) -> Verdict:
        return at_least(next(row for row in own if row.measure == p.metric), limit)

    return each_method(subject, rows, verdict)


CHECK = Check(read_card(NAME, __doc__, Params), Params, run=run, judge=judge, rule=RULE, family="localization", main=INDEPENDENCE)
