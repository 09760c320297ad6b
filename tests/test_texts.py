"""Results as text and as JSON."""

from __future__ import annotations

import json

from explainsvc import commands, texts


def test_table_columns() -> None:
    """Columns are as wide as their widest cell; no line ends in blanks."""
    assert texts.table([("a", "bb", ""), ("ccc", "d", "e f")]) == "a    bb\nccc  d   e f"


def test_open_shapes() -> None:
    """An axis without a length is a question mark, an unknown rank an ellipsis."""
    tensor = {"name": "x", "dtype": "float32"}
    facts = {
        "digest": "0" * 64,
        "producer": "",
        "ir_version": 8,
        "opsets": {"": 17},
        "operators": {"Relu": 1, "Conv": 2},
        "parameters": 1234,
        "size_bytes": 5678,
        "inputs": [tensor | {"shape": ["N", None, 3]}],
        "outputs": [tensor | {"name": "y", "shape": None}],
        "differentiable": {"x": ""},
        "methods": {"gradient": "", "guided_backprop": "there is no Relu"},
        "passes": [
            {"name": "fold", "applied": True, "error": 1e-6, "note": ""},
            {"name": "fuse", "applied": True, "error": None, "note": "no probe"},
            {"name": "idle", "applied": False, "error": 0.0, "note": ""},
        ],
        "caveats": ["frozen batch"],
    }
    lines = texts.inspection(facts).splitlines()
    cells = dict(line.split("  ", 1) for line in lines)
    assert cells["input x"].strip() == "float32 [N, ?, 3]"
    assert cells["output y"].strip() == "float32 […]"
    assert cells["operators"].strip() == "Conv 2, Relu 1"
    assert cells["made by"].strip() == "unknown producer, ir 8, opset ai.onnx 17"
    assert cells["pass fold"].strip() == "error 1.0e-06"
    assert cells["pass fuse"].strip() == "error not measured: no probe"
    assert "pass idle" not in cells
    assert cells["method guided_backprop"].strip() == "there is no Relu"


def test_json_has_no_nan() -> None:
    """NaN and infinities, which JSON does not have, become null; all else stays."""
    assert json.loads(commands.as_json({"a": [1.5, float("nan")], "b": {"c": float("-inf")}})) == {
        "a": [1.5, None],
        "b": {"c": None},
    }
