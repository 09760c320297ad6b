"""The ledger: relevance is neither made nor lost unseen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import MethodNotApplicable
from explainsvc.ledger import ledger
from tests import models
from tests.methods.required import required
from tests.models import numbers

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
