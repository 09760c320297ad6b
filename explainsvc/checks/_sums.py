"""The sum of an explanation, and what it should be."""

from __future__ import annotations

import dataclasses

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.baselines import baselines
from explainsvc.check import Explained, Subject
from explainsvc.checks import maps
from explainsvc.features import partition
from explainsvc.method import Method, Request

CLAIMS = {"output": "S(x)", "difference": "S(x) − S(x′)", "": "S(x), which its card does not claim"}
STATED = "S(x′) as the method states it: it has no single baseline x′"


def complete_of(explained: Explained) -> str:
    """What the sum is said to be: "output", "difference", or "" for a method that says nothing."""
    method: Method = explained.method
    return method.complete


def sum_of(subject: Subject, explained: Explained) -> Array:
    """Σ R per item, float64; a feature of several elements counts once."""
    values = explained.maps.astype(np.float64)
    return np.asarray((values * _weights(subject, explained)).sum(axis=1))


def absolute_sum_of(subject: Subject, explained: Explained) -> Array:
    """Σ |R| per item, likewise."""
    return np.asarray((np.abs(explained.maps.astype(np.float64)) * _weights(subject, explained)).sum(axis=1))


def _weights(subject: Subject, explained: Explained) -> Array:
    """1/(number of elements that show the same feature's value), [item or 1, element]."""
    if not _has(explained, "feature_mask") or explained.method.family != "perturbation":
        return np.ones((1, 1))
    request = maps.request_of(subject, explained)
    masks = maps.flat(partition(explained.params.feature_mask, request).masks, request.batched)
    counts = [np.bincount(row)[row] for row in masks]
    return np.asarray(1.0 / np.stack(counts))


def expected_of(subject: Subject, explained: Explained) -> tuple[Array, str]:
    """What the sum should be per item, float64, and a remark on where S(x′) comes from."""
    S = maps.score_of(explained, subject.model, subject.feeds)
    if complete_of(explained) != "difference":
        return S, ""
    if _has(explained, "baseline") and getattr(explained.params, "background", None) is None:
        return S - _at_baseline(subject, explained, maps.request_of(subject, explained)), ""
    stated = explained.result.baseline_value
    return (S, "no S(x′) is known: held against S(x)") if stated is None else (S - stated, STATED)


def _at_baseline(subject: Subject, explained: Explained, request: Request) -> Array:
    other = baselines(explained.params.baseline, subject.feeds, request.wanted)
    return maps.score_of(explained, subject.model, {**subject.feeds, **other})


def _has(explained: Explained, name: str) -> bool:
    fields = dataclasses.fields(explained.params) if dataclasses.is_dataclass(explained.params) else ()
    return any(field.name == name for field in fields)
