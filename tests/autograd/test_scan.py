"""The Scan word: a loop over the first axis, its body written as expressions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from explainsvc.autograd.emit import Emitter, Term
from explainsvc.autograd.scan import scan
from tests.autograd.rows import normal


def built(*, backwards: bool) -> onnx.ModelProto:
    """s' = s · outer + x, emitting s', the state before it and the outer term; one sequence is left out."""
    model = ir.Model(ir.Graph([], [], nodes=[], opset_imports={"": 21}, name="loop"), ir_version=10)
    emit = Emitter(model.graph)
    steps, outer = (_input(emit, name, dims) for name, dims in (("x", ["t", 3]), ("outer", [3])))

    def step(s: Term, x: Term, absent: None) -> tuple[list[Term], list[Term]]:
        assert absent is None
        after = s * outer + x + 1
        return [after], [after, s, outer]

    (last,), (after, before, same) = scan(step, [emit.constant(np.ones(3, np.float32))], [steps, None], backwards=backwards)
    for name, term in {"last": last, "after": after, "before": before, "same": same}.items():
        emit.output(name, term)
    return ir.to_proto(model)


def _input(emit: Emitter, name: str, dims: list[Any]) -> Term:
    return emit.input(name, ir.Value(name=name, shape=ir.Shape(dims), type=ir.TensorType(ir.DataType.FLOAT)))


@pytest.mark.parametrize("backwards", [False, True])
def test_a_loop_with_state_emissions_and_outer_terms(backwards: bool) -> None:
    """States pass from step to step, emissions stay in the order of the sequence, the checker accepts the graph."""
    proto = built(backwards=backwards)
    onnx.checker.check_model(proto, full_check=True)
    x, outer = normal(4, 3).astype(np.float32), normal(3).astype(np.float32)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    last, after, before, same = session.run(None, {"x": x, "outer": outer})
    states = [np.ones(3, np.float32)]
    for row in x[::-1] if backwards else x:
        states.append(states[-1] * outer + row + 1)
    order = slice(None, None, -1 if backwards else 1)
    np.testing.assert_allclose(last, states[-1], rtol=1e-6)
    np.testing.assert_allclose(after, states[1:][order], rtol=1e-6)
    np.testing.assert_allclose(before, states[:-1][order], rtol=1e-6)
    np.testing.assert_array_equal(same, [outer] * 4)
