"""Gradients of the pools, over windows and global."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from explainsvc.autograd.differentiate import differentiate
from tests.autograd.harness import Case, check
from tests.autograd.multilinear import check_multilinear

rng = np.random.default_rng(0)


def pool(op_type: str, x: Sequence[int], kernel: Sequence[int], like: Any = None, **attributes: Any) -> Case:
    """A pool over ``x``, all of whose entries differ; ``like`` is the same in torch."""
    values = rng.permutation(int(np.prod(x))).reshape(x) / 7 - 5.0
    return Case(op_type, [values], {"kernel_shape": list(kernel)} | attributes, torch=like)


def average(x: Sequence[int], kernel: Sequence[int], like_torch: bool = False, **attributes: Any) -> Case:
    """An AveragePool case; torch has no dilations and pads both sides alike."""
    rank = len(kernel)

    def run(x: Any) -> Any:
        function: Callable[..., Any] = getattr(torch.nn.functional, f"avg_pool{rank}d")
        pads, ceil = attributes.get("pads", [0] * 2 * rank), bool(attributes.get("ceil_mode", 0))
        included = bool(attributes.get("count_include_pad", 0))
        return function(x, kernel, attributes.get("strides", [1] * rank), pads[:rank], ceil, included)

    return pool("AveragePool", x, kernel, run if like_torch else None, **attributes)


def maximum(x: Sequence[int], kernel: Sequence[int], like_torch: bool = True, **attributes: Any) -> Case:
    """A MaxPool case."""
    rank = len(kernel)

    def run(x: Any) -> Any:
        function: Callable[..., Any] = getattr(torch.nn.functional, f"max_pool{rank}d")
        strides, dilations = (attributes.get(name, [1] * rank) for name in ("strides", "dilations"))
        pads, ceil = attributes.get("pads", [0] * 2 * rank), bool(attributes.get("ceil_mode", 0))
        return function(x, kernel, strides, pads[:rank], dilations, ceil)

    return pool("MaxPool", x, kernel, run if like_torch else None, **attributes)


AVERAGE = [
    average((2, 3, 5, 4), (2, 2), True),
    average((1, 2, 6, 6), (2, 2), True, strides=[2, 2]),
    average((1, 2, 7, 6), (3, 2), True, strides=[2, 1]),
    average((1, 2, 6, 6), (3, 3), True, strides=[2, 2], pads=[1, 1, 1, 1]),
    average((1, 2, 6, 6), (3, 3), True, strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
    average((1, 2, 5, 5), (3, 3), True, pads=[1, 1, 1, 1]),
    average((1, 2, 5, 5), (3, 3), True, pads=[1, 1, 1, 1], count_include_pad=1),
    average((1, 2, 6, 7), (3, 3), True, strides=[2, 2], ceil_mode=1),
    average((1, 2, 6, 7), (3, 3), True, strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
    average((1, 2, 6, 7), (3, 3), True, strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1),
    average((1, 2, 5, 5), (2, 2), True, strides=[3, 3], ceil_mode=1),
    average((1, 2, 5, 6), (3, 3), pads=[2, 1, 0, 2]),
    average((1, 2, 5, 6), (3, 3), strides=[2, 2], pads=[0, 1, 2, 1], count_include_pad=1),
    average((1, 2, 6, 6), (2, 3), dilations=[2, 2]),
    average((1, 2, 7, 7), (2, 2), dilations=[2, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
    *(
        average((1, 2, 6, 5), kernel, auto_pad=mode, strides=strides, count_include_pad=include)
        for mode in ("SAME_UPPER", "SAME_LOWER")
        for include in (0, 1)
        for kernel, strides in [((2, 3), [1, 1]), ((3, 3), [2, 2])]
    ),
    average((1, 2, 6, 5), (3, 2), auto_pad="VALID", strides=[2, 2]),
    average((2, 2, 7), (3,), True, strides=[2], pads=[1, 1]),
    average((1, 2, 4, 4, 5), (2, 3, 2), True, strides=[1, 2, 2], pads=[1, 1, 1, 1, 1, 1]),
]

MAXIMUM = [
    maximum((2, 3, 5, 4), (2, 2)),
    maximum((1, 2, 6, 6), (2, 2), strides=[2, 2]),
    maximum((2, 2, 7, 6), (3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    maximum((1, 2, 6, 7), (3, 3), strides=[2, 2], ceil_mode=1),
    maximum((1, 2, 6, 7), (3, 3), strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
    maximum((1, 2, 7, 7), (2, 3), dilations=[2, 2], strides=[2, 1]),
    maximum((1, 2, 7, 7), (3, 3), dilations=[2, 2], pads=[1, 1, 1, 1]),
    maximum((2, 2, 5, 6), (2, 2), storage_order=1),
    maximum((2, 2, 5, 6), (3, 2), like_torch=False, strides=[2, 2], pads=[1, 0, 0, 1], storage_order=1),
    maximum((1, 2, 6, 5), (3, 3), like_torch=False, strides=[2, 2], auto_pad="SAME_UPPER"),
    maximum((1, 2, 6, 5), (2, 2), like_torch=False, auto_pad="SAME_LOWER"),
    maximum((2, 2, 9), (3,), strides=[2], pads=[1, 1]),
    maximum((2, 2, 9), (3,), dilations=[2], strides=[2]),
    maximum((1, 2, 4, 5, 4), (2, 2, 3), strides=[2, 1, 1]),
    maximum((1, 2, 5, 5, 5), (2, 2, 2), strides=[2, 2, 2], dilations=[2, 1, 2], ceil_mode=1),
]


def _overhanging_norm(x: Any) -> Any:
    return (torch.nn.functional.pad(x, (0, 1)) ** 2).unfold(2, 3, 2).sum(-1).sqrt()


NORM = [
    pool("LpPool", (1, 2, 5, 6), (2, 2), like=lambda x: (x**2).unfold(2, 2, 1).unfold(3, 2, 1).sum((-1, -2)).sqrt()),
    *(pool("LpPool", (1, 2, 5, 6), (2, 3), strides=[2, 2], p=p) for p in (1, 2, 3, 4)),
    pool("LpPool", (1, 2, 5, 5), (3, 3), pads=[1, 1, 1, 1], p=3),
    pool("LpPool", (1, 2, 6, 6), (2, 2), dilations=[2, 2]),
    pool("LpPool", (1, 2, 6, 5), (2, 2), auto_pad="SAME_UPPER"),
    # onnx's reference evaluator scales a window that hangs over the edge up, onnxruntime does not
    replace(pool("LpPool", (2, 2, 8), (3,), _overhanging_norm, strides=[2], ceil_mode=1), finite_differences=False),
]


def whole_norm(p: int) -> Case:
    """GlobalLpPool, which has a float64 kernel nowhere."""
    operand = rng.standard_normal((2, 3, 4, 3))

    def run(x: Any) -> Any:
        return torch.linalg.vector_norm(x, p, (2, 3), keepdim=True)

    return Case("GlobalLpPool", [operand], {"p": p}, torch=run, finite_differences=False)


def whole_maximum(*shape: int) -> Case:
    """GlobalMaxPool; onnx's reference evaluator knows it in two dimensions only."""
    axes = tuple(range(2, len(shape)))
    operand = rng.standard_normal(shape)
    return Case("GlobalMaxPool", [operand], torch=lambda x: torch.amax(x, axes, keepdim=True), finite_differences=len(axes) == 2)


