"""Small models for the tests, in ONNX's own text form; weights are seeded by their names."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

Array = npt.NDArray[Any]


def weights(name: str, *shape: int, scale: float = 0.5) -> Array:
    """Normal numbers, float32, the same for the same name and shape."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), *shape])
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def numbers(*shape: int, seed: int = 0) -> Array:
    """Normal numbers to feed, float32."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def build(text: str, initializers: Mapping[str, Array] | None = None, opset: int = 17, ir_version: int = 9) -> onnx.ModelProto:
    """A model from the text of its graph (and functions); domains ``ai.onnx.ml`` and ``local`` are imported when used."""
    domains = {"ai.onnx.ml": 3, "local": 1}
    imports = [f'"" : {opset}', *(f'"{name}" : {version}' for name, version in domains.items() if f"{name}." in text)]
    proto = parser.parse_model(f"<ir_version: {ir_version}, opset_import: [{', '.join(imports)}]>\n{text}")
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in (initializers or {}).items())
    return proto


def linear() -> onnx.ModelProto:
    """x [N, 4] → y = x·w + b [N, 3]."""
    graph = "g (float[N, 4] x) => (float[N, 3] y) { [head] y = Gemm(x, w, b) }"
    return build(graph, {"w": weights("w", 4, 3), "b": weights("b", 3)})


def mlp(bias: bool = True, activation: str = "Relu", end: str = "Identity") -> onnx.ModelProto:
    """x [N, 6] → dense → activation → dense → activation → dense → end → y [N, 3]."""
    b = ", b{0}" if bias else ""
    graph = f"""g (float[N, 6] x) => (float[N, 3] y) {{
      [one] h1 = Gemm <transB = 1> (x, w1{b.format(1)})
      [act1] a1 = {activation} (h1)
      [two] h2 = Gemm (a1, w2{b.format(2)})
      [act2] a2 = {activation} (h2)
      [three] h3 = Gemm (a2, w3{b.format(3)})
      [end] y = {end} (h3)
    }}"""
    tensors = {"w1": weights("w1", 8, 6), "w2": weights("w2", 8, 7), "w3": weights("w3", 7, 3)}
    biases = {"b1": weights("b1", 8), "b2": weights("b2", 7), "b3": weights("b3", 3)}
    return build(graph, tensors | (biases if bias else {}))


def matmul_mlp(opset: int = 17) -> onnx.ModelProto:
    """x [N, 6] → MatMul, Add, Relu, MatMul, Add → y [N, 3]: as TensorFlow exporters write dense layers."""
    graph = """g (float[N, 6] x) => (float[N, 3] y) {
      [mul1] m1 = MatMul (x, w1)  [add1] h1 = Add (m1, b1)  [act1] a1 = Relu (h1)
      [mul2] m2 = MatMul (a1, w2)  [add2] y = Add (m2, b2)
    }"""
    tensors = {"w1": weights("w1", 6, 8), "b1": weights("b1", 8), "w2": weights("w2", 8, 3), "b2": weights("b2", 3)}
    return build(graph, tensors, opset)


def quadratic() -> onnx.ModelProto:
    """x [N, 4] → y [N, 1] = Σ_i c_i x_i² + 3 x_0 x_1; the gradient is 2 c x + 3 (x_1, x_0, 0, 0)."""
    graph = """g (float[N, 4] x) => (float[N, 1] y) {
      s = Mul (x, x)  cs = Gemm (s, c)
      x0 = Slice (x, zero, one, one)  x1 = Slice (x, one, two, one)
      p = Mul (x0, x1)  p3 = Mul (p, three)  y = Add (cs, p3)
    }"""
    tensors = {"c": np.array([[1], [-2], [0.5], [3]], np.float32), "three": np.array(3, np.float32)}
    return build(graph, tensors | {name: np.array([i], np.int64) for i, name in enumerate(("zero", "one", "two"))})


def cube() -> onnx.ModelProto:
    """x [N, 3] → y [N, 1] = Σ x_i³."""
    graph = "g (float[N, 3] x) => (float[N, 1] y) { s = Mul (x, x)  c = Mul (s, x)  y = Gemm (c, ones) }"
    return build(graph, {"ones": np.ones((3, 1), np.float32)})


def cnn(bias: bool = True, batchnorm: bool = True, batch: str = "N") -> onnx.ModelProto:
    """x [N, 2, 8, 8] → Conv (BatchNorm) Relu, residual Add, AveragePool, Concat of two branches, global mean → y [N, 3]."""
    b = ", b{0}" if bias else ""
    norm = "BatchNormalization ({0}, g, s, m, v)" if batchnorm else "Identity ({0})"
    graph = f"""g (float[{batch}, 2, 8, 8] x) => (float[{batch}, 3] y) {{
      [conv1] c1 = Conv <pads = [1, 1, 1, 1]> (x, w1{b.format(1)})
      [bn1] n1 = {norm.format("c1")}
      [relu1] r1 = Relu (n1)
      [conv2] c2 = Conv <pads = [1, 1, 1, 1]> (r1, w2{b.format(2)})
      [bn2] n2 = {norm.format("c2")}
      [residual] a2 = Add (n2, r1)
      [relu2] r2 = Relu (a2)
      [pool] p = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (r2)
      [left] l = Conv (p, w3{b.format(3)})
      [right] r = Conv <pads = [1, 1, 1, 1]> (p, w4{b.format(4)})
      [concat] both = Concat <axis = 1> (l, r)
      [relu3] r3 = Relu (both)
      [global] gap = GlobalAveragePool (r3)
      [flat] f = Flatten (gap)
      [head] y = Gemm <transB = 1> (f, w5{b.format(5)})
    }}"""
    tensors = {"w1": weights("w1", 4, 2, 3, 3), "w2": weights("w2", 4, 4, 3, 3), "w3": weights("w3", 2, 4, 1, 1)}
    tensors |= {"w4": weights("w4", 3, 4, 3, 3), "w5": weights("w5", 3, 5)}
    biases = {f"b{i}": weights(f"b{i}", n) for i, n in enumerate((4, 4, 2, 3, 3), start=1)}
    statistics = {"g": 1 + weights("g", 4, scale=0.2), "s": weights("s", 4), "m": weights("m", 4), "v": 1 + weights("v", 4) ** 2}
    return build(graph, tensors | (biases if bias else {}) | (statistics if batchnorm else {}))


def nhwc() -> onnx.ModelProto:
    """x [N, 8, 6, 2], channels last → Transpose → Conv Relu → Transpose → mean over positions → y [N, 3]."""
    graph = """g (float[N, 8, 6, 2] x) => (float[N, 3] y) {
      [first] t = Transpose <perm = [0, 3, 1, 2]> (x)
      [conv] c = Conv <pads = [1, 1, 1, 1]> (t, w1, b1)  [relu] r = Relu (c)
      [last] l = Transpose <perm = [0, 2, 3, 1]> (r)
      [mean] m = ReduceMean <axes = [1, 2], keepdims = 0> (l)  [head] y = MatMul (m, w2)
    }"""
    return build(graph, {"w1": weights("w1", 4, 2, 3, 3), "b1": weights("b1", 4), "w2": weights("w2", 4, 3)})


def two_by_two() -> onnx.ModelProto:
    """a [N, 3], b [N, 2] → p [N, 2] of both, q [N, 1] of b only."""
    graph = """g (float[N, 3] a, float[N, 2] b) => (float[N, 2] p, float[N, 1] q) {
      u = MatMul (a, wa)  t = Tanh (u)  v = Mul (t, b)  p = Add (v, b)  q = MatMul (b, wb)
    }"""
    return build(graph, {"wa": weights("wa", 3, 2), "wb": weights("wb", 2, 1)})


def scaled() -> onnx.ModelProto:
    """x [N, 3] and one factor k [1] for all items → y [N, 2] = k · (x·w)²."""
    graph = "g (float[N, 3] x, float[1] k) => (float[N, 2] y) { m = MatMul (x, w)  s = Mul (m, m)  y = Mul (s, k) }"
    return build(graph, {"w": weights("w", 3, 2)})


def without_batch() -> onnx.ModelProto:
    """x [5] → y [3]: no axis counts items."""
    graph = "g (float[5] x) => (float[3] y) { m = MatMul (x, w)  y = Tanh (m) }"
    return build(graph, {"w": weights("w", 5, 3)})


def mixing() -> onnx.ModelProto:
    """x [N, 4] → softmax over the items → y [N, 2]: an item's result depends on its neighbours."""
    graph = "g (float[N, 4] x) => (float[N, 2] y) { s = Softmax <axis = 0> (x)  y = MatMul (s, w) }"
    return build(graph, {"w": weights("w", 4, 2)})


