"""Influence functions (Koh & Liang 2017, "Understanding Black-box Predictions via Influence Functions", arXiv:1703.04730)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidInput, InvalidParameter
from explainsvc.training.data import Data, Task
from explainsvc.training.gradients import Layers, Objective, PerItem, gradients, how_per_item, objective
from explainsvc.training.hessian import ConjugateGradients, Solution, Solver, System
from explainsvc.training.losses import BATCH, batches, evaluation, losses, require_items, require_several
from explainsvc.training.trainable import Trainable


@dataclass(frozen=True)
class Influence:
    """What each training point does to the loss of each test point.

    Attributes:
        values: float64 [test point, training point], −∇L(z_test)ᵀ(H + λI)⁻¹∇L(z): the change of the test point's loss per unit
            of weight that the training point gets in the mean loss. Positive: harmful, more of it raises the loss. Without the
            point, which is a weight of −1/n, the loss changes by about −values / n.
        train_losses: Of every training point, [training point].
        test_losses: Of every test point, [test point].
        parameters: Names of the parameters that were taken as free.
        damping: λ.
        solver: How (H + λI)⁻¹∇L(z_test) was found.
        solution: It, [test point, parameter], with residual, iterations and change of each test point.
        per_item: How gradients of single items were computed.
        caveats: What a reader of the values must know.
    """

    values: Array = field(repr=False)
    train_losses: Array = field(repr=False)
    test_losses: Array = field(repr=False)
    parameters: tuple[str, ...]
    damping: float
    solver: Solver
    solution: Solution = field(repr=False)
    per_item: PerItem
    caveats: tuple[str, ...]

    def helpful(self, k: int) -> Array:
        """The k training points of each test point that lower its loss most, the most helpful first, [test point, k]."""
        return most(-self.values, k)

    def harmful(self, k: int) -> Array:
        """The k training points of each test point that raise its loss most, the most harmful first, [test point, k]."""
        return most(self.values, k)


@dataclass(frozen=True)
class Perturbation:
    """What a change of a training point's inputs does to the loss of each test point.

    Attributes:
        values: Float input → [test point, training point, *features], −∇L(z_test)ᵀ(H + λI)⁻¹∇x∇θL(z), eq. 5: times a small
            change δ of the training point, summed, it is n times the change of the test point's loss. Positive: more harms.
        caveats: Those of the influence that it was made from.
    """

    values: Mapping[str, Array] = field(repr=False)
    caveats: tuple[str, ...]


def influence_functions(
    trainable: Trainable, train: Data, test: Data, task: Task, *, solver: Solver | None = None, damping: float = 0.01,
    layers: Layers = "all", output: str = "", batch: int = BATCH,
) -> Influence:  # fmt: skip
    """I_up,loss(z, z_test), eq. 2, of every training point on every test point.

    H is the Hessian of the mean loss over the training points, by the chosen parameters, in eval mode. The formula holds at a
    minimum of the training loss; damping stands in for how far from one the model is, and for a penalty λ/2·‖θ‖² it is exact.

    Args:
        trainable: The trained model; not changed.
        train: What it was trained on.
        test: The points that are asked about, one or more.
        task: The loss, see :func:`explainsvc.training.losses.task`.
        solver: Conjugate gradients of up to 100 iterations unless said otherwise; or Lissa.
        damping: λ, 0 or more.
        layers: The parameters that are taken as free.
        output: The output that is held against the labels; by default the first.
        batch: Items that are computed at once: memory grows with it, and not with the number of training points.

    Raises:
        InvalidInput: Data do not fit the model, training labels are all of one class, or a loss is no finite number.
        InvalidParameter: No such layers or output, or damping below 0.
    """
    if not damping >= 0:
        raise InvalidParameter(f"damping of {damping}", where="influence_functions", expected="0 or more")
    solver = ConjugateGradients() if solver is None else solver
    of_train, of_test = (losses(trainable, data, task, output=output, batch=batch) for data in (train, test))
    require_several(train, task)
    with evaluation(trainable):
        function = objective(trainable, train, task, layers, output)
        how = how_per_item(function, train)
        of_points = torch.cat(list(gradients(function, test, how, batch)))
        solution = solver.solve(System(function, train, damping, batch), of_points)
        x = torch.from_numpy(solution.x)
        values = torch.cat([-x @ part.T for part in gradients(function, train, how, batch)], dim=1).numpy()
    return Influence(values, of_train, of_test, function.names, damping, solver, solution, how, solution.caveats)


def perturbation(
    trainable: Trainable, points: Data, task: Task, influence: Influence, *, output: str = "", batch: int = BATCH
) -> Perturbation:
    """I_pert,loss(z, z_test), eq. 5, of some training points on the test points of an influence.

    Args:
        trainable: That of the influence.
        points: Training points.
        task: That of the influence.
        influence: Has (H + λI)⁻¹∇L(z_test) and the names of the parameters.
        output: That of the influence.
        batch: Training points that are computed at once.

    Raises:
        InvalidInput: The points do not fit, or no input is of floats.
    """
    require_items(trainable, points, task, output)
    floats = [name for name in trainable.inputs if points.inputs[name].dtype.kind == "f"]
    if not floats:
        raise InvalidInput(
            "no input of the model is of floats", where="perturbation", expected="features that can change a little"
        )
    x = torch.from_numpy(influence.solution.x)
    with evaluation(trainable):
        function = objective(trainable, points, task, influence.parameters, output)
        parts = [_perturbed(function, points, items, floats, x) for items in batches(points, batch)]
    return Perturbation({name: np.concatenate([part[name] for part in parts], axis=1) for name in floats}, influence.caveats)


def most(values: Array, k: int) -> Array:
    """Indices of the k largest of each row, the largest first; of equal ones the earlier, [row, k]."""
    return np.argsort(-values, axis=1, kind="stable")[:, :k]


def _perturbed(function: Objective, points: Data, items: slice, floats: list[str], x: Tensor) -> dict[str, Array]:
    """−∇x(xᵀ∇θ Σ L): items do not depend on one another, so that the gradient of the sum holds those of all of them."""
    feeds, labels = function.items(points, items)
    free = {name: feeds[name].clone().requires_grad_() for name in floats}
    theta = function.theta.clone().requires_grad_()
    total = function.losses(theta, {**feeds, **free}, labels).sum()
    (gradient,) = torch.autograd.grad(total, theta, create_graph=True)
    rows = [
        torch.autograd.grad(-gradient, list(free.values()), row.to(theta), retain_graph=True, materialize_grads=True) for row in x
    ]
    return {name: torch.stack(parts).double().numpy() for name, parts in zip(floats, zip(*rows, strict=True), strict=True)}
