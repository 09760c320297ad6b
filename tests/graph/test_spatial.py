"""Where a graph has spatial activations, and which input axis holds channels."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import explainsvc
from explainsvc.autograd import Emitter, NodeView
from explainsvc.autograd.backward import nodes_between
from explainsvc.graph.following import CHANNELS, ITEMS, LOST, ONE, PART, Labels, Tokens, followed
from explainsvc.graph.spatial import default_layer, positions, spatial_values
from tests import models
from tests.models import Array


def path(proto: onnx.ModelProto) -> tuple[explainsvc.Model, list[NodeView]]:
    """The model, and its nodes between input and output."""
    model = explainsvc.load(proto)
    emit = Emitter(model.graph)
    return model, [NodeView(n, emit) for n in nodes_between(model.graph, model.graph.inputs, model.graph.outputs[0])]


def test_spatial_values_are_convolutions_and_what_keeps_their_layout() -> None:
    """Everything from the first convolution to the last value before global pooling, in order; nothing after it."""
    model, views = path(models.cnn(batchnorm=False))
    found = spatial_values(views, model.graph.inputs[0])
    assert [v.name for v in found] == [
        "c1",
        "r1",
        "c2",
        "a2",
        "r2",
        "p",
        "l",
        "r",
        "both",
        "r3",
    ]


@pytest.mark.parametrize(("proto", "layer"), [(models.cnn(), "r3"), (models.nhwc(), "r")], ids=["NCHW", "NHWC"])
def test_the_default_layer_is_the_last_before_pooling(proto: onnx.ModelProto, layer: str) -> None:
    """Grad-CAM's usual layer: the last activation that still has positions, in [N, C, H, W]."""
    model, views = path(proto)
    found = default_layer(views, model.graph.inputs[0], model.graph.outputs[0])
    assert found is not None
    assert found.name == layer


@pytest.mark.parametrize("proto", [models.mlp(), models.without_batch()], ids=["mlp", "vector"])
def test_there_is_no_layer_without_convolutions(proto: onnx.ModelProto) -> None:
    """A network of dense layers has no spatial values."""
    model, views = path(proto)
    assert spatial_values(views, model.graph.inputs[0]) == {}
    assert default_layer(views, model.graph.inputs[0], model.graph.outputs[0]) is None


def test_the_target_itself_is_not_a_layer() -> None:
    """A convolution that is the output (segmentation) is explained through the activation before it."""
    graph = """g (float[N, 1, 6, 6] x) => (float[N, 2, 6, 6] y) {
      c = Conv <pads = [1, 1, 1, 1]> (x, w1)  r = Relu (c)  y = Conv (r, w2)
    }"""
    model, views = path(models.build(graph, {"w1": models.weights("w1", 3, 1, 3, 3), "w2": models.weights("w2", 2, 3, 1, 1)}))
    found = default_layer(views, model.graph.inputs[0], model.graph.outputs[0])
    assert found is not None
    assert found.name == "r"


def labels(body: str, x: str = "float[N, 3, 8, 6] x", **tensors: Array) -> Labels | None:
    """The labels of ``v`` in a graph of one line."""
    weights = {"w": models.weights("w", 4, 3, 1, 1), "half": models.weights("half", 4, 2), "lead": ints(0)} | tensors
    text = f"g ({x}) => (float[1] y) {{ {body} sum = ReduceSum <keepdims = 0> (v) y = Unsqueeze (sum, lead) }}"
    _, views = path(models.build(text, {n: t for n, t in weights.items() if n == "lead" or f" {n})" in text or f" {n}," in text}))
    found = {v.name: label for v, label in followed(views, views[0].x.value).items()}
    return found.get("v")


def ints(*values: int) -> Array:
    """A tensor of axes or lengths."""
    return np.array(values, np.int64)


