"""What methods that integrate the gradient along a path share: the sum over its points, the straight line, quadrature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import tee

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.engine import gradients
from explainsvc.errors import MethodNotApplicable
from explainsvc.features import result_type
from explainsvc.method import Request
from explainsvc.variations import per_variation, split_array, split_values, target_values

Step = tuple[Mapping[str, Array], Mapping[str, Array]]
"""A point of a path, and the weight of every element of the gradient there: the path's velocity times the length of the step."""


def along(request: Request, path: Iterable[Step], batch_size: int) -> Iterator[dict[str, Array]]:
    """velocity ⊙ ∂S(point) for every step of a path, in order; the points are computed where they are needed."""
    ahead, behind = tee(path)
    points = ({n: np.asarray(point[n], result_type(request.feeds[n])) for n in request.wanted} for point, _ in ahead)
    slopes = per_variation(request, points, gradients, split_values, batch_size)
    for (_, velocity), slope in zip(behind, slopes, strict=True):
        require_finite(slope)
        yield {n: velocity[n] * slope[n] for n in request.wanted}


def require_finite(slopes: Mapping[str, Array]) -> None:
    """A path may lead through points where the model has no derivative: the norm of 0, the logarithm of 0.

    Raises:
        MethodNotApplicable: A gradient on the path is infinite or no number.
    """
    for name, slope in slopes.items():
        if not np.isfinite(slope).all():
            raise MethodNotApplicable(
                "the gradient is not finite at a point of the path, most often at the baseline", where=f'input "{name}"',
                expected="a path along which the model has a derivative",
                to_do="Give another baseline, such as a small number in place of 0",
            )  # fmt: skip


def summed(request: Request, terms: Iterable[Mapping[str, Array]], count: int, owner: str) -> dict[str, Array]:
    """The sum of ``count`` terms, float64, with progress told in the name of the method."""
    total = {n: np.zeros(request.feeds[n].shape) for n in request.wanted}
    for k, term in enumerate(terms):
        for name in total:
            total[name] += term[name]
        request.progress(k + 1, count, owner)
    return total


def straight_lines(
    request: Request, rows: Sequence[Mapping[str, Array]], rule: str, steps: int, batch_size: int, owner: str
) -> dict[str, Array]:
    """Mean over the rows x′ of (x − x′) ⊙ Σ_k w_k ∂S(x′ + α_k (x − x′)) (Sundararajan et al. 2017, equation 3), float64."""
    nodes, weights = quadrature(rule, steps)

    def path() -> Iterator[Step]:
        for row in rows:
            gap = differences(request.feeds, row, request.wanted)
            for alpha, weight in zip(nodes, weights / len(rows), strict=True):
                yield {n: row[n] + alpha * gap[n] for n in gap}, {n: weight * gap[n] for n in gap}

    return summed(request, along(request, path(), batch_size), len(rows) * steps, owner)


def differences(x: Mapping[str, Array], start: Mapping[str, Array], names: Iterable[str]) -> dict[str, Array]:
    """x − x′ per input, float64."""
    return {n: x[n].astype(np.float64) - start[n].astype(np.float64) for n in names}


def mean_value(request: Request, rows: Sequence[Mapping[str, Array]], batch_size: int) -> Array:
    """The mean of S over the rows that stand for absent features, float64 [items]."""
    at_rows = per_variation(request, (dict(row) for row in rows), target_values, split_array, batch_size)
    return np.asarray(sum(at_rows) / len(rows))


def typed(values: Mapping[str, Array], request: Request) -> dict[str, Array]:
    """Float64 sums as the type of the input (float32 for half precision)."""
    return {n: v.astype(result_type(request.feeds[n])) for n, v in values.items()}


@lru_cache(maxsize=16)
def _gauss_legendre(steps: int) -> tuple[Array, Array]:
    """On [0, 1]; an eigenvalue problem of this size, as slow as a small network. Not to be written into."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    found = (nodes + 1) / 2, weights / 2
    for array in found:
        array.setflags(write=False)
    return found


def quadrature(rule: str, steps: int) -> tuple[Array, Array]:
    """Nodes and weights on [0, 1]; the weights sum to 1."""
    if rule == "gauss_legendre":
        return _gauss_legendre(steps)
    if rule == "trapezoid":
        if steps == 1:
            return np.array([0.5]), np.array([1.0])
        ends = np.ones(steps)
        ends[[0, -1]] = 0.5
        return np.linspace(0, 1, steps), ends / (steps - 1)
    offset = {"midpoint": 0.5, "left": 0.0, "right": 1.0}[rule]
    return (np.arange(steps) + offset) / steps, np.full(steps, 1 / steps)
