"""Which method claims what, on which random networks it is held to that, and with which parameters."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import numpy as np

from explainsvc.axioms import Axiom, Manner
from explainsvc.methods import METHODS
from tests.axioms.networks import BODIES, IMAGE, items, normal
from tests.models import Array

GENERAL = ("dense ReLU", "dense Tanh", "gated", "convolutional ReLU", "convolutional Tanh")
IMAGES = ("convolutional ReLU", "convolutional Tanh")
KINDS: dict[str, tuple[str, ...]] = {
    "linear_shap": ("affine",),
    "max_shap": ("largest",),
    "blur_ig": IMAGES,
    "beta_smooth": ("dense ReLU", "convolutional ReLU"),
}
"""Of methods that do not apply to all of GENERAL."""
ELSEWHERE = frozenset({"tree_shap"})
"""Held to its claims on forests."""
FEW: dict[str, dict[str, Any]] = {
    "rise": {"samples": 64},
    "lime": {"samples": 200},
    "smoothgrad": {"samples": 16},
    "smoothgrad_squared": {"samples": 16},
    "vargrad": {"samples": 16},
    "expected_gradients": {"samples": 64},
    "sampling_shap": {"samples": 8},
    "kernel_shap": {"samples": 24},
    "guided_integrated_gradients": {"steps": 50},
    "blur_ig": {"steps": 25, "max_sigma": 4.0},
}
"""Fewer repetitions than by default, so that whatever draws coalitions does not reach all of them."""
GROUPS = np.full(IMAGE[1:], 2)
GROUPS[4:], GROUPS[:, 0], GROUPS[:, 1], GROUPS[-1, -1] = 3, 0, 1, 4
"""Features of the images: their first column, their second one, the last pixel, and two halves of the rest."""
Case = tuple[str, str, int]
"""Method, kind of network, seed."""


def claims(axiom: Axiom, *manners: Manner) -> list[Case]:
    """Every method that claims an axiom in one of these manners (none: in any), on a network of every kind it applies to."""
    wanted = manners or get_args(Manner)
    claiming = [name for name, m in METHODS.items() if m.card.axioms.get(axiom) in wanted and name not in ELSEWHERE]
    return [(name, kind, seed) for name in claiming for seed, kind in enumerate(KINDS.get(name, GENERAL))]


def named(case: Case) -> str:
    """A case as the name of its test."""
    return " ".join(map(str, case))


def fields(method: str) -> set[str]:
    """Names of its parameters."""
    return {f.name for f in dataclasses.fields(METHODS[method].params)}


def background(kind: str, seed: int, rows: int = 3) -> Array:
    """Rows in which the first two columns are equal, so that they do not break a symmetry."""
    return level(normal(np.random.default_rng([seed, 3]), rows, *BODIES[kind][1]))


def level(x: Array) -> Array:
    """The first two elements of every row equal."""
    same = x.copy()
    same[..., 1] = same[..., 0]
    return same


def options(method: str, kind: str, seed: int) -> dict[str, Any]:
    """Parameters: few repetitions, background data where it takes them, features of images."""
    known, chosen = fields(method), dict(FEW.get(method, {}))
    if "background" in known:
        chosen["background"] = background(kind, seed)
    if "feature_mask" in known:
        chosen["feature_mask"] = GROUPS if kind in IMAGES else "element"
    return chosen


def by_feature(method: str, values: Array) -> Array:
    """Values of the features, [items, features], float64: one element of each group speaks for it."""
    flat = values.astype(np.float64).reshape(len(values), -1)
    if values.shape[1:] != IMAGE or "feature_mask" not in fields(method):
        return flat
    numbers = np.broadcast_to(GROUPS, IMAGE).reshape(-1)
    return flat[:, [int(np.argmax(numbers == k)) for k in range(numbers.max() + 1)]]


def inputs(kind: str, seed: int) -> dict[str, Array]:
    """Two items to explain."""
    return {"x": items(kind, seed)}
