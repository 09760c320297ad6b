"""The dry run: which rule each node gets, before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import explainsvc
from explainsvc.cli import main
from explainsvc.dry_run import dry_run
from explainsvc.errors import InvalidParameter, MethodNotApplicable
from explainsvc.methods import METHODS
from tests import models
from tests.methods.required import required

CNN = explainsvc.load(models.cnn())
PATH = ["n1", "r1", "n2", "a2", "r2", "p", "l", "r", "both", "r3", "gap", "f", "y"]
RULEBOOK = {
    "preset": "lrp_preset_b",
    "rows": [
        {"rule": "lrp_flat", "position": "first"},
        {"rule": "lrp_gamma", "nodes": "right", "parameters": {"gamma": 0.5, "bias": "ignored"}},
    ],
}


def test_every_node_is_told_with_its_rule_and_parameters() -> None:
    """In the order of the graph, defaults filled in, the bias of the whole rulebook where a row does not say."""
    rows = dry_run(CNN, "lrp", rulebook=RULEBOOK, bias="counted").nodes
    assert [row.results for row in rows] == [(name,) for name in PATH]
    found = {row.results[0]: (row.rule, dict(row.parameters)) for row in rows}
    assert found["n1"] == ("lrp_flat", {})
    assert found["n2"] == found["l"] == ("lrp_alpha_beta", {"alpha": 2.0, "beta": 1.0, "bias": "counted"})
    assert found["r"] == ("lrp_gamma", {"gamma": 0.5, "form": "damp_negative", "bias": "ignored"})
    assert found["y"] == ("lrp_epsilon", {"epsilon": 0.1, "bias": "counted"})
    assert (found["a2"], found["r1"], found["both"]) == (("share", {"bias": "counted"}), ("pass_through", {}), ("route", {}))


@pytest.mark.parametrize("model", [CNN, explainsvc.load(models.mlp(activation="Softmax"))], ids=["cnn", "softmax"])
def test_the_dry_run_refuses_what_inspect_refuses(model: explainsvc.Model) -> None:
    """Of every method that is one graph: as a whole or at a node, and nothing else."""
    for method, reason in model.info.methods.items():
        if METHODS[method].program is not None:
            try:
                refusals = [row.refusal for row in dry_run(model, method).nodes if row.refusal]
            except MethodNotApplicable as error:
                refusals = [str(error)]
            assert bool(refusals) == bool(reason), method
            assert not reason or reason.split(": ")[-1].split(". ")[0] in "\n".join(refusals), method


WHOLE = ("attn_lrp", "cp_lrp")
"""Refuse a net without attention as a whole."""


@pytest.mark.parametrize("method", [name for name, m in METHODS.items() if m.rulebook is not None and name not in WHOLE])
def test_the_dry_run_tells_what_inspect_tells(method: str) -> None:
    """Rule by rule, for every method that has rules."""
    told = {node.outputs[0].name: node.rules[method] for node in CNN.info.nodes}
    rows = dry_run(CNN, method).nodes
    assert [row.results[0] for row in rows] == PATH
    assert [f"refused: {row.refusal}" if row.refusal else row.rule for row in rows] == [
        told[name] if not told[name].startswith("refused") else f"refused: {rows[0].refusal}" for name in PATH
    ]
    assert not any(row.refusal for row in dry_run(CNN, method, **required(method)).nodes)


def test_refusals_and_wrong_rulebooks() -> None:
    """A node that is refused says why; a wrong row, and a method that is no graph, are errors as in explain."""
    model = explainsvc.load(models.mlp(activation="Softmax"))
    refused = [row.operator for row in dry_run(model, "lrp_0").nodes if "LRP has no rule" in row.refusal]
    assert refused == ["Softmax", "Softmax"]
    with pytest.raises(InvalidParameter, match=r"rows\[0\].rule"):
        dry_run(CNN, "lrp", rulebook=[{"rule": "lrp_delta"}])
    for method, reason in (("occlusion", "many graphs"), ("attn_lrp", "without any")):
        with pytest.raises(MethodNotApplicable, match=reason):
            dry_run(CNN, method)


def test_the_command_line_reads_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``-p rulebook=@FILE --dry-run`` needs no inputs; with --json one object."""
    model, file = tmp_path / "m.onnx", tmp_path / "rules.json"
    model.write_bytes(models.cnn().SerializeToString())
    file.write_text(json.dumps(RULEBOOK))
    arguments = ["explain", str(model), "--method", "lrp", "-p", f"rulebook=@{file}", "--dry-run"]
    assert main(arguments) == 0
    text = capsys.readouterr().out.splitlines()
    assert text[0] == "lrp"
    assert len(text) == 2 + len(PATH)
    assert text[2].split() == ["conv1", "Conv", "n1", "lrp_flat"]
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [node["results"] for node in document["nodes"]] == [[name] for name in PATH]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--method", "lrp", "-p", "rulebook=@nowhere.toml", "--dry-run"], "nowhere.toml"),
        (["--method", "lrp", "-p", 'rulebook=[{"rule": "x"}]', "--dry-run"], "rows[0].rule"),
        (["--method", "lrp"], "--inputs is required"),
    ],
)
def test_mistakes_of_usage(arguments: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one paragraph."""
    model = tmp_path / "m.onnx"
    model.write_bytes(models.cnn().SerializeToString())
    assert main(["explain", str(model), *arguments]) == 2
    assert text in capsys.readouterr().err
