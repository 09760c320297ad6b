"""The activation functions of LSTM, GRU and RNN, and how a gradient gets through them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import apply_vjp
from explainsvc.autograd.view import NodeView
from explainsvc.errors import NotDifferentiable

DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
"""The functions f, g, h of the equations in the ONNX operator reference, where the node names none."""

PARAMETERS = {
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "softsign": ("Softsign", {}),
    "softplus": ("Softplus", {}),
    "elu": ("Elu", {"alpha": 1.0}),
    "leakyrelu": ("LeakyRelu", {"alpha": 0.01}),
    "thresholdedrelu": ("ThresholdedRelu", {"alpha": 0.0}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    "affine": ("Affine", {"alpha": 0.0, "beta": 0.0}),
    "scaledtanh": ("ScaledTanh", {"alpha": 0.0, "beta": 0.0}),
}
"""Activation function in lower case, as onnxruntime compares it → its name and the parameters that it takes by default.

These are onnxruntime's defaults, zeros where ONNX says 1 (Affine, ThresholdedRelu) or nothing (ScaledTanh).
"""


@dataclass(frozen=True)
class Activated:
    """``value`` = f(a), and the operators of f in order, each a function of the one before."""

    value: Term
    chain: tuple[Term, ...]

    def back(self, g: Term) -> Term:
        """g ⊙ f'(a)."""
        for term in reversed(self.chain):
            g = _back(term, g)
        return g


def _back(term: Term, g: Term) -> Term:
    """Through one operator, by its vjp rule.

    Not so sigmoid and tanh: y (1 − y) and 1 − y² have no digits left where a gate is saturated; the same slopes written
    as k² e / (1 + e)², e = exp(−k|a|), with k = 1 and 2, keep all of them.
    """
    node = term.value.producer()
    assert node is not None
    n = NodeView(node, term.emit, (0,))
    if n.op_type in _STEEPNESS:
        k = _STEEPNESS[n.op_type]
        e = n.emit.op("Exp", n.emit.op("Abs", n.x) * -k)
        return g * (k * k * e / ((1 + e) * (1 + e)))
    slope = apply_vjp(n, 0, g)
    assert slope is not None
    return slope


_STEEPNESS = {"Sigmoid": 1.0, "Tanh": 2.0}


@dataclass(frozen=True)
class Activation:
    """An activation function with its parameters; ``clip`` bounds its argument."""

    name: str
    parameters: dict[str, Any]
    clip: float | None

    def __call__(self, a: Term) -> Activated:
        """f(a)."""
        chain = []
        if self.clip is not None:
            chain.append(a.emit.op("Clip", a, -self.clip, self.clip, shape=a.shape))
        chain += self._steps(chain[-1] if chain else a)
        return Activated(chain[-1], tuple(chain))

    def _steps(self, a: Term) -> Iterator[Term]:
        p = self.parameters
        if self.name == "Affine":
            yield (scaled := a * p["alpha"])
            yield scaled + p["beta"]
        elif self.name == "ScaledTanh":
            yield (scaled := a * p["beta"])
            yield (bent := a.emit.op("Tanh", scaled, shape=a.shape))
            yield bent * p["alpha"]
        else:
            yield a.emit.op(self.name, a, shape=a.shape, **p)


def activations(n: NodeView, count: int) -> list[tuple[Activation, ...]]:
    """The functions f, g, h of every direction.

    Raises:
        NotDifferentiable: A name that ONNX does not list.
    """
    names = n.attr("activations") or DEFAULTS[n.op_type] * count
    left = {"alpha": list(n.attr("activation_alpha", ())), "beta": list(n.attr("activation_beta", ()))}
    found = [_activation(n, name, left) for name in names]
    each = len(found) // count
    return [tuple(found[d * each : (d + 1) * each]) for d in range(count)]


def _activation(n: NodeView, name: str, left: dict[str, list[float]]) -> Activation:
    """Parameters are taken in order by the functions that have them, as onnxruntime does."""
    if name.lower() not in PARAMETERS:
        raise NotDifferentiable(
            f"activation function {name} has no derivative rule",
            where=n.where(),
            expected=f"one of {', '.join(known for known, _ in PARAMETERS.values())}",
            to_do="Use a perturbation method such as occlusion",
        )
    op_type, defaults = PARAMETERS[name.lower()]
    chosen = {key: left[key].pop(0) if left[key] else default for key, default in defaults.items()}
    return Activation(op_type, chosen, n.attr("clip"))
