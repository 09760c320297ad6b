"""feature_ablation and feature_permutation: a feature from elsewhere, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import InvalidInput, MethodNotApplicable
from explainsvc.features import superpixels
from explainsvc.methods.feature_permutation import permutations
from tests import models
from tests.methods.by_hand import mixing_drops
from tests.models import Array, numbers

TARGETS = [2, 0, 1]


def scores(model: explainsvc.Model, feeds: dict[str, Array], targets: list[int]) -> Array:
    """The target logits in double precision."""
    y = next(iter(model.predict(feeds).values()))
    return np.asarray(y[np.arange(len(targets)), targets].astype(np.float64))


def ablated(model: explainsvc.Model, x: Array, mask: Array, absent: Array, targets: list[int]) -> Array:
    """S(x) − S(x with one feature absent), at every element of the feature: feature by feature, item by item."""
    found = np.zeros(x.shape)
    for i in range(len(x)):
        for j in np.unique(mask[i]):
            changed = x[i : i + 1].copy()
            changed[0][mask[i] == j] = absent[i][mask[i] == j]
            drop = scores(model, {"x": x[i : i + 1]}, targets[i : i + 1]) - scores(model, {"x": changed}, targets[i : i + 1])
            found[i][mask[i] == j] = drop[0]
    return found


@pytest.mark.parametrize("base", [0.0, 0.7, numbers(4, seed=2)], ids=["zero", "number", "array"])
def test_a_linear_function_gets_its_terms(base: Any) -> None:
    """On x·w + b the ablation of an element is w (x − x′)."""
    x, w = numbers(3, 4), models.weights("w", 4, 3)
    found = explainsvc.load(models.linear()).explain({"x": x}, "feature_ablation", target=TARGETS, baseline=base).values["x"]
    np.testing.assert_allclose(found, w.T[TARGETS] * (x - base), rtol=1e-4, atol=1e-6)


def test_background_rows_are_averaged() -> None:
    """On x·w + b against rows of background data: w (x − mean of the rows)."""
    x, rows, w = numbers(3, 4), numbers(6, 4, seed=5), models.weights("w", 4, 3)
    found = explainsvc.load(models.linear()).explain({"x": x}, "feature_ablation", target=TARGETS, background=rows).values["x"]
    np.testing.assert_allclose(found, w.T[TARGETS] * (x - rows.mean(axis=0)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 5, 64])
@pytest.mark.parametrize("spec", ["superpixel", "pixel", "blocks"])
def test_features_of_images_are_a_plain_loop(spec: str, batch_size: int) -> None:
    """Superpixels of each item, pixels, and blocks that a user numbers, each covered on its own."""
    model, x = explainsvc.load(models.cnn()), numbers(3, 2, 8, 8)
    blocks = np.array([[10, 10, 3, 3], [7, 7, 7, 1]]).repeat(4, 0).repeat(2, 1)
    masks = {
        "superpixel": np.stack([superpixels(item) for item in x]),
        "pixel": np.broadcast_to(np.arange(64).reshape(8, 8), x.shape),
        "blocks": np.broadcast_to(blocks, x.shape),
    }
    given = blocks if spec == "blocks" else spec
    found = model.explain({"x": x}, "feature_ablation", TARGETS, feature_mask=given, baseline=0.2, batch_size=batch_size)
    expected = ablated(model, x, masks[spec], np.full(x.shape, 0.2, np.float32), TARGETS)
    np.testing.assert_allclose(found.values["x"], expected, rtol=1e-4, atol=1e-6)


def test_groups_span_inputs() -> None:
    """A feature with elements in two inputs is absent from both at once: p falls from b ⊙ (tanh(a·w) + 1) to 0."""
    model, a, b = explainsvc.load(models.two_by_two()), numbers(2, 3), numbers(2, 2)
    features = {"a": np.array([0, 0, 0]), "b": np.array([0, 1])}
    found = model.explain({"a": a, "b": b}, "feature_ablation", target=0, feature_mask=features).values
    p = b[:, :1] * (np.tanh(a @ models.weights("wa", 3, 2))[:, :1] + 1)
    np.testing.assert_allclose(found["a"], np.tile(p, (1, 3)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["b"], np.concatenate([p, np.zeros_like(p)], axis=1), rtol=1e-4, atol=1e-6)


def test_tokens_give_way_to_a_baseline_id() -> None:
    """Integer ids: tanh of a sum of rows of the table, one row exchanged for that of the baseline id."""
    ids, table = np.array([[1, 4, 4, 9, 0], [3, 2, 7, 7, 5]]), models.weights("table", 10, 3)
    model = explainsvc.load(models.embedding())
    found = model.explain({"ids": ids}, "feature_ablation", target=[2, 1], baseline=6).values["ids"]
    total = table[ids].sum(axis=1)
    for i, k in ((0, 2), (1, 1)):
        expected = [np.tanh(total[i, k]) - np.tanh(total[i, k] - table[t, k] + table[6, k]) for t in ids[i]]
        np.testing.assert_allclose(found[i], expected, rtol=1e-4, atol=1e-6)


def test_trees_are_ablated() -> None:
    """x₀ = 1 covered by 0 leaves class 2 for class 0; x₁ matters for class 1 only below −1."""
    x = np.array([[1, 2], [1, -2], [0, -2]], np.float32)
    found = explainsvc.load(models.trees()).explain({"x": x}, "feature_ablation", target=[2, 1, 0]).values["x"]
    np.testing.assert_array_equal(found, [[1, 0], [1, 1], [0, 0]])


def test_models_without_batch_axis_are_ablated() -> None:
    """The one item of a model whose axes count none."""
    x, w = numbers(5), models.weights("w", 5, 3)
    found = explainsvc.load(models.without_batch()).explain({"x": x}, "feature_ablation", target=1).values["x"]
    expected = [np.tanh(x @ w)[1] - np.tanh(np.where(np.arange(5) == j, 0, x) @ w)[1] for j in range(5)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_an_input_that_all_items_share_gets_their_sum() -> None:
    """The factor k of k (x·w)² absent: every item loses its whole value, k all of them."""
    x, k, w = numbers(2, 3), np.array([1.5], np.float32), models.weights("w", 3, 2)
    found = explainsvc.load(models.scaled()).explain({"x": x, "k": k}, "feature_ablation", target=[0, 1]).values
    whole = 1.5 * (x @ w)[[0, 1], [0, 1]] ** 2
    np.testing.assert_allclose(found["k"], [whole.sum()], rtol=1e-4)
    expected = whole[:, None] - 1.5 * np.stack([((x - np.eye(3)[j] * x) @ w)[[0, 1], [0, 1]] ** 2 for j in range(3)], axis=1)
    np.testing.assert_allclose(found["x"], expected, rtol=1e-4, atol=1e-6)


def test_items_that_mix_stay_together() -> None:
    """Where an item's result depends on its neighbours, variations are not stacked: softmax over the items, by hand."""
    x = numbers(3, 4)
    found = explainsvc.load(models.mixing()).explain({"x": x}, "feature_ablation", target=1, batch_size=64).values["x"]
    np.testing.assert_allclose(found, mixing_drops(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("items", "samples"), [(2, 10), (5, 4), (5, 2), (7, 100)])
def test_no_item_keeps_its_feature_or_meets_another_twice(items: int, samples: int) -> None:
    """Each permutation moves every item; over all of them an item meets different ones."""
    found = np.stack(permutations(items, samples, 3))
    assert len(found) == min(samples, items - 1)
    assert (np.sort(found, axis=1) == np.arange(items)).all()
    assert (found != np.arange(items)).all()
    assert [len(set(column)) for column in found.T] == [len(found)] * items


@pytest.mark.parametrize("samples", [4, 50])
def test_permutation_is_the_mean_over_all_other_items(samples: int) -> None:
    """With as many repeats as other items: S(x) − mean of S(x with the feature of each other item), whatever the seed."""
    model, x, targets = explainsvc.load(models.mlp()), numbers(5, 6), [0, 2, 1, 1, 0]
    groups = np.array([0, 0, 1, 2, 2, 2])
    expected = np.zeros(x.shape)
    for i in range(5):
        for j in range(3):
            others = [np.where(groups == j, x[k], x[i]) for k in range(5) if k != i]
            drops = scores(model, {"x": x[i : i + 1]}, targets[i : i + 1]) - scores(
                model, {"x": np.stack(others)}, [targets[i]] * 4
            )
            expected[i][groups == j] = drops.mean()
    for seed in (0, 1):
        found = model.explain(
            {"x": x}, "feature_permutation", targets, seed=seed, samples=samples, feature_mask=groups, batch_size=7
        )
        np.testing.assert_allclose(found.values["x"], expected, rtol=1e-4, atol=1e-6)
        assert found.parameters["samples"] == 4


def test_few_permutations_follow_the_seed() -> None:
    """Fewer repeats than other items: one of the permutations by hand; another seed, another result."""
    model, x = explainsvc.load(models.linear()), numbers(6, 4)
    w = models.weights("w", 4, 3)[:, 1]
    found = [model.explain({"x": x}, "feature_permutation", 1, seed=s, samples=2).values["x"] for s in (4, 4, 5)]
    partners = permutations(6, 2, 4)
    np.testing.assert_allclose(found[0], w * (x - (x[partners[0]] + x[partners[1]]) / 2), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 0.1


def test_trees_and_tokens_are_permuted() -> None:
    """Two items exchange one feature: by the tree's own rules, and by rows of the table."""
    x = np.array([[1, 2], [0, -2]], np.float32)
    found = explainsvc.load(models.trees()).explain({"x": x}, "feature_permutation", target=[2, 0]).values["x"]
    np.testing.assert_array_equal(found, [[1, 1], [1, 0]])
    ids, table = np.array([[1, 4, 4, 9, 0], [3, 2, 7, 7, 5]]), models.weights("table", 10, 3)
    found = explainsvc.load(models.embedding()).explain({"ids": ids}, "feature_permutation", target=2).values["ids"]
    total = table[ids].sum(axis=1)[:, 2:]
    expected = np.tanh(total) - np.tanh(total - table[ids, 2] + table[ids[::-1], 2])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_permutation_needs_items() -> None:
    """One item, a model without items and an input that they share are refused, each by name."""
    with pytest.raises(InvalidInput, match=r'inputs\["x"\].*two items'):
        explainsvc.load(models.mlp()).explain({"x": numbers(1, 6)}, "feature_permutation")
    with pytest.raises(MethodNotApplicable, match=r'input "x".*axis 0'):
        explainsvc.load(models.without_batch()).explain({"x": numbers(5)}, "feature_permutation", target=0)
    feeds = {"x": numbers(2, 3), "k": np.ones(1, np.float32)}
    with pytest.raises(MethodNotApplicable, match='input "k"'):
        explainsvc.load(models.scaled()).explain(feeds, "feature_permutation", target=0)
    found = explainsvc.load(models.scaled()).explain(feeds, "feature_permutation", target=0, inputs=["x"])
    assert found.values["x"].shape == (2, 3)
