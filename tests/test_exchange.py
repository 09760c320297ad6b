from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

import explainsvc
from explainsvc import prefix
from explainsvc.errors import InvalidParameter
from explainsvc.exchange import Exchange
from explainsvc.explained import forward_graph
from explainsvc.graph.spans import exchanged, plain_spans
from explainsvc.model import Model
from explainsvc.randomisation import Draws, changes_of, steps_of
from explainsvc.weights import ORDERS, parameter_units, replace_weights
from tests import models
from tests.checks.models import Array, built, cnn, fixed_edges, numbers, pictures
from tests.checks.models import rows as twelve

METHODS = ("gradient", "deeplift")


def shared() -> Model:
    """One matrix [12, 12] used by two products, the second time transposed."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "once"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Gemm", ["r", "w"], ["y"], "again", transB=1),
    ]
    return explainsvc.load(built(nodes, ["n", 12], {"w": numbers(12, 12)}))


def normalised() -> Model:
    """Convolutions whose BatchNormalization a pass folds."""
    return explainsvc.load(models.cnn())


def quantised() -> Model:
    """A layer whose weights are stored in eight bits, and one in float32."""
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], "stored"),
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Gemm", ["r", "v", "d"], ["y"], "second"),
    ]
    stored = np.random.default_rng(1).integers(-128, 128, (12, 6)).astype(np.int8)
    tensors = {"q": stored, "s": np.array(0.02, np.float32), "z": np.array(3, np.int8), "v": numbers(6, 4), "d": numbers(4)}
    return explainsvc.load(built(nodes, ["n", 12], tensors))


def feeds_of(model: Model) -> dict[str, Array]:
    """Three items."""
    (entry,) = model.inputs
    return {entry.name: numbers(*(d if isinstance(d, int) else 3 for d in entry.shape or ()), seed=5)}


MODELS = (cnn, normalised, shared, fixed_edges, quantised)


@pytest.mark.parametrize("made", MODELS)
def test_maps_are_those_of_a_model_built_anew(made: Callable[[], Model]) -> None:
    """At every step and by every method: the same file, the same maps to the last bit, as when nothing is shared."""
    model = made()
    exchange, feeds = Exchange(model), feeds_of(model)
    for step in steps_of(model, Draws()):
        fast, plain = exchange.with_weights(step.weights), replace_weights(model, step.weights)
        assert fast.digest == plain.digest
        np.testing.assert_array_equal(fast.predict(feeds)["y"], plain.predict(feeds)["y"])
        for method in METHODS:
            found, expected = (m.explain(feeds, method, target=0).values for m in (fast, plain))
            for name, array in expected.items():
                np.testing.assert_array_equal(found[name], array, err_msg=f"{method} at step {step.number}")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("made", MODELS)
def test_maps_from_kept_values_on_are_those_of_the_whole_graph(made: Callable[[], Model], order: str) -> None:
    """Where the part that no change reaches is computed once, maps move by rounding at most: a part is fused otherwise."""
    model, draws = made(), Draws(order=order)
    exchange, feeds = Exchange(model, changes_of(model, draws)), feeds_of(model)
    for step in steps_of(model, draws):
        fast, plain = exchange.with_weights(step.weights), replace_weights(model, step.weights)
        for method in METHODS:
            found, expected = (m.explain(feeds, method, target=0).values for m in (fast, plain))
            for name, array in expected.items():
                np.testing.assert_allclose(found[name], array, rtol=0, atol=2e-6 * np.abs(array).max())


@pytest.mark.parametrize("order", ORDERS)
def test_changes_are_told_before_numbers_are_drawn(order: str) -> None:
    """Step by step the names of the tensors that the step has random."""
    model, draws = cnn(), Draws(order=order)
    assert changes_of(model, draws) == [step.weights.keys() for step in steps_of(model, draws)]


@pytest.mark.parametrize("room", [2**20, 10])
def test_a_cascade_runs_the_untouched_layers_once(room: int) -> None:
    """With room for them, what the untouched layers compute is kept and fed; without, every step runs the whole graph."""
    model, feeds = cnn(), pictures(4)
    exchange = Exchange(model, changes_of(model, Draws()), room)
    for step in list(steps_of(model, Draws()))[1:3]:
        twin = exchange.with_weights(step.weights)
        session = twin.session(("forward", "y"), partial(forward_graph, twin.prepared.model, "y"))
        assert isinstance(session, prefix.Continued)
        expected = replace_weights(model, step.weights).predict(feeds)["y"]
        np.testing.assert_allclose(session.run(feeds)["y"], expected, rtol=1e-5)
    assert isinstance(session, prefix.Continued)
    assert session.fed == {"r0"}  # the second convolution and the head are random
    rest = session.start()
    assert rest is not None
    assert "x" not in rest.inputs
    kept = [values for values in session.prefix.kept.values() if values is not None]
    assert {name for values in kept for name in values} == ({"r0", "f", "y"} if room > 10 else set())
    assert session.prefix.shelf.left == room - sum(value.tensor_size_in_bytes() for values in kept for value in values.values())


def test_relevance_rules_see_the_exchanged_weights() -> None:
    """LRP's z⁺ takes the positive part of a weight inside the graph: of this step's weight."""
    model, feeds = cnn(), pictures(3)
    exchange = Exchange(model)
    for step in steps_of(model, Draws()):
        fast, plain = exchange.with_weights(step.weights), replace_weights(model, step.weights)
        found, expected = (m.explain(feeds, "lrp_epsilon_plus", target=2).values["x"] for m in (fast, plain))
        np.testing.assert_array_equal(found, expected)


def test_a_graph_is_built_once_for_all_steps() -> None:
    """The explained graph of a method does not depend on the numbers: later steps exchange them in its bytes."""
    model, built_for = cnn(), list[str]()
    exchange = Exchange(model)
    for step in steps_of(model, Draws()):
        twin = exchange.with_weights(step.weights)
        graph = partial(_counted, twin, built_for)
        twin.session("counted", graph)
    assert built_for == [exchange.with_weights({}).digest]


def _counted(model: Model, seen: list[str]) -> Any:
    seen.append(model.digest)
    return model.prepared.model


def test_a_graph_that_reads_the_numbers_is_built_for_every_step() -> None:
    """A constant that was computed from a weight would be the first step's: such a graph is not kept."""
    model, built_for = cnn(), list[str]()
    exchange = Exchange(model)

    def scaled(twin: Model) -> Any:
        built_for.append(twin.digest)
        graph = twin.prepared.model.clone()
        weight = graph.graph.initializers["d"].const_value
        assert weight is not None
        largest = weight.numpy().max()
        graph.graph.initializers["b1"].const_value = onnx_tensor(np.full(2, largest, np.float32))
        return graph

    outputs = []
    for step in steps_of(model, Draws(distribution="permute")):
        twin = exchange.with_weights(step.weights)
        session = twin.session("scaled", partial(scaled, twin))
        outputs.append(session.run(pictures(2), ["y"])["y"])
    assert len(built_for) == len(outputs) == 4
    assert not np.array_equal(outputs[0], outputs[-1])


