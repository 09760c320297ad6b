"""Work in lanes: sessions that come and go, side by side, each with its share of the processor.

Two runs with one thread each take less time than two with both threads in a row: nothing waits for the slower half of a kernel,
and what is done between runs has the other lane to fill the time. And a session's first run takes the memory that it computes in
from the system, page by page, which for a network of small pictures takes as long as the run; sessions of lanes take it from one
arena that outlives them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeVar

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

T = TypeVar("T")

SHRINK = ("memory.enable_memory_arena_shrinkage", "cpu:0")
"""Of a run: what it has freed of its arena goes back to the system afterwards."""
MOST = 2
"""Each lane holds the activations of a run."""


@dataclass(frozen=True)
class Lane:
    """How sessions are made in one.

    Attributes:
        threads: Of a session.
        alone: Of one that the other lanes wait for.
    """

    threads: int
    alone: int

    def enter(self, options: ort.SessionOptions) -> None:
        """A session with these options runs in the lane."""
        options.intra_op_num_threads = self.threads
        if _arena():
            options.add_session_config_entry("session.use_env_allocators", "1")


LANE: ContextVar[Lane | None] = ContextVar("lane", default=None)


def alone() -> AbstractContextManager[None]:
    """Sessions are made for work that the other lanes wait for."""
    own = LANE.get()
    return lane(own and replace(own, threads=own.alone))


@contextmanager
def lane(found: Lane | None) -> Iterator[None]:
    """Sessions are made in this lane; None: by themselves, as they are without lanes."""
    token = LANE.set(found)
    try:
        yield
    finally:
        LANE.reset(token)


def once(make: Callable[[], T]) -> Callable[[], T]:
    """What is made when it is first asked for; another lane that asks meanwhile waits for it."""
    making, kept = threading.Lock(), cache(make)

    def found() -> T:
        with making:
            return kept()

    return found


@cache
def _arena() -> bool:
    """Whether there is an arena for all; another user of onnxruntime in this process may have made one."""
    information = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    with suppress(Exception):  # onnxruntime's exception classes share no public base below Exception
        ort.create_and_register_allocator(information, ort.OrtArenaCfg({"arena_extend_strategy": 1}))
        return True
    return False


def give_back() -> None:
    """What the common arena holds and nobody uses goes back to the system; where no lane has begun there is none."""
    if _arena.cache_info().currsize and _arena():
        options = ort.RunOptions()
        options.add_run_config_entry(*SHRINK)
        _nothing().run(None, {"a": np.zeros(1, np.float32)}, options)


@cache
def _nothing() -> ort.InferenceSession:
    """A session of the arena that computes nothing: memory is given back after runs only."""
    a, b = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "ab")
    graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "nothing", [a], [b])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    Lane(1, 1).enter(options)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
