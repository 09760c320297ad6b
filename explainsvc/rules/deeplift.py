"""DeepLIFT: multipliers in place of derivatives, one rule per kind of operator.

Notation of Shrikumar, Greenside, Kundaje 2017 (arXiv:1704.02685): x and y operand and result of a node at the input, x′
and y′ at the reference, Δx = x − x′; the multiplier m of an element is its contribution to the target per unit of its
difference. Every rule here is complete: Σ m_x Δx over all operands is Σ m_y Δy, exactly, so that by the chain rule
(equation 3) Σ m_x Δx over the inputs is S(x) − S(x′). Where differences vanish every rule becomes the derivative.
"""

from __future__ import annotations

from collections.abc import Sequence

from explainsvc.autograd import NodeView, Rule, Term
from explainsvc.autograd.reference import Reference
from explainsvc.autograd.registry import apply_vjp, apply_vjps, has_vjp
from explainsvc.errors import NotDifferentiable
from explainsvc.rules.signs import is_nonnegative

FINITE = 3e38
"""No derivative above this is used: √x and x^p have an infinite one at 0."""


def deeplift_linear(reference: Reference) -> Rule:
    """m_x = Wᵀ m_y: a linear node's multipliers are its derivatives (section 3.5.1, without the split by sign)."""

    def rule(n: NodeView, *m: Term | None) -> list[Term | None]:
        require_same(n, reference, n.asked)
        back = apply_vjps(n, *m)
        return [back.get(i) for i in range(len(n.node.inputs))]

    return rule


def deeplift_rescale(reference: Reference) -> Rule:
    """m_x = m_y Δy/Δx, the derivative where |Δx| < 1e-7 (section 3.5.2): for functions of one operand, element by element."""

    def rule(n: NodeView, m: Term, *_: Term | None) -> list[Term | None]:
        if len(n.asked) != 1:
            raise refusal(n, "several activations in")
        (i,) = n.asked
        require_same(n, reference, n.asked)
        return only(n, i, rescaled(n, i, m, reference))

    return rule


def rescaled(n: NodeView, i: int, m: Term, reference: Reference) -> Term:
    """m Δy/Δx of operand ``i``; the sum is over what broadcasting stretched."""
    x = n.input(i)
    quotient = n.emit.sum_to(m * reference.difference(n.y), x) / reference.difference(x)
    return n.emit.where(reference.apart(x), quotient, derivative(n, i, m))


def derivative(n: NodeView, i: int, m: Term) -> Term | float:
    """The gradient of operand ``i``; 0 where the function is a step, or as steep as a wall."""
    g = apply_vjp(n, i, m) if has_vjp(n, i) else None
    if g is None or n.op_type not in ("Pow", "Asin", "Acos", "Acosh"):
        return 0.0 if g is None else g
    return n.emit.where(n.emit.op("Abs", g) <= FINITE, g, 0.0)


def deeplift_multilinear(reference: Reference, *factors: int) -> Rule:
    """Δ(ab) = b̄ Δa + ā Δb with ā = (a + a′)/2: each factor's derivative at the other's middle.

    It is the Shapley value of a game of two players, the factors (Lundberg & Lee 2017, arXiv:1705.07874, section 4.2). For
    every node that is linear in each of ``factors`` (all operands, where none is named); other operands are summands.
    """

    def rule(n: NodeView, m: Term, *_: Term | None) -> list[Term | None]:
        changing = [i for i in factors or range(len(n.node.inputs)) if n.has(i) and reference.changes(n.input(i))]
        if len(changing) > 2:
            raise refusal(n, "a product of three activations in")
        at_middle = {i: n.replace({k: reference.middle(n.input(k)) for k in changing if k != i}) for i in changing}
        views = at_middle if len(changing) == 2 else {}
        return [apply_vjp(views.get(i, n), i, m) if i in n.asked else None for i in range(len(n.node.inputs))]

    return rule


