"""Losses by name against torch's own and the formula; what does not fit is refused by type."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidInput, InvalidParameter
from explainsvc.training.data import Data
from explainsvc.training.losses import evaluation, losses, task
from explainsvc.training.trainable import Trainable
from tests.training.influence_models import points, trainable

Truth = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def ending(outputs: int, *last: nn.Module, seed: int = 0) -> Trainable:
    """A dense layer of five features, and what the model ends with."""
    torch.manual_seed(seed)
    layers = [nn.Linear(5, outputs, dtype=torch.float64), *last]
    return trainable([(f"layer{number}", layer) for number, layer in enumerate(layers)])


def logits(own: Trainable, data: Data) -> torch.Tensor:
    """What the dense layer computes."""
    layer = own.module.get_submodule("layer0")
    return layer(torch.from_numpy(data.inputs["x"])).detach()


@pytest.mark.parametrize(("outputs", "last"), [("logits", ()), ("probabilities", (nn.Softmax(dim=1),))])
def test_cross_entropy_is_torchs(outputs: str, last: tuple[nn.Module, ...]) -> None:
    """Per item, whether the model ends in logits or in their softmax."""
    own, data = ending(3, *last), points(10)
    expected = F.cross_entropy(logits(own, data), torch.from_numpy(data.labels), reduction="none")
    np.testing.assert_allclose(losses(own, data, task("cross_entropy", outputs), batch=4), expected, rtol=1e-10)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize(("outputs", "last"), [("logits", ()), ("probabilities", (nn.Sigmoid(),))])
def test_binary_cross_entropy_is_torchs(outputs: str, last: tuple[nn.Module, ...], width: int) -> None:
    """Per item, the mean over its elements; labels of one number an item may come without their axis."""
    own, rng = ending(width, *last), np.random.default_rng(0)
    labels = rng.integers(0, 2, (10, width))
    data = Data(points(10).inputs, labels if width > 1 else labels[:, 0])
    truth = F.binary_cross_entropy_with_logits(logits(own, data), torch.from_numpy(labels).double(), reduction="none")
    np.testing.assert_allclose(losses(own, data, task("bce", outputs)), truth.mean(dim=1), rtol=1e-10)


def test_squared_error_is_the_mean_over_an_items_elements() -> None:
    """By numpy."""
    own = ending(2)
    data = Data(points(6).inputs, np.random.default_rng(0).normal(size=(6, 2)))
    expected = ((logits(own, data).numpy() - data.labels) ** 2).mean(axis=1)
    np.testing.assert_allclose(losses(own, data, task("mse")), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([0, 1, 3]), "classes 0 … 2"),
        (np.array([0, 1, -1]), "classes 0 … 2"),
        (np.array([0.0, 1.0, 2.0]), "integers"),
        (np.array([[0], [1], [2]]), "integers"),
        (np.array([0, 1]), "3 items"),
        (np.array([], np.int64), "no item"),
    ],
)
def test_classes_that_do_not_fit_are_refused(labels: Array, words: str) -> None:
    """Out of range, no integers, another shape, another number."""
    with pytest.raises(InvalidInput, match=words):
        losses(ending(3), Data(points(3).inputs, labels), task("cross_entropy"))


def test_labels_of_numbers_that_do_not_fit_are_refused() -> None:
    """Binary labels are 0 or 1; shapes are the output's; NaN is no label."""
    inputs = points(3).inputs
    for name, labels, words in [
        ("bce", np.array([0, 1, 2]), "0 or 1"),
        ("mse", np.zeros((3, 2)), "expected 1"),
        ("mse", np.array([0, np.nan, 1]), "finite"),
    ]:
        with pytest.raises(InvalidInput, match=words):
            losses(ending(1), Data(inputs, labels), task(name))


def test_inputs_that_are_missing_are_named() -> None:
    """A feed of another name."""
    with pytest.raises(InvalidInput, match='inputs\\["x"\\]'):
        losses(ending(3), Data({"y": points(3).inputs["x"]}, points(3).labels), task("cross_entropy"))


def test_one_class_is_no_classification() -> None:
    """The cross-entropy of one class is 0 whatever the model does."""
    with pytest.raises(InvalidParameter, match="bce"):
        losses(ending(1), Data(points(3).inputs, np.zeros(3, np.int64)), task("cross_entropy"))


def test_unknown_losses_and_outputs_are_refused() -> None:
    """Names that are not there."""
    with pytest.raises(InvalidParameter, match="cross_entropy over probabilities"):
        task("hinge")
    with pytest.raises(InvalidParameter, match="mse over logits"):
        task("mse", "probabilities")
    with pytest.raises(InvalidParameter, match="no output"):
        losses(ending(3), points(3), task("cross_entropy"), output="other")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_is_refused(value: float) -> None:
    """The item is named, not averaged away."""
    x = points(6).inputs["x"].copy()
    x[4, 0] = value
    with pytest.raises(InvalidInput, match="item 4"):
        losses(ending(3), Data({"x": x}, points(6).labels), task("cross_entropy"), batch=2)


def test_logits_under_the_name_of_probabilities_are_refused() -> None:
    """Their logarithm is NaN below 0 and positive above 1."""
    with pytest.raises(InvalidInput, match="probabilities"):
        losses(ending(3), points(20), task("cross_entropy", "probabilities"))


def test_dropout_and_modes_are_as_before() -> None:
    """Losses are those of eval mode, and a layer's own mode survives, also where its parent's is another."""
    own, data = ending(3, nn.Dropout(0.5)), points(8)
    own.module.eval()
    expected = losses(own, data, task("cross_entropy"))
    own.module.get_submodule("layer1").train()
    np.testing.assert_array_equal(losses(own, data, task("cross_entropy")), expected)
    with evaluation(own):
        assert not own.module.get_submodule("layer1").training
    assert own.module.get_submodule("layer1").training
    assert not own.module.training
