"""Graphs as onnxruntime optimised them, with other numbers in them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import explainsvc
from explainsvc.exchange import Exchange
from explainsvc.graph.borders import types_of
from explainsvc.graph.layouts import Numbering, Places, View, view_of
from explainsvc.optimised import Optimised, optimised
from explainsvc.randomisation import Draws, changes_of, steps_of
from explainsvc.runtime import new_session
from tests.checks.models import Array, built, cnn, numbers, pictures

CUBE = np.arange(2 * 16 * 9).reshape(2, 16, 3, 3)
ORDERS = {
    "as it is": CUBE,
    "transposed": CUBE.transpose(1, 0, 2, 3),
    "mirrored": CUBE[:, :, ::-1, ::-1],
    "both": CUBE[:, :, ::-1, ::-1].transpose(1, 0, 2, 3),
    "in blocks": CUBE.reshape(2, 2, 8, 3, 3).transpose(0, 1, 3, 4, 2),
    "one": CUBE[:1, :1, :1, :1],
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_regular_walks_are_found(order: Array) -> None:
    """A walk gives what was copied in its order, of any tensor."""
    walk = view_of("w", order.reshape(-1))
    assert walk is not None
    other = numbers(*CUBE.shape, seed=3)
    np.testing.assert_array_equal(walk.of(other), other.reshape(-1)[order.reshape(-1)])


def test_irregular_walks_are_not() -> None:
    """An order without a step that repeats has no walk."""
    for index in ([0, 1, 3, 2], [0, 1, 2, 5, 6, 8], [0, 1, 2, 4, 5]):
        assert view_of("w", np.array(index)) is None


def test_numbers_tell_tensor_and_place() -> None:
    """Tensors of one numbering are told apart; zeros between numbers stay zeros; what is neither is no layout."""
    arrays = {"a": numbers(3, 4), "b": numbers(5)}
    numbering = Numbering.of(arrays)
    found = numbering.numbers(arrays)
    assert numbering.layout(found["b"][::-1].copy()) == View("b", 4, (5,), (-1,))
    padded = numbering.layout(np.concatenate([found["a"][1], np.zeros(2, np.float32)]))
    assert isinstance(padded, Places)
    np.testing.assert_array_equal(padded.of(arrays["a"]), [*arrays["a"][1], 0, 0])
    for wrong in (np.concatenate([found["a"][0], found["b"]]), found["a"] * 2, np.ones(3, np.float32), np.zeros(2, np.float32)):
        assert numbering.layout(wrong) is None


# Graphs -----------------------------------------------------------------------------------------------------------


def filled(proto: onnx.ModelProto, arrays: Mapping[str, Array]) -> bytes:
    """The graph with other numbers under these names."""
    made = onnx.ModelProto.FromString(proto.SerializeToString())
    for tensor in made.graph.initializer:
        if tensor.name in arrays:
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(arrays[tensor.name]), tensor.name))
    return made.SerializeToString()


def template_of(nodes: list[onnx.NodeProto], tensors: Mapping[str, Array], learned: list[str]) -> Optimised | None:
    """Of a graph of pictures [n, 3, 8, 8]."""
    proto = onnx.load_from_string(built(nodes, ["n", 3, 8, 8], dict(tensors)).SerializeToString())
    return optimised(lambda arrays: filled(proto, arrays), {name: tensors[name] for name in learned})


def convolution() -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    """Ten channels, which onnxruntime fills up to sixteen, behind a kernel that is turned around in the graph."""
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], "turned", perm=[1, 0, 2, 3]),
        helper.make_node("Conv", ["x", "t", "c"], ["h"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "v"], ["y"], "second", pads=[1, 1, 1, 1]),
    ]
    return nodes, {"w": numbers(3, 10, 3, 3), "c": numbers(10, seed=2), "v": numbers(16, 10, 3, 3, seed=4)}


def test_other_numbers_in_an_optimised_graph() -> None:
    """The whole graph, and a part of it, with other numbers: to the last bit what a session of its own gives."""
    nodes, tensors = convolution()
    proto = built(nodes, ["n", 3, 8, 8], tensors)
    template = template_of(nodes, tensors, ["w", "c", "v"])
    assert template is not None
    assert {type(layout) for layout in template.layouts.values()} == {View, Places}
    x = numbers(2, 3, 8, 8, seed=9)
    for seed in (5, 6):
        arrays = {name: numbers(*array.shape, seed=seed) for name, array in tensors.items()}
        expected = new_session(filled(proto, arrays)).run({"x": x})["y"]
        np.testing.assert_array_equal(template.whole(arrays).run({"x": x})["y"], expected)


@pytest.mark.parametrize(
    ("name", "node"),
    {
        "bias": helper.make_node("Mul", ["c", "two"], ["k"], "doubled"),
        "mixed": helper.make_node("Add", ["c", "d"], ["k"], "sum"),
    }.items(),
)
def test_a_graph_that_computes_with_learned_numbers_is_not_taken(name: str, node: onnx.NodeProto) -> None:
    """What is folded from weights is not where a weight went; also where all of them are zero."""
    nodes, tensors = convolution()
    nodes[1].input[2] = "k"
    tensors |= {"two": np.full(1, 2, np.float32), "d": np.zeros(10, np.float32), "c": np.zeros(10, np.float32)}
    learned = ["w", "c", "v", "d"] if name == "mixed" else ["w", "c", "v"]
    assert template_of([node, *nodes], tensors, learned) is None


def test_numbers_that_decide_are_seen() -> None:
    """onnxruntime drops a product by one: a graph in which a learned one was dropped would be wrong for others.

    The numbers that are put in are never one, so that the product stays, whatever the number is now.
    """
    nodes, tensors = convolution()
    nodes[-1].output[0] = "z"
    scaled, ones = [*nodes, helper.make_node("Mul", ["z", "s"], ["y"], "scale")], np.ones(1, np.float32)
    proto, x = built(scaled, ["n", 3, 8, 8], tensors | {"s": ones}), numbers(2, 3, 8, 8, seed=9)
    template = template_of(scaled, tensors | {"s": ones}, ["w", "c", "v", "s"])
    assert template is not None
    for scale in (1, 3):
        arrays = tensors | {"s": np.full(1, scale, np.float32)}
        expected = new_session(filled(proto, arrays)).run({"x": x})["y"]
        np.testing.assert_allclose(template.whole(arrays).run({"x": x})["y"], expected, rtol=1e-6)


def test_other_types_are_not_taken() -> None:
    """Only float32 is numbered."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "once")]
    proto = built(nodes, ["n", 12], {"w": numbers(12, 4)})
    assert optimised(lambda arrays: filled(proto, arrays), {"w": numbers(12, 4).astype(np.float64)}) is None
    assert optimised(lambda arrays: filled(proto, arrays), {}) is None


