"""PatternNet and PatternAttribution: the backward pass along the directions of the signal, estimated from data.

Kindermans et al. 2017, arXiv:1705.05598. A neuron y = wᵀx + b sees x = s + d; the signal s = a y is the part of x that y
knows of, the distractor d the rest. Its pattern a is estimated from moments of data (equations 5 and 7):
linear, a = cov[x, y] / wᵀcov[x, y]; before a ReLU, a₊ = (E₊[x y] − E₊[x] E[y]) / wᵀ(E₊[x y] − E₊[x] E[y]), where E₊ is the
mean over positive y and E over all. A bias cancels in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from explainsvc.autograd import NodeView, Rule, Rulebook, Term
from explainsvc.autograd.emit import is_emitted
from explainsvc.autograd.registry import apply_vjp
from explainsvc.autograd.shapes import Array
from explainsvc.errors import MethodNotApplicable
from explainsvc.rules.guided import is_rectifier

LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
PASSED = frozenset(
    "MaxPool AveragePool GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax Reshape Flatten Squeeze Unsqueeze "
    "Transpose Concat Slice Gather Pad Identity Cast Dropout Split".split()
)
"""Passed by their vjp, as the paper's implementation does with pooling and reshaping."""
ROUNDING = 1e-6
"""Of ‖w‖·‖cov‖: a denominator wᵀcov below it is float32 rounding, and the neuron gets no pattern."""


def layers_of(path: Iterable[NodeView], method: str) -> list[NodeView]:
    """The layers that have patterns, in topological order.

    Raises:
        MethodNotApplicable: Something else than layers with constant weights, biases, ReLUs, pooling and routing on the way.
    """
    layers = []
    for n in path:
        if n.op_type in LAYERS and _varying(n) == [0]:
            layers.append(n)
        elif not (len(_varying(n)) == 1 or n.op_type == "Concat") or not _passes(n):
            raise MethodNotApplicable(
                f"{method} is not defined for {n.op_type}", where=n.where(),
                expected="a chain of layers with constant weights, ReLUs, pooling and routing",
                to_do="Use integrated_gradients, or explain a value before this node",
            )  # fmt: skip
    if not layers:
        raise MethodNotApplicable(f"{method} needs layers with weights between the input and the target",
                                  expected="Conv, Gemm or MatMul", to_do="Use gradient")  # fmt: skip
    return layers


def _varying(n: NodeView) -> list[int]:
    """Operands that are no constants."""
    return [i for i in range(len(n.node.inputs)) if n.has(i) and n.const(i) is None]


def _passes(n: NodeView) -> bool:
    return n.op_type in PASSED or is_rectifier(n) or _adds_constant(n)


def _adds_constant(n: NodeView) -> bool:
    return n.op_type == "Add" and len(_varying(n)) == 1


def moments(n: NodeView) -> dict[str, Term]:
    """Sums over items and positions, from which a layer's patterns follow.

    Returns:
        ``count`` [1]: how many y each neuron has; ``y`` [M]: Σ y; ``on`` [M]: Σ 1₊; ``xy`` and ``x``, of the weight's shape:
        Σ 1₊ x y and Σ 1₊ x, the weight gradients of the layer for upstream 1₊ y and 1₊. 1₊ = 1 where no ReLU follows.
    """
    emit, y, ahead = n.emit, n.y, before_rectifier(n)
    on = emit.zeros_like(y) + 1 if ahead is None else emit.step(ahead)
    channels = 1 if n.op_type == "Conv" else (y.rank or 2) - 1
    others = [axis for axis in range(y.rank or 2) if axis != channels]
    ones = emit.sum(emit.zeros_like(y) + 1, others)
    weighted, active = apply_vjp(n, 1, on * y), apply_vjp(n, 1, on)
    assert weighted is not None
    assert active is not None
    return {"count": ones, "y": emit.sum(y, others), "on": emit.sum(on, others), "xy": weighted, "x": active}


def before_rectifier(n: NodeView) -> Term | None:
    """The value that a ReLU takes in right behind the layer, its bias counted; None where something else follows."""
    value = n.node.outputs[0]
    while True:
        readers = [NodeView(use.node, n.emit) for use in value.uses() if not is_emitted(use.node)]
        if readers and all(is_rectifier(reader) for reader in readers):
            return n.emit.term(value)
        if len(readers) != 1 or not _adds_constant(readers[0]):
            return None
        value = readers[0].node.outputs[0]


def pattern(w: Array, neurons: int, sums: Mapping[str, Array]) -> Array:
    """The patterns of a layer's neurons in the shape of its weight; zero where a neuron has none.

    Args:
        w: Weight.
        neurons: Its axis of output neurons.
        sums: See :func:`moments`, float64.
    """
    along = [-1 if axis == neurons else 1 for axis in range(w.ndim)]
    count, y, on = (sums[name].reshape(along) for name in ("count", "y", "on"))
    cov = np.divide(sums["xy"] - sums["x"] * (y / count), on, out=np.zeros(w.shape), where=on > 0)
    inputs = tuple(axis for axis in range(w.ndim) if axis != neurons)
    weight = w.astype(np.float64)
    share = (weight * cov).sum(axis=inputs, keepdims=True)
    norms = [np.sqrt((v * v).sum(axis=inputs, keepdims=True)) for v in (weight, cov)]
    known = np.abs(share) > ROUNDING * norms[0] * norms[1]
    return np.asarray(np.divide(cov, share, out=np.zeros(w.shape), where=known))


def neuron_axis(n: NodeView) -> int:
    """The axis of a layer's weight that counts output neurons."""
    return 0 if n.op_type == "Conv" or (n.op_type == "Gemm" and n.attr("transB", 0)) else 1


def backward_with(weights: Mapping[str, Array]) -> Rulebook:
    """The vjp, with other weights at layers: a for PatternNet, w ⊙ a for PatternAttribution.

    Args:
        weights: Name of a layer's result → array in its weight's shape.
    """

    def rule(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
        w = weights[n.node.outputs[0].name or ""]
        other = n.emit.constant(w.astype((n.input(1).dtype or n.emit.float_type).numpy()))
        rest: list[Term | None] = [None] * (len(n.node.inputs) - 1)
        return [apply_vjp(n.replace({1: other}), 0, r), *rest]

    def rulebook(n: NodeView) -> Rule | None:
        return rule if (n.node.outputs[0].name or "") in weights else None

    return rulebook
