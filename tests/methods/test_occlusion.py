"""occlusion: exact where functions are additive, a plain loop elsewhere, and trees too."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.methods.occlusion import Params, positions, sizes
from tests import models
from tests.methods.by_hand import mixing_drops
from tests.models import Array, numbers


def test_an_additive_function_gets_its_terms() -> None:
    """On x·w + b, covering one element changes S by w (x − x′): exactly the attribution."""
    x, w = numbers(3, 4), models.weights("w", 4, 3)
    model = explainsvc.load(models.linear())
    for base in (0.0, 0.7, numbers(4, seed=2)):
        found = model.explain({"x": x}, "occlusion", target=[0, 1, 2], baseline=base).values["x"]
        np.testing.assert_allclose(found, w.T * (x - base), rtol=1e-4, atol=1e-6)


def test_trees_are_explained() -> None:
    """No gradient needed: covering x₀ = 1 by 0 leaves class 2 for class 0; x₁ matters for class 1 only below −1."""
    model = explainsvc.load(models.trees())
    x = np.array([[1, 2], [1, -2], [0, -2]], np.float32)
    found = model.explain({"x": x}, "occlusion", target=[2, 1, 0]).values["x"]
    np.testing.assert_array_equal(found, [[1, 0], [1, 1], [0, 0]])


def loop(x: Array, model: explainsvc.Model, target: int, window: tuple[int, ...], stride: tuple[int, ...], base: float) -> Array:
    """S(x) − S(covered) per window, averaged over the windows on an element: slow and plain."""
    total, count = np.zeros(x.shape), np.zeros(x.shape)
    starts = []
    for n, w, s in zip(x.shape[1:], window, stride, strict=True):
        axis = list(range(0, n - w + 1, s))
        starts.append(axis + ([n - w] if axis[-1] != n - w else []))
    before = model.predict({"x": x})["y"][:, target].astype(np.float64)
    for corner in product(*starts):
        where = (slice(None), *(slice(c, c + w) for c, w in zip(corner, window, strict=True)))
        covered = x.copy()
        covered[where] = base
        drop = before - model.predict({"x": covered})["y"][:, target]
        total[where] += drop[:, None, None, None]
        count[where] += 1
    return np.asarray(total / count)


WINDOWS: list[tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = [
    ({}, (2, 2, 2), (2, 1, 1)),
    ({"window": 3}, (2, 3, 3), (2, 2, 2)),
    ({"window": 3, "stride": 1}, (2, 3, 3), (2, 1, 1)),
    ({"window": [1, 4, 3], "stride": [1, 4, 3]}, (1, 4, 3), (1, 4, 3)),
    ({"window": [2, 5, 5], "stride": [2, 5, 5]}, (2, 5, 5), (2, 5, 5)),
]


@pytest.mark.parametrize(("options", "window", "stride"), WINDOWS)
def test_windows_are_a_plain_loop(options: dict[str, Any], window: tuple[int, ...], stride: tuple[int, ...]) -> None:
    """Every window and stride gives what a loop over positions gives, overlaps and borders included."""
    model, x = explainsvc.load(models.cnn()), numbers(2, 2, 8, 8)
    found = model.explain({"x": x}, "occlusion", target=1, baseline=0.1, batch_size=10, **options).values["x"]
    np.testing.assert_allclose(found, loop(x, model, 1, window, stride, 0.1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("shape", "window", "stride"), [
    ((3, 224, 224), (3, 15, 15), (3, 8, 8)), ((224, 224, 3), (15, 15, 3), (8, 8, 3)), ((7,), (1,), (1,)),
    ((5, 4), (1, 1), (1, 1)), ((1, 8, 8), (1, 2, 2), (1, 1, 1)),
])  # fmt: skip
def test_default_windows(shape: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...]) -> None:
    """A quarter of an image up to 15 pixels, half overlapping, with all channels; single elements of anything else."""
    assert sizes(shape, Params()) == (window, stride)


@pytest.mark.parametrize(("shape", "window", "stride"), [((10,), (3,), (2,)), ((7, 5), (4, 5), (3, 9)), ((4,), (1,), (4,))])
def test_every_element_is_covered(shape: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...]) -> None:
    """Windows lie inside and leave no gap, whatever the stride."""
    count = np.zeros(shape)
    for where in positions(shape, window, stride):
        assert count[where].shape == window
        count[where] += 1
    assert count.min() >= 1


def test_other_inputs_stay_as_they_are() -> None:
    """Of two inputs each is covered on its own: p = b ⊙ (tanh(a·w) + 1) falls to 0 with b, to b with all of a."""
    model = explainsvc.load(models.two_by_two())
    a, b = numbers(2, 3), numbers(2, 2)
    found = model.explain({"a": a, "b": b}, "occlusion", target=0, window=3).values
    p = b[:, :1] * (np.tanh(a @ models.weights("wa", 3, 2))[:, :1] + 1)
    np.testing.assert_allclose(found["b"], np.tile(p, (1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["a"], np.tile(p - b[:, :1], (1, 3)), rtol=1e-4, atol=1e-6)


def test_tokens_and_models_without_batch_axis() -> None:
    """Ids give way to the baseline id one by one; the elements of a model without items to 0."""
    ids, table = np.array([[1, 4, 4, 9, 0], [3, 2, 7, 7, 5]]), models.weights("table", 10, 3)
    found = explainsvc.load(models.embedding()).explain({"ids": ids}, "occlusion", target=[2, 1], baseline=6).values["ids"]
    total = table[ids].sum(axis=1)
    for i, k in ((0, 2), (1, 1)):
        expected = [np.tanh(total[i, k]) - np.tanh(total[i, k] - table[t, k] + table[6, k]) for t in ids[i]]
        np.testing.assert_allclose(found[i], expected, rtol=1e-4, atol=1e-6)
    x, w = numbers(5), models.weights("w", 5, 3)
    found = explainsvc.load(models.without_batch()).explain({"x": x}, "occlusion", target=1).values["x"]
    expected = [np.tanh(x @ w)[1] - np.tanh(np.where(np.arange(5) == j, 0, x) @ w)[1] for j in range(5)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_an_input_that_all_items_share_gets_their_sum() -> None:
    """The factor k of k (x·w)² covered: all items lose their values."""
    x, k, w = numbers(2, 3), np.array([1.5], np.float32), models.weights("w", 3, 2)
    found = explainsvc.load(models.scaled()).explain({"x": x, "k": k}, "occlusion", target=[0, 1], inputs=["k"]).values["k"]
    np.testing.assert_allclose(found, [(1.5 * (x @ w)[[0, 1], [0, 1]] ** 2).sum()], rtol=1e-4)


def test_items_that_mix_stay_together() -> None:
    """Where an item's result depends on its neighbours, the covered batch runs whole: softmax over the items, by hand."""
    x = numbers(3, 4)
    found = explainsvc.load(models.mixing()).explain({"x": x}, "occlusion", target=1, batch_size=64).values["x"]
    np.testing.assert_allclose(found, mixing_drops(x), rtol=1e-4, atol=1e-6)
