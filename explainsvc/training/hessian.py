"""(H + λI)⁻¹v, H the Hessian of a mean loss: products with it in batches, conjugate gradients, and LiSSA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from explainsvc.autograd.shapes import Array
from explainsvc.training.data import Data
from explainsvc.training.gradients import Objective
from explainsvc.training.losses import batches
from explainsvc.training.trainable import Tensors
from explainsvc.weights import seed_sequence

Product = Callable[[Tensor], Tensor]
"""v [vector, parameter] → (H + λI)v of each, float64."""
LISSA_RESIDUAL, LISSA_CHANGE = 0.1, 0.05
"""Above them LiSSA says that it has not converged: a tenth of v is not accounted for, or x still moves by a twentieth."""


@dataclass(frozen=True)
class System:
    """(H + λI)x = v, with H the Hessian of the mean of L(z, θ) over the items.

    Attributes:
        function: L.
        data: The items.
        damping: λ: also what an objective with the penalty λ/2·‖θ‖² adds to its Hessian.
        batch: Items that are computed at once.
    """

    function: Objective = field(repr=False)
    data: Data = field(repr=False)
    damping: float
    batch: int

    def product(self, v: Tensor) -> Tensor:
        """(H + λI)v over all items, float64 [vector, parameter]."""
        total = torch.zeros_like(v)
        for items in batches(self.data, self.batch):
            total += hessian_products(self.function, *self.function.items(self.data, items), v)
        return total / len(self.data) + self.damping * v

    def sampled(self, v: Tensor, items: Array) -> Tensor:
        """The same over a sample of the items."""
        found = hessian_products(self.function, *self.function.items(self.data, items), v)
        return found / len(items) + self.damping * v


def hessian_products(function: Objective, feeds: Tensors, labels: Tensor, v: Tensor) -> Tensor:
    """∇²θ(Σ L)·v by double backward (Pearlmutter 1994) for every row of v, float64 [vector, parameter]."""
    theta = function.theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function.losses(theta, feeds, labels).sum(), theta, create_graph=True)
    rows = [torch.autograd.grad(gradient, theta, row.to(theta), retain_graph=True)[0] for row in v]
    return torch.stack(rows).double()


@dataclass(frozen=True)
class Solution:
    """x ≈ (H + λI)⁻¹v for every v.

    Attributes:
        x: float64 [vector, parameter].
        residual: ‖v − (H + λI)x‖ / ‖v‖ with all items, [vector].
        iterations: That each took, [vector].
        change: LiSSA's: how far x moved in the last tenth of its iterations, as a share of ‖x‖, [vector]; NaN of conjugate
            gradients.
        caveats: What did not converge, and where H + λI is not positive.
    """

    x: Array = field(repr=False)
    residual: Array
    iterations: Array
    change: Array
    caveats: tuple[str, ...]


class Solver(Protocol):
    """A way to (H + λI)⁻¹v."""

    def solve(self, system: System, v: Tensor) -> Solution:
        """Of every row of v, [vector, parameter]."""


@dataclass(frozen=True)
class ConjugateGradients:
    """Conjugate gradients (Hestenes & Stiefel 1952; Martens 2010) on all items, until the residual is ``tolerance`` times ‖v‖."""

    iterations: int = 100
    tolerance: float = 1e-5

    def solve(self, system: System, v: Tensor) -> Solution:
        """Of every row of v; a row stops where (H + λI) is not positive along its direction, and keeps what it had."""
        x, taken, negative = self._iterate(system.product, v)
        residual, _ = _held_against(system, x, v)
        open_ = [int(i) for i in torch.nonzero(~(residual <= 10 * self.tolerance))]
        caveats = [
            *_said(negative, "H + damping is not positive: conjugate gradients stopped there; raise the damping"),
            *_said(open_, f"conjugate gradients have not converged after {int(taken.max())} iterations: see the residual"),
        ]
        return Solution(x.numpy(), residual.numpy(), taken.numpy(), np.full(len(v), np.nan), tuple(caveats))

    def _iterate(self, product: Product, v: Tensor) -> tuple[Tensor, Tensor, list[int]]:
        """x, iterations of each row, and the rows along which the product is not positive."""
        x, r, p = torch.zeros_like(v), v.clone(), v.clone()
        rho, aim = _dot(r, r), self.tolerance**2 * _dot(v, v)
        taken = torch.zeros(len(v), dtype=torch.int64)
        negative: set[int] = set()
        for _ in range(self.iterations):
            going = [i for i in range(len(v)) if rho[i] > aim[i] and i not in negative]
            if not going:
                break
            Ap = product(p[going])
            curvature = _dot(p[going], Ap)
            negative |= {i for i, c in zip(going, curvature.tolist(), strict=True) if not c > 0}
            for i, c, row in zip(going, curvature, Ap, strict=True):
                if i in negative:
                    continue
                alpha = rho[i] / c
                x[i] += alpha * p[i]
                r[i] -= alpha * row
                new = r[i] @ r[i]
                p[i] = r[i] + new / rho[i] * p[i]
                rho[i] = new
                taken[i] += 1
        return x, taken, sorted(negative)


@dataclass(frozen=True)
class Lissa:
    """LiSSA (Agarwal et al. 2017; Koh & Liang 2017, section 3): x ← v + (I − (H_s + λI)/scale)·x, H_s of a sample of the items.

    Damping is inside the scale, so that conjugate gradients solve the same system; Koh & Liang's code has it outside.

    Attributes:
        scale: Larger than the largest eigenvalue of any H_s + λI, or x diverges.
        depth: Iterations; slow directions need scale/λ of them, several times.
        samples: Items of each H_s, drawn without replacement; all of them, in order, where there are no more.
        repeats: Runs with other samples, whose mean is taken.
        seed: Of the samples.
    """

    scale: float = 10.0
    depth: int = 10_000
    samples: int = 64
    repeats: int = 1
    seed: int = 0

    def solve(self, system: System, v: Tensor) -> Solution:
        """Of every row of v, all with the same samples."""
        runs = [self._run(system, v, repeat) for repeat in range(self.repeats)]
        x, before = (torch.stack(part).mean(dim=0) / self.scale for part in zip(*runs, strict=True))
        change = _share((x - before).norm(dim=1), x)
        residual, curvature = _held_against(system, x, v)
        negative = [int(i) for i in torch.nonzero(curvature < 0)]
        moving = [int(i) for i in torch.nonzero(~((residual <= LISSA_RESIDUAL) & (change <= LISSA_CHANGE)))]
        caveats = [
            *_said(negative, "H + damping is not positive along LiSSA's x; raise the damping"),
            *_said(moving, "LiSSA has not converged: see residual and change; raise scale, depth, samples, repeats or damping"),
        ]
        return Solution(x.numpy(), residual.numpy(), np.full(len(v), self.depth), change.numpy(), tuple(caveats))

    def _run(self, system: System, v: Tensor, repeat: int) -> tuple[Tensor, Tensor]:
        """scale·x at the end, and as it was a tenth of the iterations before; the last finite one where it diverges."""
        rng = np.random.default_rng(seed_sequence(self.seed, f"lissa/{repeat}"))
        x = early = v
        for step in range(self.depth):
            if step == self.depth - self.depth // 10:
                early = x
            new = v + x - system.sampled(x, self._sample(rng, len(system.data))) / self.scale
            if not bool(torch.isfinite(new).all()):
                break
            x = new
        return x, early

    def _sample(self, rng: np.random.Generator, items: int) -> Array:
        return np.arange(items) if self.samples >= items else rng.choice(items, self.samples, replace=False)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=1)


def _held_against(system: System, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """‖v − (H + λI)x‖ / ‖v‖, computed anew since what an iteration carries along drifts, and xᵀ(H + λI)x / xᵀx."""
    length = x.norm(dim=1, keepdim=True)
    unit = torch.where(length > 0, x / length, x)
    product = system.product(unit)
    return _share((v - length * product).norm(dim=1), v), _dot(unit, product)


def _share(lengths: Tensor, of: Tensor) -> Tensor:
    """Of the rows' own lengths; 0 of nothing is 0."""
    return torch.where(lengths == 0, lengths, lengths / of.norm(dim=1))


def _said(rows: list[int], words: str) -> list[str]:
    """One caveat for the rows that it is true of."""
    shown = ", ".join(map(str, rows[:8])) + (" …" if len(rows) > 8 else "")
    return [f"{words} (test points {shown})"] if rows else []