WHOLE = [
    *(whole_norm(p) for p in (1, 2, 3)),
    whole_maximum(2, 3, 4, 3),
    whole_maximum(2, 3, 5),
    Case("GlobalAveragePool", [rng.standard_normal((2, 3, 4, 3))], torch=lambda x: x.mean((2, 3), keepdim=True)),
    Case("GlobalAveragePool", [rng.standard_normal((1, 2, 3, 2, 2))], torch=lambda x: x.mean((2, 3, 4), keepdim=True)),
]


def _also_dynamic(cases: Sequence[Case]) -> list[Case]:
    return [*cases, *(replace(c, dynamic=True) for c in cases)]


@pytest.mark.parametrize("case", _also_dynamic(AVERAGE), ids=str)
def test_average(case: Case) -> None:
    """Every cell gets its share of every window that averages over it, as onnxruntime counts the cells."""
    check_multilinear(case)


@pytest.mark.parametrize("case", _also_dynamic(MAXIMUM), ids=str)
def test_maximum(case: Case) -> None:
    """The largest cell of a window gets the window's gradient; cells that win several windows get the sum."""
    check(case)


@pytest.mark.parametrize("case", _also_dynamic(NORM), ids=str)
def test_norm(case: Case) -> None:
    """The p-norm of every window, by differences and where simple by torch."""
    check(case)


