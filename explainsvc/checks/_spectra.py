"""Whether a model's weights are ordered as only learning orders them: a permutation test on their spectra.

Whatever the distribution, weights as they are drawn before training are exchangeable: within the weights of one output any
order is as likely as any other. So the largest eigenvalue of the outputs' correlations must be like those of the same numbers
in random orders. Learning pulls the weights of different outputs into common directions: an eigenvalue stands above all of
those (Martin & Mahoney 2021, JMLR 22:165).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.graph.layers import Parameter, Unit
from explainsvc.model import Model
from explainsvc.weights import parameter_units, seed_sequence, weights_of

PERMUTATIONS = 99
LEVEL = 0.01
"""Of the test of all units together: how often weights as they were drawn are taken for learned."""
ROWS, COLUMNS = 64, 256
"""A larger tensor is judged by so many of its outputs and inputs, drawn at random: the test stays exact, and quick."""
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


def traces_of(model: Model, seed: int) -> tuple[Trace, ...]:
    """One for each weight tensor that is large enough, output side first.

    The p-values are those of the largest standard score over all tensors (Westfall & Young 1993, maxT), with the observed order
    counted among the permutations (Phipson & Smyth 2010): exact for every number of tensors.
    """
    found = [(unit.name, matrix, np.random.default_rng(seed_sequence(seed, f"spectrum/{p.name}")))
             for unit in parameter_units(model) for p, matrix in _matrices(model, unit)]  # fmt: skip
    drawn = [(name, sample, rng) for name, matrix, rng in found if _fits(sample := _standard(_part(matrix, rng)))]
    if not drawn:
        return ()
    spectra = np.array([[_largest(m), *(_largest(rng.permuted(m, axis=1)) for _ in range(PERMUTATIONS))] for _, m, rng in drawn])
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


def _part(matrix: Array, rng: np.random.Generator) -> Array:
    chosen = [rng.permutation(n)[:most] for n, most in zip(matrix.shape, (ROWS, COLUMNS), strict=True)]
    return np.asarray(matrix[np.ix_(*chosen)])


def _standard(matrix: Array) -> Array:
    """Rows less their mean and of length 1, so that scales of outputs (a folded BatchNormalization) are no structure."""
    centred = matrix - matrix.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    constant = np.ptp(matrix, axis=1) == 0
    return np.asarray(centred[~constant] / length[~constant])


def _fits(matrix: Array) -> bool:
    return matrix.shape[0] > 1 and matrix.shape[1] >= LEAST_COLUMNS


def _largest(matrix: Array) -> float:
    """The largest eigenvalue of the rows' correlations: the square of the largest singular value."""
    square = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    return float(np.linalg.eigvalsh(square)[-1])


def _score(spectra: Array) -> float:
    observed, *permuted = spectra
    spread = float(np.std(permuted))
    return float((observed - np.mean(permuted)) / spread) if spread > 0 else 0.0
