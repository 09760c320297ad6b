"""Initializers outside of a graph: those of a session, and those that sessions share.

A session copies the external initializers that it is given: 20 of the 38 ms that one of a ResNet-18 gradient takes. Shared ones
(``SessionOptions.add_initializer``) it reads where they lie, but wants to find those in the graph's file, or a file beside it
that is long enough. It never reads that file, which can therefore be one of holes, and gone when the session is made.
https://onnxruntime.ai/docs/api/c/struct_ort_api.html (AddInitializer)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

FILE = "given"
FOLDER = "session.model_external_initializers_file_folder_path"
"""Of a session: where the files of its external initializers lie."""


def outside(name: str, dims: Sequence[int], nbytes: int) -> onnx.TensorProto:
    """A float32 tensor of a graph, whose numbers a session is given."""
    tensor = TensorProto(name=name, dims=dims, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", FILE), ("offset", "0"), ("length", str(nbytes))):
        tensor.external_data.add(key=key, value=value)
    return tensor


@contextmanager
def given(options: ort.SessionOptions, values: Mapping[str, ort.OrtValue]) -> Iterator[None]:
    """A session that is made with these options takes its outside tensors from here; it and the values must live as long."""
    if _shared():
        with _holes(values) as folder:
            _share(options, values, folder)
            yield
    else:
        options.add_external_initializers(list(values), list(values.values()))
        yield


def _share(options: ort.SessionOptions, values: Mapping[str, ort.OrtValue], folder: str) -> None:
    options.add_session_config_entry(FOLDER, folder)
    for name, value in values.items():
        options.add_initializer(name, value)


@contextmanager
def _holes(values: Mapping[str, ort.OrtValue]) -> Iterator[str]:
    """A folder with the file, as long as the largest."""
    with tempfile.TemporaryDirectory(prefix="explainsvc-") as folder:
        with open(os.path.join(folder, FILE), "wb") as file:
            file.truncate(max((value.tensor_size_in_bytes() for value in values.values()), default=0))
        yield folder


@cache
def _shared() -> bool:
    """Whether sessions here take shared values: this onnxruntime does, and a file can be made."""
    numbers = np.arange(1024, dtype=np.float32)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1024]) for name in "xy")
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "shared", [x], [y], [outside("w", [1024], numbers.nbytes)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options, values = ort.SessionOptions(), {"w": ort.OrtValue.ortvalue_from_numpy(numbers)}
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    with suppress(Exception):  # onnxruntime's exception classes share no public base below Exception
        with _holes(values) as folder:
            _share(options, values, folder)
            session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = session.run(None, {"x": np.zeros(1024, np.float32)})[0]
        return bool(np.array_equal(found, numbers))
    return False
