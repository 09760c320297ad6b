"""Pointwise arithmetic: broadcasting both ways, corners, constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from explainsvc.autograd.differentiate import differentiate
from explainsvc.errors import NothingToDifferentiate
from tests.autograd.harness import Case, build, check, emitted
from tests.autograd.rows import both, inside, normal, positive, without_ranks

SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((), ()),
    ((3,), ()),
    ((), (2, 3)),
    ((2, 3), (3,)),
    ((3, 1), (2, 1, 4)),
    ((1, 2, 3, 1), (2, 1, 3, 2)),
]

TWO_OPERANDS: dict[str, Any] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
    "Pow": torch.pow,
    "Max": torch.maximum,
    "Min": torch.minimum,
}

ONE_OPERAND: dict[str, tuple[Any, Any]] = {
    "Neg": (normal, torch.neg),
    "Abs": (normal, torch.abs),
    "Sqrt": (positive, torch.sqrt),
    "Exp": (normal, torch.exp),
    "Log": (positive, torch.log),
    "Reciprocal": (positive, torch.reciprocal),
    "Erf": (normal, torch.erf),
    "Sin": (normal, torch.sin),
    "Cos": (normal, torch.cos),
    "Tan": (inside, torch.tan),
    "Asin": (inside, torch.asin),
    "Acos": (inside, torch.acos),
    "Atan": (normal, torch.atan),
    "Sinh": (normal, torch.sinh),
    "Cosh": (normal, torch.cosh),
    "Asinh": (normal, torch.asinh),
    "Acosh": (lambda *shape: 1 + positive(*shape), torch.acosh),
    "Atanh": (inside, torch.atanh),
}

PAIRS = both(*(Case(op, [positive(*a), positive(*b, seed=1)], torch=f) for op, f in TWO_OPERANDS.items() for a, b in SHAPES))
CONSTANTS = both(
    *(Case(op, [positive(2, 3), positive(3, seed=1)], constant=[1], torch=f) for op, f in TWO_OPERANDS.items()),
    *(Case(op, [positive(3), positive(2, 3, seed=1)], constant=[0], torch=f) for op, f in TWO_OPERANDS.items()),
)
SINGLES = both(
    *(
        Case(op, [make(*shape)], torch=f, finite_differences=op != "Erf")  # the reference evaluator's Erf is float32
        for op, (make, f) in ONE_OPERAND.items()
        for shape in [(), (2, 1, 3)]
    )
)

CONDITION = np.array([[True], [False]])
SEVERAL = both(
    Case("Sum", [normal(2, 3), normal(3, seed=1), normal(1, 1, 1)], torch=lambda a, b, c: a + b + c),
    Case("Sum", [normal(2, 3)], torch=lambda a: a.clone()),
    Case("Mean", [normal(2, 3), normal(3, seed=1), normal(2, 1)], torch=lambda a, b, c: (a + b + c) / 3),
    Case("Max", [normal(2, 3), normal(3, seed=1), normal(2, 1)], torch=lambda a, b, c: a.maximum(b).maximum(c)),
    Case("Min", [normal(2, 3), normal(3, seed=1), normal(2, 1)], torch=lambda a, b, c: a.minimum(b).minimum(c)),
    Case("Max", [normal(2, 3)], torch=lambda a: a.clone()),
    Case("Where", [CONDITION, normal(2, 3), normal(3, seed=1)], torch=torch.where),
    Case("Where", [CONDITION, normal(), normal(4, 1, 3)], torch=torch.where),
    Case("Where", [CONDITION, normal(3), normal(2, 3)], constant=[2], torch=torch.where),
    Case("Mod", [4 * normal(3, 4), positive(4)], {"fmod": 1}, torch=torch.fmod),
    Case("Mod", [4 * normal(4), -positive(3, 4)], {"fmod": 1}, torch=torch.fmod),
    Case("Clip", [normal(3, 4), np.array(-0.5), np.array(0.6)], torch=torch.clamp),
    Case("Clip", [normal(3, 4), np.array(-0.5), np.array(0.6)], constant=[1, 2], torch=torch.clamp),
    Case("Clip", [normal(3, 4), None, np.array(0.6)], torch=lambda x, _, high: x.clamp(max=high)),
    Case("Clip", [normal(3, 4), np.array(-0.2)], torch=lambda x, low: x.clamp(min=low)),
    Case("Clip", [normal(3, 4), np.array(0.6), np.array(-0.5)], torch=torch.clamp, name="Clip(low above high)"),
    Case("Clip", [normal()], torch=lambda x: x.clone()),
)

POWERS = [
    Case("Pow", [normal(2, 3), np.array(2, np.int64)], constant=[1], torch=torch.pow),
    Case("Pow", [normal(2, 3), np.array(3.0)], constant=[1], torch=torch.pow),
    Case("Pow", [positive(2, 3), np.array(-0.5)], torch=torch.pow),
    Case("Pow", [positive(3), np.array([0.0, 1.0, 2.5])], torch=torch.pow, wanted=[0]),
]

CORNERS = [
    Case("Pow", [np.array([0.0, 0.0, 0.0, -2.0]), np.array([0.0, 1.0, 2.0, 0.0])], torch=torch.pow, wanted=[0]),
    Case("Pow", [np.array([0.0, 0.0]), np.array([1.0, 2.0])], torch=torch.pow, wanted=[1]),
    Case("Max", [np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])], torch=torch.maximum),
    Case("Min", [np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])], torch=torch.minimum),
    Case(
        "Clip",
        [np.array([-1.0, 0.0, 1.0]), np.array(-1.0), np.array(1.0)],
        torch=lambda x, *_: torch.nn.functional.hardtanh(x),
        wanted=[0],
    ),
    Case("Abs", [np.array([0.0, -0.0, 1.0])], torch=torch.abs),
]

STOPS = ["Floor", "Ceil", "Round", "Sign", "Hardmax"]


@pytest.mark.parametrize("case", [*PAIRS, *CONSTANTS, *SINGLES, *SEVERAL, *POWERS], ids=str)
def test_gradient(case: Case) -> None:
    """The gradient equals torch autograd and central finite differences."""
    check(case)


@pytest.mark.parametrize("case", CORNERS, ids=str)
def test_corner(case: Case) -> None:
    """Where the function has a corner, the derivative is torch's choice."""
    feeds, gradients, seed = emitted(case)
    tensors = [torch.tensor(x, requires_grad=True) for x in feeds.values()]
    assert case.torch is not None
    case.torch(*tensors).backward(torch.tensor(seed))
    for i, gradient in gradients.items():
        np.testing.assert_allclose(gradient, tensors[i].grad, atol=1e-6)


