"""Features and their game: who is present, what absent ones are taken from, what the target is then worth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.coalitions import Game, background_rows
from explainsvc.errors import InvalidParameter
from explainsvc.features import Partition, partition, superpixels
from explainsvc.method import Request
from explainsvc.target import resolve_target
from tests import models
from tests.models import Array, numbers


def request(proto: Any, feeds: dict[str, Array], wanted: Sequence[str] | None = None, target: Any = 0) -> Request:
    """A checked request on the model's first output."""
    model = explainsvc.load(proto)
    output = model.default_output
    resolved = resolve_target(target, output, lambda name: model.value_of(feeds, name), model.batched(feeds))
    return Request(model, feeds, tuple(wanted or feeds), resolved, 0, lambda *_: None)


def test_elements_pixels_columns_and_tokens() -> None:
    """Numbers per element, per position over channels, per place on the last axis, per place on the first."""
    image = request(models.cnn(), {"x": numbers(2, 2, 8, 8)})
    grid = np.arange(64).reshape(8, 8)
    assert partition("element", image).count == 128
    np.testing.assert_array_equal(partition("pixel", image).masks["x"], np.broadcast_to(grid, (2, 2, 8, 8)))
    np.testing.assert_array_equal(partition("column", image).masks["x"][1, 1, 3], np.arange(8))
    np.testing.assert_array_equal(partition("token", image).masks["x"][0, :, 4, 4], [0, 1])
    assert partition(None, image).masks["x"].shape == (2, 2, 8, 8)


def test_superpixels_follow_colours() -> None:
    """SLIC of a picture with a slanted edge, of a third of its contrast, joins no pixels across it; channels go together."""
    rows, columns = np.ogrid[:64, :64]
    right = rows + 2 * columns > 90
    item = np.repeat(np.where(right, 0.6, 0.3)[None], 3, axis=0).astype(np.float32)
    item[:, :3, :3], item[:, -3:, -3:] = 0.0, 1.0
    found = superpixels(item)
    on, off = (found[0][right if side else ~right] for side in (True, False))
    assert not set(on) & set(off)
    assert len(set(on)) > 8
    np.testing.assert_array_equal(found[0], found[2])
    assert sorted(set(found.ravel())) == list(range(found.max() + 1))


def test_groups_of_the_user_span_inputs() -> None:
    """Equal numbers in the masks of two inputs are one feature; numbers need not be consecutive."""
    found = partition({"a": [7, 3, 7], "b": [3, 12]}, request(models.two_by_two(), {"a": numbers(2, 3), "b": numbers(2, 2)}))
    assert found.count == 3
    np.testing.assert_array_equal(found.masks["a"], [[1, 0, 1], [1, 0, 1]])
    np.testing.assert_array_equal(found.masks["b"], [[0, 2], [0, 2]])


@pytest.mark.parametrize("spec", ["superpixel", "nothing", [0.5, 1.0, 2, 3], [1, 2, 3], {"z": [1, 2, 3, 4]}], ids=str)
def test_masks_that_do_not_fit_are_refused(spec: Any) -> None:
    """By the parameter's name, whatever is wrong with it."""
    with pytest.raises(InvalidParameter, match="feature_mask"):
        partition(spec, request(models.linear(), {"x": numbers(2, 4)}))


def test_a_game_is_played_on_the_model() -> None:
    """v(T) of every coalition of two groups is the mean over background rows of the model on the mixed input."""
    x, rows = numbers(3, 4), numbers(5, 4, seed=8)
    asked = request(models.linear(), {"x": x}, target=[0, 1, 2])
    features = partition([0, 0, 1, 1], asked)
    for batch_size in (1, 7, 64):
        game = Game(asked, features, background_rows(rows, 0.0, asked), batch_size)
        coalitions = [np.array(c) for c in product([False, True], repeat=2)]
        for present, found in zip(coalitions, game.values(iter(coalitions)), strict=True):
            keep = present[[0, 0, 1, 1]]
            mixed = [np.where(keep, x, row) for row in rows]
            expected = np.mean([asked.model.predict({"x": m})["y"][np.arange(3), [0, 1, 2]] for m in mixed], axis=0)
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_values_of_features_are_shown_by_their_elements() -> None:
    """φ [items, M] at every element of the item's feature."""
    asked = request(models.linear(), {"x": numbers(2, 4)})
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    mask = np.array([[0, 0, 1, 1], [1, 0, 1, 0]])
    found = Partition({"x": mask}, 2).spread(values, asked)["x"]
    np.testing.assert_array_equal(found, [[1, 1, 2, 2], [4, 3, 4, 3]])


@pytest.mark.parametrize("rows", [np.zeros((0, 4)), np.zeros((2, 3)), {"z": np.zeros((2, 4))}, np.full((1, 4), np.nan)])
def test_background_data_that_do_not_fit_are_refused(rows: Any) -> None:
    """No rows, another shape, another input, NaN."""
    with pytest.raises(InvalidParameter, match="background"):
        background_rows(rows, 0.0, request(models.linear(), {"x": numbers(2, 4)}))
