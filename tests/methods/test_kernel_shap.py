"""kernel_shap: exact when all coalitions are there, within its own standard error when not."""

from __future__ import annotations

from itertools import islice, product
from math import comb
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import InvalidParameter, MethodNotApplicable
from explainsvc.methods._kernel import choose, kernel
from tests import models
from tests.methods.games import by_permutations, game_of
from tests.models import Array, numbers


def explained(method: str, **options: Any) -> tuple[Any, Array]:
    """Two items on the network of six inputs against three rows, and their Shapley values by all 720 orders."""
    model, x, rows = explainsvc.load(models.mlp()), numbers(2, 6), numbers(3, 6, seed=5)
    mixed = [{"x": row[None]} for row in rows]
    games = [game_of(model, {"x": item[None]}, mixed, {"x": np.arange(6)[None]}, lambda o: o["y"][0, 1]) for item in x]
    found = model.explain({"x": x}, method, target=1, background=rows, **options)
    return found, np.array([by_permutations(v, 6) for v in games])


@pytest.mark.parametrize("method", ["kernel_shap", "exact_shap"])
def test_all_coalitions_give_the_shapley_values(method: str) -> None:
    """To float32 rounding of the model; v(∅) is the mean over the rows, and the sum is S(x) − v(∅)."""
    found, expected = explained(method)
    np.testing.assert_allclose(found.values["x"], expected, atol=1e-6)
    rows = explainsvc.load(models.mlp()).predict({"x": numbers(3, 6, seed=5)})["y"][:, 1]
    np.testing.assert_allclose(found.baseline_value, rows.mean(), rtol=1e-6)
    assert np.abs(found.residual).max() < 1e-12


def test_the_regression_is_the_papers() -> None:
    """Theorem 2 solved densely in its own form: weighted least squares on all coalitions, the last feature eliminated."""
    players, values = 5, numbers(32, seed=3).astype(float)
    z = np.array(list(product([0, 1], repeat=players)))
    inner = (z.sum(axis=1) > 0) & (z.sum(axis=1) < players)
    weight = np.array([kernel(players, int(k)) for k in z[inner].sum(axis=1)])
    reduced = z[inner][:, :-1] - z[inner][:, -1:]
    gap = values[-1] - values[0]
    y = values[inner] - values[0] - z[inner][:, -1] * gap
    phi = np.linalg.solve((reduced.T * weight) @ reduced, (reduced.T * weight) @ y)
    table = {frozenset(np.flatnonzero(row).tolist()): value for row, value in zip(z, values, strict=True)}
    np.testing.assert_allclose([*phi, gap - phi.sum()], by_permutations(table.__getitem__, players), atol=1e-10)


def test_the_standard_error_is_the_spread_over_seeds() -> None:
    """Of 40 runs on 20 pixels, the reported largest standard error is that of the runs, within the noise of their number."""
    model, x = explainsvc.load(models.cnn()), numbers(1, 2, 8, 8)
    mask = np.arange(64).reshape(8, 8) % 20
    runs = [model.explain({"x": x}, "kernel_shap", target=1, feature_mask=mask, samples=300, seed=s) for s in range(40)]
    spread = np.std([r.values["x"] for r in runs], axis=0, ddof=1)
    reported = np.mean([r.parameters["standard_error"][0] for r in runs])
    assert 0.6 < reported / spread.max() < 1.4
    assert max(float(np.abs(r.residual).max()) for r in runs) < 1e-12


def test_linear_models_need_no_luck() -> None:
    """Any coalitions that determine the regression give w (x − x′), with standard error 0."""
    x = numbers(3, 4)
    found = explainsvc.load(models.linear()).explain({"x": x}, "kernel_shap", target=[0, 1, 2], baseline=0.7, samples=10)
    np.testing.assert_allclose(found.values["x"], models.weights("w", 4, 3).T * (x - 0.7), rtol=1e-4, atol=1e-6)
    assert max(found.parameters["standard_error"]) < 1e-6


def test_sizes_are_enumerated_from_outside() -> None:
    """As in shap: sizes whose share of the kernel pays for all their coalitions are complete, the others drawn; no pair twice."""
    pairs = choose(12, 600, np.random.default_rng(0))
    chosen = [(tuple(z), w) for z, w in pairs]
    assert pairs.full == 2
    assert len({z for z, _ in chosen} | {tuple(not i for i in z) for z, _ in chosen}) == 2 * len(pairs) == 600
    np.testing.assert_allclose(sum(w for _, w in chosen), sum(comb(12, k) * kernel(12, k) for k in range(1, 12)) / 2)
    assert all(sum(z) <= 6 for z, _ in chosen)
    everything = choose(9, 2**9 - 2, np.random.default_rng(0))
    assert (everything.full, len(everything), len(everything.counts)) == (4, 2**8 - 1, 0)


def test_features_that_never_vary_are_dummies() -> None:
    """What equals the background gets exactly 0, and no coalition is spent on it."""
    x, rows = numbers(1, 6), numbers(3, 6, seed=5)
    rows[:, [1, 4]] = x[:, [1, 4]]
    found = explainsvc.load(models.mlp()).explain({"x": x}, "kernel_shap", background=rows)
    np.testing.assert_array_equal(found.values["x"][0, [1, 4]], 0)
    assert found.parameters["samples"] == 2**4 - 2


