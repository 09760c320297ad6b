"""Guided backpropagation and DeconvNet: the gradient with another rule at ReLUs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from explainsvc.autograd import NodeView, Rule, Rulebook, Term
from explainsvc.errors import MethodNotApplicable

INSTEAD = "Use gradient, integrated_gradients or smoothgrad; occlusion where nothing is differentiable"
RECTIFIER_VARIANTS = frozenset("LeakyRelu PRelu Elu Selu Celu Gelu Mish HardSwish Swish ThresholdedRelu Softplus".split())
"""Hidden activations for which neither paper says what the rule is: refused, never treated as their gradient silently."""


def is_rectifier(n: NodeView) -> bool:
    """Relu, or a Clip from 0 up (ReLU6)."""
    if n.op_type == "Relu":
        return True
    low = n.const(1) if n.op_type == "Clip" else None
    return low is not None and bool(np.all(low == 0))


def guided_relu(n: NodeView, r: Term) -> list[Term]:
    """R_in = R_out⁺ ⊙ 1[z > 0] (Springenberg et al. 2015, arXiv:1412.6806, figure 1b, guided backpropagation)."""
    return [n.emit.op("Relu", r) * _open(n)]


def deconvnet_relu(n: NodeView, r: Term) -> list[Term]:
    """R_in = R_out⁺, whatever the forward activation was (Zeiler & Fergus 2014, arXiv:1311.2901, section 2.1)."""
    return [n.emit.op("Relu", r)]


def _open(n: NodeView) -> Term:
    """Where the rectifier passes its input: z > 0, and for a ReLU6 also z < 6; its result y tells as well as z."""
    passes = n.emit.step(n.y)
    return passes * n.emit.mask(n.y < n.input(2), n.y) if n.op_type == "Clip" and n.has(2) else passes


def at_rectifiers(rule: Rule, method: str) -> Rulebook:
    """``rule`` at every rectifier, a refusal at other hidden activations, the vjp everywhere else."""
    refusal = refuse(method)

    def rulebook(n: NodeView) -> Rule | None:
        return rule if is_rectifier(n) else refusal if n.op_type in RECTIFIER_VARIANTS else None

    return rulebook


def refuse(method: str) -> Rule:
    """At activations for which the papers do not say what the rule is."""

    def rule(n: NodeView, *_: Term | None) -> list[Term | None]:
        raise _undefined(n, method)

    return rule


def require_rectifiers(views: Sequence[NodeView], method: str) -> None:
    """The rule is defined for ReLU networks only.

    Raises:
        MethodNotApplicable: No rectifier on the way, or an activation that the papers do not treat.
    """
    for n in views:
        if n.op_type in RECTIFIER_VARIANTS:
            raise _undefined(n, method)
    if not any(is_rectifier(n) for n in views):
        raise MethodNotApplicable(
            f"{method} changes the gradient at ReLUs, and there is none between the input and the target",
            expected="a network with ReLUs", to_do=INSTEAD,
        )  # fmt: skip


def _undefined(n: NodeView, method: str) -> MethodNotApplicable:
    return MethodNotApplicable(
        f"{method} is not defined for the activation {n.op_type}", where=n.where(),
        expected="ReLU as the only hidden activation", to_do=INSTEAD,
    )  # fmt: skip
