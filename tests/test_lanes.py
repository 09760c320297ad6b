"""Lanes: sessions that come and go, side by side."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import onnxruntime as ort
import pytest

from explainsvc import runtime
from explainsvc.lanes import LANE, Lane, alone, lane, once
from explainsvc.runtime import lanes, new_session
from explainsvc.sessions import SessionCache
from tests import models
from tests.models import numbers

LINEAR = models.linear().SerializeToString()


def threads_of(session: runtime.Session) -> int:
    """How many an onnxruntime session was made with."""
    return int(session.ort.get_session_options().intra_op_num_threads)


def test_the_processor_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lanes at most; one, with all of it, where there is one thread, or a device."""
    monkeypatch.setenv("EXPLAINSVC_PROVIDERS", "CPUExecutionProvider")
    for asked, expected in {"1": [Lane(1, 1)], "2": [Lane(1, 2)] * 2, "9": [Lane(4, 9)] * 2}.items():
        monkeypatch.setenv("EXPLAINSVC_THREADS", asked)
        assert lanes() == expected
    monkeypatch.setenv("EXPLAINSVC_PROVIDERS", "CUDAExecutionProvider,CPUExecutionProvider")
    assert lanes() == [Lane(9, 9)]


def test_sessions_of_a_lane_have_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """More where the other lanes wait for it; what is kept for all is made as without lanes."""
    monkeypatch.setenv("EXPLAINSVC_THREADS", "3")
    with lane(Lane(1, 2)):
        assert threads_of(new_session(LINEAR)) == 1
        with alone():
            assert threads_of(new_session(LINEAR)) == 2
        passing, lasting = SessionCache(passing=True), SessionCache()
        assert threads_of(passing.get("k", lambda: new_session(LINEAR))) == 1
        assert threads_of(lasting.get("k", lambda: new_session(LINEAR))) == 3
    assert LANE.get() is None
    with alone():
        assert threads_of(new_session(LINEAR)) == 3


def test_what_is_made_once_is_made_once() -> None:
    """However many ask at the same time."""
    meeting, made = Barrier(4), list[int]()

    def make() -> int:
        time.sleep(0.05)
        made.append(1)
        return len(made)

    found = once(make)

    def ask(_: int) -> int:
        meeting.wait(30)
        return found()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [1, 1, 1, 1]


def test_kept_values_go_from_session_to_session() -> None:
    """They stay onnxruntime's; arrays, of any strides, may be fed beside them, and come out as from a run."""
    difference = models.build("agraph (float[N,3] a, float[N,3] b) => (float[N,3] d) { d = Sub(a, b) }")
    first, second, x = new_session(LINEAR), new_session(difference.SerializeToString()), numbers(3, 4)
    expected = first.run({"x": x})["y"]
    kept = first.keep({"x": x}, ["y"])["y"]
    assert isinstance(kept, ort.OrtValue)
    b = numbers(expected.shape[1], 3, seed=1).T
    found = second.run({"a": kept, "b": b})["d"]
    np.testing.assert_array_equal(found, expected - b)
