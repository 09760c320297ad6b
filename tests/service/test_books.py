"""Ledger and dry run over gRPC: what the library says, bit for bit, its refusals included."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc import cli, errors
from explainsvc.client import Client
from explainsvc.errors import ExplainsvcError
from explainsvc.methods import METHODS
from explainsvc.model import Model
from tests import models as small
from tests.graph.test_quantised import fake_quantised_mlp
from tests.methods.required import required
from tests.models import numbers, weights
from tests.service import models

TOML = """
preset = "lrp_preset_b"
output = "relu"

[[rows]]
rule = "lrp_z_box"
position = "first"
parameters = { low = -3.0, high = 3.0 }

[[rows]]
rule = "lrp_gamma"
nodes = "head"
parameters = { gamma = 1.0, bias = "ignored" }
"""
RULED = sorted(name for name, method in METHODS.items() if method.rulebook is not None)


def text(answer: explainsvc.Ledger | explainsvc.DryRun) -> str:
    """Every name and number in order, but for parameters and versions, which have none; 1 and 1.0, 0.0 and -0.0 differ."""
    document = answer.to_json()
    unordered = {key: sorted(document[key].items()) for key in ("parameters", "versions") if key in document}
    return json.dumps(document | unordered)


@pytest.mark.parametrize("method", RULED)
def test_ledgers_of_all_methods_with_rules(client: Client, digest: str, cnn: Model, method: str) -> None:
    """The same numbers, or the same refusal."""
    inputs, parameters = models.image(), required(method)
    try:
        here = cnn.ledger(inputs, method, [2, 0], **parameters)
    except errors.MethodNotApplicable as error:
        with pytest.raises(errors.MethodNotApplicable, match=re.escape(error.what)):
            client.ledger(digest, inputs, method, [2, 0], parameters=parameters)
        assert method in ("attn_lrp", "cp_lrp") or METHODS[method].complete != "output"  # those two: there is no attention here
        return
    there = client.ledger(digest, inputs, method, [2, 0], parameters=parameters)
    assert text(there) == text(here)
    assert (there.target.seed.dtype, there.target.seed.tobytes()) == (here.target.seed.dtype, here.target.seed.tobytes())
    assert there.accounts == here.accounts
    assert list(there.values) == list(here.values)


@pytest.mark.parametrize("method", RULED)
def test_dry_runs_of_all_methods_with_rules(client: Client, digest: str, cnn: Model, method: str) -> None:
    """Rules, parameters and refusals alike, in the same order and of the same types."""
    for parameters in (required(method), {}):
        try:
            here = cnn.dry_run(method, **parameters)
        except errors.MethodNotApplicable as error:
            with pytest.raises(errors.MethodNotApplicable, match=re.escape(error.what)):
                client.dry_run(digest, method, parameters=parameters)
            assert method in ("attn_lrp", "cp_lrp")  # there is no attention here
            continue
        there = client.dry_run(digest, method, parameters=parameters)
        assert there == here
        assert text(there) == text(here)


@pytest.mark.parametrize(
    "rulebook", [TOML, json.dumps({"rows": [{"rule": "lrp_0"}]}), "lrp_preset_a", {"preset": "lrp_0"}], ids=str
)
def test_a_rulebook_goes_both_ways(client: Client, digest: str, cnn: Model, rulebook: Any) -> None:
    """As text of a file, as the name of a preset, as an object."""
    here, there = cnn.dry_run("lrp", rulebook=rulebook), client.dry_run(digest, "lrp", parameters={"rulebook": rulebook})
    assert text(there) == text(here)
    if rulebook == TOML:
        assert {node.name: node.rule for node in there.nodes} == {
            "conv": "lrp_z_box", "relu": "pass_through", "pool": "share", "flatten": "route", "head": "lrp_gamma",
        }  # fmt: skip


def test_branches_layers_and_targets(client: Client) -> None:
    """Of a net with branches: several operands keep their order; books that end at a layer; a contrast as target."""
    local, x = explainsvc.load(small.cnn()), {"x": numbers(2, 2, 8, 8)}
    digest = client.upload(small.cnn().SerializeToString())
    contrast = {"output": "y", "index": 0, "against": 2}
    here = local.ledger(x, "lrp", contrast, rulebook="lrp_epsilon_plus", bias="counted")
    there = client.ledger(digest, x, "lrp", contrast, parameters={"rulebook": "lrp_epsilon_plus", "bias": "counted"})
    assert text(there) == text(here)
    assert max(len(account.handed_on) for account in there.accounts) > 1
    here = local.ledger(x, "lrp_epsilon", 1, inputs=["r1"])
    assert text(client.ledger(digest, x, "lrp_epsilon", 1, inputs_wanted=["r1"])) == text(here)
    plan = local.dry_run("lrp_epsilon", inputs=["r1"])
    assert text(client.dry_run(digest, "lrp_epsilon", inputs_wanted=["r1"])) == text(plan)
    assert [node.results for node in plan.nodes[:2]] == [("n2",), ("a2",)]


def test_kept_rounding(client: Client) -> None:
    """A quantised model is looked at with its rounding where that is asked for."""
    proto, x = fake_quantised_mlp(weights("w", 5, 6), (0.02, 0.015)), {"x": numbers(7, 5)}
    local, digest = explainsvc.load(proto), client.upload(proto.SerializeToString())
    for kept, model in ((False, local), (True, local.straight_through)):
        assert text(client.dry_run(digest, "gradient", straight_through=kept)) == text(model.dry_run("gradient"))
        try:
            here = text(model.ledger(x, "lrp_epsilon"))
        except ExplainsvcError as error:
            with pytest.raises(type(error), match=re.escape(error.what)):
                client.ledger(digest, x, "lrp_epsilon", straight_through=kept)
        else:
            assert text(client.ledger(digest, x, "lrp_epsilon", straight_through=kept)) == here
    plans = [client.dry_run(digest, "gradient", straight_through=kept) for kept in (False, True)]
    assert plans[0] != plans[1]


BAD: dict[str, tuple[type[ExplainsvcError], dict[str, Any]]] = {
    "no conservation": (errors.MethodNotApplicable, {"method": "gradient"}),
    "many graphs": (errors.MethodNotApplicable, {"method": "occlusion"}),
    "unknown method": (errors.UnknownMethod, {"method": "lrp_epsilom"}),
    "unknown parameter": (errors.InvalidParameter, {"parameters": {"epsilom": 1.0}}),
    "named like an argument": (errors.InvalidParameter, {"parameters": {"feeds": 1, "model": 2, "self": 3}}),
    "wrong parameter": (errors.InvalidParameter, {"parameters": {"epsilon": -1.0}}),
    "wrong rows": (errors.InvalidParameter, {"method": "lrp", "parameters": {"rulebook": [{"rule": "x"}, {"nodes": 3}]}}),
    "a row for nobody": (
        errors.InvalidParameter,
        {"method": "lrp", "parameters": {"rulebook": [{"rule": "lrp_0", "nodes": "z"}]}},
    ),
    "no such output": (errors.TargetOutOfRange, {"target": {"output": "z"}}),
    "no such input": (errors.InvalidInput, {"inputs": ["z"]}),
}


@pytest.mark.parametrize("name", BAD)
def test_refusals(client: Client, digest: str, cnn: Model, name: str) -> None:
    """The library's own error, word for word; of the dry run too, where it refuses."""
    kind, given = BAD[name]
    asked = {"method": "lrp_epsilon", "target": None, "inputs": None, "parameters": {}} | given
    method, target, wanted, parameters = asked.values()
    inputs = models.image()
    with pytest.raises(kind) as here:
        cnn.ledger(inputs, method, target, inputs=wanted, **parameters)
    with pytest.raises(kind) as there:
        client.ledger(digest, inputs, method, target, inputs_wanted=wanted, parameters=parameters)
    assert (str(there.value), there.value.violations) == (str(here.value), here.value.violations)
    if method == "gradient":
        assert {node.rule for node in client.dry_run(digest, method).nodes} == {"vjp"}
        return
    with pytest.raises(kind) as here:
        cnn.dry_run(method, target, inputs=wanted, **parameters)
    with pytest.raises(kind) as there:
        client.dry_run(digest, method, target, inputs_wanted=wanted, parameters=parameters)
    assert (str(there.value), there.value.violations) == (str(here.value), here.value.violations)


