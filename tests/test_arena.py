"""The arena that all sessions share."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnxruntime as ort

from explainsvc.runtime import new_session
from tests import models
from tests.models import numbers

GIVEN_BACK = """
import numpy as np
from onnx import TensorProto, helper
from explainsvc.arena import give_back
from explainsvc.runtime import new_session

def held() -> float:
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

a, b = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "ab")
nodes = [helper.make_node("Abs", ["a"], ["c"]), helper.make_node("Exp", ["c"], ["d"]), helper.make_node("Neg", ["d"], ["b"])]
model = helper.make_model(helper.make_graph(nodes, "g", [a], [b]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
x = np.zeros(25 * 2**18, np.float32)  # 25 MB
give_back()
for _ in range(2):
    new_session(model.SerializeToString()).ort.run(["b"], {"a": x})
after = held()
give_back()
print(after - held())
"""


def test_memory_is_given_back() -> None:
    """When it is asked for: until then the next session finds it in place."""
    done = subprocess.run([sys.executable, "-c", GIVEN_BACK], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 20  # of 50 MB of inner values


def test_sessions_of_the_arena_compute_the_same() -> None:
    """As one with an arena of its own."""
    data, x = models.cnn().SerializeToString(), numbers(3, 2, 8, 8)
    plain = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    feeds = {plain.get_inputs()[0].name: x}
    expected = plain.run(None, feeds)[0]
    np.testing.assert_array_equal(next(iter(new_session(data).run(feeds).values())), expected)


def test_it_does_not_matter_who_made_the_arena() -> None:
    """onnxruntime has one a process; where another library was first, sessions work all the same."""
    code = """
import numpy as np
import onnxruntime as ort
information = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
ort.create_and_register_allocator(information, None)
from explainsvc.arena import give_back
from explainsvc.runtime import new_session
from tests import models
print(new_session(models.linear().SerializeToString()).run({"x": np.ones((2, 4), np.float32)})["y"].shape)
give_back()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2, 3)"
