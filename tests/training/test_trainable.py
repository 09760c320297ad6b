"""The converted model as an object: its words for inputs, outputs and weights."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import explainsvc
from explainsvc.training.conversion import trainable
from explainsvc.training.trainable import Trainable
from tests import models
from tests.models import numbers


@pytest.fixture(scope="module")
def found() -> Trainable:
    """The perceptron with two inputs and two outputs."""
    return trainable(explainsvc.load(models.two_by_two()))


def test_inputs_and_outputs_go_by_name(found: Trainable) -> None:
    """Feeds in any order, results under the model's names in its order."""
    feeds = {"b": torch.from_numpy(numbers(2, 2)), "a": torch.from_numpy(numbers(2, 3))}
    assert (found.inputs, found.outputs) == (("a", "b"), ("p", "q"))
    results = found(feeds)
    truth = explainsvc.load(models.two_by_two()).predict({name: t.numpy() for name, t in feeds.items()})
    assert list(results) == ["p", "q"]
    for name, array in truth.items():
        np.testing.assert_allclose(results[name].detach().numpy(), array, rtol=1e-4, atol=1e-6)


def test_weights_are_copies(found: Trainable) -> None:
    """What is done to them afterwards, or to the module, does not show in the other."""
    before = found.weights()
    before["wa"][:] = 0
    assert np.abs(found.weights()["wa"]).max() > 0
    assert found.tensors.keys() <= found.module.state_dict().keys()


def test_to_onnx_leaves_the_graph_alone(found: Trainable) -> None:
    """Untrained, it is the graph again bit for bit; trained, the graph that was converted is as it was."""
    assert found.to_onnx().SerializeToString(deterministic=True) == found.graph.SerializeToString(deterministic=True)
    other = trainable(explainsvc.load(models.two_by_two()))
    with torch.no_grad():
        for parameter in other.module.parameters():
            parameter.add_(1)
    changed = {t.name: numpy_helper.to_array(t) for t in other.to_onnx().graph.initializer}
    kept = {t.name: numpy_helper.to_array(t) for t in other.graph.graph.initializer}
    for name in ("wa", "wb"):
        np.testing.assert_array_equal(changed[name], kept[name] + np.float32(1))
    onnx.checker.check_model(other.to_onnx())


def test_every_conversion_is_a_module_of_its_own(found: Trainable) -> None:
    """Training one of two conversions, or a deep copy of the module, changes none of the others."""
    model = explainsvc.load(models.two_by_two())
    first, second, third = trainable(model), trainable(model), copy.deepcopy(found.module)
    with torch.no_grad():
        for parameter in (*first.module.parameters(), *third.parameters()):
            parameter.zero_()
    assert np.abs(second.weights()["wa"]).max() > 0
    assert np.abs(found.weights()["wa"]).max() > 0
    assert np.abs(numpy_helper.to_array(model.proto.graph.initializer[0])).max() > 0