def test_bad_inputs_and_models(client: Client, digest: str) -> None:
    """Inputs are checked as Explain checks them, and a model that is not stored is not found."""
    with pytest.raises(errors.InvalidInput, match="x"):
        client.ledger(digest, {"z": np.ones((1, 1, 6, 6), np.float32)}, "lrp_epsilon")
    with pytest.raises(errors.ModelNotFound):
        client.ledger("0" * 64, models.image(), "lrp_epsilon")
    with pytest.raises(errors.ModelNotFound):
        client.dry_run("0" * 64, "lrp_epsilon")
    with pytest.raises(errors.InvalidParameter, match="is a field of the request"):
        client.dry_run(digest, "lrp_epsilon", parameters={"seed": 3})


def test_a_deadline_frees_the_worker(client: Client) -> None:
    """A ledger whose forward pass never ends is over when the caller's time is, and its worker serves again."""
    digest = client.upload(models.loop())
    with pytest.raises(errors.WorkerTimedOut):
        client.ledger(digest, models.rounds(models.ENDLESS), "lrp_epsilon", timeout=1.0)
    for _ in range(3):  # more calls than workers: none is stuck
        assert client.dry_run(digest, "gradient", timeout=60.0).nodes[-1].operator == "Loop"


def test_the_command_line_says_the_same(
    address: str, cnn_bytes: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text, JSON and file of both, here and against the server; a rulebook from a file; exit codes."""
    model, feeds, rules, out = (tmp_path / name for name in ("cnn.onnx", "x.npz", "rules.toml", "books.json"))
    model.write_bytes(cnn_bytes)
    np.savez(feeds, **models.image())
    rules.write_text(TOML)
    asked = ["--method", "lrp", "-p", f"rulebook=@{rules}", "--target", "1"]
    books = ["ledger", str(model), "--inputs", str(feeds), *asked]
    plan = ["explain", str(model), *asked, "--dry-run"]
    refused = ["ledger", str(model), "--inputs", str(feeds), "--method", "gradient"]

    def printed(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments)
        return (code, *capsys.readouterr())

    for arguments in (books, [*books, "--out", str(out)], plan, [*plan, "--json"], refused):
        here, written = printed(*arguments), out.exists() and json.loads(out.read_text())
        assert printed("--server", address, *arguments) == here
        assert (out.exists() and json.loads(out.read_text())) == written
        assert here[0] == (1 if arguments == refused else 0)
    local = explainsvc.load(cnn_bytes)
    truth = [call("lrp", 1, rulebook=TOML).to_json() for call in (partial(local.ledger, models.image()), local.dry_run)]
    for arguments, expected in zip((books, plan), truth, strict=True):
        code, document, error = printed("--server", address, *arguments, "--json")
        assert (code, json.loads(document), error) == (0, json.loads(json.dumps(expected)), "")
