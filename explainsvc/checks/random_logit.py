"""random_logit: Does the map of another class differ from that of the explained one?

Computes: Each input is explained again for another class, drawn uniformly: Spearman's correlation of the two maps and of
    their magnitudes, and, of pictures, SSIM of the maps divided by their largest magnitude.
Output: Rows (method, measure): ``spearman``, ``spearman_abs``, ``ssim``.
Needs: An explained output of two elements or more; five inputs or more for a verdict.
Cost: One more explanation per input and method.
Properties: A method that fails shows the same whatever class is asked for: it explains the input, not the decision.
Limits: Classes that the model computes from the same features have similar maps. With two classes of opposite sign the
    magnitudes agree fully, so that only the signed correlation is judged.
Source: Sixt et al. 2020, arXiv:1912.09818, section 4 (random logit); SSIM: Wang et al. 2004, doi:10.1109/TIP.2003.819861;
    limit: ours.
Differs: One draw for all methods, another one per input; Quantus starts its generator anew for every batch, so that one by
    one all inputs of a class get the same other class. SSIM of pictures, where Quantus flattens them to lines before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from skimage.metrics import structural_similarity

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict
from explainsvc.checks import maps
from explainsvc.checks._classes import at_elements, one_hot, other_elements
from explainsvc.checks._distance import zero_note
from explainsvc.checks.judging import at_most, each_method
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row
from explainsvc.checks.similarity import RANKED, missing
from explainsvc.methods.sobel import spatial_axes

NAME = "random_logit"
JUDGED = "spearman"
WINDOW = 11
"""Positions of SSIM's gaussian window (Wang et al. 2004, section III.B); smaller pictures have none."""


@dataclass(frozen=True)
class Params:
    """How alike maps of two classes may be."""

    limit: float = param(0.9, "float", "largest mean spearman that passes", low=-1, high=1)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The similarities, method by method."""
    return method_by_method(NAME, subject, lambda e: _measured(subject, e))


def _measured(subject: Subject, e: Explained) -> Iterator[Measured]:
    seed = one_hot(e, other_elements(subject, e, at_elements(subject, e)))
    other = replace(e, target=replace(e.target, seed=seed, index=None))
    changed = maps.maps_of(other, subject.model, subject.feeds, subject.seed)
    for name, similarity in RANKED.items():
        values = similarity(e.maps, changed)
        yield Measured(e.name, name, values, note=missing(values, e.maps, changed))
    if (alike := _ssim(subject, e, changed)) is not None:
        yield Measured(e.name, "ssim", alike, note=zero_note(alike, "a map of zeros"))


def _ssim(subject: Subject, e: Explained, changed: Array) -> Array | None:
    """Of the only explained input, where it is a picture."""
    shape = maps.request_of(subject, e).item_shape(e.wanted[0])
    axes = spatial_axes(shape)
    if len(e.wanted) > 1 or axes is None or min(shape[axis] for axis in axes) < WINDOW:
        return None
    channel = next((axis for axis in range(len(shape)) if axis not in axes), None)
    pairs = zip(e.maps, changed, strict=True)
    return np.array([_similar(a.reshape(shape), b.reshape(shape), channel) for a, b in pairs], np.float64)


def _similar(a: Array, b: Array, channel: int | None) -> float:
    largest = [float(np.abs(v).max()) for v in (a, b)]
    if not all(np.isfinite(largest)) or 0.0 in largest:
        return float("nan")
    scaled = [v.astype(np.float64) / size for v, size in zip((a, b), largest, strict=True)]
    similar: Callable[..., float] = structural_similarity
    return float(
        similar(*scaled, data_range=2.0, gaussian_weights=True, use_sample_covariance=False, sigma=1.5, channel_axis=channel)
    )


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The signed rank correlation against the limit."""
    return each_method(subject, rows, lambda _, own: at_most(next(r for r in own if r.measure == JUDGED), p.limit))


RULE = (
    "Pass: the 95 % interval of the mean of spearman, of the signed maps of the two classes, lies at or below the limit "
    "0.9; fail: above it, where the maps are nearly the same whatever class is asked for; inconclusive: neither, or fewer "
    "than 5 inputs. Maps of zeros have no correlation and are left out. Related classes share features: the limit is "
    "therefore high."
)

CHECK = Check(read_card(NAME, __doc__, Params), Params, run=run, judge=judge, rule=RULE, family="randomization", main=JUDGED)
