"""The tensors of a request: what fits the model passes unchanged, what does not is listed in full."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from explainsvc.errors import InvalidInput
from explainsvc.info import TensorInfo
from explainsvc.inputs import check_feeds

IMAGE = TensorInfo("image", "float32", ("N", 3, None))
WORDS = TensorInfo("words", "string", ("N",))
GOOD = {"image": np.ones((2, 3, 5), np.float32), "words": np.array(["a", "b"])}


def test_good_inputs_pass_unchanged_in_the_models_order() -> None:
    """Values, shapes and types are those given; unicode becomes the objects that onnxruntime takes."""
    checked = check_feeds(dict(reversed(GOOD.items())), (IMAGE, WORDS), None)
    assert list(checked) == ["image", "words"]
    np.testing.assert_array_equal(checked["image"], GOOD["image"])
    assert checked["words"].dtype == object
    assert checked["words"].tolist() == ["a", "b"]


def violations(feeds: Any, frozen: int | None = None, declared: tuple[TensorInfo, ...] = (IMAGE, WORDS)) -> dict[str, str]:
    """Field → description of the refusal."""
    with pytest.raises(InvalidInput) as caught:
        check_feeds(feeds, declared, frozen)
    assert caught.value.to_do
    return {v.field: v.description for v in caught.value.violations}


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "dtype": ({"image": np.ones((2, 3, 5))}, 'inputs["image"].dtype', "is float64, expected float32"),
    "rank": ({"image": np.ones((3, 5), np.float32)}, 'inputs["image"].shape', "is [3, 5], expected float32[N, 3, ?]"),
    "axis": ({"image": np.ones((2, 4, 5), np.float32)}, 'inputs["image"].shape', "is [2, 4, 5], expected float32[N, 3, ?]"),
    "NaN": ({"image": np.full((2, 3, 5), np.nan, np.float32)}, 'inputs["image"]', "holds NaN or infinity"),
    "infinity": ({"image": np.full((2, 3, 5), np.inf, np.float32)}, 'inputs["image"]', "holds NaN or infinity"),
    "empty": ({"image": np.ones((0, 3, 5), np.float32)}, 'inputs["image"]', "is empty"),
    "string for floats": ({"image": np.full((2, 3, 5), "a")}, 'inputs["image"].dtype', "is string, expected float32"),
    "floats for string": ({"words": np.ones(2, np.float32)}, 'inputs["words"].dtype', "is float32, expected string"),
    "misspelt": ({"imgae": np.ones(1)}, 'inputs["imgae"]', "is not an input of the model; inputs: image, words"),
    "ragged": ({"image": [[1.0, 2.0], [3.0]]}, 'inputs["image"]', "is not an array; expected float32[N, 3, ?]"),
}


@pytest.mark.parametrize(("change", "field", "description"), WRONG.values(), ids=WRONG.keys())
def test_every_violation_names_field_and_expectation(change: dict[str, Any], field: str, description: str) -> None:
    """One thing wrong gives one violation with its field, what it is and what was expected."""
    assert violations(GOOD | change) == {field: description}


def test_a_missing_input_is_described() -> None:
    """The error says which input is missing and what it would be."""
    assert violations({"image": GOOD["image"]}) == {'inputs["words"]': "is missing; expected string[N]"}


def test_all_violations_are_listed_at_once() -> None:
    """A misspelt name, a wrong type, a wrong shape and a missing input come in one error."""
    found = violations({"image": np.ones((3, 4)), "word": GOOD["words"]})
    assert set(found) == {'inputs["image"].dtype', 'inputs["image"].shape', 'inputs["word"]', 'inputs["words"]'}


def test_inputs_must_be_a_mapping() -> None:
    """An array instead of {name: array} is refused, with the names to use."""
    assert "inputs" in violations(GOOD["image"])


FROZEN = (TensorInfo("a", "float32", (2, 3)), TensorInfo("b", "float32", (2, 4)))


def test_a_frozen_batch_takes_any_number_of_items() -> None:
    """Where the exporter fixed the batch, axis 0 of the inputs is free; the other axes are not."""
    feeds = {"a": np.ones((5, 3), np.float32), "b": np.ones((5, 4), np.float32)}
    assert check_feeds(feeds, FROZEN, 2)["a"].shape == (5, 3)
    assert 'inputs["a"].shape' in violations(feeds | {"a": np.ones((5, 4), np.float32)}, 2, FROZEN)
    assert 'inputs["a"].shape' in violations(feeds, None, FROZEN)


def test_with_a_frozen_batch_all_inputs_hold_the_same_items() -> None:
    """Five items of one input and four of another are refused before anything runs."""
    feeds = {"a": np.ones((5, 3), np.float32), "b": np.ones((4, 4), np.float32)}
    assert violations(feeds, 2, FROZEN) == {"inputs": "hold different numbers of items: a has 5, b has 4"}
