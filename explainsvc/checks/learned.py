"""learned: Has the model learned anything that an explanation of it could show?

Computes: Of the weights: whether any tensor's largest eigenvalue (of the correlations between its outputs' weights) stands above
    those of the same numbers in 99 random orders within each output. Where labels are given: the accuracy on these inputs,
    beside that of models whose weights were all drawn anew, and beside the share of the commonest label.
Output: Rows (model, measure): p_value of all tensors together and per unit, standard_score per unit, detectable_share; accuracy,
    redrawn_accuracy and guessing where labels are given. One verdict, on the model.
Needs: Learned tensors; for the accuracy an output of several classes and five inputs or more.
Cost: A hundred eigenvalues per tensor, seconds in all; as many forwards per input as there are re-drawn models.
Properties: Weights as any initialiser draws them independently fail, whatever its distribution and scale, but for 1 % of
    models; so do learned weights that were shuffled. Orthogonal weights fail too: their largest eigenvalue is small.
Limits: Weights of a fixed structure (identities, filter banks) look learned. Weights say that something was learned, not what:
    only labels tell whether it is this task. Accuracy is that on these inputs, whether or not the model was trained on them.
    Tensors of fewer than about 400 numbers hide what they have learned: then the verdict without labels stays open. So may
    a wide network that hardly left its first weights, and fail without labels: give labels where there are some.
Source: Adebayo et al. 2018, arXiv:1810.03292, section 3 (what is randomised must have been learned); maxT permutation
    test: Westfall & Young 1993; spectra of learned weights: Martin & Mahoney 2021, JMLR 22:165; smallest visible
    direction: Benaych-Georges & Nadakuditi 2012, arXiv:1103.2221; as a check: ours.
Differs: No peer asks; a randomisation check alone calls a method sensitive on a model that has learned nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Subject, Verdict, Work
from explainsvc.checks import maps
from explainsvc.checks._randomised import Draw, draws_of
from explainsvc.checks._spectra import LEVEL, PERMUTATIONS, VISIBLE, Trace, looks_learned, traces_of
from explainsvc.checks.measured import Measured, summary_row
from explainsvc.checks.outputs import hits
from explainsvc.checks.rows import MODEL, Row
from explainsvc.checks.statistics import LEAST_INPUTS, inputs_needed
from explainsvc.model import Model
from explainsvc.randomisation import ALL_UNITS, all_random, learned_units
from explainsvc.weights import replace_weights

NAME = "learned"
P_VALUE, SCORE, SHARE = "p_value", "standard_score", "detectable_share"
ACCURACY, REDRAWN, GUESSING = "accuracy", "redrawn_accuracy", "guessing"

RULE = (
    f"Of the model, not of a method. Weights: learned where p ≤ {LEVEL:g}; not learned where p is higher although one tensor is "
    f"large enough for a direction with {VISIBLE:.0%} of its variance to show; else open. Accuracy, where labels are given: "
    "learned where the lower end of its 95 % interval lies above guessing, the higher of the best re-drawn model's accuracy "
    "and the commonest label's share; not learned where the upper end does not; else, or with fewer than "
    f"{LEAST_INPUTS} inputs, open. Pass: the accuracy says learned, or, without labels, the weights do. Fail: the accuracy says "
    "not learned, or leaves it open while the weights say not learned; without labels, the weights say not learned. Else "
    "inconclusive."
)


@dataclass(frozen=True)
class Params(Draw):
    """What the accuracy is compared with."""

    redraws: int = param(19, "int", "models with all weights drawn anew, whose highest accuracy is guessing", low=1, high=1000)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """What the weights show, then what the accuracy does."""
    learned_units(subject.model)  # raises where there are none
    summarised = partial(_summarised, subject, p)
    yield from subject.once((NAME, "weights", MODEL), lambda: summarised(_of_weights(traces_of(subject.model, subject.seed))))
    labels = subject.labels
    if labels is not None:
        yield from subject.once((NAME, "accuracy", MODEL), lambda: summarised(_of_accuracy(subject, labels, p)))


def _summarised(subject: Subject, p: Params, measured: Iterable[Measured]) -> Iterator[Row]:
    return (summary_row(NAME, m, subject.seed, p.resamples) for m in measured)


def _of_weights(traces: Sequence[Trace]) -> Iterator[Measured]:
    if traces:
        yield Measured(MODEL, P_VALUE, _one(min(t.p_value for t in traces)), note=f"of {len(traces)} tensors together")
        yield Measured(MODEL, SHARE, _one(min(t.share for t in traces)), note="of a tensor's variance")
    for number, t in enumerate(traces, 1):
        yield Measured(MODEL, P_VALUE, _one(t.p_value), step=number, unit=t.unit)
        yield Measured(MODEL, SCORE, _one(t.score), step=number, unit=t.unit, note=f"over {PERMUTATIONS} permutations")


def _of_accuracy(subject: Subject, labels: Array, p: Params) -> Iterator[Measured]:
    """Nothing for an output of one number, which has no arg-max."""
    own = _hits(subject, subject.model, labels)
    if own is None:
        return
    redrawn = np.array([_redrawn(subject, labels, p, number) for number in range(p.redraws)])
    commonest = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
    highest = float(redrawn.max())
    words = (
        f"the higher of {highest:.3f}, the best of {p.redraws} re-drawn models, and {commonest:.3f}, the commonest label's share"
    )
    yield Measured(MODEL, ACCURACY, own)
    yield Measured(MODEL, REDRAWN, redrawn, step=1, unit=ALL_UNITS, note="over the re-drawn models")
    yield Measured(MODEL, GUESSING, _one(max(highest, commonest)), step=1, unit=ALL_UNITS, note=words)


def _redrawn(subject: Subject, labels: Array, p: Params, number: int) -> float:
    """The accuracy of a model with all weights drawn anew; the first is the one that parameter_randomization ends with."""
    again = replace(draws_of(subject, p), seed=subject.seed + number)
    found = _hits(subject, replace_weights(subject.model, all_random(subject.model, again)), labels)
    assert found is not None
    return float(found.mean())


def _hits(subject: Subject, model: Model, labels: Array) -> Array | None:
    feeds = subject.feeds if model is subject.model else subject.model.internal(subject.feeds)
    return hits(maps.value_of(model, feeds, subject.output), subject.model.batched(subject.feeds), labels)


def _one(value: float) -> Array:
    return np.array([value])


# The verdict ------------------------------------------------------------------------------------------------------


def judge(_subject: Subject, _params: object, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """One verdict, on the model."""
    found = {row.measure: row for row in rows if row.method == MODEL and row.unit in ("", ALL_UNITS)}
    units = [row for row in rows if row.measure == P_VALUE and row.unit]
    weights = _by_weights(found, units)
    if ACCURACY not in found:
        return {MODEL: weights}
    accuracy = _by_accuracy(found[ACCURACY], found[GUESSING])
    settled = accuracy.word != "inconclusive" or weights.word != "fail"
    return {MODEL: Verdict(accuracy.word if settled else "fail", f"{accuracy.reason}; {weights.reason}")}


def _by_weights(found: Mapping[str, Row], units: Sequence[Row]) -> Verdict:
    if P_VALUE not in found:
        return Verdict("inconclusive", "no weight tensor is large enough to be judged without labels")
    p, share = found[P_VALUE].mean, found[SHARE].mean
    word = looks_learned(p, share)
    if word:
        clear = [row.unit for row in units if row.mean <= LEVEL]
        return Verdict("pass", f"weights ordered as by learning in {len(clear)} of {len(units)} tensors, p = {p:.2g}")
    nothing = f"weights like the same numbers in random order, p = {p:.2g}"
    if word is False:
        return Verdict("fail", f"{nothing} (a direction with {share:.1%} of a tensor's variance would show)")
    return Verdict(
        "inconclusive", f"{nothing}, but the tensors are so small that {share:.0%} of the variance may hide: labels would tell"
    )


def _by_accuracy(own: Row, guessing: Row) -> Verdict:
    numbers = (
        f"accuracy {own.mean:.3f} [{own.low:.3f}, {own.high:.3f}], n = {own.n}, guessing {guessing.mean:.3f} ({guessing.note})"
    )
    if own.n < LEAST_INPUTS:
        return Verdict("inconclusive", f"{numbers}: {LEAST_INPUTS} inputs are needed")
    if own.low > guessing.mean:
        return Verdict("pass", numbers)
    if own.high <= guessing.mean:
        return Verdict("fail", numbers)
    needed = inputs_needed(own.mean, own.std, guessing.mean)
    more = "" if needed is None else f": about {max(needed, own.n + 1)} inputs would decide it"
    return Verdict("inconclusive", numbers + more)


CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=judge,
    rule=RULE,
    family="randomization",
    main=ACCURACY,
    of_model=True,
    work=lambda _model, p: Work(0, 2, explanations=0, forwards=p.redraws / 2),
)
