"""One arena of onnxruntime's for all sessions of the process: the memory that one has computed in is the next one's.

By default each session has an arena of its own, which keeps what its largest run took for as long as the session lives; a dozen
sessions of a model held a dozen times the activations. And a new session takes its memory from the system page by page, which
for a network of small pictures takes as long as the run.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

COMMON = ("session.use_env_allocators", "1")
"""Of a session: it computes in the arena of the process."""
SHRINK = ("memory.enable_memory_arena_shrinkage", "cpu:0")
"""Of a run: what is free in the arena goes back to the system afterwards."""


def join(options: ort.SessionOptions) -> None:
    """A session with these options takes its memory from the common arena."""
    if _made():
        options.add_session_config_entry(*COMMON)


def give_back() -> None:
    """What the arena holds and nobody uses goes back to the system."""
    if _made():
        _run(_nothing())


@cache
def _made() -> bool:
    """Whether there is a common arena: ours, or that of another user of onnxruntime in this process who was first."""
    information = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    with suppress(Exception):  # onnxruntime's exception classes share no public base below Exception
        ort.create_and_register_allocator(information, None)
        _run(_nothing())  # an arena keeps its first region for good: it shall be a small one
        return True
    return False


def _run(session: ort.InferenceSession) -> None:
    options = ort.RunOptions()
    options.add_run_config_entry(*SHRINK)
    session.run(None, {"a": np.zeros(1, np.float32)}, options)


@cache
def _nothing() -> ort.InferenceSession:
    """A session of the arena that computes nothing: memory is given back after runs only."""
    a, b = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "ab")
    graph = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "nothing", [a], [b])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry(*COMMON)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
