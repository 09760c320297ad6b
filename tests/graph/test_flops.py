"""Multiply-adds by the formulas of textbooks and by the tables of papers; bytes counted by hand."""

from __future__ import annotations

import io
import warnings
from typing import Any

import onnx
import onnx_ir as ir
import pytest
import torch
import torchvision

import explainsvc
from explainsvc.graph.cost import peak_bytes, static_shapes
from explainsvc.graph.flops import multiply_adds
from tests import models
from tests.models import weights

PUBLISHED = {"resnet18": 1.81, "resnet50": 4.09, "vgg16": 15.47, "mobilenet_v3_small": 0.06}
"""10⁹ multiply-adds at 224 pixels, as torchvision's model cards give them (GFLOPS there)."""

ONE_NODE: dict[str, tuple[str, str, dict[str, tuple[int, ...]], int]] = {
    # batch 2: every formula counts items
    "conv": ("float[2, 4, 9, 7] x", "Conv <strides = [2, 1], pads = [1, 0, 1, 0], group = 2> (x, w)", {"w": (6, 2, 3, 5)},
             2 * 6 * 5 * 3 * (2 * 3 * 5)),
    "transposed conv": ("float[2, 4, 5, 3] x", "ConvTranspose <strides = [2, 2], group = 2> (x, w)", {"w": (4, 3, 2, 4)},
                        2 * 4 * 5 * 3 * (3 * 2 * 4)),
    "gemm": ("float[5, 2] x", "Gemm <transA = 1, transB = 1> (x, w)", {"w": (7, 5)}, 2 * 5 * 7),
    "matmul": ("float[2, 3, 4, 5] x", "MatMul (x, w)", {"w": (3, 5, 6)}, 2 * 3 * 4 * 5 * 6),
    "matmul of a vector": ("float[5] x", "MatMul (x, w)", {"w": (5, 6)}, 5 * 6),
    "einsum": ("float[2, 3, 4] x", 'Einsum <equation = "bij, jk -> bik"> (x, w)', {"w": (4, 6)}, 2 * 3 * 4 * 6),
    "einsum of three": ("float[2, 3] x", 'Einsum <equation = "ij, jk, kl"> (x, w, v)', {"w": (3, 4), "v": (4, 5)},
                        2 * 3 * 4 + 2 * 4 * 5),
    "einsum with an ellipsis": ("float[7, 2, 3] x", 'Einsum <equation = "...ij, jk -> ...ik"> (x, w)', {"w": (3, 4)},
                                7 * 2 * 3 * 4),
    "lstm": ("float[7, 2, 3] x", "LSTM <hidden_size = 5> (x, w, r)", {"w": (1, 20, 3), "r": (1, 20, 5)},
             7 * 2 * (4 * 5 * 3 + 4 * 5 * 5)),
    "gru of two directions": ("float[7, 2, 3] x", 'GRU <hidden_size = 5, direction = "bidirectional"> (x, w, r)',
                              {"w": (2, 15, 3), "r": (2, 15, 5)}, 2 * 7 * 2 * (3 * 5 * 3 + 3 * 5 * 5)),
    "a sum": ("float[5] x", "Add (x, w)", {"w": (5,)}, 0),
}  # fmt: skip


def one_node(name: str) -> onnx.ModelProto:
    """A row as a model."""
    declared, node, operands, _ = ONE_NODE[name]
    return models.build(f"g ({declared}) => (float y) {{ y = {node} }}", {n: weights(n, *s) for n, s in operands.items()})


@pytest.mark.parametrize("name", ONE_NODE)
def test_formulas(name: str) -> None:
    """One multiply-add per weight and position that it is used at; FLOPs are twice that."""
    info = explainsvc.load(one_node(name)).info
    assert info.cost.flops == 2 * ONE_NODE[name][3]
    assert [node.flops for node in info.nodes] == [info.cost.flops]
    assert info.cost.uncounted == ()


