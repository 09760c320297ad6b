"""Gradients of Conv and ConvTranspose with respect to image, weight and bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from explainsvc.autograd.differentiate import differentiate
from tests.autograd.harness import Case
from tests.autograd.multilinear import check_multilinear

rng = np.random.default_rng(0)


def conv(x: Sequence[int], w: Sequence[int], bias: bool = True, like_torch: bool = True, **attributes: Any) -> Case:
    """A Conv case of image shape ``x`` and weight shape ``w``; torch pads both sides alike."""
    operands = [rng.standard_normal(x), rng.standard_normal(w), *([rng.standard_normal(w[0])] if bias else [])]
    return Case("Conv", operands, attributes, torch=_torch_conv(attributes) if like_torch else None)


def transpose(x: Sequence[int], w: Sequence[int], bias: bool = True, like_torch: bool = True, **attributes: Any) -> Case:
    """A ConvTranspose case, likewise."""
    channels = w[1] * attributes.get("group", 1)
    operands = [rng.standard_normal(x), rng.standard_normal(w), *([rng.standard_normal(channels)] if bias else [])]
    return Case("ConvTranspose", operands, attributes, torch=_torch_transpose(attributes) if like_torch else None)


def _torch_arguments(attributes: Mapping[str, Any], rank: int) -> dict[str, Any]:
    return {
        "stride": attributes.get("strides", [1] * rank),
        "dilation": attributes.get("dilations", [1] * rank),
        "groups": attributes.get("group", 1),
    }


def _torch_conv(attributes: Mapping[str, Any]) -> Any:
    def run(x: Any, w: Any, b: Any = None) -> Any:
        rank = x.ndim - 2
        pads = attributes.get("pads", [0] * 2 * rank)
        both = [p for axis in reversed(range(rank)) for p in (pads[axis], pads[axis + rank])]
        convolve = getattr(torch.nn.functional, f"conv{rank}d")
        return convolve(torch.nn.functional.pad(x, both), w, b, **_torch_arguments(attributes, rank))

    return run


def _torch_transpose(attributes: Mapping[str, Any]) -> Any:
    def run(x: Any, w: Any, b: Any = None) -> Any:
        rank = x.ndim - 2
        pads = attributes.get("pads", [0] * 2 * rank)
        slack = attributes.get("output_padding", [0] * rank)
        convolve = getattr(torch.nn.functional, f"conv_transpose{rank}d")
        return convolve(x, w, b, padding=pads[:rank], output_padding=slack, **_torch_arguments(attributes, rank))

    return run


CONV = [
    conv((2, 3, 6, 5), (4, 3, 3, 3)),
    conv((2, 3, 6, 5), (4, 3, 3, 3), bias=False, pads=[1, 1, 1, 1]),
    conv((1, 2, 5, 5), (3, 2, 1, 1)),
    conv((1, 2, 6, 7), (3, 2, 1, 1), strides=[2, 3]),
    conv((2, 3, 7, 6), (2, 3, 3, 2), strides=[2, 2], pads=[1, 0, 0, 1]),
    conv((1, 2, 8, 9), (3, 2, 3, 3), strides=[3, 2], pads=[2, 1, 1, 2]),
    conv((1, 2, 6, 6), (2, 2, 5, 5), strides=[4, 4], pads=[2, 2, 2, 2]),
    conv((1, 2, 8, 8), (3, 2, 3, 3), dilations=[2, 3], pads=[2, 3, 2, 3]),
    conv((1, 2, 9, 9), (3, 2, 3, 2), dilations=[2, 2], strides=[2, 3], pads=[1, 2, 0, 1]),
    conv((1, 2, 4, 4), (3, 2, 1, 1), pads=[1, 2, 3, 0]),  # more padding than a flipped kernel has
    conv((1, 2, 4, 4), (3, 2, 2, 2), pads=[2, 2, 2, 2]),
    conv((2, 4, 5, 5), (6, 2, 3, 3), group=2, pads=[1, 1, 1, 1]),
    conv((2, 4, 6, 5), (6, 2, 3, 3), group=2, strides=[2, 2], pads=[1, 0, 1, 1]),
    conv((1, 4, 5, 5), (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    conv((2, 3, 6, 6), (6, 1, 3, 3), group=3, strides=[2, 2], pads=[1, 1, 1, 1]),
    conv((2, 3, 9), (4, 3, 4)),
    conv((2, 4, 9), (4, 2, 4), group=2, strides=[3], pads=[2, 1], dilations=[2]),
    conv((1, 2, 4, 3, 4), (2, 2, 2, 2, 3), pads=[1, 0, 1, 0, 1, 1]),
    conv((1, 2, 5, 4, 4), (2, 1, 3, 2, 2), group=2, strides=[2, 2, 1], pads=[1, 0, 1, 1, 1, 0]),
    *(
        conv((1, 2, *size), (2, 2, *kernel), like_torch=False, auto_pad=mode, strides=strides)
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for size, kernel, strides in [((5, 6), (3, 2), [1, 1]), ((6, 5), (3, 4), [2, 2]), ((7, 7), (2, 1), [3, 2])]
    ),
    conv((1, 2, 7), (2, 2, 4), like_torch=False, auto_pad="SAME_LOWER", strides=[2]),
    conv((1, 1, 4, 5, 3), (2, 1, 2, 3, 2), like_torch=False, auto_pad="SAME_UPPER", strides=[1, 2, 2]),
]

TRANSPOSE = [
    transpose((2, 3, 3, 4), (3, 2, 3, 3)),
    transpose((1, 3, 3, 4), (3, 2, 3, 3), bias=False, pads=[1, 1, 1, 1]),
    transpose((1, 2, 3, 3), (2, 2, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    transpose((1, 2, 3, 3), (2, 2, 2, 3), strides=[3, 2], output_padding=[2, 1]),
    transpose((1, 2, 3, 3), (2, 2, 2, 2), strides=[2, 2]),
    transpose((1, 2, 3, 3), (2, 2, 2, 2), strides=[3, 3]),
    transpose((1, 2, 3, 3), (2, 2, 3, 3), dilations=[2, 2], pads=[1, 1, 1, 1]),
    transpose((1, 2, 3, 3), (2, 2, 3, 3), dilations=[3, 2], strides=[2, 1], output_padding=[1, 0]),
    transpose((2, 4, 3, 3), (4, 3, 3, 3), group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
    transpose((2, 3, 3, 3), (3, 1, 3, 3), group=3, strides=[2, 2], pads=[0, 0, 0, 0]),
    transpose((1, 2, 3, 4), (2, 2, 3, 3), like_torch=False, strides=[2, 2], pads=[1, 0, 0, 2]),
    transpose((2, 3, 5), (3, 2, 4), strides=[2], pads=[1, 1]),
    transpose((1, 2, 2, 3, 2), (2, 1, 2, 2, 3), strides=[2, 1, 2], pads=[0, 1, 1, 0, 1, 1]),
    transpose((1, 1, 3, 3), (1, 2, 3, 3), like_torch=False, strides=[3, 2], output_shape=[10, 8]),
    transpose((1, 1, 3, 3), (1, 2, 3, 3), like_torch=False, strides=[3, 2], output_shape=[8, 6]),
    transpose((1, 1, 3, 3), (1, 2, 3, 3), like_torch=False, strides=[3, 2], output_shape=[8, 6], auto_pad="SAME_UPPER"),
    transpose((1, 1, 3, 3), (1, 2, 3, 3), like_torch=False, strides=[3, 2], output_shape=[10, 8], output_padding=[1, 1]),
    *(
        transpose((1, 2, 3, 4), (2, 2, *kernel), like_torch=False, auto_pad=mode, strides=strides)
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for kernel, strides in [((3, 4), [2, 2]), ((3, 2), [1, 3]), ((4, 3), [1, 2])]
    ),
]

ALL = [*CONV, *TRANSPOSE]


@pytest.mark.parametrize("case", ALL, ids=str)
def test_gradients_of_image_weight_and_bias(case: Case) -> None:
    """The emitted gradients are the derivatives of what onnxruntime computes, with static shapes."""
    check_multilinear(case)


@pytest.mark.parametrize("case", [replace(c, dynamic=True) for c in ALL], ids=str)
def test_gradients_with_unknown_shapes(case: Case) -> None:
    """The same with every axis of image, weight and bias symbolic."""
    check_multilinear(case)


@pytest.mark.parametrize("case", [replace(c, dynamic=True, wanted=[0], constant=range(1, len(c.operands))) for c in ALL], ids=str)
def test_image_gradient_with_constant_weight_and_unknown_image(case: Case) -> None:
    """The usual model: the weight is an initializer, the size of the image is open."""
    check_multilinear(replace(case, torch=None))


def test_kernel_comes_from_the_weight_where_no_attribute_states_it() -> None:
    """A Conv of which neither kernel_shape nor the image's rank is known is differentiated by the weight's rank."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="it")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 2, 2], [1.0, 2.0, 3.0, 4.0])
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "g", inputs, outputs, [weight])
    explained = differentiate(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), ["x"])
    assert "Conv" in [n.op_type for n in explained.graph.node[1:]]
