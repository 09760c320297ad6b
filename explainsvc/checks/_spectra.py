"""Whether a model's weights are ordered as only learning orders them: a permutation test on their spectra.

Whatever the distribution, weights as they are drawn before training are exchangeable: within the weights of one output any
order is as likely as any other. So the largest eigenvalue of the outputs' correlations must be like those of the same numbers
in random orders. Learning pulls the weights of different outputs into common directions: an eigenvalue stands above all of
those (Martin & Mahoney 2021, JMLR 22:165).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.graph.layers import Parameter, Unit
from explainsvc.model import Model
from explainsvc.weights import parameter_units, seed_sequence, weights_of

PERMUTATIONS = 99
LEVEL = 0.01
"""Of the test of all units together: how often weights as they were drawn are taken for learned."""
ELEMENTS = 1_000_000
"""Of all tensors together: larger ones are judged by some of their outputs and inputs, drawn at random: as exact, less sharp."""
ITERATIONS = 16
"""Of the power method: an eigenvalue that stands out a little is found to a few per cent, the same way in every order."""
LEAST_COLUMNS = 3
"""Two weights less their mean are ±1, in any order."""
VISIBLE = 0.05
"""Where even a direction that holds this share of a tensor's variance would not show, nothing found says nothing."""


@dataclass(frozen=True)
class Trace:
    """How far the largest eigenvalue of a tensor stands out.

    Attributes:
        unit: The parameter unit.
        score: (eigenvalue − mean) / standard deviation, both over the permuted tensors.
        p_value: Share of permutations in which the largest standard score of any tensor is as high; already for all tensors.
        share: Of the tensor's variance, what one direction must hold to show: 1/√(rows · columns) in normal noise,
            Benaych-Georges & Nadakuditi 2012, arXiv:1103.2221.
    """

    unit: str
    score: float
    p_value: float
    share: float


_KNOWN: WeakKeyDictionary[Model, dict[int, tuple[Trace, ...]]] = WeakKeyDictionary()
"""Traces by seed: seconds for a network of millions of weights, and several checks of an audit ask for them."""


def traces_of(model: Model, seed: int) -> tuple[Trace, ...]:
    """One for each weight tensor that is large enough, output side first.

    The p-values are those of the largest standard score over all tensors (Westfall & Young 1993, maxT), with the observed order
    counted among the permutations (Phipson & Smyth 2010): exact for every number of tensors.
    """
    known = _KNOWN.setdefault(model, {})
    if seed not in known:
        known[seed] = _traces(model, seed)
    return known[seed]


def _traces(model: Model, seed: int) -> tuple[Trace, ...]:
    found = [(unit.name, p.name, m) for unit in parameter_units(model) for p, m in _matrices(model, unit)]
    limits = _limits([matrix.size for _, _, matrix in found])
    streams = [np.random.default_rng(seed_sequence(seed, f"spectrum/{name}")) for _, name, _ in found]
    parts = [_standard(_part(m, limit, rng)) for (_, _, m), limit, rng in zip(found, limits, streams, strict=True)]
    drawn = [(unit, part, rng) for (unit, _, _), part, rng in zip(found, parts, streams, strict=True) if _fits(part)]
    if not drawn:
        return ()
    spectra = np.array([_spectra(part, rng) for _, part, rng in drawn])
    spread = spectra.std(axis=1, keepdims=True)
    scores = (spectra - spectra.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
    highest = scores.max(axis=0)
    return tuple(
        Trace(name, _score(own), float((highest >= score[0]).mean()), 1 / math.sqrt(m.size))
        for (name, m, _), own, score in zip(drawn, spectra, scores, strict=True)
    )


def looks_learned(p_value: float, share: float) -> bool | None:
    """Whether the weights say so; None where nothing stands out, but a good part of every tensor could hide.

    Args:
        p_value: The smallest of the traces.
        share: The smallest of the traces.
    """
    if p_value <= LEVEL:
        return True
    return False if share <= VISIBLE else None


def _matrices(model: Model, unit: Unit) -> Iterator[tuple[Parameter, Array]]:
    tensors = weights_of(model.prepared, unit)
    for p in unit.tensors:
        if p.role == "weight" and tensors[p.name].ndim > 1 and np.isfinite(tensors[p.name]).all():
            yield p, _by_output(tensors[p.name].astype(np.float64), unit, p)


def _by_output(weights: Array, unit: Unit, p: Parameter) -> Array:
    """[output, input]: a row holds what one output sums over."""
    if unit.op_type in ("Conv", "ConvTranspose"):
        return weights.reshape(len(weights), -1)
    if weights.ndim == 2 and weights.shape[1] != p.fan_in:
        return weights.T
    return weights.reshape(-1, weights.shape[-1])


def _limits(sizes: Sequence[int]) -> list[float]:
    """How many elements of each tensor are looked at: what small ones leave of ELEMENTS falls to the larger."""
    left, found = float(ELEMENTS), [0.0] * len(sizes)
    for done, place in enumerate(np.argsort(sizes, kind="stable")):
        found[place] = min(float(sizes[place]), left / (len(sizes) - done))
        left -= found[place]
    return found


def _part(matrix: Array, limit: float, rng: np.random.Generator) -> Array:
    """Rows and columns in the matrix's own proportion."""
    share = math.sqrt(min(1.0, limit / matrix.size))
    chosen = [rng.permutation(n)[: math.ceil(share * n)] for n in matrix.shape]
    return np.asarray(matrix[np.ix_(*chosen)])


def _standard(matrix: Array) -> Array:
    """Rows less their mean and of length 1, so that scales of outputs (a folded BatchNormalization) are no structure."""
    centred = matrix - matrix.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    constant = np.ptp(matrix, axis=1) == 0
    return np.asarray(centred[~constant] / length[~constant])


def _fits(matrix: Array) -> bool:
    rows, columns = matrix.shape
    return bool(rows > 1 and columns >= LEAST_COLUMNS)


def _spectra(matrix: Array, rng: np.random.Generator) -> list[float]:
    """The largest eigenvalue as observed, then of the permutations."""
    small, start = matrix.astype(np.float32), rng.standard_normal(len(matrix)).astype(np.float32)
    return [_largest(small, start), *(_largest(rng.permuted(small, axis=1), start) for _ in range(PERMUTATIONS))]


def _largest(matrix: Array, start: Array) -> float:
    """The largest eigenvalue of the rows' correlations, by the power method."""
    v, size = start, 0.0
    for _ in range(ITERATIONS):
        v = matrix @ (matrix.T @ (v / np.linalg.norm(v)))
        size = float(np.linalg.norm(v))
    return size


def _score(spectra: Array) -> float:
    observed, *permuted = spectra
    spread = float(np.std(permuted))
    return float((observed - np.mean(permuted)) / spread) if spread > 0 else 0.0
