"""What the paper says in section 3, put to the reports: each statement with the numbers that speak for or against it.

The words "agrees" and "disagrees" come from the numbers by the rule beside each statement, so that another run may say otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks.paper.tables import walk
from explainsvc.checks.rows import Row
from explainsvc.report.report import Report

HALF = 0.5
"""As in the verdicts of parameter_randomization: above it the order of the pixels is mostly the same as before."""
GONE = 0.1
CLOSE = 0.1
Finding = tuple[str, bool]
"""Numbers in words, and whether they say what the paper says."""


@dataclass(frozen=True)
class Pair:
    """The reports of both orders of one model."""

    cascading: Report
    independent: Report

    def has(self, method: str, measure: str) -> bool:
        """Whether the method could be run, and its maps have the measure (small ones have no SSIM)."""
        return bool(walk(self.cascading, method, measure))

    def top(self, method: str, measure: str = "spearman_abs") -> Row:
        """After the unit nearest to the output."""
        return walk(self.cascading, method, measure)[1]

    def upper(self, method: str, measure: str = "spearman_abs") -> Row:
        """After the upper half of the units."""
        rows = walk(self.cascading, method, measure)
        return rows[(len(rows) - 1) // 2]

    def end(self, method: str, measure: str = "spearman_abs") -> Row:
        """After all units."""
        return walk(self.cascading, method, measure)[-1]

    def lowest_alone(self, method: str, measure: str = "spearman_abs") -> Row:
        """When only the unit nearest to the input is random."""
        return walk(self.independent, method, measure)[-2]


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, the rule by which numbers agree with it, and those numbers per method it is about."""

    words: str
    rule: str
    methods: tuple[str, ...]
    find: Callable[[Pair, str], Finding]
    measure: str = "spearman_abs"


def _falls(pair: Pair, method: str) -> Finding:
    end = pair.end(method)
    return f"|map| {_n(pair.top(method))} after the top unit, {_n(end)} after all", end.high < HALF


def _cam_falls(pair: Pair, method: str) -> Finding:
    upper = pair.upper(method)
    return f"|map| {_n(upper)} after the upper half of the units", upper.high < HALF


def _stays(pair: Pair, method: str) -> Finding:
    upper, signed = pair.upper(method), pair.upper(method, "spearman")
    words = f"|map| {_n(upper)}, signed {_n(signed)} after the upper half of the units; |map| {_n(pair.end(method))} after all"
    return words, upper.low > HALF


def _input_factor(pair: Pair, method: str) -> Finding:
    size, signed = pair.end(method), pair.top(method, "spearman")
    words = f"|map| {_n(size)} after all; signed {_n(signed)} after the top unit alone"
    return words, size.low > HALF and abs(signed.mean) < GONE


def _looks_alike(pair: Pair, method: str) -> Finding:
    own, gradient = pair.end(method, "ssim"), pair.end("gradient", "ssim")
    return f"SSIM {_n(own)} after all, the gradient's {_n(gradient)}", own.low > gradient.high


def _corresponds(pair: Pair, method: str) -> Finding:
    cascading = walk(pair.cascading, method, "spearman_abs")
    independent = walk(pair.independent, method, "spearman_abs")
    apart = [abs(a.mean - b.mean) for a, b in zip(cascading, independent, strict=False)]
    place = apart.index(max(apart))
    unit = cascading[place].unit.strip("/")
    words = f"|map| at most {max(apart):.2f} apart (at {unit}: {_n(cascading[place])} against {_n(independent[place])})"
    return words, max(apart) < CLOSE


def _changes_below(pair: Pair, method: str) -> Finding:
    lowest = pair.lowest_alone(method)
    return f"|map| {_n(lowest)} when only the lowest unit is random", lowest.high < pair.upper(method).low


def _n(row: Row) -> str:
    return f"{row.mean:.2f}".replace("-0.00", "0.00")


PRODUCTS = ("input_x_gradient", "integrated_gradients")
GUIDED = ("guided_backprop", "guided_grad_cam")
CLAIMS = (
    Claim(
        "The gradient map is sensitive to model parameter randomisation (3.1; its variants likewise).",
        f"the interval after all units lies below {HALF}", ("gradient", "smoothgrad", "vargrad"), _falls,
    ),
    Claim(
        "Grad-CAM is sensitive if the randomisation is downstream of the last convolution (3.1).",
        f"the interval after the upper half of the units lies below {HALF}", ("grad_cam",), _cam_falls,
    ),
    Claim(
        "Guided backprop, along with guided Grad-CAM, is invariant to higher layer weights (3.1).",
        f"the interval after the upper half of the units lies above {HALF}", GUIDED, _stays,
    ),
    Claim(
        "Gradient ⊙ input and integrated gradients keep the ranks of |map|; those of the signed map go to zero almost as soon as "
        "the top layers are random (3.1).",
        f"|map| stays above {HALF} to the end, the signed map is within ±{GONE} after the top unit", PRODUCTS, _input_factor,
    ),
    Claim(
        "Their visual similarity is reflected in SSIM (3.1).",
        "their SSIM after all units lies above the gradient's", PRODUCTS, _looks_alike, "ssim",
    ),
    Claim(
        "Cascading and independent randomisation correspond (3.2).",
        f"no step's means are {CLOSE} apart", ("gradient", "integrated_gradients", *GUIDED), _corresponds,
    ),
    Claim(
        "Once the lower layers' weights are random, guided backprop's maps change (3.2).",
        "with only the lowest unit random it lies below the value after the upper half", GUIDED, _changes_below,
    ),
)  # fmt: skip


def judged(pairs: Mapping[str, Pair]) -> Iterator[list[str]]:
    """One line per claim, model and method: the claim and its rule once, then who, the numbers, the word."""
    for claim in CLAIMS:
        first = f"{claim.words} *Rule: {claim.rule}.*"
        for model, pair in pairs.items():
            for method in claim.methods:
                if pair.has(method, claim.measure):
                    numbers, holds = claim.find(pair, method)
                    cells = (first, model, f"`{method}`", numbers, "agrees" if holds else "**disagrees**")
                    yield [words.replace("|", "\\|") for words in cells]
                    first = ""