def trees() -> onnx.ModelProto:
    """x [N, 2] → x_0 ≤ 0.5 ? class 0 : (x_1 ≤ −1 ? class 1 : class 2), as scikit-learn's exporter writes it."""
    graph = """g (float[N, 2] x) => (int64[N] label, float[N, 3] probabilities) {
      [forest] label, scores = ai.onnx.ml.TreeEnsembleClassifier <
        nodes_treeids = [0, 0, 0, 0, 0], nodes_nodeids = [0, 1, 2, 3, 4], nodes_featureids = [0, 0, 1, 0, 0],
        nodes_values = [0.5, 0.0, -1.0, 0.0, 0.0], nodes_hitrates = [1.0, 1.0, 1.0, 1.0, 1.0],
        nodes_modes = ["BRANCH_LEQ", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids = [1, 0, 3, 0, 0], nodes_falsenodeids = [2, 0, 4, 0, 0],
        nodes_missing_value_tracks_true = [0, 0, 0, 0, 0],
        class_treeids = [0, 0, 0], class_nodeids = [1, 3, 4], class_ids = [0, 1, 2], class_weights = [1.0, 1.0, 1.0],
        classlabels_int64s = [0, 1, 2], post_transform = "NONE"> (x)
      [zip] probabilities = ai.onnx.ml.ZipMap <classlabels_int64s = [0, 1, 2]> (scores)
    }"""
    proto = build(graph)
    wrapped = proto.graph.output[1].type
    wrapped.Clear()
    wrapped.sequence_type.elem_type.map_type.key_type = TensorProto.INT64
    wrapped.sequence_type.elem_type.map_type.value_type.tensor_type.elem_type = TensorProto.FLOAT
    return proto


