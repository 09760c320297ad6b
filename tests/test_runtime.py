"""Sessions: kept within a budget, run in the batches that a graph accepts."""

from __future__ import annotations

import platform
import resource
from pathlib import Path

import numpy as np
import pytest

from explainsvc.errors import ModelUnsupported
from explainsvc.runtime import HELD, Session, new_session, providers, run_in_batches
from explainsvc.sessions import SessionCache
from tests import models
from tests.models import numbers

LINEAR = models.linear().SerializeToString()


def test_a_session_is_built_once_per_key() -> None:
    """The second request for a key does not build."""
    cache, built = SessionCache(), []

    def build() -> Session:
        built.append(1)
        return new_session(LINEAR)

    assert cache.get("a", build) is cache.get("a", build)
    assert len(built) == 1


def test_the_least_recently_used_goes_first() -> None:
    """Over the budget the session that was not asked for longest is dropped, the newest always stays."""
    cache, built = SessionCache(budget=2 * HELD * len(LINEAR)), []

    def get(key: str) -> None:
        def build() -> Session:
            built.append(key)
            return new_session(LINEAR)

        cache.get(key, build)

    for key in "abac":  # c drops b, because a was used later
        get(key)
    for key in "ac":
        get(key)
    assert built == ["a", "b", "c"]
    get("b")
    assert built == ["a", "b", "c", "b"]
    tiny = SessionCache(budget=1)
    assert tiny.get("x", lambda: new_session(LINEAR)) is tiny.get("x", lambda: new_session(LINEAR))


def test_cuda_comes_first_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU provider is always there and last; the environment overrides the choice."""
    monkeypatch.delenv("EXPLAINSVC_PROVIDERS", raising=False)
    assert providers()[-1] == "CPUExecutionProvider"
    monkeypatch.setenv("EXPLAINSVC_PROVIDERS", "CPUExecutionProvider")
    assert providers() == ["CPUExecutionProvider"]


def test_a_model_that_does_not_load_says_why() -> None:
    """onnxruntime's own reason is in the error."""
    with pytest.raises(ModelUnsupported, match="onnxruntime"):
        new_session(b"nonsense")


@pytest.mark.parametrize("items", [1, 2, 3, 4, 7])
def test_groups_give_what_single_runs_give(items: int) -> None:
    """Any number of items through a graph of batch 3: filled up, cut, in order."""
    x = numbers(items, 6)
    proto = models.mlp()
    expected = new_session(proto.SerializeToString()).run({"x": x})["y"]
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    frozen = new_session(proto.SerializeToString())
    found = run_in_batches(frozen, {"x": x}, 3, ["y"])["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are not asked to")
def test_dropped_sessions_give_their_memory_back() -> None:
    """Twenty sessions of 8 MB each through a cache of two leave no more than a few of them in the process."""
    graph = "g (float[N, 1024] x) => (float[N, 2048] y) { y = MatMul(x, w) }"
    proto = models.build(graph, {"w": numbers(1024, 2048)}).SerializeToString()
    cache = SessionCache(budget=2 * HELD * len(proto))
    cache.get(0, lambda: new_session(proto)).run({"x": numbers(4, 1024)})
    before = _resident()
    for key in range(1, 20):
        cache.get(key, lambda: new_session(proto)).run({"x": numbers(4, 1024)})
    assert _resident() - before < 6 * len(proto)
