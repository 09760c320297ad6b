"""implementation_invariance: Do two graphs of the same function get the same maps?

Computes: The model's file is rewritten in ways that do not change what it computes: identities, Gemm ↔ MatMul + Add, a bias
    as an Add, BatchNormalization as Mul + Add and the other way round, Relu as Max, Clip or (x + |x|)/2, constants computed
    instead of stored, other names, other opsets. onnxruntime runs both files; where their outputs agree, both are explained.
Output: Rows (method, unit = rewriting, measure): ``relative_difference`` of the maps, ‖R − R′‖/max(‖R‖, ‖R′‖), and
    ``spearman``; of the model ``output_deviation``.
Needs: A model to which some rewriting applies; five inputs or more for a verdict.
Cost: One more model is loaded per rewriting, and explained by every method: up to 14 in turn.
Properties: Gradients, and what is made of gradients and outputs alone, pass where the function has a gradient; methods with
    rules for nodes may fail.
Limits: Methods that pass were not told apart by these rewritings, which is no proof. Preparation of a graph undoes many of
    them before a method sees it: what is tested is the service as a whole, as users meet it. Maps at a kink of the function
    itself depend on conventions such as relu′(0).
Source: Sundararajan et al. 2017, arXiv:1703.01365, section 2.2; Montavon 2019, doi:10.1007/978-3-030-28954-6_13 (two networks
    that compute a maximum); rewritings and verdict: ours.
Differs: No peer has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.check import Check, Explained, Subject, Verdict, Work
from explainsvc.checks import _surgery as surgery
from explainsvc.checks import maps
from explainsvc.checks._distance import DEVIATION, DIFFERENCE, SAME_MAP, alike, output_deviation, relative_difference, share
from explainsvc.checks._features import require_items
from explainsvc.checks._rewriting import REWRITINGS, Rewriting
from explainsvc.checks.judging import at_most, each_method, worst
from explainsvc.checks.measured import Measured, summary_row
from explainsvc.checks.rows import MODEL, Row
from explainsvc.checks.similarity import spearman
from explainsvc.errors import ExplainsvcError, MethodNotApplicable
from explainsvc.method import Request
from explainsvc.model import Model
from explainsvc.target import Target

NAME = "implementation_invariance"
SAME_OUTPUT = 1e-4
"""Largest relative deviation of outputs that is rounding: what a pass of our own may make."""


@dataclass(frozen=True)
class Params:
    """How far maps of one function may be apart."""

    tolerance: float = param(SAME_MAP, "float", "largest mean relative difference that passes", low=0, high=2)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """Rewriting by rewriting: the outputs, then the maps."""
    found = 0
    for step, rewriting in enumerate(REWRITINGS, start=1):
        model = cache(partial(_rewritten, subject, rewriting))
        about = list(subject.once((NAME, rewriting.name, MODEL), partial(_outputs, subject, rewriting.name, step, model)))
        yield from about
        if not any(_is_same(row) for row in about):
            continue
        found += 1
        for e in subject.explained:
            yield from subject.once((NAME, rewriting.name, e.name), partial(_compared, subject, (rewriting.name, step), model, e))
    if not found:
        raise MethodNotApplicable(
            "no rewriting applies to the model", where=f"check {NAME}", expected="standard operators of opset 8 or later"
        )


Rewritten = Callable[[], tuple[Model | None, str]]


def _outputs(subject: Subject, unit: str, step: int, rewritten: Rewritten) -> Iterator[Row]:
    """How far the outputs are from those of the model; no row where there was no occasion to rewrite it."""
    model, note = rewritten()
    if model is None and not note:
        return
    deviation = np.full(1, np.nan) if model is None else output_deviation(subject, model, subject.feeds)
    if model is not None and not (deviation <= SAME_OUTPUT).all():
        note = f"not the same function to {SAME_OUTPUT:g}: no map was compared"
    yield summary_row(NAME, Measured(MODEL, DEVIATION, deviation, "", step, unit, note=note), subject.seed)


def _is_same(row: Row) -> bool:
    """Of a row about the outputs: it has a note where they differ, or where there is no other model."""
    return not row.note


def _rewritten(subject: Subject, rewriting: Rewriting) -> tuple[Model | None, str]:
    """The other model, or why there is none; "" where there was no occasion."""
    keep = {e.target.output for e in subject.explained}
    keep |= {value for e in subject.explained for value in vars(e.params).values() if isinstance(value, str)}
    try:
        proto = rewriting.apply(subject.model.proto, keep)
        return (None, "") if proto is None else (surgery.as_model(proto), "")
    except ExplainsvcError as error:
        return None, f"could not be loaded: {error}"
    except Exception as error:  # noqa: BLE001  (onnx.version_converter raises what its C++ raises)
        return None, f"could not be made: {' '.join(str(error).split())[:200]}"


def _compared(subject: Subject, place: tuple[str, int], rewritten: Rewritten, e: Explained) -> Iterator[Row]:
    model, _ = rewritten()
    assert model is not None, "only a rewriting with the same outputs is compared"
    unit, step = place
    try:
        found = list(alike(e.name, e.maps, maps.maps_of(e, model, subject.feeds, subject.seed), unit, step))
    except ExplainsvcError as error:
        nothing = np.full(len(e.maps), np.nan)
        found = [Measured(e.name, DIFFERENCE, nothing, "", step, unit, note=f"refused for this graph: {error}")]
    return (summary_row(NAME, m, subject.seed) for m in found)


def judge(subject: Subject, p: Params, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The largest difference of all rewritings."""
    return each_method(subject, rows, lambda e, own: _verdict(e, own, p.tolerance))


