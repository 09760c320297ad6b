"""Targets: every spelling gives the seed it stands for, everything else a typed error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from explainsvc.errors import TargetOutOfRange
from explainsvc.target import ResolvedTarget, resolve_target
from tests.models import Array

LOGITS = np.array([[0.1, 0.9, 0.3], [2.0, -1.0, 1.0]], np.float32)


def resolve(target: Any, value: Array = LOGITS, batched: bool = True) -> ResolvedTarget:
    """The target against one value, whatever it is called."""
    return resolve_target(target, "y", lambda _: value, batched)


def hot(*indices: tuple[int, ...], shape: tuple[int, ...] = (2, 3)) -> Array:
    """Ones at the indices."""
    seed = np.zeros(shape, np.float32)
    for index in indices:
        seed[index] = 1
    return seed


SPELLINGS: dict[str, tuple[Any, Array]] = {
    "arg-max": (None, hot((0, 1), (1, 0))),
    "int": (2, hot((0, 2), (1, 2))),
    "numpy int": (np.int64(2), hot((0, 2), (1, 2))),
    "whole float": (2.0, hot((0, 2), (1, 2))),
    "from the end": (-1, hot((0, 2), (1, 2))),
    "one per item": ([0, 2], hot((0, 0), (1, 2))),
    "array, one per item": (np.array([0, 2]), hot((0, 0), (1, 2))),
    "index": ({"output": "y", "index": 1}, hot((0, 1), (1, 1))),
    "index as tuple": ({"output": "y", "index": (1,)}, hot((0, 1), (1, 1))),
    "index as list": ({"output": "y", "index": [1, 0]}, hot((0, 1), (1, 0))),
    "list of tuples": ({"output": "y", "index": [(1,), (0,)]}, hot((0, 1), (1, 0))),
    "default output": ({"index": 1}, hot((0, 1), (1, 1))),
    "against": ({"index": 0, "against": 1}, hot((0, 0), (1, 0)) - hot((0, 1), (1, 1))),
    "arg-max against": ({"against": [2, 2]}, hot((0, 1), (1, 0)) - hot((0, 2), (1, 2))),
    "seed": ({"seed": [[1, 0, -1], [0, 2, 0]]}, np.array([[1, 0, -1], [0, 2, 0]], np.float32)),
}


@pytest.mark.parametrize(("target", "seed"), SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_target_is_its_seed(target: Any, seed: Array) -> None:
    """S = ⟨seed, output⟩ per item: every spelling gives exactly its seed, in the output's type, and its value."""
    resolved = resolve(target)
    assert resolved.output == "y"
    assert resolved.seed.dtype == np.float32
    np.testing.assert_array_equal(resolved.seed, seed)
    np.testing.assert_allclose(resolved.value(LOGITS, True), (seed * LOGITS.astype(np.float64)).sum(axis=1))


def test_only_selected_elements_count() -> None:
    """S is the selected element, or their sum by the seed, whatever infinite ones stand beside it; a selected one counts."""
    value = np.array([[1.5, -np.inf, 3.0], [np.inf, 2.0, np.nan]], np.float32)
    seed = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    assert resolve({"index": [0, 1]}, value).value(value, True).tolist() == [1.5, 2.0]
    assert resolve({"seed": seed}, value).value(value, True).tolist() == [0.0, 2.0]
    assert resolve({"seed": seed}, value).value(value, False).tolist() == [2.0]
    assert resolve({"index": [1, 0]}, value).value(value, True).tolist() == [-np.inf, np.inf]


def test_descriptions_name_the_index_in_force() -> None:
    """What was explained can be read: the output, and the index of each item that the arg-max found."""
    assert resolve(None).description == "y[1 | 0]"
    assert resolve(None).index == ((1,), (0,))
    assert resolve({"index": 0, "against": 2}).description == "y[0] − y[2]"
    assert resolve({"seed": LOGITS}).index is None


