"""The report of an audit: verdicts, what it takes to repeat it, maps for figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from explainsvc.attribution import versions
from explainsvc.autograd.shapes import Array
from explainsvc.cards import plain, recorded
from explainsvc.check import Check, Explained, Subject, Verdict
from explainsvc.checks import maps
from explainsvc.checks.facts import array_facts, machine
from explainsvc.checks.measured import refusals
from explainsvc.checks.plan import Plan
from explainsvc.checks.rows import DIGEST, MODEL, Row
from explainsvc.graph.probe import deviation
from explainsvc.report.report import Report
from explainsvc.weights import coverage, parameter_units, replace_weights

MAPS_SHOWN = 4
"""Items whose maps a report holds, for its figures."""


def report_of(plan: Plan, subject: Subject, rows: Sequence[Row]) -> Report:
    """Verdicts, a header from which all can be computed again, and the first maps."""
    verdicts = {
        (method, check.card.name): verdict
        for check, params in plan.checks
        for method, verdict in _judged(subject, check, params, [r for r in rows if r.check == check.card.name]).items()
    }
    shown, images = _figures(plan, subject)
    words = {key: verdict.word for key, verdict in verdicts.items()}
    reasons = {key: verdict.reason for key, verdict in verdicts.items()}
    return Report(_header(plan, subject, rows), tuple(rows), dict(words), reasons, shown, images)


def _judged(subject: Subject, check: Check, params: Any, rows: Sequence[Row]) -> Mapping[str, Verdict]:
    """The check's verdicts; what could not be measured stays open, with the reason."""
    if check.of_model:
        failed = refusals(rows)
        return {MODEL: Verdict("inconclusive", failed[MODEL])} if failed else check.judge(subject, params, rows)
    reasons = {**refusals(rows), **{name: f"could not be run: {reason}" for name, reason in subject.refused.items()}}
    asked = {e.name for e in subject.explained if e.asked} | set(subject.refused)
    left = {name: Verdict("inconclusive", reason) for name, reason in reasons.items() if name in asked}
    measured = replace(subject, explained=tuple(e for e in subject.explained if e.name not in left))
    return {**(check.judge(measured, params, rows) if any(e.asked for e in measured.explained) else {}), **left}


def _header(plan: Plan, subject: Subject, rows: Sequence[Row]) -> dict[str, Any]:
    """Everything needed to compute the report again; its keys are described at :class:`Report`."""
    return {
        "model": plan.model.info.to_json(),
        "inputs": {name: array_facts(array) for name, array in plan.feeds.items()},
        "equality": _equality(plan),
        "target": subject.explained[0].target.description,
        "target_given": plain(plan.target),
        "labels": plain(plan.labels),
        "methods": {e.name: _method_facts(e, plan.seed) for e in subject.explained},
        "checks": {check.card.name: _check_facts(plan, check, params) | _models(check, rows) for check, params in plan.checks},
        "refused": dict(subject.refused),
        "controls": [e.name for e in subject.explained if e.is_control],
        "asked": [e.name for e in subject.explained if e.asked] + list(subject.refused),
        "versions": versions(),
        "machine": machine(),
        "seed": plan.seed,
    }


def _equality(plan: Plan) -> dict[str, Any]:
    """The prepared graph, of which every explained graph holds a copy, against the untouched model on these inputs."""
    model, name = plan.model, plan.output
    before = maps.value_of(model, plan.feeds, name)
    after = maps.value_of(replace_weights(model, {}), model.internal(plan.feeds), name)
    rule = f'largest difference of output "{name}" relative to its largest magnitude, prepared graph against the model'
    return {"max_error": deviation({name: before}, {name: after}), "n": len(before), "rule": rule}


def _method_facts(e: Explained, seed: int) -> dict[str, Any]:
    given = recorded(e.params)
    residual = None if e.result.residual is None else float(np.abs(e.result.residual).max())
    return {
        "parameters": given,
        "results": {k: v for k, v in plain(e.result.parameters).items() if k not in given or v != given[k]},
        "seed": seed,
        "caveats": list(e.caveats),
        "max_residual": residual if residual is not None and np.isfinite(residual) else None,
        "explained": list(e.wanted),
    }


def _check_facts(plan: Plan, check: Check, params: Any) -> dict[str, Any]:
    units = parameter_units(plan.model)
    return {
        "parameters": recorded(params),
        "seed": plan.seed,
        "rule": check.rule,
        "family": check.family,
        "axis": check.axis,
        "main": check.main,
        "units": [unit.name for unit in units],
        "share_of_weights_in_units": coverage(plan.model, units),
    }


def _models(check: Check, rows: Sequence[Row]) -> dict[str, Any]:
    """The digests of the models that a check made, step by step, for whoever makes them again."""
    made = [row for row in rows if (row.check, row.measure) == (check.card.name, DIGEST)]
    return {"models": [{"step": row.step, "unit": row.unit, "sha256": row.note} for row in made]} if made else {}


def _figures(plan: Plan, subject: Subject) -> tuple[dict[str, Array], Array | None]:
    """The first items' maps of the first explained input, and that input where it may be a picture."""
    if not plan.model.batched(plan.feeds):
        return {}, None
    name = subject.explained[0].wanted[0]
    shown = {e.name: e.result.values[name][:MAPS_SHOWN] for e in subject.explained if name in e.result.values}
    image = plan.feeds[name][:MAPS_SHOWN]
    return shown, image if image.ndim in (3, 4) and image.dtype.kind in "fu" else None
