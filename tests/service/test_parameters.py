"""Parameters on the way to the server and back out of the request."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from explainsvc.codec.parameters import join, split
from explainsvc.errors import InvalidParameter


def test_arrays_per_input_travel_as_arrays() -> None:
    """{parameter: {input: array}} keeps types and shapes; what is no array beside them stays what it is."""
    given: dict[str, Any] = {
        "background": {"a.b": np.ones((2, 3), np.float32), "c": np.arange(4)},
        "baseline": {"a": "blur", "c": np.zeros(2)},
    }
    found = join(*split(given))
    assert found["baseline"]["a"] == "blur"
    for owner, key in (("background", "a.b"), ("background", "c"), ("baseline", "c")):
        assert found[owner][key].dtype == given[owner][key].dtype
        np.testing.assert_array_equal(found[owner][key], given[owner][key])


@pytest.mark.parametrize("values", [{"background": 1}, {"background": {"x": 1}}, {"background": [1]}])
def test_a_value_and_an_array_of_one_name_are_refused(values: dict[str, Any]) -> None:
    """Which of the two is meant cannot be told."""
    struct, _ = split(values)
    _, arrays = split({"background": {"x": np.ones(2)}})
    with pytest.raises(InvalidParameter, match="as a value and as an array"):
        join(struct, arrays)
