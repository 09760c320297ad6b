"""The ledger: relevance is neither made nor lost unseen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.cli import main
from explainsvc.errors import InvalidParameter, MethodNotApplicable
from explainsvc.ledger import ledger
from tests import models
from tests.methods.required import required
from tests.models import numbers
from tests.test_corpus import CORPUS, case

CNN, X = explainsvc.load(models.cnn()), numbers(2, 2, 8, 8)
METHODS = [
    "lrp_0",
    "lrp_epsilon",
    "lrp_z_plus",
    "lrp_alpha_beta",
    "lrp_gamma",
    "lrp_epsilon_plus_flat",
    "lrp_z_box",
    "deep_taylor",
]


@pytest.mark.parametrize("bias", ["counted", "ignored"])
@pytest.mark.parametrize("method", METHODS)
def test_the_books_balance(method: str, bias: str) -> None:
    """What the inputs got, the biases took and ε took is what the target started with; every value hands on what it got."""
    options: dict[str, Any] = required(method) | ({} if method == "deep_taylor" else {"bias": bias})
    books = ledger(CNN, {"x": X}, method, [0, 2], **options)
    found = CNN.explain({"x": X}, method, [0, 2], **options)
    scale = max(abs(account.received) for account in books.accounts)
    np.testing.assert_allclose(books.values["x"], found.values["x"].sum(dtype=np.float64), atol=1e-4 * scale)
    lost = sum(account.bias + account.rest for account in books.accounts)
    np.testing.assert_allclose(books.start, books.values["x"] + lost, atol=1e-4 * scale)
    for account in books.accounts:
        np.testing.assert_allclose(account.received, sum(books.values[v] for v in account.results), atol=1e-4 * scale)
    if method != "deep_taylor":
        np.testing.assert_allclose(books.start, found.output_value.sum(), rtol=1e-5)
    if bias == "ignored" or method == "deep_taylor":
        assert all(account.bias == 0 for account in books.accounts)


def test_biases_and_epsilon_take_what_the_formula_says() -> None:
    """y = x·w + b by the ε-rule: b takes b/(z + ε sign z)·S, ε the share ε/(|z| + ε)."""
    x, w, b = numbers(1, 4), models.weights("w", 4, 3), models.weights("b", 3)
    z, epsilon = float((x @ w + b)[0, 1]), 0.3
    (account,) = ledger(explainsvc.load(models.linear()), {"x": x}, "lrp_epsilon", 1, epsilon=epsilon).accounts
    assert (account.node, account.operator, account.rule, account.results) == ("head", "Gemm", "lrp_epsilon", ("y",))
    total = z + np.sign(z) * epsilon
    np.testing.assert_allclose([account.received, account.bias], [z, b[1] / total * z], rtol=1e-5)
    np.testing.assert_allclose(account.rest, np.sign(z) * epsilon / total * z, rtol=1e-4)
    np.testing.assert_allclose(account.handed_on["x"], (x @ w)[0, 1] / total * z, rtol=1e-5)


def test_an_added_constant_is_a_bias() -> None:
    """Relevance of a sum goes to the constant in proportion."""
    graph = "g (float[N, 3] x) => (float[N, 3] y) { [sum] y = Add (x, c) }"
    model = explainsvc.load(models.build(graph, {"c": np.array([1, 2, 4], np.float32)}))
    (account,) = ledger(model, {"x": np.array([[3, 6, 1]], np.float32)}, "lrp_epsilon", 2).accounts
    np.testing.assert_allclose([account.received, account.handed_on["x"], account.bias], [5, 1, 4], rtol=1e-5)


def test_both_ways_of_a_residual_sum_are_booked() -> None:
    """The value that a block and its shortcut read gets what both hand back."""
    books = ledger(CNN, {"x": X}, "lrp_epsilon_plus", 1)
    by_node = {account.node: account for account in books.accounts}
    assert set(by_node["residual"].handed_on) == {"n2", "r1"}
    (block,) = (account for account in books.accounts if account.results == ("n2",))
    np.testing.assert_allclose(books.values["r1"], by_node["residual"].handed_on["r1"] + block.handed_on["r1"], rtol=1e-6)


@pytest.mark.parametrize("method", ["gradient", "occlusion", "guided_backprop", "excitation_backprop"])
def test_what_shares_out_no_value_has_no_ledger(method: str) -> None:
    """A typed error, and no table of numbers that mean nothing."""
    with pytest.raises(MethodNotApplicable, match="no relevance"):
        ledger(CNN, {"x": X}, method)


def test_a_rulebook_with_gradients_has_no_ledger() -> None:
    """What a gradient hands on is no share of what it got."""
    rulebook = {"preset": "lrp_0", "rows": [{"rule": "gradient", "operators": "Relu"}]}
    with pytest.raises(MethodNotApplicable, match="takes the gradient"):
        ledger(CNN, {"x": X}, "lrp", rulebook=rulebook)
    assert ledger(CNN, {"x": X}, "lrp", rulebook="lrp_0").accounts


def test_a_model_in_half_precision_has_a_ledger() -> None:
    """It is kept in float32, as its explanations are."""
    model, x = explainsvc.load(models.half()), numbers(2, 6).astype(np.float16)
    books, found = ledger(model, {"x": x}, "lrp_epsilon", 0), model.explain({"x": x}, "lrp_epsilon", 0)
    np.testing.assert_allclose(books.start, found.output_value.sum(), rtol=1e-2)
    np.testing.assert_allclose(books.values["x"], found.values["x"].sum(), rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_the_books_close(method: str) -> None:
    """The start is what came to the inputs, what the biases took and the rest; the sums are in the JSON too."""
    books = CNN.ledger({"x": X}, method, [0, 2], **required(method))
    found = CNN.explain({"x": X}, method, [0, 2], **required(method))
    scale = max(abs(account.received) for account in books.accounts)
    assert abs(books.rounding) < 1e-5 * scale
    (arrived,) = books.at_inputs.values()
    np.testing.assert_allclose(arrived, found.values["x"].sum(dtype=np.float64), atol=1e-5 * scale)
    np.testing.assert_allclose(books.start, arrived + books.bias + books.rest, atol=1e-5 * scale)
    document = json.loads(json.dumps(books.to_json(), allow_nan=False))
    assert document["target"] == found.to_json()["target"]
    assert document["parameters"] == found.to_json()["parameters"]
    assert {name: document[name] for name in ("at_inputs", "bias", "rest", "start")} == {
        "at_inputs": {"x": arrived}, "bias": books.bias, "rest": books.rest, "start": books.start,
    }  # fmt: skip
    assert [account["handed_on"] for account in document["accounts"]] == [account.handed_on for account in books.accounts]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpus is not beside this checkout")
@pytest.mark.parametrize("name", ["speechcommands-squeezenet-torch", "mnist-cnn-keras-nhwc"])
def test_the_books_of_an_exported_network_close(name: str) -> None:
    """Of ReLUs and pooling LRP-0 is input × gradient (Shrikumar et al. 2016): biases and rest are all that it leaves."""
    model, (feeds, _) = explainsvc.load(CORPUS / name / "model.onnx"), case(CORPUS / name)
    truth = model.explain(feeds, "input_x_gradient", {"output": model.ledger(feeds, "lrp_0").target.output})
    books = model.ledger(feeds, "lrp_0", {"output": truth.target.output})
    scale = max(abs(account.received) for account in books.accounts)
    expected = {key: float(values.sum(dtype=np.float64)) for key, values in truth.values.items()}
    assert books.at_inputs == pytest.approx(expected, abs=1e-4 * scale)
    assert books.start == pytest.approx(float(truth.output_value.sum()), abs=1e-5 * scale)
    assert books.bias + books.rest == pytest.approx(books.start - sum(expected.values()), abs=1e-4 * scale)
    assert any(account.bias != 0 for account in books.accounts)


def test_the_books_end_at_a_layer() -> None:
    """Inner values are inputs of the rest of the model, in the ledger as in the explanation."""
    books, found = (call({"x": X}, method="lrp_epsilon", target=1, inputs=["r1"]) for call in (CNN.ledger, CNN.explain))
    assert (books.inputs, books.model_digest, books.caveats) == (("r1",), CNN.digest, found.caveats)
    assert "n1" not in books.values
    np.testing.assert_allclose(books.at_inputs["r1"], found.values["r1"].sum(dtype=np.float64), rtol=1e-4)


@pytest.mark.parametrize("name", ["model", "feeds", "self", "epsilom"])
def test_wrong_parameters_are_named(name: str) -> None:
    """Whatever they are called, they are a typed error, in the ledger and in the dry run."""
    with pytest.raises(InvalidParameter, match="lrp_epsilon"):
        CNN.ledger({"x": X}, "lrp_epsilon", **{name: 1})
    with pytest.raises(InvalidParameter, match="lrp_epsilon"):
        CNN.dry_run("lrp_epsilon", **{name: 1})


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The command line up to the method."""
    model, feeds = tmp_path / "m.onnx", tmp_path / "x.npz"
    model.write_bytes(models.cnn().SerializeToString())
    np.savez(feeds, x=X)
    return ["ledger", str(model), "--inputs", str(feeds), "--method"]


