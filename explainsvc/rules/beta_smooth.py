"""The gradient of Softplus in the place of that of ReLU."""

from __future__ import annotations

from functools import cache

from explainsvc.autograd import NodeView, Rule, Term


@cache
def smooth_relu(beta: float) -> Rule:
    """R_in = R_out ⊙ σ(βz), the derivative of softplus_β(z) = log(1 + exp βz)/β (Dombrowski et al. 2019, arXiv:1906.07983)."""

    def rule(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
        return [r * n.emit.op("Sigmoid", n.x * beta, shape=n.x.shape)]

    return rule
