"""localization: Does the relevance lie on the object, where the object's place is known?

Computes: Relevance per pixel, Σ over channels, signed. The pointing game (is the largest pixel on the object?), relevance mass
    accuracy (share of the positive relevance on the object), relevance rank accuracy (share of the K largest pixels on
    it, K its size), top-k intersection (the same for k pixels), and the area under the ROC curve of the pixels.
Output: Rows (method, measure), each from 0 to 1; ``gain_over_chance`` and ``gain_over_sobel``: the rank accuracy beyond the
    share of the picture that the object covers, and beyond that of an edge detector.
Needs: Object masks; one explained input, a picture. Five inputs or more for a verdict.
Cost: One sort per map; the model is not run.
Properties: A uniform map has the accuracies of chance: the object's share of the picture, and AUC 1/2.
Limits: A model may rely on what lies beside the object; then a faithful map fails. Objects in the middle of all pictures are
    found by any map that prefers the middle.
Source: Zhang et al. 2018, arXiv:1608.00507 (pointing game); Arras et al. 2022, arXiv:2003.07258 (relevance mass
    and rank accuracy); Theiner et al. 2022, arXiv:2104.14995 (top-k intersection); verdict against chance and Sobel: ours.
Differs: Ties count by what a random choice among them gives on average, so that a uniform map is no hit. No tolerance of 15
    pixels in the pointing game unless `tolerance` says so. Only positive relevance is mass, so that the share lies in
    [0, 1]; without an object there is no measure (Quantus: any tied pixel hits, masses are signed, no object may be hit).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict
from explainsvc.checks import _localization as on
from explainsvc.checks._controls import above, broken_maps, without
from explainsvc.checks.judging import each_method, worst
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row
from explainsvc.errors import MethodNotApplicable

NAME = "localization"
CHANCE, SOBEL = "gain_over_chance", "gain_over_sobel"
CONTROLS = ("random", "sobel")


@dataclass(frozen=True)
class Params:
    """Where the objects are."""

    masks: Any = param(None, "array", "where the objects are: [item, height, width], or the input's shape; not 0 is the object")
    k: int = param(0, "int", "pixels of the top-k intersection; 0: one in twenty", low=0)
    tolerance: int = param(0, "int", "pointing game: pixels around the object that still count", low=0)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The measures of one method after the other."""
    name = subject.explained[0].wanted[0]
    x = subject.feeds[name] if subject.model.batched(subject.feeds) else subject.feeds[name][None]
    objects = on.object_masks(p.masks, x.shape, name)
    sobel = next((e.result.values[name] for e in subject.explained if e.name == "sobel" and name in e.result.values), None)
    edges = None if sobel is None else on.rank_accuracy(on.per_pixel(sobel, x.shape), objects)
    return method_by_method(NAME, subject, lambda e: _measured(e, name, x.shape, objects, edges, p))


def _measured(
    e: Explained, name: str, shape: tuple[int, ...], objects: Array, edges: Array | None, p: Params
) -> Iterator[Measured]:
    if e.wanted != (name,):
        raise MethodNotApplicable(
            f"it explains {', '.join(e.wanted)}", expected=f'one input, "{name}"', to_do="Give a model with one explained input"
        )
    pixels = on.per_pixel(e.result.values[name], shape)
    measures = {
        "pointing_game": on.pointing_game(pixels, on.widened(objects, p.tolerance)),
        "mass_accuracy": on.mass_accuracy(pixels, objects),
        "rank_accuracy": on.rank_accuracy(pixels, objects),
        "top_k_intersection": on.top_share(pixels, objects, np.full(len(pixels), p.k or max(1, round(pixels[0].size / 20)))),
        "auc": on.auc(pixels, objects),
    }
    measures[CHANCE] = measures["rank_accuracy"] - objects.mean(axis=(1, 2))
    if edges is not None:
        measures[SOBEL] = measures["rank_accuracy"] - edges
    broken = broken_maps(pixels.reshape(len(pixels), -1))
    for measure, values in measures.items():
        lost = int((np.isnan(values) & ~broken).sum())
        note = (
            f"{lost} of {len(values)} inputs left out: no object, nothing but the object, or no positive relevance"
            if lost
            else ""
        )
        yield without(broken, Measured(e.name, measure, values, note=note))


def judge(subject: Subject, _params: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The rank accuracy against chance and, where pictures have edges, against Sobel's."""
    return each_method(subject, rows, _verdict)


def _verdict(e: Explained, own: Sequence[Row]) -> Verdict:
    words = {CHANCE: "rank accuracy beyond the object's share", SOBEL: "rank accuracy beyond an edge detector's"}
    judged = [
        above(row, words=words[row.measure])
        for row in own
        if row.measure == CHANCE or (row.measure == SOBEL and e.name != "sobel")
    ]
    found = worst(judged)
    accuracy = next(row.mean for row in own if row.measure == "rank_accuracy")
    return Verdict(found.word, f"rank accuracy {accuracy:.2f}; {found.reason}")


CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=judge,
    rule="Pass: the 95 % intervals of the relevance rank accuracy, less the share of the picture that the object covers (what "
    "random maps get) and less Sobel's on the same picture (paired), lie above 0; fail: one of them lies at 0 or below; "
    "inconclusive: neither, or fewer than 5 inputs. The other measures are reported and not judged. A faithful map fails where "
    "the model looks elsewhere.",
    family="localization",
    controls=CONTROLS,
    main="rank_accuracy",
)