@pytest.mark.parametrize("case", _also_dynamic(WHOLE), ids=str)
def test_global(case: Case) -> None:
    """Pools over all spatial cells."""
    check(case)


def _explained(op_type: str, x: Any, seed: Any, outputs: int = 1, **attributes: Any) -> Any:
    node = helper.make_node(op_type, ["x"], ["y", "i"][:outputs], name="it", **attributes)
    types = [("y", TensorProto.FLOAT), ("i", TensorProto.INT64)][:outputs]
    infos = [helper.make_tensor_value_info(name, kind, None) for name, kind in types]
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)], infos)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    explained = differentiate(model, ["x"], "y")
    session = ort.InferenceSession(explained.SerializeToString(), providers=["CPUExecutionProvider"])
    return explained, session.run(["explain.x"], {"x": x, "explain.seed": seed})[0]


def test_ties_go_to_the_first_cell() -> None:
    """Of equal cells the first in row-major order gets all, in MaxPool and GlobalMaxPool as in torch."""
    x, seed = np.zeros((1, 2, 4, 4), np.float32), rng.standard_normal((1, 2, 2, 2)).astype(np.float32)
    expected = torch.zeros(1, 2, 4, 4, requires_grad=True)
    torch.nn.functional.max_pool2d(expected, 2).backward(torch.tensor(seed))
    got = _explained("MaxPool", x, seed, kernel_shape=[2, 2], strides=[2, 2])[1]
    np.testing.assert_array_equal(got, expected.grad)
    whole = _explained("GlobalMaxPool", x, seed[:, :, :1, :1])[1]
    np.testing.assert_array_equal(whole[:, :, 0, 0], seed[:, :, 0, 0])
    assert np.count_nonzero(whole) == 2


@pytest.mark.parametrize(("storage_order", "pools"), [(0, 1), (1, 2)])
def test_indices_of_the_forward_node_are_used_where_they_are_row_major(storage_order: int, pools: int) -> None:
    """A MaxPool that gives Indices is not run again, unless they count column by column."""
    x, seed = rng.standard_normal((2, 2, 4, 6)).astype(np.float32), rng.standard_normal((2, 2, 2, 3)).astype(np.float32)
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2], "storage_order": storage_order}
    explained, got = _explained("MaxPool", x, seed, outputs=2, **attributes)
    assert [n.op_type for n in explained.graph.node].count("MaxPool") == pools
    expected = torch.tensor(x, requires_grad=True)
    torch.nn.functional.max_pool2d(expected, 2).backward(torch.tensor(seed))
    np.testing.assert_array_equal(got, expected.grad)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_the_norm_of_zeros_has_gradient_zero(p: int) -> None:
    """Where a whole window is zero, the gradient of its norm is 0 and not NaN."""
    seed = np.ones((1, 1, 2, 2), np.float32)
    got = _explained("LpPool", np.zeros((1, 1, 4, 4), np.float32), seed, kernel_shape=[2, 2], strides=[2, 2], p=p)[1]
    np.testing.assert_array_equal(got, np.zeros((1, 1, 4, 4)))
