"""Words of the emitter that the rules rely on to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from explainsvc.autograd import Emitter

INFINITE, SMALLEST = np.inf, float(np.finfo(np.float32).smallest_normal)
Z = [-INFINITE, -3e38, -1.0, -1e-6, -SMALLEST, -0.0, 0.0, SMALLEST, 1e-6, 1.0, 3e38, INFINITE]


@pytest.mark.parametrize("at_zero", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_step(dtype: Any, at_zero: float) -> None:
    """Exactly 0 and 1 on both sides of zero, down to the smallest normal numbers."""
    kind = ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype)))
    z = ir.Value(name="z", type=kind, shape=ir.Shape([None]))
    graph = ir.Graph([z], [], nodes=[], name="g", opset_imports={"": 21})
    emit = Emitter(graph)
    emit.output("y", emit.step(emit.term(z), at_zero))
    session = ort.InferenceSession(ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString())
    found = session.run(["y"], {"z": np.array(Z, dtype)})[0]
    np.testing.assert_array_equal(found, np.heaviside(np.array(Z, dtype), dtype(at_zero)))