def test_the_command_line_prints_the_numbers(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a node in the order of the walk, whose columns are the accounts; then where the start went."""
    books = CNN.ledger({"x": X}, "lrp_epsilon", 1, epsilon=0.5)
    out = tmp_path / "books.json"
    arguments = [*files, "lrp_epsilon", "--target", "1", "-p", "epsilon=0.5", "--out", str(out)]
    assert main(arguments) == 0
    about, table, totals = (block.splitlines() for block in capsys.readouterr().out.split("\n\n"))
    assert [line.split() for line in about] == [["method", "lrp_epsilon"], ["target", "y[1]"]]
    assert table[0].split() == ["node", "operator", "rule", "received", "handed", "on", "bias", "rest", "to"]
    for line, account in zip(table[1:], books.accounts, strict=True):
        name, operator, rule, *sums = line.split()[:7]
        assert (name, operator, rule) == (account.node or account.results[0], account.operator, account.rule)
        expected = [account.received, sum(account.handed_on.values()), account.bias, account.rest]
        assert [float(number) for number in sums] == pytest.approx(expected, rel=1e-4)
    (both,) = (line for line in table if line.startswith("residual"))
    assert both.endswith(", ".join(f"{k} {v:.5g}" for k, v in books.accounts[_place(books, "residual")].handed_on.items()))
    found = {line.rsplit(maxsplit=1)[0]: line.rsplit(maxsplit=1)[1] for line in totals}
    assert found.pop("wrote") == str(out)
    assert {key: float(text) for key, text in found.items() if key != "rounding"} == pytest.approx(
        {"start": books.start, "at input x": books.at_inputs["x"], "biases": books.bias, "rest": books.rest}, rel=1e-4
    )
    assert json.loads(out.read_text()) == json.loads(json.dumps(books.to_json()))
    assert main([*arguments[:-2], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())


def _place(books: explainsvc.Ledger, node: str) -> int:
    return [account.node for account in books.accounts].index(node)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["gradient"], 1, "shares out no relevance"),
        (["lrp_epsilon", "-p", "epsilon=-1"], 2, "epsilon"),
        (["lrp_epsilom"], 2, "lrp_epsilom"),
        (["lrp_epsilon", "--target", "9"], 1, "out of range"),
        (["lrp_epsilon", "--out", "books.txt"], 2, ".json"),
        (["lrp_epsilon", "--out", "nowhere/books.json"], 2, "nowhere"),
    ],
)
def test_mistakes_on_the_command_line(
    files: list[str], arguments: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Misuse exits 2 and a refusal 1, each in one paragraph."""
    assert main([*files, *arguments]) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert text in err