def test_clip_gives_each_element_to_one_operand() -> None:
    """At a bound the bound is the result, and where both bounds are equal the upper one: nothing is lost, nothing doubled."""
    low, high = np.array(-1.0), np.array(1.0)
    _, gradients, g = emitted(Case("Clip", [np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), low, high]))
    np.testing.assert_array_equal(gradients[0], [0, 0, g[2], 0, 0])
    np.testing.assert_allclose([gradients[1], gradients[2]], [g[0] + g[1], g[3] + g[4]], rtol=1e-6)
    _, gradients, g = emitted(Case("Clip", [np.array([0.0, 1.0, 2.0]), high, high]))
    np.testing.assert_allclose([*gradients[0], gradients[1], gradients[2]], [0, 0, 0, 0, g.sum()], rtol=1e-6)


@pytest.mark.parametrize("case", [c for c in PAIRS + SEVERAL if not c.dynamic and len(c.operands) > 1], ids=str)
def test_unknown_rank(case: Case) -> None:
    """Where not even ranks are known, the broadcast axes are found at run time."""
    without_ranks(case)


@pytest.mark.parametrize("op_type", STOPS)
def test_step_functions_stop(op_type: str) -> None:
    """A step function has derivative zero, so that nothing reaches its operand."""
    proto = build(Case(op_type, [normal(2, 3)]), np.float32)
    with pytest.raises(NothingToDifferentiate):
        differentiate(proto, ["x0"])
