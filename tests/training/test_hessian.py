"""Hessian-vector products and the two solvers against the dense Hessian, and what they say where they fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from explainsvc.autograd.shapes import Array
from explainsvc.training.data import Data
from explainsvc.training.gradients import how_per_item, objective, per_item_gradients
from explainsvc.training.hessian import ConjugateGradients, Lissa, System
from explainsvc.training.losses import task
from tests.training.influence_models import fitted, perceptron, points, trainable

CLASSES = task("cross_entropy")


def system(damping: float, trained: bool = True, batch: int = 7) -> System:
    """A perceptron on 30 points."""
    data = points(30)
    own = fitted(perceptron(), data, 0.1) if trained else perceptron()
    return System(objective(own, data, CLASSES), data, damping, batch)


def dense(asked: System) -> Array:
    """H + λI by torch.autograd.functional.hessian, over all items at once."""
    feeds, labels = asked.function.items(asked.data, slice(None))
    hessian = torch.autograd.functional.hessian(lambda t: asked.function.losses(t, feeds, labels).mean(), asked.function.theta)
    return np.asarray(hessian.numpy() + asked.damping * np.eye(len(hessian)))


def vectors(asked: System, count: int = 3) -> torch.Tensor:
    """Random rows."""
    return torch.from_numpy(np.random.default_rng(0).normal(size=(count, len(asked.function.theta))))


@pytest.mark.parametrize("batch", [1, 7, 30])
def test_products_in_batches_are_those_with_the_dense_hessian(batch: int) -> None:
    """The last batch is smaller, and counts for as many items as it has."""
    asked = system(0.3, trained=False, batch=batch)
    v = vectors(asked)
    np.testing.assert_allclose(asked.product(v).numpy(), v.numpy() @ dense(asked), rtol=1e-9, atol=1e-12)


def test_a_sample_of_all_items_is_the_mean() -> None:
    """The stochastic product over every item is the product."""
    asked = system(0.3, trained=False)
    v = vectors(asked)
    torch.testing.assert_close(asked.sampled(v, np.arange(30)), asked.product(v))


def test_conjugate_gradients_solve_the_dense_system() -> None:
    """x, residual and no caveat; a row of zeros is solved by zeros."""
    asked = system(0.1)
    v = torch.cat([vectors(asked), torch.zeros(1, len(asked.function.theta), dtype=torch.float64)])
    found = ConjugateGradients(tolerance=1e-10).solve(asked, v)
    np.testing.assert_allclose(found.x, np.linalg.solve(dense(asked), v.numpy().T).T, rtol=1e-6, atol=1e-8)
    assert (found.residual < 1e-9).all()
    assert (found.iterations[:3] > 1).all()
    assert found.iterations[3] == 0
    assert found.caveats == ()


def test_lissa_of_all_items_solves_the_dense_system() -> None:
    """Without sampling the recursion is a Neumann series; it converges to the same x whatever the scale."""
    asked = system(0.5)
    v = vectors(asked)
    expected = np.linalg.solve(dense(asked), v.numpy().T).T
    for scale in (2.0, 4.0):
        found = Lissa(scale=scale, depth=250, samples=30).solve(asked, v)
        np.testing.assert_allclose(found.x, expected, rtol=1e-3, atol=1e-4)
        assert found.caveats == ()
        assert (found.change < 1e-2).all()


def test_lissa_repeats_with_its_seed() -> None:
    """The same seed gives the same bits, another seed other samples; the mean of repeats is nearer to the truth."""
    asked = system(0.1)
    v = vectors(asked)
    expected = np.linalg.solve(dense(asked), v.numpy().T).T
    one, again, other = (Lissa(scale=4, depth=100, samples=4, seed=seed).solve(asked, v) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.x, again.x)
    assert not np.array_equal(one.x, other.x)
    several = Lissa(scale=4, depth=100, samples=4, repeats=4).solve(asked, v)
    assert np.linalg.norm(several.x - expected) < np.linalg.norm(one.x - expected)


def test_lissa_that_still_moves_says_so() -> None:
    """Ten iterations leave most of v unaccounted for."""
    found = Lissa(scale=10, depth=10, samples=30).solve(system(0.01), vectors(system(0.01)))
    assert (found.residual > 0.1).all()
    assert any("not converged" in caveat for caveat in found.caveats)


def test_lissa_that_diverges_says_so() -> None:
    """A scale far below the largest eigenvalue."""
    asked = system(0.1)
    found = Lissa(scale=0.01, depth=300, samples=30).solve(asked, vectors(asked))
    assert any("not converged" in caveat for caveat in found.caveats)


def test_a_hessian_that_is_not_positive_is_said() -> None:
    """Far from a minimum H has negative eigenvalues; small damping leaves them, damping above the lowest does not."""
    lowest = np.linalg.eigvalsh(dense(system(0.0, trained=False)))[0]
    assert lowest < -1e-3
    small, large = system(-lowest / 10, trained=False), system(-2 * lowest, trained=False)
    for solver in (ConjugateGradients(), Lissa(scale=4, depth=1000, samples=30)):
        assert any("not positive" in caveat for caveat in solver.solve(small, vectors(small)).caveats)
    assert not any("not positive" in caveat for caveat in ConjugateGradients().solve(large, vectors(large)).caveats)


class Deciding(nn.Module):
    """Looks at its numbers for its course: torch.func.vmap cannot."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Twice x, where its first number is positive."""
        return 2 * x if x.flatten()[0].item() > 0 else x


def test_gradients_one_by_one_are_those_together() -> None:
    """Where a module cannot be vectorised the loop is taken, and says so; where it can, both give torch's own gradients."""
    torch.manual_seed(0)
    layer, data = nn.Linear(5, 3, dtype=torch.float64), points(6)
    for own, how in (
        (trainable([("layer", layer)]), "vmap"),
        (trainable([("layer", layer), ("deciding", Deciding())]), "loop"),
    ):
        function = objective(own, data, CLASSES)
        assert how_per_item(function, data) == how
        found = per_item_gradients(function, *function.items(data, slice(None)), how_per_item(function, data))
        for item in range(6):
            own.module.zero_grad()
            single = Data({"x": data.inputs["x"][[item]]}, data.labels[[item]])
            logits = own.module(torch.from_numpy(single.inputs["x"]))
            nn.functional.cross_entropy(logits, torch.from_numpy(single.labels)).backward()
            expected = torch.cat([p.grad.flatten() for p in own.module.parameters() if p.grad is not None])
            torch.testing.assert_close(found[item], expected)
