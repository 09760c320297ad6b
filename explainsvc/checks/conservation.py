"""conservation: Is relevance handed on without loss, over the whole network and at every node?

Computes: Over the whole: Σ R / S(x) and Σ |R| / |S(x)|, which says how much of a map cancels. For methods that share out S by
    rules, a ledger of single inputs: per node what its results received, what it handed on towards the inputs, what its bias
    took and what was lost to ε or had nobody to go to, all relative to S; ``lost`` is Σ over nodes of the magnitude of the
    last.
Output: Rows (method, step = position from the target, unit = node, measure): ``received``, ``handed_on``, ``bias``, ``rest``;
    at step 0 ``sum_ratio``, ``relative_residual``, ``absolute_ratio`` and, with a ledger, ``lost``.
Needs: A target; five inputs or more for a verdict. A ledger needs a method with a rule at every node.
Cost: A forward pass per input; the ledger builds one graph per input of ``books``.
Properties: LRP-ε loses what ε absorbs, the more the smaller the activations; α1β0 loses nothing but where no contribution is
    positive. What a bias takes is booked, not lost.
Limits: A ledger sums over the elements of a node: what one neuron loses and another makes up is not seen. Of models whose
    batch size is fixed, one ledger covers a batch.
Source: Bach et al. 2015, doi:10.1371/journal.pone.0130140, equation 2; Montavon 2019, Gradient-based vs. propagation-based
    explanations: an axiomatic comparison, doi:10.1007/978-3-030-28954-6_13, section 13.2 (conservation and Σ |R| < A Σ R).
Differs: No peer keeps the books per node.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict
from explainsvc.checks._distance import share, zero_note
from explainsvc.checks._sums import CLAIMS, absolute_sum_of, complete_of, expected_of, sum_of
from explainsvc.checks.judging import at_most, each_method, worst
from explainsvc.checks.measured import Measured, method_by_method
from explainsvc.checks.rows import Row
from explainsvc.errors import ExplainsvcError
from explainsvc.ledger import Account, Ledger, ledger

NAME = "conservation"
RESIDUAL, ABSOLUTE, LOST = "relative_residual", "absolute_ratio", "lost"
NAMED = 3
"""Nodes that a verdict names."""


@dataclass(frozen=True)
class Params:
    """How much may be lost, and how much may cancel."""

    tolerance: float = param(0.05, "float", "largest share of S that may be lost", low=0, high=1)
    most: float = param(10.0, "float", "largest Σ |R| / |S|: at 10, nine tenths of a map cancel", low=1)
    books: int = param(5, "int", "inputs of which a ledger is kept per node; 0: none", low=0)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The whole, then the nodes."""
    return method_by_method(NAME, subject, lambda e: _measured(subject, e, p))


def _measured(subject: Subject, e: Explained, p: Params) -> Iterator[Measured]:
    claimed, note = expected_of(subject, e)
    total = sum_of(subject, e)
    residual = share(np.abs(total - claimed), np.abs(claimed))
    remark = "; ".join(filter(None, [note, zero_note(residual, "the claimed sum is 0")]))
    yield Measured(e.name, RESIDUAL, residual, note=remark)
    yield Measured(e.name, "sum_ratio", share(total, claimed), note=f"relative to {CLAIMS[complete_of(e)]}")
    yield Measured(e.name, ABSOLUTE, share(absolute_sum_of(subject, e), np.abs(claimed)))
    if e.method.rulebook is not None and complete_of(e) == "output" and p.books:
        yield from _booked(subject, e, p.books)


def _booked(subject: Subject, e: Explained, books: int) -> Iterator[Measured]:
    try:
        kept = [_ledger(subject, e, group) for group in _singles(subject, books)]
    except ExplainsvcError as error:
        yield Measured(e.name, LOST, np.full(1, np.nan), note=f"no ledger: {error}")
        return
    kept = [k for k in kept if k.start != 0]
    yield Measured(e.name, LOST, _over(kept, [sum(abs(a.rest) for a in k.accounts) for k in kept], abs), note=_ends(kept))
    for step in range(max((len(k.accounts) for k in kept), default=0)):
        accounts = [k.accounts[step] for k in kept]
        for measure, values in _columns(accounts).items():
            unit, note = accounts[0].node or accounts[0].results[0], _names(accounts[0])
            yield Measured(e.name, measure, _over(kept, values), "", step + 1, unit, step + 1, note)


