"""TracIn against a loop over items and checkpoints, and against the steps of a training that it traces."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidParameter
from explainsvc.training.losses import losses, task
from explainsvc.training.tracin import Snapshot, tracin
from explainsvc.training.trainable import Trainable
from tests.training.influence_models import perceptron, points

CLASSES = task("cross_entropy")
RATES = (0.3, 0.1)


def weights(seed: int) -> Mapping[str, Array]:
    """Of a perceptron from another seed."""
    return perceptron(seed=seed).weights()


def gradient(own: Trainable, x: Array, y: int, names: list[str]) -> Array:
    """Of one item's loss, by torch alone."""
    own.module.zero_grad()
    F.cross_entropy(own.module(torch.from_numpy(x[None])), torch.tensor([y])).backward()
    learned = dict(own.module.named_parameters())
    return np.concatenate([learned[name].grad.numpy().ravel() for name in names])


@pytest.mark.parametrize(
    ("layers", "names"), [("all", ["first.weight", "first.bias", "last.weight", "last.bias"]), (1, ["last.weight", "last.bias"])]
)
def test_tracin_is_the_sum_of_gradient_products(layers: str | int, names: list[str]) -> None:
    """Σ rate·∇L(z)ᵀ∇L(z_test), item by item and checkpoint by checkpoint."""
    train, test = points(11), points(3, seed=1)
    expected = np.zeros((3, 11))
    for seed, rate in enumerate(RATES):
        own = perceptron(seed=seed)
        of_train, of_test = (
            np.stack([gradient(own, x, int(y), names) for x, y in zip(data.inputs["x"], data.labels, strict=True)])
            for data in (train, test)
        )
        expected += rate * of_test @ of_train.T
    own = perceptron(seed=5)
    before = own.weights()
    checkpoints = [Snapshot(weights(seed), rate) for seed, rate in enumerate(RATES)]
    found = tracin(own, checkpoints, train, test, CLASSES, layers=layers, batch=4)
    np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-12)
    assert list(found.parameters) == names
    assert all(np.array_equal(array, before[name]) for name, array in own.weights().items())


def test_tracin_is_the_decrease_of_the_test_loss_by_a_step() -> None:
    """One small step of gradient descent on a training point lowers the test losses by its values; helpful points lower most."""
    own, train, test, rate = perceptron(), points(4), points(2, seed=1), 1e-5
    found = tracin(own, [Snapshot(own.weights(), rate)], train, test, CLASSES)
    before = losses(own, test, CLASSES)
    seen = np.empty((2, 4))
    for item in range(4):
        stepped = perceptron()
        names = [name for name, _ in stepped.module.named_parameters()]
        step = torch.from_numpy(rate * gradient(stepped, train.inputs["x"][item], int(train.labels[item]), names))
        vector = torch.nn.utils.parameters_to_vector(stepped.module.parameters())
        torch.nn.utils.vector_to_parameters(vector - step, stepped.module.parameters())
        seen[:, item] = before - losses(stepped, test, CLASSES)
    np.testing.assert_allclose(found.values, seen, rtol=1e-3, atol=1e-9)
    np.testing.assert_array_equal(found.helpful(1)[:, 0], seen.argmax(axis=1))
    np.testing.assert_array_equal(found.harmful(1)[:, 0], seen.argmin(axis=1))


def test_checkpoints_that_do_not_fit_are_refused() -> None:
    """None, weights of other names or shapes, a rate that is no positive number."""
    own, data = perceptron(), points(5)
    good = own.weights()
    for checkpoints, words in [
        ([], "no checkpoint"),
        ([Snapshot({"other": np.zeros(3)}, 0.1)], "other"),
        ([Snapshot({**good, "W/last.bias": np.zeros(7)}, 0.1)], r"W/last\.bias"),
        ([Snapshot(good, 0.1), Snapshot(good, float("nan"))], "checkpoint 1 has the rate"),
    ]:
        with pytest.raises(InvalidParameter, match=words):
            tracin(own, checkpoints, data, data, CLASSES)