def onnx_tensor(array: Array) -> Any:
    """As an initializer of onnx_ir holds it."""
    return ir.tensor(array)


def test_a_copy_under_another_name_is_not_missed() -> None:
    """A graph that holds a weight a second time, under its own name, is built for every step."""
    model, built_for = cnn(), list[str]()
    exchange = Exchange(model)

    def doubled(twin: Model) -> Any:
        built_for.append(twin.digest)
        graph = twin.prepared.model.clone()
        old = graph.graph.initializers["w1"]
        copy = ir.Value(name="copy", shape=old.shape, type=old.type, const_value=old.const_value)
        graph.graph.register_initializer(copy)
        graph.graph.node("first").replace_input_with(1, copy)
        return graph

    for step in steps_of(model, Draws()):
        twin = exchange.with_weights(step.weights)
        found = twin.session("doubled", partial(doubled, twin)).run(pictures(2), ["y"])["y"]
        plain = replace_weights(model, step.weights)
        weight = plain.graph.initializers["w1"].const_value
        assert weight is not None
        expected = replace_weights(model, {**step.weights, "w0": weight.numpy()}).predict(pictures(2))["y"]
        np.testing.assert_array_equal(found, expected)
    assert len(built_for) == 4


def test_wrong_weights_are_refused() -> None:
    """Unknown names and wrong shapes are an error, as where nothing is shared."""
    exchange = Exchange(cnn())
    for wrong in ({"nothing": numbers(2)}, {"d": numbers(4)}):
        with pytest.raises(InvalidParameter, match="do not fit"):
            exchange.with_weights(wrong)