def _columns(accounts: Sequence[Account]) -> dict[str, list[float]]:
    return {
        "received": [a.received for a in accounts],
        "handed_on": [sum(a.handed_on.values()) for a in accounts],
        "bias": [a.bias for a in accounts],
        "rest": [a.rest for a in accounts],
    }


def _names(account: Account) -> str:
    return f"{account.operator}, rule {account.rule}"


def _over(kept: Sequence[Ledger], values: Sequence[float], size: Any = float) -> Any:
    """Relative to the S of each ledger."""
    return np.array([value / size(k.start) for value, k in zip(values, kept, strict=True)], np.float64)


def _ends(kept: Sequence[Ledger]) -> str:
    mean = float(np.mean(_over(kept, [k.bias for k in kept]))) if kept else math.nan
    return f"biases took {mean:.3g} of S"


def _singles(subject: Subject, books: int) -> list[slice]:
    """One input each, or one batch where its size is fixed."""
    model, feeds = subject.model, subject.feeds
    if not (model.stackable and model.batched(feeds)):
        return [slice(None)]
    items = min(len(a) for a in feeds.values())
    size = 1 if model.prepared.opened is not None else model.frozen_batch or 1
    return [slice(start, start + size) for start in range(0, items - size + 1, size)][:books]


def _ledger(subject: Subject, e: Explained, group: slice) -> Ledger:
    whole = group == slice(None)
    feeds = subject.feeds if whole else {name: array[group] for name, array in subject.feeds.items()}
    target = {"output": e.target.output, "seed": e.target.seed if whole else e.target.seed[group]}
    given = {f.name: getattr(e.params, f.name) for f in dataclasses.fields(e.params)}
    return ledger(subject.model, feeds, e.name, target, inputs=e.wanted, **{n: v for n, v in given.items() if v is not None})


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """What was lost, and what cancels."""
    return each_method(subject, rows, lambda e, own: _verdict(e, own, p))


def _verdict(e: Explained, own: Sequence[Row], p: Params) -> Verdict:
    whole = {row.measure: row for row in own if row.step == 0}
    booked = LOST in whole and whole[LOST].n > 0
    lost = at_most(whole[LOST], p.tolerance) if booked else at_most(whole[RESIDUAL], p.tolerance)
    if booked and lost.word != "pass":
        lost = replace(lost, reason=f"{lost.reason}; most at {_leaks(own)}")
    if not booked:
        why = f"; {whole[LOST].note}" if LOST in whole else ""
        lost = replace(lost, reason=f"{lost.reason}; held against {CLAIMS[complete_of(e)]}{why}")
    return worst([lost, at_most(whole[ABSOLUTE], p.most)])


def _leaks(own: Sequence[Row]) -> str:
    leaks = sorted((row for row in own if row.measure == "rest"), key=lambda row: -abs(row.mean))[:NAMED]
    return ", ".join(f"{row.unit} ({row.mean:.3g} of S)" for row in leaks)


RULE = (
    "With a ledger, pass: the 95 % interval of the mean of Σ |rest| over all nodes, relative to S, lies at or below the "
    "tolerance 0.05 (what ε absorbs or has nobody to go to; what biases take is booked); without one: that of |Σ R − "
    "claimed| / |claimed|. And that of Σ |R| / |S| lies at or below the limit 10. Fail: either lies above; inconclusive: "
    "neither, or fewer than 5 inputs or ledgers. The worst word counts."
)

CHECK = Check(
    read_card(NAME, __doc__, Params), Params, run=run, judge=judge, rule=RULE, family="axioms",
    axis="nodes from the target", main="rest",
)  # fmt: skip
