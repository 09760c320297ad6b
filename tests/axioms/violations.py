"""By how much a method misses an axiom on one random network, relative to its largest value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import explainsvc
from explainsvc.attribution import Attribution
from explainsvc.axioms import Axiom
from tests.axioms.claims import Case, by_feature, inputs, level, options
from tests.axioms.networks import blind, combined, network, spelled_twice, symmetric
from tests.models import Array

A, B = 2.0, -0.75
"""S = a·S₁ + b·S₂."""


def explained(model: explainsvc.Model, x: Mapping[str, Array], case: Case, target: Any = ("y", 1), **more: Any) -> Attribution:
    """The explanation by the parameters of a case; the target is an output and an index, or all that a target can be."""
    method, kind, seed = case
    wanted = {"output": target[0], "index": target[1]} if isinstance(target, tuple) else target
    return model.explain(x, method, wanted, **options(method, kind, seed) | more)


def largest(*arrays: Array) -> float:
    """The largest absolute value; a test of nothing but zeros would say nothing."""
    size = max(float(np.abs(a).max()) for a in arrays)
    assert size > 1e-5
    return size


def off(found: Array, expected: Array, scale: float) -> float:
    """The largest deviation relative to ``scale``."""
    return float(np.abs(found - expected).max()) / scale


def gap(model: explainsvc.Model, x: Array, rows: Array) -> Array:
    """S(x) − mean S(x′) by onnxruntime on the untouched model, [items]."""
    at = [model.predict({"x": v})["y"][:, 1].astype(np.float64) for v in (x, rows)]
    return np.asarray(at[0] - at[1].mean())


def baseline_rows(case: Case) -> Array:
    """The rows x′ of a case: its background data, or one of zeros."""
    return np.asarray(options(*case).get("background", np.zeros_like(inputs(*case[1:])["x"][:1])))


def completeness(case: Case) -> float:
    """Σ over the features − (S(x) − mean S(x′)), relative to Σ|values|."""
    model, x = network(*case[1:]), inputs(*case[1:])
    values = by_feature(case[0], explained(model, x, case).values["x"])
    return off(values.sum(axis=1), gap(model, x["x"], baseline_rows(case)), float(np.abs(values).sum(axis=1).max()))


def dummy(case: Case) -> float:
    """What the last element gets of a network that does not depend on it."""
    values = explained(blind(*case[1:]), inputs(*case[1:]), case).values["x"]
    last = values[..., -1, -1] if values.ndim > 2 else values[..., -1]
    return off(last, np.zeros_like(last), largest(values))


def symmetry(case: Case) -> float:
    """By how much the first two elements differ, which are equal in x and in x′ and change nothing when they are exchanged."""
    x = {"x": level(inputs(*case[1:])["x"])}
    values = explained(symmetric(*case[1:]), x, case).values["x"]
    return off(values[..., 0], values[..., 1], largest(values))


def linearity(case: Case) -> float:
    """By how much the values of a network a·one + b·two of two others are not a times and b times theirs."""
    model, x = combined(*case[1:], A, B), inputs(*case[1:])
    one, two, both = (explained(model, x, case, (name, 1)).values["x"] for name in ("one", "two", "both"))
    return off(both, A * one + B * two, largest(one, two))


def linearity_in_the_seed(case: Case) -> float:
    """The same of a target a·y_0 + b·y_1 of one network."""
    model, x = network(*case[1:]), inputs(*case[1:])
    seed = {"output": "y", "seed": np.array([[A, B, 0]] * 2, np.float32)}
    one, two, both = (explained(model, x, case, target).values["x"] for target in (("y", 0), ("y", 1), seed))
    return off(both, A * one + B * two, largest(one, two))


def implementation_invariance(case: Case) -> float:
    """By how much the values differ between two graphs of one function: layers in two parts, activations by one another."""
    model, x = spelled_twice(*case[1:]), inputs(*case[1:])
    one, other = (explained(model, x, case, (name, 1)).values["x"] for name in ("y", "other"))
    return off(one, other, largest(one))


VIOLATION: dict[Axiom, Callable[[Case], float]] = {
    "completeness": completeness,
    "dummy": dummy,
    "symmetry": symmetry,
    "linearity": linearity,
    "implementation_invariance": implementation_invariance,
}
"""Conservation has tests of its own, node by node."""