def test_patterns_follow_the_weights() -> None:
    """PatternNet's graph holds patterns computed from the weights outside of the graph: every step has its own."""
    nodes = [helper.make_node("Gemm", ["x", "w"], ["h"], "dense"), helper.make_node("Relu", ["h"], ["r"], "relu")]
    nodes.append(helper.make_node("Gemm", ["r", "v"], ["y"], "head"))
    model = explainsvc.load(built(nodes, ["n", 12], {"w": numbers(12, 6), "v": numbers(6, 4)}))
    exchange, feeds = Exchange(model), twelve()
    for step in steps_of(model, Draws()):
        fast, plain = exchange.with_weights(step.weights), replace_weights(model, step.weights)
        found, expected = (
            m.explain(feeds, "pattern_net", target=1, background=numbers(30, 12)).values["x"] for m in (fast, plain)
        )
        np.testing.assert_array_equal(found, expected)


def test_spans_are_where_the_numbers_lie() -> None:
    """What lies at a span is the tensor's raw data; one with a remark, or with numbers in another field, has none."""
    plain = helper.make_tensor("plain", onnx.TensorProto.FLOAT, [2], numbers(2).tobytes(), raw=True)
    noted = helper.make_tensor("noted", onnx.TensorProto.FLOAT, [2], numbers(2).tobytes(), raw=True)
    noted.doc_string = "measured"
    listed = helper.make_tensor("listed", onnx.TensorProto.FLOAT, [2], [1.0, 2.0])
    graph = helper.make_graph([helper.make_node("Identity", ["plain"], ["y"])], "g", [], [], [plain, noted, listed])
    model = helper.make_model(graph, producer_version="1" * 300)
    data = model.SerializeToString()
    spans = plain_spans(data, {"plain", "noted", "listed"})
    assert {name: data[place] for name, place in spans.items()} == {"plain": numbers(2).tobytes()}
    plain.raw_data = numbers(2, seed=1).tobytes()
    del model.graph.initializer[:]
    model.graph.initializer.extend([plain, noted, listed])
    assert exchanged(data, spans, {"plain": plain.raw_data, "elsewhere": b""}) == model.SerializeToString()


def test_numbers_in_another_field_are_exchanged_too() -> None:
    """A file that lists its numbers one by one is serialised anew for its digest; its graphs are still built once."""
    proto = cnn().proto
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(helper.make_tensor(tensor.name, 1, tensor.dims, onnx.numpy_helper.to_array(tensor).ravel().tolist()))
    model = explainsvc.load(proto)
    exchange, feeds = Exchange(model, changes_of(model, Draws())), pictures(3)
    for step in steps_of(model, Draws()):
        fast, plain = exchange.with_weights(step.weights), replace_weights(model, step.weights)
        assert fast.digest == plain.digest
        found, expected = (m.explain(feeds, target=1).values["x"] for m in (fast, plain))
        np.testing.assert_array_equal(found, expected)
    assert len(exchange._graphs) == 1


def test_every_learned_tensor_of_the_model_has_a_span() -> None:
    """The models of this file take the short way: a fallback for all of them would test nothing."""
    for model in (cnn(), normalised(), shared()):
        learned = {p.name for unit in parameter_units(model) for p in unit.tensors}
        assert Exchange(model)._spans.keys() == learned
