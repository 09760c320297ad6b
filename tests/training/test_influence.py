"""Influence functions against dense Hessians, and against retraining."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from benchmarks.paper.logistic import Logistic
from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidInput, InvalidParameter
from explainsvc.training.data import Data
from explainsvc.training.hessian import ConjugateGradients, Lissa
from explainsvc.training.influence import Influence, influence_functions, perturbation
from explainsvc.training.losses import task
from explainsvc.training.trainable import Trainable
from tests.training.influence_models import dense, fitted, perceptron, points, trainable

CLASSES = task("cross_entropy")
PENALTY = 0.01


def dense_influence(own: Trainable, train: Data, test: Data, damping: float, names: list[str]) -> Array:
    """−∇L(z_test)ᵀ(H + λI)⁻¹∇L(z) with H written out by torch and solved by numpy."""
    learned = {name: p.detach() for name, p in own.module.named_parameters()}
    sizes = [learned[name].numel() for name in names]

    def loss(theta: torch.Tensor, x: Array, y: Array) -> torch.Tensor:
        parts = zip(names, torch.split(theta, sizes), strict=True)
        tensors = learned | {name: part.view(learned[name].shape) for name, part in parts}
        logits = torch.func.functional_call(own.module, tensors, (torch.from_numpy(x),))
        return nn.functional.cross_entropy(logits, torch.from_numpy(y))

    theta = torch.cat([learned[name].flatten() for name in names])
    hessian = torch.autograd.functional.hessian(lambda t: loss(t, train.inputs["x"], train.labels), theta).numpy()

    def rows(data: Data) -> Array:
        items = zip(data.inputs["x"], data.labels, strict=True)
        return np.stack([torch.func.grad(loss)(theta, x[None], y[None]).numpy() for x, y in items])

    return -rows(test) @ np.linalg.solve(hessian + damping * np.eye(len(theta)), rows(train).T)


@pytest.fixture(scope="module")
def network() -> tuple[Trainable, Data, Data]:
    """A perceptron at a minimum of its training loss, its 60 points, and 3 others."""
    train = points(60)
    return fitted(perceptron(), train, PENALTY), train, points(3, seed=1)


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("all", ["first.weight", "first.bias", "last.weight", "last.bias"]),
        (1, ["last.weight", "last.bias"]),
        (["first.bias"], ["first.bias"]),
    ],
)
def test_influence_is_the_formula_with_a_dense_hessian(
    network: tuple[Trainable, Data, Data], layers: int | str | list[str], names: list[str]
) -> None:
    """Of all parameters, of the last layer and of named ones, to the tolerance of conjugate gradients."""
    own, train, test = network
    found = influence_functions(own, train, test, CLASSES, damping=PENALTY, layers=layers, batch=16)
    assert list(found.parameters) == names
    assert found.caveats == ()
    assert found.per_item == "vmap"
    expected = dense_influence(own, train, test, PENALTY, names)
    np.testing.assert_allclose(found.values, expected, atol=1e-4 * np.abs(expected).max())


def test_most_helpful_and_harmful_are_the_ends_of_the_sorted_values(network: tuple[Trainable, Data, Data]) -> None:
    """Harmful points have the largest influence, helpful ones the smallest, per test point."""
    found = influence_functions(*network, CLASSES, damping=PENALTY)
    for row, harmful, helpful in zip(found.values, found.harmful(5), found.helpful(5), strict=True):
        np.testing.assert_array_equal(row[harmful], np.sort(row)[::-1][:5])
        np.testing.assert_array_equal(row[helpful], np.sort(row)[:5])


def test_batches_and_a_repetition_do_not_change_influence(network: tuple[Trainable, Data, Data]) -> None:
    """Batches change rounding only; the same call gives the same bits."""
    one, other, again = (influence_functions(*network, CLASSES, damping=PENALTY, batch=batch) for batch in (7, 64, 7))
    np.testing.assert_allclose(one.values, other.values, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(one.values, again.values)


def test_the_module_is_left_as_it_was(network: tuple[Trainable, Data, Data]) -> None:
    """Neither parameters nor their gradients nor the mode of any layer change."""
    own, train, test = network
    before = {name: tensor.clone() for name, tensor in own.module.state_dict().items()}
    own.module.zero_grad()
    own.module.train()
    influence_functions(own, train, test, CLASSES, damping=PENALTY)
    assert own.module.training
    assert all(p.grad is None and p.requires_grad for p in own.module.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in own.module.state_dict().items())


def normalised() -> Trainable:
    """A chain with BatchNormalization, its statistics learned, in train mode."""
    torch.manual_seed(0)
    layers = [nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)]
    own = trainable([(f"layer{number}", layer.double()) for number, layer in enumerate(layers)])
    own.module.train()
    own.module(torch.from_numpy(points(40).inputs["x"]))
    return own


def test_batch_normalisation_takes_what_it_learned() -> None:
    """An item's influence depends on no other item of its batch, and running statistics stay."""
    own, train, test = normalised(), points(30), points(2, seed=1)
    mean = own.module.get_buffer("layer1.running_mean").clone()
    by_one = influence_functions(own, train, test, CLASSES, damping=1.0, batch=1)
    together = influence_functions(own, train, test, CLASSES, damping=1.0, batch=30)
    np.testing.assert_allclose(by_one.values, together.values, rtol=1e-4, atol=1e-7)
    assert torch.equal(own.module.get_buffer("layer1.running_mean"), mean)