@pytest.mark.parametrize("method", ["kernel_shap", "exact_shap", "sampling_shap", "partition_shap"])
def test_nothing_and_one_feature(method: str) -> None:
    """x at its baseline is worth 0 everywhere; a single group is worth all of S(x) − v(∅)."""
    model, x = explainsvc.load(models.mlp()), numbers(2, 6)
    same = model.explain({"x": x}, method, target=1, baseline=x)
    np.testing.assert_array_equal(same.values["x"], 0)
    one = model.explain({"x": x}, method, target=1, feature_mask=[0] * 6)
    np.testing.assert_allclose(one.values["x"][:, 0], one.output_value - one.baseline_value, rtol=1e-6)


@pytest.mark.parametrize("method", ["kernel_shap", "exact_shap", "sampling_shap", "partition_shap"])
def test_elements_of_a_group_share_its_value(method: str) -> None:
    """The residual counts features once; the reader is told so; two inputs may share a feature."""
    model, feeds = explainsvc.load(models.two_by_two()), {"a": numbers(2, 3), "b": numbers(2, 2)}
    found = model.explain(feeds, method, target=0, feature_mask={"a": [0, 0, 1], "b": [1, 2]})
    a, b = found.values["a"], found.values["b"]
    np.testing.assert_array_equal(a[:, 0], a[:, 1])
    np.testing.assert_array_equal(a[:, 2], b[:, 0])
    sums = a[:, 0] + a[:, 2] + b[:, 1]
    np.testing.assert_allclose(sums, found.output_value - found.baseline_value, rtol=1e-5)
    assert np.abs(found.residual).max() < 1e-6
    assert any("features, not elements" in c for c in found.caveats)


@pytest.mark.parametrize("method", ["kernel_shap", "exact_shap", "sampling_shap", "partition_shap"])
def test_an_input_that_items_share_has_one_value(method: str) -> None:
    """S is then summed over the items, and so is the residual: y = k (x·w)²."""
    feeds = {"x": numbers(4, 3), "k": np.array([1.3], np.float32)}
    found = explainsvc.load(models.scaled()).explain(feeds, method, target=0)
    assert found.residual.shape == (1,)
    assert np.abs(found.residual).max() < 1e-5
    total = found.values["x"].sum() + found.values["k"].sum()
    np.testing.assert_allclose(total, found.output_value.sum(), rtol=1e-5)


@pytest.mark.parametrize("method", ["kernel_shap", "exact_shap", "sampling_shap", "partition_shap"])
def test_integers_without_a_batch_axis_and_trees(method: str) -> None:
    """Any model that onnxruntime runs: the sum over features is S(x) − v(∅)."""
    ids = np.array([[1, 2, 3, 4, 5]], np.int64)
    for proto, feeds, options in (
        (models.embedding(), {"ids": ids}, {"target": 1}),
        (models.without_batch(), {"x": numbers(5)}, {"target": (1,)}),
        (models.trees(), {"x": np.array([[1.0, 2.0]], np.float32)}, {"target": 2, "baseline": -2.0}),
    ):
        found = explainsvc.load(proto).explain(feeds, method, **options)
        (values,) = found.values.values()
        np.testing.assert_allclose(values.sum(), found.output_value - found.baseline_value, atol=1e-5)
        assert np.abs(values).max() > 0


def test_too_few_coalitions_and_too_many_features_are_refused() -> None:
    """By the parameter's name, with what would do."""
    model = explainsvc.load(models.cnn())
    with pytest.raises(InvalidParameter, match=r"samples.*at least 256"):
        model.explain({"x": numbers(1, 2, 8, 8)}, "kernel_shap", feature_mask="element", samples=60)
    text = "g (float[N, 5000] x) => (float[N, 1] y) { y = ReduceSum <keepdims = 1> (x, a) }"
    wide = explainsvc.load(models.build(text, {"a": np.array([1])}))
    with pytest.raises(MethodNotApplicable, match="superpixel"):
        wide.explain({"x": numbers(1, 5000)}, "kernel_shap")


def test_the_seed_decides() -> None:
    """The same seed repeats, another differs."""
    model, x = explainsvc.load(models.cnn()), numbers(1, 2, 8, 8)
    for method in ("kernel_shap", "sampling_shap"):
        options: dict[str, Any] = {"feature_mask": "pixel", "samples": 200} if method == "kernel_shap" else {"samples": 4}
        a, b, c = (model.explain({"x": x}, method, target=1, seed=s, **options).values["x"] for s in (1, 1, 2))
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - c).max() > 0


def test_coalitions_are_drawn_as_they_are_needed() -> None:
    """Pairs are a stream: of 200 features, with budget for all pairs, the single ones come first."""
    first = list(islice(choose(200, 50_000, np.random.default_rng(0)), 3))
    assert [int(z.sum()) for z, _ in first] == [1, 1, 1]


def test_a_target_that_is_not_finite_is_refused() -> None:
    """log of an absent feature: never NaN in a map."""
    text = "g (float[N, 2] x) => (float[N, 1] y) { l = Log (x)  y = ReduceSum (l, a) }"
    model = explainsvc.load(models.build(text, {"a": np.array([1])}))
    with pytest.raises(MethodNotApplicable, match="not finite"):
        model.explain({"x": np.ones((1, 2), np.float32)}, "kernel_shap", target=0)