CONV, SIDE = "c = Conv (x, w) ", "c = Conv (x, w) t = Transpose <perm = [0, 3, 1, 2]> (c) "
ROWS: list[tuple[str, dict[str, Array], Labels | None]] = [
    ("v = Conv (x, w)", {}, (ITEMS, CHANNELS, 2, 3)),
    ("v = Relu (x)", {}, (0, 1, 2, 3)),
    (SIDE + "v = Relu (t)", {}, (ITEMS, 3, CHANNELS, 2)),
    (CONV + "v = Softmax (c)", {}, None),
    (CONV + "m = GlobalAveragePool (c) s = Sigmoid (m) v = Mul (c, s)", {}, (ITEMS, CHANNELS, 2, 3)),
    # a dense layer mixes the last axis
    (CONV + "t = Transpose <perm = [0, 2, 3, 1]> (c) v = MatMul (t, half)", {}, (ITEMS, 2, 3, CHANNELS)),
    (CONV + "v = MatMul (c, k)", {"k": models.weights("k", 6, 2)}, (ITEMS, CHANNELS, 2, LOST)),
    # what a residual branch loses, the other knows
    (CONV + "m = MatMul (c, k) v = Add (m, c)", {"k": models.weights("k", 6, 6)}, (ITEMS, CHANNELS, 2, 3)),
    # reshapes: groups of channels and back, axes of length one, a flattened picture
    (CONV + "v = Reshape (c, s)", {"s": ints(0, 2, 2, 8, 6)}, (ITEMS, PART, PART, 2, 3)),
    (CONV + "r = Reshape (c, s) v = Reshape (r, u)", {"s": ints(0, 2, 2, 8, 6), "u": ints(0, 4, 8, 6)}, (ITEMS, CHANNELS, 2, 3)),
    (CONV + "v = Reshape (c, s)", {"s": ints(0, 4, 1, 8, 6)}, (ITEMS, CHANNELS, None, 2, 3)),
    (CONV + "v = Reshape (c, s)", {"s": ints(0, -1)}, None),
    (CONV + "v = Reshape (c, s)", {"s": ints(0, 8, 6, 4)}, None),
    (CONV + "r = Reshape (c, s) v = Reshape (r, u)", {"s": ints(0, 4, 48), "u": ints(0, 4, 8, 6)}, (ITEMS, CHANNELS, 2, 3)),
    (CONV + "r = Reshape (c, s) v = Reshape (r, u)", {"s": ints(0, 4, 48), "u": ints(0, 4, 6, 8)}, None),
    # pooling
    (CONV + "v = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)", {}, (ITEMS, CHANNELS, 2, 3)),
    (CONV + "r = Reshape (c, s) v = MaxPool <kernel_shape = [2]> (r)", {"s": ints(0, 4, 48)}, (ITEMS, CHANNELS, LOST)),
    # slices
    (CONV + "v = Slice (c, a, z, k, s)", {"a": ints(0), "z": ints(9), "k": ints(1), "s": ints(2)}, (ITEMS, CHANNELS, 2, 3)),
    (CONV + "v = Slice (c, a, z, k, s)", {"a": ints(1), "z": ints(9), "k": ints(2), "s": ints(2)}, (ITEMS, CHANNELS, 2, 3)),
    (CONV + "v = Slice (c, a, z, k)", {"a": ints(1), "z": ints(9), "k": ints(2)}, (ITEMS, CHANNELS, LOST, 3)),
    (CONV + "v = Slice (c, a, z, k)", {"a": ints(0), "z": ints(4), "k": ints(3)}, (ITEMS, CHANNELS, 2, LOST)),
    # side by side
    (CONV + "v = Concat <axis = 1> (c, c)", {}, (ITEMS, CHANNELS, 2, 3)),
    (CONV + "v = Concat <axis = 2> (c, c)", {}, (ITEMS, CHANNELS, LOST, 3)),
    (CONV + "v = Gather <axis = 2> (c, i)", {"i": ints(3, 1)}, (ITEMS, CHANNELS, LOST, 3)),
    (CONV + "v = Gather <axis = 1> (c, i)", {"i": ints(3, 1)}, (ITEMS, CHANNELS, 2, 3)),
    (CONV + "v = Gather <axis = 2> (c, i)", {"i": np.array(3)}, (ITEMS, CHANNELS, 3)),
    # a shuffle that cannot be followed: the next convolution sees what the one before saw
    (CONV + "r = Reshape (c, s) t = Reshape (r, u) q = Slice (t, a, z, k) v = Conv (q, w)",
     {"s": ints(0, 16, 12), "u": ints(0, 4, 8, 6), "a": ints(0), "z": ints(3), "k": ints(1)}, (ITEMS, CHANNELS, 2, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("body", "tensors", "expected"), ROWS, ids=[f"{i} {row[0][-30:]}" for i, row in enumerate(ROWS)])
def test_axes_are_followed_through(body: str, tensors: dict[str, Array], expected: Labels | None) -> None:
    """Where the axes of a value come from, by each operator's definition; nothing where that cannot be told."""
    assert labels(body, **tensors) == expected


def test_tokens_remember_their_grid() -> None:
    """[N, C, h, w] → [N, C, h·w]: one axis that runs along two; a class token before it, or registers after it, are noted."""
    flat = CONV + "r = Reshape (c, s) t = Transpose <perm = [0, 2, 1]> (r) "
    token = {"s": ints(0, 4, 48), "o": models.weights("o", 1, 1, 4)}
    for body, before, after in (
        ("v = Relu (t)", False, False),
        ("u = Add (t, t) e = Mul (t, o) f = ReduceMean <axes = [1]> (e) v = Concat <axis = 1> (f, u)", True, False),
        ("u = Add (t, t) e = Mul (t, o) f = ReduceMean <axes = [1]> (e) v = Concat <axis = 1> (u, f)", False, True),
    ):
        found = labels(flat + body, **token)
        assert found is not None
        assert found[::2] == (ITEMS, CHANNELS)
        assert isinstance(found[1], Tokens)
        assert (found[1].grid.name, found[1].axes, found[1].along) == ("c", (2, 3), (2, 3))
        assert (found[1].before, found[1].after) == (before, after)
        assert positions(found) == (2, 3)


def test_tokens_flattened_anew_are_the_same_positions() -> None:
    """A residual branch that opens the tokens to a grid, convolves and flattens it keeps their meaning."""
    flat = "r = Reshape (c, s) u = Reshape (r, o) d = Conv (u, k) q = Reshape (d, s) v = Add (r, q)"
    found = labels(CONV + flat, s=ints(0, 4, 48), o=ints(0, 4, 8, 6), k=models.weights("k", 4, 4, 1, 1))
    assert found is not None
    assert isinstance(found[2], Tokens)


def test_an_added_batch_axis_is_one_item() -> None:
    """An input without a batch axis, as a convolution sees it."""
    assert labels("u = Unsqueeze (x, s) v = Conv (u, w)", "float[3, 8, 6] x", s=ints(0)) == (ONE, CHANNELS, 1, 2)


RESHAPED = models.build(
    """g (float[N, 8, 6, 1] x) => (float[N, 2, 6, 4] y) { r = Reshape (x, s)  y = Conv (r, w) }""",
    {"w": models.weights("w", 2, 1, 3, 3), "s": np.array([-1, 1, 8, 6], np.int64)},
)


@pytest.mark.parametrize(
    ("proto", "axes"), [(models.cnn(), (2, 3)), (models.nhwc(), (1, 2)), (RESHAPED, (1, 2))], ids=["NCHW", "Transpose", "Reshape"]
)
def test_positions_are_axes_of_the_input(proto: onnx.ModelProto, axes: tuple[int, ...]) -> None:
    """A Transpose, or the Reshape of a single channel, tells where an input holds its positions."""
    model, views = path(proto)
    found = followed(views, model.graph.inputs[0])
    assert next(positions(label) for v, label in found.items() if CHANNELS in label) == axes


def test_the_choice_is_not_clear_where_work_goes_on_unseen() -> None:
    """Attention over windows that cannot be followed comes after the last value that can be: no default layer."""
    graph = """g (float[N, 3, 4, 4] x) => (float[N, 2] y) {
      c = Conv (x, w)  r = Reshape (c, s)  t = Transpose <perm = [0, 2, 4, 3, 5, 1]> (r)  u = Reshape (t, flat)
      k = Transpose <perm = [0, 2, 1]> (u)  p = MatMul (u, k)  a = Softmax (p)  o = MatMul (a, u)
      h = Reshape (o, back)  m = ReduceMean <axes = [1], keepdims = 0> (h)  y = MatMul (m, half)
    }"""
    tensors = {"w": models.weights("w", 4, 3, 1, 1), "half": models.weights("half", 4, 2), "s": ints(0, 4, 2, 2, 2, 2)}
    model, views = path(models.build(graph, tensors | {"flat": ints(-1, 4, 4), "back": ints(-1, 16, 4)}))
    assert default_layer(views, model.graph.inputs[0], model.graph.outputs[0]) is None