ATTENTION = {
    "ONNX": ("float[2, 6, 5, 4] q, float[2, 6, 7, 4] k, float[2, 6, 7, 3] v", "Attention (q, k, v)", 2 * 6 * 5 * 7 * (4 + 3)),
    # projection of 5 positions from 8 to 3 · 12, then 3 heads of 4
    "onnxruntime": ("float[2, 5, 8] q", "com.microsoft.Attention <num_heads = 3> (q, w, b)",
                    2 * 5 * 8 * 36 + 2 * 3 * 5 * 5 * (4 + 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_is_counted_by_its_body(name: str) -> None:
    """Scores and values: batch · heads · queries · keys · (key size + value size), and the projection where it has one."""
    declared, node, expected = ATTENTION[name]
    proto = models.build(
        f"g ({declared}) => (float y) {{ [it] y = {node} }}", {"w": weights("w", 8, 36), "b": weights("b", 36)}, 23
    )
    if name == "onnxruntime":
        proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    else:
        del proto.graph.initializer[:]
    (it,) = explainsvc.load(proto).info.nodes
    assert it.flops == 2 * expected
    assert it.vjp == "expanded into its body"


def test_a_loop_counts_its_rounds() -> None:
    """A Scan runs its body once per element, an If one of its branches: the dearer one."""
    text = """g (float[7, 4] x, bool c) => (float[7, 3] y, float z) {
      y = Scan <num_scan_inputs = 1, body = b (float[4] e) => (float[3] f) { f = MatMul (e, w) }> (x)
      z = If <then_branch = t () => (float[7, 3] p) { p = MatMul (x, w) }, else_branch = o () => (float[7, 3] q) { q = Identity (y) }> (c)
    }"""  # noqa: E501
    nodes = explainsvc.load(models.build(text, {"w": weights("w", 4, 3)})).info.nodes
    assert [node.flops for node in nodes] == [2 * 7 * 4 * 3, 2 * 7 * 4 * 3]
    assert [node.vjp for node in nodes] == ["control", "control"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers(name: str) -> None:
    """torchvision's networks cost what its model cards say, to the digits given there."""
    graph = ir.from_proto(shapes_of_export(name)).graph
    shapes = static_shapes(ir.Model(graph, ir_version=10))
    total = sum(multiply_adds(node, lambda v: shapes.get(v.name or "")) or 0 for node in graph)
    assert round(total / 1e9, 2) == PUBLISHED[name]


def shapes_of_export(name: str) -> onnx.ModelProto:
    """The export of a network, its weights as inputs: their shapes are all that is asked for."""
    network: Any = getattr(torchvision.models, name)(weights=None).eval()
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is moving on to its other exporter
        torch.onnx.export(network, (torch.zeros(1, 3, 224, 224),), out, dynamo=False, opset_version=17, export_params=False)
    return onnx.shape_inference.infer_shapes(onnx.load_from_string(out.getvalue()))


def test_bytes_at_once() -> None:
    """Each result lives from its node to its last reader: a (40) → b (80) → c (40) and a + c hold a, b and c at the peak."""
    text = "g (float[10] x) => (float[10] y) { a = Relu (x)  b = Concat <axis = 0> (a, a)  c = Slice (b, s, e)  y = Add (a, c) }"
    proto = models.build(text)
    for name, value in (("s", 0), ("e", 10)):
        proto.graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [1], [value]))
    graph = ir.from_proto(onnx.shape_inference.infer_shapes(proto, data_prop=True)).graph
    shapes = static_shapes(ir.Model(graph, ir_version=10))
    assert peak_bytes(graph, shapes) == 40 + 80 + 40
    cost = explainsvc.load(proto).info.cost
    assert (cost.activation_bytes, cost.peak_bytes, cost.weight_bytes, cost.unsized) == (40 + 80 + 40 + 40, 160, 16, 0)
