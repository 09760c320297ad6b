"""Conservation, node by node, on random networks: every number of the ledger by a dense formula, and the sum over all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from explainsvc.ledger import Account, Ledger, ledger
from explainsvc.methods import METHODS
from explainsvc.rules.lrp import ACTIVATION, LINEAR, ROUTING
from tests.axioms.networks import dense_weights, items, network
from tests.methods import dense
from tests.methods.dense import Layer, Rule
from tests.methods.required import required
from tests.models import Array

TOLERANCE = 1e-4
"""Of the relevance at stake: float32, in which small denominators cost digits."""
SEEDS = range(3)
RULES: dict[str, tuple[str, dict[str, Any], Rule]] = {
    "lrp_0": ("lrp_0", {}, dense.zero_rule()),
    "lrp_epsilon": ("lrp_epsilon", {"epsilon": 0.1}, dense.epsilon_rule(0.1)),
    "lrp_z_plus": ("lrp_z_plus", {}, dense.z_plus_rule()),
    "lrp_alpha_beta 2 1": ("lrp_alpha_beta", {}, dense.alpha_beta_rule(2, 1)),
    "lrp_alpha_beta 1.5 0.5": ("lrp_alpha_beta", {"alpha": 1.5, "beta": 0.5}, dense.alpha_beta_rule(1.5, 0.5)),
    "lrp_gamma 0": ("lrp_gamma", {"gamma": 0}, dense.gamma_rule(0)),
    "lrp_gamma 0.3": ("lrp_gamma", {"gamma": 0.3}, dense.gamma_rule(0.3)),
}


def with_bias_as_input(w: Array, b: Array) -> Layer:
    """The layer with one more input, which is always 1: what it gets is what the bias takes."""
    return dense.dense(np.vstack([w, b]))


def expected_accounts(seed: int, bias: bool, rule: Rule, x: Array) -> tuple[Array, float]:
    """Received, handed on, taken by the bias, and rest of every layer, output side first; and the relevance at stake."""
    layers = [with_bias_as_input(w, b * bias) for w, b in dense_weights(seed)]
    total, stake = np.zeros((len(layers), 4)), 0.0
    for item in x.astype(np.float64):
        inputs = [np.append(item, 1)]
        for layer in layers:
            inputs.append(np.append(np.maximum(layer(inputs[-1]), 0), 1))
        r = np.eye(3)[1] * layers[-1](inputs[-2])
        for k, (layer, a) in enumerate(zip(reversed(layers), inputs[-2::-1], strict=True)):
            sent = rule(layer, a, r)
            total[k] += [r.sum(), sent[:-1].sum(), sent[-1], r.sum() - sent.sum()]
            stake = max(stake, np.abs(r).sum(), np.abs(sent).sum())
            r = sent[:-1]
    return total, stake


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["dense ReLU", "dense ReLU bare"])
@pytest.mark.parametrize("rule", RULES)
def test_every_account_is_the_papers_formula(rule: str, kind: str, seed: int) -> None:
    """Received, handed on, what the bias took and what is left, in matrices, the bias an input that is always 1."""
    method, parameters, formula = RULES[rule]
    x = items(kind, seed)
    books = ledger(network(kind, seed), {"x": x}, method, 1, **parameters)
    kept = [account for account in books.accounts if account.operator == "Gemm"]
    found = [[a.received, sum(a.handed_on.values()), a.bias, a.rest] for a in kept]
    expected, stake = expected_accounts(seed, kind == "dense ReLU", formula, x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * stake)
    if rule in ("lrp_0", "lrp_gamma 0.3"):  # all is shared out but what the stabilizer of 1e-6 takes
        np.testing.assert_allclose(expected[:, 3], 0, atol=1e-3 * stake)


# Networks of all kinds, all methods -------------------------------------------------------------------------------------

CONSERVING = sorted(name for name, m in METHODS.items() if "conservation" in m.card.axioms)
KINDS = {"attn_lrp": ("gated", "gated linear"), "cp_lrp": ("gated linear",)}
RELUS = ("dense ReLU", "convolutional ReLU", "convolutional ReLU bare")
OTHERS = ("dense Tanh", "convolutional Tanh")
CASES = [(m, kind) for m in CONSERVING for kind in KINDS.get(m, RELUS if m == "deep_taylor" else RELUS + OTHERS)]


def balanced(books: Ledger, explained: Array, scale: float) -> None:
    """Every value hands on what it got; the inputs got what the explanation says; and nothing is lost unseen."""
    for account in books.accounts:
        np.testing.assert_allclose(account.received, sum(books.values[v] for v in account.results), atol=TOLERANCE * scale)
    np.testing.assert_allclose(books.values["x"], explained.sum(dtype=np.float64), atol=TOLERANCE * scale)
    lost = sum(account.bias + account.rest for account in books.accounts)
    np.testing.assert_allclose(books.start, books.values["x"] + lost, atol=TOLERANCE * scale)


def stake_of(books: Ledger, explained: Array) -> float:
    """The relevance at stake: sums of both signs cancel in an account, but not in the map."""
    return max(float(np.abs(explained).sum()), *(abs(account.received) for account in books.accounts))


@pytest.mark.parametrize(("method", "kind"), CASES)
def test_nothing_is_lost_unseen(method: str, kind: str) -> None:
    """Whatever the operators: the target's value is what the inputs got, the biases took and the accounts say was lost."""
    model, x = network(kind, 1), items(kind, 1)
    found = model.explain({"x": x}, method, 1, **required(method))
    books = ledger(model, {"x": x}, method, 1, **required(method))
    scale = stake_of(books, found.values["x"])
    balanced(books, found.values["x"], scale)
    assert found.residual is not None
    if method != "deep_taylor":  # starts from the positive part of S
        np.testing.assert_allclose(books.start, found.output_value.sum(), rtol=1e-4)
        lost = sum(account.bias + account.rest for account in books.accounts)
        np.testing.assert_allclose(-lost, found.residual.sum(), atol=TOLERANCE * scale)


def silent(account: Account) -> bool:
    """Operators that share out everything they receive: activations, and those that only move elements."""
    return account.operator in ACTIVATION | ROUTING


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["dense Tanh", "convolutional ReLU", "convolutional Tanh"])
@pytest.mark.parametrize("method", ["lrp_0", "lrp_epsilon", "lrp_gamma"])
def test_only_stabilizers_and_biases_take_relevance(method: str, kind: str, seed: int) -> None:
    """Activations, pooling and moves hand on everything; layers and sums all but what a stabilizer of 1e-6 takes.

    Not so of z⁺ and α-β, which lose the relevance of a neuron without contributions of the sign that they share by.
    """
    model, x = network(kind, seed), items(kind, seed)
    books = ledger(model, {"x": x}, method, 1)
    scale = stake_of(books, model.explain({"x": x}, method, 1).values["x"])
    assert {account.operator for account in books.accounts} & LINEAR
    for account in books.accounts:
        np.testing.assert_allclose(account.rest, 0, atol=(1e-6 if silent(account) else 1e-3) * scale, err_msg=str(account))
        assert account.bias == 0 or account.operator in LINEAR | {"Add"}
    assert any(account.bias != 0 for account in books.accounts)