def test_not_converged_is_said() -> None:
    """One iteration does not solve the system: a caveat says so, and the residual is that of the dense Hessian."""
    train, test = points(60), points(2, seed=1)
    found = influence_functions(
        fitted(perceptron(), train, PENALTY), train, test, CLASSES, damping=PENALTY, solver=ConjugateGradients(iterations=1)
    )
    assert (found.solution.residual > 0.01).all()
    assert any("not converged" in caveat for caveat in found.caveats)


def test_one_class_and_negative_damping_are_refused(network: tuple[Trainable, Data, Data]) -> None:
    """Typed errors that name what is wrong."""
    own, train, test = network
    with pytest.raises(InvalidInput, match="two classes"):
        influence_functions(own, Data(train.inputs, np.zeros(len(train), np.int64)), test, CLASSES)
    with pytest.raises(InvalidParameter, match="damping"):
        influence_functions(own, train, test, CLASSES, damping=-1.0)
    with pytest.raises(InvalidParameter, match="1 … 2"):
        influence_functions(own, train, test, CLASSES, layers=3)
    with pytest.raises(InvalidParameter, match=r"first\.weight"):
        influence_functions(own, train, test, CLASSES, layers=["second.weight"])


@pytest.fixture(scope="module")
def digits() -> tuple[Logistic, Data, Data, Influence]:
    """A logistic regression of 400 of scikit-learn's digits, 2 test digits, and their influence by conjugate gradients."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order] / 16, y[order].astype(np.int64)
    train, test = Data({"x": x[:400]}, y[:400]), Data({"x": x[-2:]}, y[-2:])
    model = Logistic(train.inputs["x"], train.labels, PENALTY)
    return model, train, test, influence_functions(dense(model), train, test, CLASSES, damping=PENALTY)


def test_influence_foretells_leave_one_out_retraining(digits: tuple[Logistic, Data, Data, Influence]) -> None:
    """Convex model: over the 100 most influential points of each test point Pearson's r is 0.95 or more, and so is the slope."""
    model, _, test, found = digits
    base = model.losses(model.theta, test.inputs["x"], test.labels)
    for point in range(len(test)):
        largest = np.argsort(-np.abs(found.values[point]))[:100]
        retrained = [model.losses(model.without(int(i)), test.inputs["x"], test.labels)[point] for i in largest]
        foretold, seen = -found.values[point, largest] / len(model.x), np.array(retrained) - base[point]
        assert np.corrcoef(foretold, seen)[0, 1] >= 0.95
        assert 0.7 < np.polyfit(foretold, seen, 1)[0] < 1.6


def test_lissa_agrees_with_conjugate_gradients(digits: tuple[Logistic, Data, Data, Influence]) -> None:
    """On digits: r of 0.98 or more for every test point."""
    model, train, test, by_cg = digits
    solver = Lissa(depth=2000)
    by_lissa = influence_functions(dense(model), train, test, CLASSES, damping=PENALTY, solver=solver)
    assert by_lissa.caveats == ()
    for one, other in zip(by_cg.values, by_lissa.values, strict=True):
        assert np.corrcoef(one, other)[0, 1] >= 0.98


def test_perturbation_is_the_change_after_retraining_on_a_moved_point(digits: tuple[Logistic, Data, Data, Influence]) -> None:
    """Equation 5 against central differences of retrained models, along random directions."""
    model, train, test, found = digits
    items = np.array([3, 57])
    chosen = Data({"x": train.inputs["x"][items]}, train.labels[items])
    values = perturbation(dense(model), chosen, CLASSES, found, batch=1).values["x"]
    assert values.shape == (2, 2, 64)
    rng = np.random.default_rng(0)
    for place, item in enumerate(items):
        by = rng.normal(size=64)
        ends = [model.losses(model.moved(int(item), step * by), test.inputs["x"], test.labels) for step in (1e-4, -1e-4)]
        expected = len(train) * (ends[0] - ends[1]) / 2e-4
        np.testing.assert_allclose(values[:, place] @ by, expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max())