def deeplift_quotient(reference: Reference) -> Rule:
    """y = a/b: Δy = (Δa − ȳ Δb)/b̄, which is the product rule of a = y b solved for Δy.

    Unlike the product rule of a · (1/b) it does not look at a/b′, and so stays small where b′ nearly vanishes (a
    normalisation of a constant). Where b and b′ differ in sign, b̄ may vanish: there it is that rule.
    """

    def rule(n: NodeView, m: Term, *_: Term | None) -> list[Term | None]:
        a, b = n.input(0), n.input(1)
        b0, divided = reference.at(b), m / reference.middle(b)
        if not reference.changes(b):
            return [n.emit.sum_to(divided, a), None]
        to_a, to_b = divided, divided * reference.middle(n.y)
        if not is_nonnegative(b.value):
            opposed = b * b0 < 0
            to_a = n.emit.where(opposed, m * (0.5 / b + 0.5 / b0), to_a)
            to_b = n.emit.where(opposed, m * reference.middle(a) / (b * b0), to_b)
        terms = n.emit.sum_to(to_a, a), -n.emit.sum_to(to_b, b)
        return [term if i in n.asked else None for i, term in enumerate(terms)]

    return rule


def deeplift_root(reference: Reference) -> Rule:
    """Δ√x/Δx = 1/(√x + √x′): :func:`deeplift_rescale` without its rounding; 0 where both are 0."""

    def rule(n: NodeView, m: Term) -> list[Term | None]:
        total = n.y + reference.at(n.y)
        return [n.emit.where(total > 0, m / total, 0.0)]

    return rule


def deeplift_reciprocal(reference: Reference) -> Rule:
    """Δ(1/x)/Δx = −1/(x x′): :func:`deeplift_rescale` without its rounding."""

    def rule(n: NodeView, m: Term) -> list[Term | None]:
        return [-(m * n.y * reference.at(n.y))]

    return rule


def deeplift_where(reference: Reference) -> Rule:
    """y = c a + (1 − c) b by the product rule; what a changing condition itself contributes is left to the residual."""

    def rule(n: NodeView, m: Term) -> list[Term | None]:
        conditions = [n.x, reference.at(n.x)] if reference.changes(n.x) else [n.x]
        share = 1.0 / len(conditions)
        true = sum((n.emit.where(c, m * share, 0.0) for c in conditions[1:]), n.emit.where(conditions[0], m * share, 0.0))
        terms = None, n.emit.sum_to(true, n.input(1)), n.emit.sum_to(m - true, n.input(2))
        return [term if i in n.asked else None for i, term in enumerate(terms)]

    return rule


def refuse(n: NodeView, *_: Term | None) -> list[Term | None]:
    """No multiplier is known: DeepLIFT never falls back to the gradient silently."""
    raise refusal(n, "the operator")


def refusal(n: NodeView, what: str) -> NotDifferentiable:
    """Why a node has no multiplier."""
    others = "integrated_gradients or occlusion" if n.asked and all(has_vjp(n, i) for i in n.asked) else "occlusion"
    return NotDifferentiable(
        f"DeepLIFT has no multiplier for {what} {n.op_type}", where=n.where(),
        expected="linear layers, functions of one value, products, quotients, maxima, softmax and normalisations",
        to_do=f"Use {others}, or explain a value before this node",
    )  # fmt: skip


def require_same(n: NodeView, reference: Reference, apart_from: Sequence[int]) -> None:
    """What a rule takes for constant must be the same at the input and at the reference.

    Raises:
        NotDifferentiable: An index, a shape or a bound depends on the explained input.
    """
    for i, term in enumerate(n.inputs):
        if i not in apart_from and reference.changes(term):
            raise refusal(n, f"an operand {i} that depends on the explained input in")


def only(n: NodeView, i: int, m: Term | None) -> list[Term | None]:
    """``m`` for operand ``i``, nothing for the others."""
    return [m if k == i else None for k in range(len(n.node.inputs))]
