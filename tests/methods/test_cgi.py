"""cgi: the paper's rule over the classes in loops, and winner takes all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import MethodNotApplicable
from tests import models
from tests.methods.torch_truth import cnn, gradient_of, mlp
from tests.models import Array, numbers

MLP, CNN = explainsvc.load(models.mlp()), explainsvc.load(models.cnn())


def scores(x: Array, network: Any, classes: int = 3) -> Array:
    """h_y = x ⊙ ∂S_y for every class, [classes, *x.shape]."""
    return np.stack([x * gradient_of(network, np.eye(classes)[y])(x) for y in range(classes)])


def competed(h: Array, target: int) -> Array:
    """h_target[i] where it is > 0 and the largest over the classes, or < 0 and the smallest; loops over elements."""
    kept = np.zeros(h.shape[1:])
    for i in np.ndindex(kept.shape):
        column = [h[(y, *i)] for y in range(len(h))]
        mine = column[target]
        if (mine > 0 and mine == max(column)) or (mine < 0 and mine == min(column)):
            kept[i] = mine
    return kept


@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize("target", [0, 1, 2])
def test_it_is_the_papers_rule(target: int, batch_size: int) -> None:
    """On a dense and on a convolutional network, however many classes share a run."""
    x, image = numbers(2, 6), numbers(2, 2, 8, 8)
    found = MLP.explain({"x": x}, "cgi", target=target, batch_size=batch_size).values["x"]
    np.testing.assert_allclose(found, competed(scores(x, mlp), target), rtol=1e-4, atol=1e-6)
    found = CNN.explain({"x": image}, "cgi", target=target, batch_size=batch_size).values["x"]
    np.testing.assert_allclose(found, competed(scores(image, lambda v: cnn(v)[0]), target), rtol=1e-4, atol=1e-6)


def test_the_winner_takes_all() -> None:
    """Every element is positive for at most one class and negative for at most one; together they keep max and min."""
    x = numbers(4, 2, 8, 8)
    maps = np.stack([CNN.explain({"x": x}, "cgi", target=y).values["x"] for y in range(3)])
    h = np.stack([CNN.explain({"x": x}, "input_x_gradient", target=y).values["x"] for y in range(3)])
    assert ((maps > 0).sum(axis=0) <= 1).all()
    assert ((maps < 0).sum(axis=0) <= 1).all()
    np.testing.assert_allclose(maps.sum(axis=0), np.maximum(h.max(axis=0), 0) + np.minimum(h.min(axis=0), 0), atol=1e-6)


def test_contrasts_and_seeds_are_linear_in_the_maps() -> None:
    """S_a − S_b gets the map of a less that of b; a seed gets Σ_y s_y times the map of y, per item."""
    x = numbers(2, 6)
    maps = np.stack([MLP.explain({"x": x}, "cgi", target=y).values["x"] for y in range(3)])
    contrast = MLP.explain({"x": x}, "cgi", target={"output": "y", "index": 2, "against": 0}).values["x"]
    np.testing.assert_allclose(contrast, maps[2] - maps[0], atol=1e-6)
    seed = np.array([[1, -2, 0.5], [0, 0, 3]], np.float32)
    found = MLP.explain({"x": x}, "cgi", target={"output": "y", "seed": seed}).values["x"]
    np.testing.assert_allclose(found, np.einsum("iy,yij->ij", seed, maps), atol=1e-5)


def test_each_item_has_its_own_target() -> None:
    """A list of classes is one contest per item."""
    x = numbers(3, 6)
    maps = np.stack([MLP.explain({"x": x}, "cgi", target=y).values["x"] for y in range(3)])
    found = MLP.explain({"x": x}, "cgi", target=[2, 0, 1]).values["x"]
    np.testing.assert_allclose(found, maps[[2, 0, 1], [0, 1, 2]], atol=1e-6)


def test_ties_are_won_together() -> None:
    """Two classes with the same weights both keep what is theirs."""
    w = np.array([[1, 1, -2], [3, 3, 1]], np.float32)
    model = explainsvc.load(models.build("g (float[N, 2] x) => (float[N, 3] y) { y = MatMul (x, w) }", {"w": w}))
    x = np.array([[1, 2], [-1, -1]], np.float32)
    maps = [model.explain({"x": x}, "cgi", target=y).values["x"] for y in range(3)]
    np.testing.assert_array_equal(maps[0], [[1, 6], [-1, -3]])
    np.testing.assert_array_equal(maps[1], maps[0])
    np.testing.assert_array_equal(maps[2], [[-2, 0], [2, 0]])


def test_a_limit_lets_the_highest_classes_compete() -> None:
    """classes = 2: the target and the highest other class of each item, as in the rule over those two."""
    x = numbers(4, 6)
    y, h = MLP.predict({"x": x})["y"], scores(x, mlp)
    found = MLP.explain({"x": x}, "cgi", target=1, classes=2).values["x"]
    for item in range(4):
        rival = 0 if y[item, 0] > y[item, 2] else 2
        np.testing.assert_allclose(found[item], competed(h[[1, rival], item], 0), rtol=1e-4, atol=1e-6)


def test_classes_are_the_last_axis_longer_than_one() -> None:
    """Classifiers that end in [N, C, 1, 1], and one contest per position where the output has several."""
    text = "g (float[N, 4] x) => (float[N, 3, 1, 1] y) { m = MatMul (x, w)  y = Reshape (m, s) }"
    tensors = {"w": models.weights("w", 4, 3), "s": np.array([0, 3, 1, 1], np.int64)}
    x, flat = (
        numbers(2, 4),
        explainsvc.load(models.build(text.replace("[N, 3, 1, 1]", "[N, 3]"), tensors | {"s": np.array([0, 3])})),
    )
    found = explainsvc.load(models.build(text, tensors)).explain({"x": x}, "cgi", target=1).values["x"]
    np.testing.assert_allclose(found, flat.explain({"x": x}, "cgi", target=1).values["x"], atol=1e-7)
    text = "g (float[N, 4] x) => (float[N, 2, 3] y) { m = MatMul (x, w)  y = Reshape (m, s) }"
    wide = {"w": models.weights("wide", 4, 6), "s": np.array([0, 2, 3], np.int64)}
    found = explainsvc.load(models.build(text, wide)).explain({"x": x}, "cgi", target=(1, 2)).values["x"]
    h = np.stack([x * wide["w"][:, 3 + y] for y in range(3)])
    np.testing.assert_allclose(found, competed(h, 2), rtol=1e-5)


def test_one_class_competes_with_nobody_and_says_so() -> None:
    """A single column is plain gradient × input, with a caveat."""
    model, x = explainsvc.load(models.quadratic()), numbers(2, 4)
    found = model.explain({"x": x}, "cgi")
    np.testing.assert_allclose(found.values["x"], model.explain({"x": x}, "input_x_gradient").values["x"], rtol=1e-6)
    assert any("nothing competes" in caveat for caveat in found.caveats)


def test_all_classes_are_counted_in_the_progress() -> None:
    """Done and total are classes."""
    heard: list[tuple[int, int, str]] = []
    MLP.explain({"x": numbers(1, 6)}, "cgi", target=0, progress=lambda *news: heard.append(news))
    assert heard == [(1, 3, "cgi"), (2, 3, "cgi"), (3, 3, "cgi")]


def test_items_that_share_an_input_are_explained_one_at_a_time() -> None:
    """Classes of different items do not compete for one shared factor."""
    with pytest.raises(MethodNotApplicable, match="share"):
        explainsvc.load(models.scaled()).explain({"x": numbers(2, 3), "k": np.ones(1, np.float32)}, "cgi", target=0)
