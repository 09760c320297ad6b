"""Prices from the request alone, and buckets that fill with time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainpb.v1 import explanation_service_pb2 as pb
from explainpb.v1.model_service_pb2 import UploadHeader, UploadModelRequest
from explainsvc.codec.audits import AuditQuestion, to_audit_request
from explainsvc.codec.questions import Question, to_fields
from explainsvc.codec.tensors import to_named
from explainsvc.errors import QuotaExceeded
from explainsvc.service import costs, quotas
from explainsvc.service.config import Config
from explainsvc.service.principals import Principal
from explainsvc.service.quotas import Quotas
from explainsvc.service.security import authenticator

DIGEST = 64 * "0"
ALICE, BOB = Principal("alice"), Principal("bob")


def explain(method: str, items: int = 2, parameters: Mapping[str, Any] | None = None) -> float:
    """The price of an explanation of items of 36 elements."""
    fields = to_fields(DIGEST, Question(method, None, None, parameters or {}, False))
    return costs.price(pb.ExplainRequest(**fields, inputs=to_named({"x": np.zeros((items, 1, 6, 6), np.float32)})))


def audit(**question: Any) -> float:
    """The price of an audit of one item."""
    return costs.price(to_audit_request(DIGEST, {"x": np.zeros((1, 4), np.float32)}, AuditQuestion(**question), True))


def test_prices_follow_the_cards() -> None:
    """Passes times items: forward and backward, steps, samples, features, rows of background data, the base of a wrapper."""
    assert explain("gradient") == 4
    assert explain("gradient", items=5) == 10
    assert explain("integrated_gradients", parameters={"steps": 7}) == 2 * 7 * 2
    assert explain("smoothgrad", parameters={"samples": 3, "base": "integrated_gradients"}) == 2 * 3 * 2 * 50
    assert explain("feature_ablation") == 2 * 36
    assert explain("kernel_shap") == 2 * (2 * 36 + 2048)
    assert explain("expected_gradients", parameters={"background": np.zeros((9, 1, 6, 6), np.float32)}) == 2 * 2 * 200 * 9
    assert explain("exact_shap") == 2 * 2**20
    assert explain("sobel") == 2
    header = UploadHeader(size_bytes=3 * 2**20, external_data=[{"size_bytes": 2**20}])
    assert costs.price(UploadModelRequest(header=header)) == costs.BUILD + 4


def test_every_method_check_and_preset_has_a_price() -> None:
    """Positive and finite, by default and whatever numbers are sent; a check's own count needs no model."""
    for name in explainsvc.methods():
        for value in (0, -5, 1e300, float("nan"), "many", True):
            given = dict.fromkeys(("steps", "samples", "classes"), value)
            assert 0 < explain(name, parameters=given) < float("inf"), name
    assert all(audit(methods=["gradient"], checks=[name]) > 2 for name in explainsvc.checks())
    quick, standard, full = (audit(preset=name) for name in ("quick", "standard", "full"))
    assert quick < standard < full
    assert audit(methods=["zebra"]) > 0
    assert audit() == costs.READ  # asks for nothing and will be refused for that


def test_a_shape_costs_no_more_than_the_bytes_behind_it() -> None:
    """A request that claims 2^60 items in 4 bytes is not billed for them: it is refused for its shape."""
    request = pb.PredictRequest(model_digest=DIGEST)
    request.inputs.add().tensor.shape.extend([2**60, 2**60])
    assert costs.price(request) == 1
    request.inputs[0].tensor.data = bytes(40)
    assert costs.price(request) == 40


class Clock:
    """Time that stands still until it is told to go on."""

    now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def test_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full at first, empty after so many units, refilled by the rate and never above the burst; each principal has its own."""
    clock, refused = Clock(), list[str]()
    config = Config(quota_rate=10, quota_burst=100, in_flight=1)
    accounts = Quotas(config, authenticator(config), refused.append, clock)
    accounts.charge(ALICE, 100)
    with pytest.raises(QuotaExceeded) as error:
        accounts.charge(ALICE, 25)
    assert error.value.retry_seconds == 2.5
    clock.now = 2.4
    with pytest.raises(QuotaExceeded):
        accounts.charge(ALICE, 25)
    clock.now = 2.5
    accounts.charge(ALICE, 25)
    accounts.charge(BOB, 100)
    clock.now = 1000
    accounts.charge(ALICE, 100)
    with pytest.raises(QuotaExceeded) as error:
        accounts.charge(BOB, 101)
    assert error.value.retry_seconds is None
    with accounts.running(ALICE), accounts.running(BOB), pytest.raises(QuotaExceeded), accounts.running(ALICE):
        pass
    with accounts.running(ALICE):
        assert refused == ["rate", "rate", "size", "in_flight"]


def test_strangers_names_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts beyond a number are forgotten, the ones idle longest first, none that runs."""
    monkeypatch.setattr(quotas, "MOST_ACCOUNTS", 3)
    config = Config(quota_rate=1, quota_burst=10)
    accounts = Quotas(config, authenticator(config), list[str]().append, Clock())
    with accounts.running(ALICE):
        accounts.charge(ALICE, 10)
        for number in range(20):
            accounts.charge(Principal(str(number)), 10)
        with pytest.raises(QuotaExceeded):
            accounts.charge(ALICE, 1)
        with pytest.raises(QuotaExceeded):
            accounts.charge(Principal("19"), 1)
        accounts.charge(Principal("0"), 10)
