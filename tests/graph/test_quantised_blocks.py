"""Products with weights of a few bits: onnxruntime's kernel on the unit vectors says what the weights are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import explainsvc

K, N, BLOCK = 40, 6, 16
BLOCKS = 3
"""⌈40 / 16⌉: the last block is not full."""
Operands = Mapping[str, Any]
rng = np.random.default_rng(0)


def model(op_type: str, operands: Operands, k: int = K, n: int = N, **attributes: Any) -> onnx.ModelProto:
    """y = op(x, …), all operands but x constant; "" for one that is left out."""
    tensors = [numpy_helper.from_array(a, name) for name, a in operands.items() if a is not None]
    names = ["x", *(name if a is not None else "" for name, a in operands.items())]
    node = helper.make_node(op_type, names, ["y"], name="it", domain="com.microsoft", **attributes)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, size]) for name, size in (("x", k), ("y", n)))
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "quantised", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def packed(bits: int) -> Any:
    """Any bytes are weights."""
    return rng.integers(0, 256, (N, BLOCKS, BLOCK * bits // 8), dtype=np.uint8)


def scales() -> Any:
    """One a block."""
    return rng.uniform(0.5, 1.5, (N, BLOCKS)).astype(np.float32)


def zeros(bits: int) -> Any:
    """Packed like the weights."""
    return rng.integers(0, 256, (N, -(-BLOCKS * bits // 8)), dtype=np.uint8)


BIAS = rng.standard_normal(N).astype(np.float32)
N_BITS: dict[str, tuple[int, Operands]] = {
    **{f"{bits} bits": (bits, {"b": packed(bits), "scales": scales()}) for bits in (2, 4, 8)},
    **{f"{bits} bits, zeros": (bits, {"b": packed(bits), "scales": scales(), "zeros": zeros(bits)}) for bits in (2, 4, 8)},
    "zeros as floats": (4, {"b": packed(4), "scales": scales(), "zeros": rng.uniform(0, 15, (N, BLOCKS)).astype(np.float32)}),
    "bias": (4, {"b": packed(4), "scales": scales(), "zeros": zeros(4), "groups": None, "bias": BIAS}),
}


def check(proto: onnx.ModelProto) -> None:
    """The gradient is the seed times the matrix that onnxruntime multiplies with."""
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value

    def run(x: Any) -> Any:
        return session.run(None, {"x": np.stack([x, x])})[0][0].astype(np.float64)

    units = np.eye(rows, dtype=np.float32)
    matrix = np.stack([run(unit) - run(0 * unit) for unit in units])
    seed = rng.standard_normal((2, matrix.shape[1])).astype(np.float32)
    loaded = explainsvc.load(proto)
    x = rng.standard_normal((2, rows)).astype(np.float32)
    found = loaded.explain({"x": x}, method="gradient", target={"output": "y", "seed": seed})
    np.testing.assert_allclose(found.values["x"], seed @ matrix.T, rtol=1e-4, atol=1e-4)
    record = next(p for p in loaded.prepared.passes if p.name == "dequantize")
    assert record.applied
    assert record.error < 1e-5


@pytest.mark.parametrize("row", N_BITS)
def test_matmul_n_bits(row: str) -> None:
    """Weights of 2, 4 and 8 bits with and without zeros of their own."""
    bits, operands = N_BITS[row]
    check(model("MatMulNBits", operands, K=K, N=N, bits=bits, block_size=BLOCK))


def test_rounding_of_activations_is_left_out_and_said() -> None:
    """At accuracy level 4 onnxruntime rounds x to int8: the twin does not, within the tolerance, and the caveat says so."""
    bits, operands = N_BITS["4 bits, zeros"]
    proto = model("MatMulNBits", operands, K=K, N=N, bits=bits, block_size=BLOCK, accuracy_level=4)
    prepared = explainsvc.load(proto).prepared
    assert prepared.dequantized
    assert any("dequantised twin" in caveat for caveat in prepared.caveats)


@pytest.mark.parametrize("kind", [0, 1], ids=["FP4", "NF4"])
def test_matmul_bnb4(kind: int) -> None:
    """Four bits of bitsandbytes: the numbers are those of onnxruntime's tables."""
    count = K * N
    largest = rng.uniform(0.5, 1.5, count // BLOCK).astype(np.float32)
    operands = {"b": rng.integers(0, 256, count // 2, dtype=np.uint8), "largest": largest}
    check(model("MatMulBnb4", operands, K=K, N=N, block_size=BLOCK, quant_type=kind))
