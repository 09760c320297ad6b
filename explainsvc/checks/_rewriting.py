"""Rewritings: graphs that compute the same function by other nodes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter

from explainsvc.autograd.shapes import Array
from explainsvc.checks import _surgery as surgery
from explainsvc.checks._surgery import TAG, Copy, attributes, constants, copy_of, is_op, replace_nodes

Nodes = list[onnx.NodeProto]
OLDEST, NEWEST = 13, 21
"""Opsets to convert to: all axes are inputs from 13 on, and onnxruntime knows all operators of 21."""


@dataclass(frozen=True)
class Rewriting:
    """A way to write the same function.

    Attributes:
        name: What was done.
        apply: ``(proto, names to keep) -> proto``; None where the model gives no occasion.
    """

    name: str
    apply: Callable[[onnx.ModelProto, Collection[str]], onnx.ModelProto | None]


def _nodewise(name: str, instead: Callable[[Copy, onnx.NodeProto], Nodes | None]) -> Rewriting:
    return Rewriting(name, lambda proto, _: replace_nodes(proto, instead))


# Node by node -----------------------------------------------------------------------------------------------------


def _gemm_as_matmul(copy: Copy, n: onnx.NodeProto) -> Nodes | None:
    """α A′B′ + β C as MatMul and Add, α and β inside the constants."""
    known, given = copy.known, attributes(n)
    if not is_op(n, "Gemm") or given.get("transA", 0) or n.input[1] not in known:
        return None
    biased = len(n.input) > 2 and n.input[2] != ""
    if biased and n.input[2] not in known:
        return None
    weight = known[n.input[1]].T if given.get("transB", 0) else known[n.input[1]]
    w = copy.constant("weight", np.float32(given.get("alpha", 1.0)) * weight)
    product = f"{TAG}{n.output[0]}.product" if biased else n.output[0]
    matmul = helper.make_node("MatMul", [n.input[0], w], [product], f"{n.name}.matmul")
    if not biased:
        return [matmul]
    b = copy.constant("bias", np.float32(given.get("beta", 1.0)) * known[n.input[2]])
    return [matmul, helper.make_node("Add", [product, b], [n.output[0]], f"{n.name}.add")]


def _matmul_as_gemm(proto: onnx.ModelProto, keep: Collection[str]) -> onnx.ModelProto | None:
    """MatMul and Add of two-dimensional values as one Gemm."""
    before = Copy(copy_of(proto))
    known, ranks = before.known, before.ranks
    readers: dict[str, int] = {}
    for name in (name for node in proto.graph.node for name in surgery.names_read(node)):
        readers[name] = readers.get(name, 0) + 1
    ends = {v.name for v in proto.graph.output} | set(keep)
    products = {
        n.output[0]: n
        for n in proto.graph.node
        if is_op(n, "MatMul") and n.input[1] in known and known[n.input[1]].ndim == 2 and ranks.get(n.input[0]) == 2
        and readers.get(n.output[0]) == 1 and n.output[0] not in ends
    }  # fmt: skip
    fused: dict[str, onnx.NodeProto] = {}
    for n in (n for n in proto.graph.node if is_op(n, "Add")):
        for product, bias in ((n.input[0], n.input[1]), (n.input[1], n.input[0])):
            if product in products and bias in known and known[bias].ndim == 1:
                source = products[product]
                fused[source.output[0]] = n
                break
    return replace_nodes(proto, lambda _, n: _fused(n, fused, products, known))


def _fused(
    n: onnx.NodeProto, fused: Mapping[str, onnx.NodeProto], products: Mapping[str, onnx.NodeProto], known: Mapping[str, Array]
) -> Nodes | None:
    if n.output[0] in fused:
        return []
    product = next((p for p, add in fused.items() if add.output[0] == n.output[0]), None)
    if product is None:
        return None
    bias = next(name for name in n.input if name in known)
    return [helper.make_node("Gemm", [*products[product].input, bias], [n.output[0]], f"{n.name}.gemm")]


def _bias_as_add(copy: Copy, n: onnx.NodeProto) -> Nodes | None:
    """The bias of a convolution as an Add of its own."""
    known = copy.known
    if not is_op(n, "Conv", "ConvTranspose") or len(n.input) < 3 or n.input[2] not in known or n.input[1] not in known:
        return None
    spatial = known[n.input[1]].ndim - 2
    b = copy.constant("bias", known[n.input[2]].reshape(-1, *[1] * spatial))
    bare = onnx.NodeProto()
    bare.CopyFrom(n)
    bare.output[0], product = f"{TAG}{n.output[0]}.product", f"{TAG}{n.output[0]}.product"
    del bare.input[2:]
    return [bare, helper.make_node("Add", [product, b], [n.output[0]], f"{n.name}.bias")]


def _batchnorm_as_affine(copy: Copy, n: onnx.NodeProto) -> Nodes | None:
    """BatchNormalization in inference as Mul and Add of constants (Ioffe & Szegedy 2015, algorithm 2)."""
    known, ranks = copy.known, copy.ranks
    if not is_op(n, "BatchNormalization") or any(name not in known for name in n.input[1:5]) or n.input[0] not in ranks:
        return None
    scale, shift, mean, var = (known[name].astype(np.float64) for name in n.input[1:5])
    factor = scale / np.sqrt(var + attributes(n).get("epsilon", 1e-5))
    shape = (-1, *[1] * (ranks[n.input[0]] - 2))
    a = copy.constant("factor", factor.reshape(shape).astype(np.float32))
    b = copy.constant("shift", (shift - mean * factor).reshape(shape).astype(np.float32))
    scaled = f"{TAG}{n.output[0]}.scaled"
    mul = helper.make_node("Mul", [n.input[0], a], [scaled], f"{n.name}.mul")
    return [mul, helper.make_node("Add", [scaled, b], [n.output[0]], f"{n.name}.add")]


def _conv_with_batchnorm(copy: Copy, n: onnx.NodeProto) -> Nodes | None:
    """Conv as a Conv of weights divided by powers of two (exactly) and a BatchNormalization that multiplies by them."""
    known = copy.known
    if not is_op(n, "Conv") or any(name not in known for name in n.input[1:] if name):
        return None
    weight = known[n.input[1]]
    size = len(weight)
    factor = np.float32(2.0) ** (1 + np.arange(size, dtype=np.float32) % 3)
    bias = known[n.input[2]] if len(n.input) > 2 and n.input[2] else np.zeros(size, np.float32)
    w = copy.constant("weight", weight / factor.reshape(-1, *[1] * (weight.ndim - 1)))
    variance, epsilon = np.full(size, 1 - 2.0**-10, np.float32), 2.0**-10
    rest = [copy.constant("norm", v) for v in (factor, bias, np.zeros(size, np.float32), variance)]
    bare = helper.make_node("Conv", [n.input[0], w], [f"{TAG}{n.output[0]}.conv"], n.name)
    bare.attribute.extend(n.attribute)
    norm = helper.make_node("BatchNormalization", [bare.output[0], *rest], [n.output[0]], f"{n.name}.norm", epsilon=epsilon)
    return [bare, norm]


def _relu_as(op: str, since: int) -> Callable[[Copy, onnx.NodeProto], Nodes | None]:
    """max(x, 0) by another operator."""

    def instead(copy: Copy, n: onnx.NodeProto) -> Nodes | None:
        if not is_op(n, "Relu") or surgery.opset_of(copy.proto) < since:
            return None
        return [
            helper.make_node(
                op, [n.input[0], copy.constant("zero", np.zeros((), np.float32))], list(n.output), f"{n.name}.{op.lower()}"
            )
        ]

    return instead


def _relu_as_abs(copy: Copy, n: onnx.NodeProto) -> Nodes | None:
    """relu(x) = (x + |x|)/2, exactly: doubling and halving do not round."""
    if not is_op(n, "Relu"):
        return None
    x, size, both = n.input[0], f"{TAG}{n.output[0]}.abs", f"{TAG}{n.output[0]}.sum"
    half = copy.constant("half", np.array(0.5, np.float32))
    return [
        helper.make_node("Abs", [x], [size], f"{n.name}.abs"),
        helper.make_node("Add", [x, size], [both], f"{n.name}.sum"),
        helper.make_node("Mul", [both, half], list(n.output), f"{n.name}.half"),
    ]


# Whole graphs -----------------------------------------------------------------------------------------------------


def _identities(proto: onnx.ModelProto, keep: Collection[str]) -> onnx.ModelProto:
    """An Identity behind every value that a node makes and another one reads."""
    copy = copy_of(proto)
    single = {o for n in copy.graph.node if len(n.output) == 1 and not surgery.subgraphs(n) for o in n.output}
    nodes: Nodes = []
    names: dict[str, str] = {}
    for n in list(copy.graph.node):
        surgery.read_instead([n], names)
        nodes.append(n)
        for o in (o for o in n.output if o in single and not is_op(n, "SequenceConstruct", "SplitToSequence", "Optional")):
            names[o] = f"{TAG}{o}.same"
            nodes.append(helper.make_node("Identity", [o], [names[o]], f"{n.name}.identity"))
    kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return copy


def _unfolded(proto: onnx.ModelProto, keep: Collection[str]) -> onnx.ModelProto | None:
    """Every float constant W as the sum of W/2 and W/2, which does not round."""
    copy = copy_of(proto)
    known = constants(copy)
    tiny = np.finfo(np.float32).tiny
    halved = {name: w for name, w in known.items() if w.ndim > 0 and not ((w != 0) & (np.abs(w) < 4 * tiny)).any()}
    if not halved:
        return None
    rest = [t for t in copy.graph.initializer if t.name not in halved]
    halves = [numpy_helper.from_array(w / 2, f"{TAG}{name}.half") for name, w in halved.items()]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend([*rest, *halves])
    sums = [helper.make_node("Add", [f"{TAG}{name}.half"] * 2, [name], f"{name}.unfolded") for name in halved]
    kept = list(copy.graph.node)
    del copy.graph.node[:]
    copy.graph.node.extend([*sums, *kept])
    return copy


def _constants_as_nodes(proto: onnx.ModelProto, keep: Collection[str]) -> onnx.ModelProto | None:
    """Initializers as Constant nodes."""
    copy = copy_of(proto)
    known = constants(copy)
    moved = [t for t in copy.graph.initializer if t.name in known]
    if not moved:
        return None
    rest = [t for t in copy.graph.initializer if t.name not in known]
    nodes = [helper.make_node("Constant", [], [t.name], value=t) for t in moved]
    kept = list(copy.graph.node)
    del copy.graph.initializer[:], copy.graph.node[:]
    copy.graph.initializer.extend(rest)
    copy.graph.node.extend([*nodes, *kept])
    return copy


def _exported_again(proto: onnx.ModelProto, keep: Collection[str]) -> onnx.ModelProto:
    """Written to bytes and read again under other names: inner values, nodes and constants are renamed."""
    copy = onnx.ModelProto.FromString(copy_of(proto).SerializeToString())
    ends = {v.name for v in (*copy.graph.input, *copy.graph.output)} | set(keep) | {""}
    made = [o for n in copy.graph.node for o in n.output] + [t.name for t in copy.graph.initializer]
    names = {name: f"{TAG}value.{i}" for i, name in enumerate(made) if name not in ends}
    surgery.read_instead(copy.graph.node, names)
    for i, n in enumerate(copy.graph.node):
        n.name = f"{n.op_type}_{i}"
        for k, o in enumerate(n.output):
            n.output[k] = names.get(o, o)
    for tensor in copy.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    return copy


def _raised(proto: onnx.ModelProto, keep: Collection[str]) -> onnx.ModelProto | None:
    """In a newer opset."""
    return None if surgery.opset_of(proto) >= NEWEST else _converted(proto, NEWEST)


def _lowered(proto: onnx.ModelProto, keep: Collection[str]) -> onnx.ModelProto | None:
    """In the oldest opset that onnx.version_converter has a way to."""
    for version in range(OLDEST, surgery.opset_of(proto)):
        with suppress(RuntimeError):  # no adapter for some operator
            return _converted(proto, version)
    return None


def _converted(proto: onnx.ModelProto, version: int) -> onnx.ModelProto:
    found: Any = version_converter.convert_version(copy_of(proto), version)
    return copy_of(found)


REWRITINGS: tuple[Rewriting, ...] = (
    Rewriting("identities_inserted", _identities),
    _nodewise("gemm_as_matmul_add", _gemm_as_matmul),
    Rewriting("matmul_add_as_gemm", _matmul_as_gemm),
    _nodewise("conv_bias_as_add", _bias_as_add),
    _nodewise("batchnorm_as_mul_add", _batchnorm_as_affine),
    _nodewise("conv_with_batchnorm", _conv_with_batchnorm),
    _nodewise("relu_as_max", _relu_as("Max", 8)),
    _nodewise("relu_as_clip", _relu_as("Clip", 11)),
    _nodewise("relu_as_abs", _relu_as_abs),
    Rewriting("constants_unfolded", _unfolded),
    Rewriting("constants_as_nodes", _constants_as_nodes),
    Rewriting("exported_again", _exported_again),
    Rewriting("opset_up", _raised),
    Rewriting("opset_down", _lowered),
)
