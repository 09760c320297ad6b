"""Results as text and as JSON."""

from __future__ import annotations

import json

import explainsvc
from explainsvc import commands, texts
from tests import models


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
        "alternatives": {"guided_backprop": ["gradient", "occlusion"]},
        "units": [f"layer{i}" for i in range(9)],
        "cost": {
            "assumed": {"N": 1, "L": 8},
            "flops": 3_628_146_688,
            "uncounted": ["scan"],
            "weight_bytes": 1234,
            "activation_bytes": 5000,
            "peak_bytes": 3000,
            "unsized": 2,
        },
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
    assert cells["method guided_backprop"].strip() == "there is no Relu; what applies: gradient, occlusion"
    assert cells["parameter units"].strip() == "9, output side first: layer0, layer1, layer2, …, layer6, layer7, layer8"
    assert cells["one forward"].strip() == ("3.63 GFLOPs (multiply-adds × 2) at N = 1, L = 8; without 1 nodes of unknown shapes")
    assert cells["activations"].strip() == "5,000 bytes together, 3,000 at once; without 2 results of unknown shape"


def test_node_table() -> None:
    """A line per node: what it became where that is another operator, and the rules that are not the vjp."""
    tensor = {"name": "y", "dtype": "float32", "shape": ["N", 3]}
    rules = {"guided_backprop": "vjp", "lrp_epsilon": "lrp_epsilon", "lrp_z_plus": "refused: two activations"}
    nodes = [
        {"name": "", "operator": "Conv", "outputs": [tensor], "becomes": ["Conv"], "vjp": "vjp", "rules": rules, "flops": 1234},
        {"name": "a", "operator": "Attention", "outputs": [], "becomes": ["MatMul", "Softmax", "MatMul"],
         "vjp": "expanded into its body", "rules": {"lrp_epsilon": ""}, "flops": None},
    ]  # fmt: skip
    lines = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in texts.nodes({"nodes": nodes}).splitlines()]
    assert lines[0] == ["node", "operator", "results", "becomes", "FLOPs", "vjp", "rules"]
    assert lines[1][:5] == ["y", "Conv", "y float32 [N, 3]", "1,234", "vjp"]
    assert lines[1][5] == "lrp_epsilon: lrp_epsilon; refused: two activations: lrp_z_plus"
    assert lines[2] == ["a", "Attention", "2 MatMul, Softmax", "?", "expanded into its body"]


def test_json_has_no_nan() -> None:
    """NaN and infinities, which JSON does not have, become null; all else stays."""
    assert json.loads(commands.as_json({"a": [1.5, float("nan")], "b": {"c": float("-inf")}})) == {
        "a": [1.5, None],
        "b": {"c": None},
    }


def cells(text: str) -> dict[str, str]:
    """The lines of a table by their first cell."""
    return {name: value.strip() for name, value in (line.split("  ", 1) for line in text.splitlines())}


def test_sums_of_an_explanation() -> None:
    """Per item over the inputs that have one; what all items share has a sum of its own; without a batch, over everything."""
    feeds = {"x": models.numbers(3, 3), "k": models.numbers(1)}
    attribution = explainsvc.load(models.scaled()).explain(feeds, "gradient", 1)
    rows = cells(texts.explanation(attribution))
    assert len(attribution.output_value) == 3
    for item, row in enumerate(attribution.values["x"].astype(float)):
        assert rows[f"item {item}"].endswith(f"sum of values {row.sum():.6g}")
    assert rows["k"].endswith(f"sum {attribution.values['k'].sum():.6g}, shared by all items")
    alone = explainsvc.load(models.without_batch()).explain({"x": models.numbers(5)}, "gradient", 1)
    total = alone.values["x"].astype(float).sum()
    assert cells(texts.explanation(alone))["item 0"].endswith(f"sum of values {total:.6g}")
