"""Parameters on the way to the server and back out of the request."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from explainsvc.checks import CHECKS
from explainsvc.client import Client
from explainsvc.codec.parameters import join, split
from explainsvc.codec.questions import Question
from explainsvc.errors import InvalidParameter
from explainsvc.explanation_client import Asked
from explainsvc.methods import METHODS
from tests.service import models


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


def test_what_schemas_refuse_is_refused(client: Client, digest: str) -> None:
    """The schemas that the server sends are valid, and of every method a request that its schema refuses is refused."""
    schemas = client.explanations.schemas()
    assert schemas.keys() == METHODS.keys() | CHECKS.keys()
    for name in METHODS:
        Draft202012Validator.check_schema(schemas[name])
        wrong: dict[str, Any] = {"zebra": 1} | {key: [None] for key in schemas[name]["properties"]}
        assert not Draft202012Validator(schemas[name]).is_valid(wrong)
        with pytest.raises(InvalidParameter) as error:
            client.explanations.validate(Asked(digest, Question(name, 1, None, wrong), models.image()))
        fields = {violation.field for violation in error.value.violations}
        refused = {key for key in wrong if not Draft202012Validator(schemas[name]).is_valid({key: wrong[key]})}
        assert fields == {f"parameters.{key}" for key in refused}