CONFINED = """
from explainsvc import sandbox
from explainsvc.runtime import new_session, optimised_twin
from tests.checks.models import cnn
graph = cnn().compile("gradient").proto.SerializeToString()
assert optimised_twin(graph) is not None
works = sandbox.confine(sandbox.Mode.BEST_EFFORT, False).works
new_session(graph)
print("seccomp" in works, optimised_twin(graph) is None)
"""


def test_a_sandboxed_process_goes_without() -> None:
    """It may open no file, so that onnxruntime cannot write the graph; it makes sessions as before."""
    path = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", CONFINED], env=os.environ | {"PYTHONPATH": path}, check=True, capture_output=True, text=True
    )
    confined, without = done.stdout.split()
    if confined == "False":
        pytest.skip("this kernel has no seccomp")
    assert without == "True"


# A cascade --------------------------------------------------------------------------------------------------------


def test_a_cascade_of_a_convolutional_network_is_optimised_once() -> None:
    """Its graphs are templates of this kind, cut at values whose shapes are onnxruntime's own."""
    model, feeds = cnn(), pictures(3)
    exchange = Exchange(model, changes_of(model, Draws()))
    for step in steps_of(model, Draws()):
        exchange.with_weights(step.weights).explain(feeds, target=1)
    (kept,) = exchange._graphs.values()
    assert isinstance(kept.template, Optimised)
    assert kept.prefix is not None
    assert types_of(kept.template.model.graph).keys() == {"y", "explain.x"}


def test_the_sessions_of_other_steps_are_not_changed() -> None:
    """A session keeps its numbers when later ones are made: what it was given is not written to."""
    model, feeds = cnn(), pictures(3)
    exchange = Exchange(model, changes_of(model, Draws()))
    twins = [exchange.with_weights(step.weights) for step in steps_of(model, Draws())]
    first = [twin.explain(feeds, target=1).values["x"] for twin in twins]
    for twin, expected in zip(twins, first, strict=True):
        np.testing.assert_array_equal(twin.explain(feeds, target=1).values["x"], expected)
    assert not np.array_equal(first[1], first[2])
    assert explainsvc.load(model.proto).digest == model.digest


def test_a_second_walk_optimises_nothing_and_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model keeps its optimised graphs, without any learned number in them."""
    model, feeds = cnn(), pictures(3)

    def walked() -> list[Array]:
        exchange = Exchange(model, changes_of(model, Draws()))
        return [exchange.with_weights(step.weights).explain(feeds, target=1).values["x"] for step in steps_of(model, Draws())]

    first = walked()
    (template,) = model.memory.templates.values()
    assert not template.kept
    monkeypatch.setattr("explainsvc.exchange.optimised", lambda *_: pytest.fail("optimised again"))
    for found, expected in zip(walked(), first, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_large_places_are_not_kept_for_the_next_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's memory is bounded."""
    monkeypatch.setattr("explainsvc.exchange.KEPT_TEMPLATE_BYTES", 10)
    model = cnn()
    exchange = Exchange(model, changes_of(model, Draws()))
    exchange.with_weights({}).explain(pictures(3), target=1)
    assert not model.memory.templates


def test_a_step_moves_the_numbers_of_its_own_unit_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that earlier steps drew lie in place."""
    model, feeds = cnn(), pictures(3)
    exchange, moved, walk = Exchange(model, changes_of(model, Draws())), set[str](), View.of

    def noted(self: View, array: Array) -> Array:
        moved.add(self.source)
        return walk(self, array)

    monkeypatch.setattr(View, "of", noted)
    seen = set[str]()
    for step in steps_of(model, Draws()):
        moved.clear()
        exchange.with_weights(step.weights).explain(feeds, target=1)
        if step.number > 1:
            assert moved <= step.weights.keys() - seen
        seen |= step.weights.keys()
