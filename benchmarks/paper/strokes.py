"""How alike maps are where the input is not zero: a product with the input is zero elsewhere, whatever the weights are."""

from __future__ import annotations

import numpy as np

import explainsvc
from benchmarks.paper.audits import DISTRIBUTION, Case
from benchmarks.paper.digits import Array
from explainsvc.checks.similarity import spearman_abs
from explainsvc.checks.statistics import RESAMPLES, Summary, summarise
from explainsvc.randomisation import randomised


def within(case: Case, method: str) -> Summary:
    """Spearman's correlation of |map| over the pixels above zero, trained model against the last step's."""
    (x,) = case.feeds.values()
    model = explainsvc.load(case.path)
    again = explainsvc.load(randomised(model, order=case.order, distribution=DISTRIBUTION))
    target = model.predict(case.feeds)[model.default_output].argmax(axis=1).tolist()
    before, after = (_maps(each, case, method, target) for each in (model, again))
    found = [spearman_abs(a[inside][None], b[inside][None])[0] for a, b, inside in zip(before, after, x > 0, strict=True)]
    return summarise(np.array(found), RESAMPLES, seed=0)


def _maps(model: explainsvc.Model, case: Case, method: str, target: list[int]) -> Array:
    (values,) = model.explain(case.feeds, method, target, **case.parameters.get(method, {})).values.values()
    return values


def share_of_zeros(case: Case) -> float:
    """Of all pixels."""
    (x,) = case.feeds.values()
    return float((x == 0).mean())