def test_a_single_column_is_its_own_target() -> None:
    """Of an output with one column, None is that column."""
    np.testing.assert_array_equal(resolve(None, LOGITS[:, :1]).seed, [[1], [1]])


def test_a_scalar_per_item_needs_no_index() -> None:
    """An output [N] without further axes is explained itself, by None, 0 or an empty tuple."""
    for target in (None, 0, {"index": ()}):
        np.testing.assert_array_equal(resolve(target, LOGITS[:, 0]).seed, [1, 1])


def test_one_integer_picks_along_the_only_long_axis() -> None:
    """Classifiers that end in [N, C, 1, 1] take a plain class index."""
    np.testing.assert_array_equal(resolve(2, LOGITS[:, :, None, None]).seed[..., 0, 0], hot((0, 2), (1, 2)))


def test_a_tuple_picks_in_every_axis() -> None:
    """A position of a map is a tuple, for all items or one for each."""
    maps = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(resolve({"index": (1, -1)}, maps).seed, hot((0, 1, 3), (1, 1, 3), shape=(2, 3, 4)))
    np.testing.assert_array_equal(resolve({"index": [(0, 1), (2, 3)]}, maps).seed, hot((0, 0, 1), (1, 2, 3), shape=(2, 3, 4)))
    assert resolve(None, maps).index == ((2, 3), (2, 3))


def test_without_a_batch_axis_the_whole_output_is_one_item() -> None:
    """S is a single number then, and an index counts from the first axis."""
    resolved = resolve(1, LOGITS[0], batched=False)
    np.testing.assert_array_equal(resolved.seed, [0, 1, 0])
    assert resolved.value(LOGITS[0], False).shape == (1,)


def test_half_precision_is_seeded_in_single() -> None:
    """The graph that is explained runs in float32, so its seed is float32."""
    assert resolve(0, LOGITS.astype(np.float16)).seed.dtype == np.float32
    assert resolve(0, LOGITS.astype(np.float64)).seed.dtype == np.float64


WRONG: dict[str, Any] = {
    "index too large": 3,
    "index too small": -4,
    "not a number": "zebra",
    "fraction": 1.5,
    "nan": float("nan"),
    "infinity": float("inf"),
    "too few": [0],
    "too many": [0, 1, 2],
    "none at all": [],
    "tuple too long": {"index": (0, 0)},
    "fraction in list": [0, 0.5],
    "object": {"index": {"a": 1}},
    "unknown field": {"idx": 1},
    "against out of range": {"index": 0, "against": 7},
    "seed of another shape": {"seed": np.ones((2, 4))},
    "seed of one item": {"seed": np.ones(3)},
    "seed of strings": {"seed": np.full((2, 3), "a")},
    "ragged seed": {"seed": [[1, 2, 3], [1, 2]]},
    "seed with NaN": {"seed": np.full((2, 3), np.nan)},
}


@pytest.mark.parametrize("target", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_target_is_refused(target: Any) -> None:
    """What names no element of the output is an error that says where, what was expected and what to do."""
    with pytest.raises(TargetOutOfRange) as caught:
        resolve(target)
    error = caught.value
    assert error.where.startswith("target")
    assert error.expected
    assert error.to_do


def test_one_integer_does_not_pick_in_a_map() -> None:
    """An int for an output with several long axes is ambiguous and refused."""
    with pytest.raises(TargetOutOfRange, match="a tuple of 2 integers"):
        resolve(1, np.zeros((2, 3, 4), np.float32))


@pytest.mark.parametrize("value", [np.zeros((2, 3), np.int64), np.full((2, 3), "a"), np.full((2, 3), True)])
def test_only_floats_can_be_explained(value: Array) -> None:
    """Labels, strings and flags have no derivative: the error says what the output holds."""
    with pytest.raises(TargetOutOfRange, match="a float output"):
        resolve(0, value)