def _verdict(e: Explained, own: Sequence[Row], tolerance: float) -> Verdict:
    verdicts = [at_most(row, tolerance) for row in own if row.measure == DIFFERENCE]
    if all(v.word == "pass" for v in verdicts):
        furthest = max((row for row in own if row.measure == DIFFERENCE), key=lambda row: row.mean)
        return Verdict("pass", f"{len(verdicts)} rewritings; the furthest: {at_most(furthest, tolerance).reason}")
    return worst(verdicts)


def compare_models(
    model: Model, other: Model, feeds: Mapping[str, Any], /, method: str, target: Target = None, seed: int = 0, **parameters: Any
) -> dict[str, Array]:
    """A method's maps of two models that should compute the same function: measures per item.

    The target is resolved on ``model``.

    Returns:
        ``output_deviation``, ``relative_difference`` and ``spearman``, float64 [item].

    Raises:
        ExplainsvcError: As :meth:`Model.explain`; MethodNotApplicable where an explained input is shared by all items.
    """
    a = model.explain(feeds, method, target, seed=seed, **parameters)
    given = {"output": a.target.output, "seed": a.target.seed}
    b = other.explain(feeds, method, given, inputs=list(a.values), seed=seed, **parameters)
    request = Request(model, {n: np.asarray(x) for n, x in feeds.items()}, tuple(a.values), a.target, seed, maps.silent)
    require_items(request)
    before, after = maps.flat(a.values, request.batched), maps.flat(b.values, request.batched)
    gap = np.abs(np.asarray(a.output_value) - np.asarray(b.output_value))
    deviation = share(gap, np.abs(np.asarray(a.output_value)))
    return {DEVIATION: deviation, DIFFERENCE: relative_difference(before, after), "spearman": spearman(before, after)}


RULE = (
    "Per rewriting whose outputs agree to 1e-4, pass: the 95 % interval of the mean relative difference of the maps lies "
    f"at or below the tolerance {SAME_MAP:g} (rounding moves a map by 1e-5 of its norm, a unit at its kink moves single "
    "elements, another rule moves it by tenths); fail: above; inconclusive: neither, fewer than 5 inputs, or a method "
    "that refuses the other graph. The worst rewriting counts."
)

CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=judge,
    rule=RULE,
    family="axioms",
    main=DIFFERENCE,
    work=lambda _model, _params: Work(len(REWRITINGS), len(REWRITINGS)),
)
