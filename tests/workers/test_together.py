"""Requests computed as one batch get what they get alone."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import explainsvc
from explainpb.v1.explanation_service_pb2 import ExplainRequest
from explainsvc.attribution import Attribution
from explainsvc.codec.questions import Question, from_fields, to_fields
from explainsvc.codec.tensors import from_named, to_named
from explainsvc.errors import MethodNotApplicable
from explainsvc.methods import METHODS
from explainsvc.model import Model
from explainsvc.together import TOLERANCE, key_of, together
from tests.service import models

NOT_TOGETHER = {"integrated_gradients", "smoothgrad", "kernel_shap", "random", "deep_shap"}


@pytest.fixture(scope="module")
def cnn() -> Model:
    """A small convolutional net."""
    return explainsvc.load(models.cnn())


def request(number: int, method: str, target: object = None, batch: int = 2, **parameters: object) -> ExplainRequest:
    """A question about images of its own."""
    question = Question(method, target, None, parameters)
    x = np.random.default_rng([number, batch]).normal(size=(batch, 1, 6, 6)).astype(np.float32)
    return ExplainRequest(inputs=to_named({"x": x}, "inputs"), **to_fields("0" * 64, question))


def alone(model: Model, one: ExplainRequest) -> Attribution:
    """What one request gets."""
    return model.explain(from_named(one.inputs), seed=one.seed, **from_fields(one))


def assert_same(shared: Attribution, own: Attribution) -> None:
    """Equal numbers within the tolerance of batching, everything else equal."""
    for name, array in own.values.items():
        np.testing.assert_allclose(shared.values[name], array, rtol=0, atol=TOLERANCE * np.abs(array).max())
    np.testing.assert_array_equal(shared.target.seed, own.target.seed)
    np.testing.assert_allclose(shared.output_value, own.output_value, rtol=TOLERANCE)
    facts = [(a.target.index, a.target.description, a.caveats, a.parameters, a.seed, a.model_digest) for a in (shared, own)]
    assert facts[0] == facts[1]
    assert (shared.residual is None) == (own.residual is None)


@pytest.mark.parametrize("method", sorted(name for name in METHODS if key_of(ExplainRequest(method=name)) is not None))
def test_every_method_that_takes_part(cnn: Model, method: str) -> None:
    """The first batch of a kind is held against its items; a second one, with other numbers and targets, equals them too."""
    parameters = {"low": -4.0, "high": 4.0} if "box" in method else {}
    proven: dict[object, bool] = {}
    try:
        alone(cnn, request(0, method, 1, **parameters))
    except MethodNotApplicable:
        pytest.skip("a method for attention and gates")
    assert together(cnn, [request(0, method, 1, **parameters), request(1, method, 2, **parameters)], proven) is not None
    assert set(proven.values()) == {True}
    batch = [request(2, method, 0, **parameters), request(3, method, 2, **parameters), request(4, method, 1, **parameters)]
    found = together(cnn, batch, proven)
    assert found is not None
    for shared, one in zip(found, batch, strict=True):
        assert_same(shared, alone(cnn, one))


def test_arg_max_and_an_index_for_each_item(cnn: Model) -> None:
    """Every kind of target that picks elements: the largest, one for all items, one for each."""
    for targets in ((None, None), ([0, 2], 1)):
        batch = [request(number, "gradient", target) for number, target in enumerate(targets)]
        found = together(cnn, batch, {key_of(batch[0]): True})
        assert found is not None
        for shared, one in zip(found, batch, strict=True):
            assert_same(shared, alone(cnn, one))


def test_who_stays_alone() -> None:
    """Methods that draw or sample, functionals, contrasts and array parameters have no key; other questions another one."""
    assert METHODS.keys() >= NOT_TOGETHER
    seed = {"seed": np.ones((2, 3), np.float32)}
    for method, target in [*((name, 1) for name in NOT_TOGETHER), ("gradient", seed), ("gradient", {"index": 1, "against": 2})]:
        assert key_of(request(0, method, target)) is None
    assert key_of(request(0, "lrp_z_box", 1, low=np.zeros((2, 1, 6, 6)), high=1.0)) is None
    questions = [request(0, "gradient", 1), request(0, "gradient"), request(0, "gradient", 1, 3), request(0, "lrp_epsilon", 1),
                 request(0, "lrp_epsilon", 1, epsilon=0.5), request(0, "gradient", {"output": "y", "index": 1})]  # fmt: skip
    assert len({key_of(question) for question in questions}) == len(questions)
    assert key_of(request(0, "gradient", 1)) == key_of(request(5, "gradient", [2, 0]))


def test_a_model_whose_items_mix_is_found_out() -> None:
    """Softmax over the batch axis: the first batch gets what each gets alone, and there is no second one."""
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["g"]),
             helper.make_node("Softmax", ["g"], ["y"], axis=0)]  # fmt: skip
    shapes = {"x": (models.FLOAT, ["batch", 1, 6, 6])}, {"y": (models.FLOAT, ["batch", 3])}
    model = explainsvc.load(models.model(nodes, *shapes, {"w": models.weights(36, 3)}))
    batch = [request(number, "gradient", 1) for number in range(2)]
    proven: dict[object, bool] = {}
    found = together(model, batch, proven)
    assert found is not None
    for shared, one in zip(found, batch, strict=True):
        np.testing.assert_array_equal(shared.values["x"], alone(model, one).values["x"])
    assert set(proven.values()) == {False}
    assert together(model, batch, proven) is None


def test_an_error_sends_each_on_its_own_way(cnn: Model) -> None:
    """A target that one request has out of range is no error of the batch."""
    assert together(cnn, [request(0, "gradient", 1), request(1, "gradient", 9)], {}) is None
