"""Where a graph has spatial activations, and which input axis holds channels."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import explainsvc
from explainsvc.autograd import Emitter, NodeView
from explainsvc.autograd.backward import nodes_between
from explainsvc.graph.spatial import channel_axis, default_layer, spatial_values
from tests import models


def path(proto: onnx.ModelProto) -> tuple[explainsvc.Model, list[NodeView]]:
    """The model, and its nodes between input and output."""
    model = explainsvc.load(proto)
    emit = Emitter(model.graph)
    return model, [NodeView(n, emit) for n in nodes_between(model.graph, model.graph.inputs, model.graph.outputs[0])]


def test_spatial_values_are_convolutions_and_what_keeps_their_layout() -> None:
    """Everything from the first convolution to the last value before global pooling, in order; nothing after it."""
    _, views = path(models.cnn(batchnorm=False))
    assert [v.name for v in spatial_values(views)] == ["c1", "r1", "c2", "a2", "r2", "p", "l", "r", "both", "r3"]


@pytest.mark.parametrize(("proto", "layer"), [(models.cnn(), "r3"), (models.nhwc(), "r")], ids=["NCHW", "NHWC"])
def test_the_default_layer_is_the_last_before_pooling(proto: onnx.ModelProto, layer: str) -> None:
    """Grad-CAM's usual layer: the last activation that still has positions, in [N, C, H, W]."""
    model, views = path(proto)
    found = default_layer(views, model.graph.outputs[0])
    assert found is not None
    assert found.name == layer


@pytest.mark.parametrize("proto", [models.mlp(), models.without_batch()], ids=["mlp", "vector"])
def test_there_is_no_layer_without_convolutions(proto: onnx.ModelProto) -> None:
    """A network of dense layers has no spatial values."""
    model, views = path(proto)
    assert spatial_values(views) == []
    assert default_layer(views, model.graph.outputs[0]) is None


def test_the_target_itself_is_not_a_layer() -> None:
    """A convolution that is the output (segmentation) is explained through the activation before it."""
    graph = """g (float[N, 1, 6, 6] x) => (float[N, 2, 6, 6] y) {
      c = Conv <pads = [1, 1, 1, 1]> (x, w1)  r = Relu (c)  y = Conv (r, w2)
    }"""
    model, views = path(models.build(graph, {"w1": models.weights("w1", 3, 1, 3, 3), "w2": models.weights("w2", 2, 3, 1, 1)}))
    found = default_layer(views, model.graph.outputs[0])
    assert found is not None
    assert found.name == "r"


RESHAPED = models.build(
    """g (float[N, 8, 6, 1] x) => (float[N, 2, 6, 4] y) { r = Reshape (x, s)  y = Conv (r, w) }""",
    {"w": models.weights("w", 2, 1, 3, 3), "s": np.array([-1, 1, 8, 6], np.int64)},
)


@pytest.mark.parametrize(
    ("proto", "axis"), [(models.cnn(), 1), (models.nhwc(), 3), (RESHAPED, 3)], ids=["NCHW", "Transpose", "Reshape"]
)
def test_the_channel_axis_is_followed_to_the_first_convolution(proto: onnx.ModelProto, axis: int) -> None:
    """A Transpose, or the Reshape of a single channel, tells where an input holds its channels."""
    model, views = path(proto)
    assert channel_axis(model.graph.inputs[0], views) == axis
