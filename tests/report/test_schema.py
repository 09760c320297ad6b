"""The committed schema of reports: a real report fits it, a changed one does not."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest

jsonschema = pytest.importorskip("jsonschema")

from tests.checks.models import cnn, pictures  # noqa: E402


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """As it is installed."""
    found: dict[str, Any] = json.loads(resources.files("explainsvc.report").joinpath("schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(found)
    return found


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Two checks, a method that is refused, a control, labels."""
    methods, checks = ["gradient", "lime", "grad_cam", "tree_shap"], ["parameter_randomization", "completeness"]
    report = cnn().audit(pictures(6), methods=methods, checks=checks, labels=[0, 1, 2, 3, 4, 0])
    assert list(report.header["refused"]) == ["tree_shap"]
    parsed: dict[str, Any] = json.loads(json.dumps(report.to_json(), allow_nan=False))
    return parsed


def test_a_report_fits(schema: dict[str, Any], document: dict[str, Any]) -> None:
    """Every field is described, none is missing."""
    jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)


def test_a_report_with_other_fields_does_not(schema: dict[str, Any], document: dict[str, Any]) -> None:
    """A new key, a missing one, a word that is no verdict."""
    row = document["rows"][0]
    spoilt = [
        document | {"extra": 1},
        {key: value for key, value in document.items() if key != "rows"},
        document | {"rows": [row | {"mean": "1"}]},
        document | {"verdicts": [document["verdicts"][0] | {"verdict": "good"}]},
        document | {"header": {k: v for k, v in document["header"].items() if k != "machine"}},
    ]
    for each in spoilt:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(each, schema, cls=jsonschema.Draft202012Validator)