def embedding() -> onnx.ModelProto:
    """ids int64 [N, 5] → rows of a table → sum → tanh → y [N, 3]."""
    graph = """g (int64[N, 5] ids) => (float[N, 3] y) {
      [embed] e = Gather (table, ids)  s = ReduceSum <keepdims = 0> (e, axis)  y = Tanh (s)
    }"""
    return build(graph, {"table": weights("table", 10, 3), "axis": np.array([1], np.int64)})


def labelled() -> onnx.ModelProto:
    """x [N, 4] and word string [N] → y [N, 3] of x, and the word again."""
    graph = "g (float[N, 4] x, string[N] word) => (float[N, 3] y, string[N] echo) { y = MatMul (x, w)  echo = Identity (word) }"
    return build(graph, {"w": weights("w", 4, 3)})


def half() -> onnx.ModelProto:
    """``mlp`` in float16: inputs, outputs and weights."""
    proto = mlp()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    return proto


def opset7() -> onnx.ModelProto:
    """x [N, 6] → what changed most since opset 7: Squeeze, ReduceSum and Clip by attributes, Upsample-free, Softmax over 2-d."""
    graph = """g (float[N, 6] x) => (float[N, 3] y) {
      u = Unsqueeze <axes = [2]> (x)  c = Clip <min = -1.5, max = 1.5> (u)  s = Squeeze <axes = [2]> (c)
      h = Gemm (s, w1, b1)  a = Relu (h)  d = Dropout (a)  l = Gemm (d, w2, b2)  y = Softmax (l)
    }"""
    tensors = {"w1": weights("w1", 6, 8), "b1": weights("b1", 8), "w2": weights("w2", 8, 3), "b2": weights("b2", 3)}
    proto = build(graph, tensors, opset=7, ir_version=3)
    declared = [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in tensors.items()]
    proto.graph.input.extend(declared)  # IR version 3 lists initializers among the inputs
    return proto


def functions() -> onnx.ModelProto:
    """x [N, 4] → y [N, 3] by a dense layer that is a function of the model, applied twice."""
    text = """g (float[N, 4] x) => (float[N, 3] y) {
      [first] h = local.dense (x, w1, b1)  [second] y = local.dense (h, w2, b2)
    }
    <domain: "local", opset_import: ["" : 17]>
    dense (x, w, b) => (y) { [mul] m = MatMul (x, w)  [add] z = Add (m, b)  [act] y = Elu <alpha = 0.7> (z) }"""
    tensors = {"w1": weights("w1", 4, 5), "b1": weights("b1", 5), "w2": weights("w2", 5, 3), "b2": weights("b2", 3)}
    return build(text, tensors)


def external(location: str = "weights.bin", proto: onnx.ModelProto | None = None) -> tuple[onnx.ModelProto, dict[str, bytes]]:
    """A model (``mlp``) with its initializers in one external file, and that file's content by its name."""
    proto = mlp() if proto is None else proto
    content = b""
    for tensor in proto.graph.initializer:
        data = numpy_helper.to_array(tensor).tobytes()
        point_outside(tensor, location, len(content), len(data))
        content += data
    return proto, {location: content}


def point_outside(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """Makes a tensor refer to a range of an external file."""
    for name in ("raw_data", "float_data", "external_data"):
        tensor.ClearField(name)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": str(offset), "length": str(length)}.items():
        tensor.external_data.add(key=key, value=value)
