"""DeepLIFT's RevealCancel rule: what adds to a neuron's input and what subtracts from it get multipliers of their own.

Notation of Shrikumar et al. 2017, section 3.5.3: Δx⁺ and Δx⁻ are the sums of the positive and of the negative contributions
to the pre-activation x by the layer before it. A value has one multiplier everywhere but at pre-activations; the walk
carries m⁻ there, and ``surplus`` what m⁺ is above it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from explainsvc.autograd import NodeView, Rule, Rulebook, Term
from explainsvc.autograd.reference import NEAR, Reference
from explainsvc.autograd.registry import apply_vjp
from explainsvc.rules.deeplift import only, rescaled
from explainsvc.rules.deeplift_rulebook import deeplift_rulebook

LAYERS = frozenset("Conv ConvTranspose Gemm MatMul".split())
SUMS = frozenset({"Add", "Sub"})
ROUTES = frozenset("Reshape Flatten Squeeze Unsqueeze Transpose Identity".split())
"""Looked through: their operand 0 in another shape."""
SPLITTING = LAYERS | SUMS | ROUTES
ACTIVATIONS = frozenset(
    "Relu LeakyRelu PRelu Elu Selu Celu Gelu Sigmoid HardSigmoid Tanh HardSwish Swish Softplus Softsign Mish Clip "
    "ThresholdedRelu Shrink Erf Exp".split()
)
"""Defined for all numbers: the rule looks at x′ + Δx⁺ and x′ + Δx⁻, where the network never is."""


@dataclass(frozen=True)
class _Pass:
    """One backward pass: the reference, the rules of all other nodes, and Value → m⁺ − m⁻."""

    reference: Reference
    rescale: Rulebook
    surplus: dict[ir.Value, Term] = field(default_factory=dict)

    def add(self, value: Term, m: Term) -> None:
        """More surplus at a value that several activations read."""
        earlier = self.surplus.get(value.value)
        self.surplus[value.value] = m if earlier is None else earlier + m


def deeplift_reveal_cancel_rulebook(reference: Reference) -> Rulebook:
    """RevealCancel at activations behind a dense layer, a convolution or a sum; :func:`deeplift_rulebook` elsewhere."""
    state = _Pass(reference, deeplift_rulebook(reference))
    reveal, by_sign = deeplift_reveal_cancel(state), deeplift_linear_by_sign(state)

    def rulebook(n: NodeView) -> Rule | None:
        if n.node.domain in ("", "ai.onnx"):
            if n.op_type in ACTIVATIONS and set(n.asked) <= {0} and _splitting(n.x) is not None:
                return reveal
            if n.op_type in SPLITTING:
                return by_sign
        return state.rescale(n)

    return rulebook


def deeplift_reveal_cancel(state: _Pass) -> Rule:
    """Δy⁺ = ½(f(x′ + Δx⁺) − f(x′)) + ½(f(x) − f(x′ + Δx⁻)), m⁺ = m Δy⁺/Δx⁺; Δy⁻ and m⁻ with the signs exchanged."""
    reference = state.reference

    def rule(n: NodeView, m: Term, *_: Term | None) -> list[Term | None]:
        plus = _positive_part(n.x, reference)
        if plus is None:
            return only(n, 0, rescaled(n, 0, m, reference))
        minus, x0 = reference.difference(n.x) - plus, reference.at(n.x)
        at_plus, at_minus = (n.replace({0: x0 + part}).y for part in (plus, minus))
        both, apart = reference.difference(n.y), at_plus - at_minus
        near = apply_vjp(n, 0, m)
        m_plus = n.emit.where(plus >= NEAR, m * (both + apart) * 0.5 / plus, near)
        m_minus = n.emit.where(minus <= -NEAR, m * (both - apart) * 0.5 / minus, near)
        state.add(n.x, m_plus - m_minus)
        return only(n, 0, m_minus)

    return rule


def deeplift_linear_by_sign(state: _Pass) -> Rule:
    """m_i = Σ_j w_ij (m_j⁺ where w_ij Δx_i > 0, m_j⁻ where < 0, their mean where Δx_i = 0) (section 3.5.1)."""
    reference = state.reference

    def rule(n: NodeView, m: Term, *rest: Term | None) -> list[Term | None]:
        base = state.rescale(n)
        assert base is not None
        back = list(base(n, m, *rest))
        surplus = state.surplus.get(n.y.value)
        changing = _changing(n, reference)
        if surplus is None or not changing:
            return back
        if n.op_type not in LAYERS and len(changing) == 1:
            (i,) = changing
            passed = apply_vjp(n, i, surplus)
            assert passed is not None
            state.add(n.input(i), passed)
            return back
        for i in changing:
            extra, term = _surplus_of(n, i, surplus, reference), back[i]
            back[i] = None if term is None else term + extra
        return back

    return rule


def _surplus_of(n: NodeView, i: int, surplus: Term, reference: Reference) -> Term:
    """Σ_j w_ij (m⁺ − m⁻)_j over the j to which x_i contributes positively; half of all where Δx_i = 0."""
    emit, difference = n.emit, reference.difference(n.input(i))
    if n.op_type in SUMS:
        signed = -difference if n.op_type == "Sub" and i == 1 else difference
        part = emit.where(signed > 0, surplus, emit.where(signed < 0, 0.0, surplus * 0.5))
        return emit.sum_to(-part if n.op_type == "Sub" and i == 1 else part, n.input(i))
    w = n.input(1 - i)
    up, down = (apply_vjp(_layer(n, {1 - i: half}), i, surplus) for half in (_plus(w), _minus(w)))
    assert up is not None
    assert down is not None
    return emit.where(difference > 0, up, emit.where(difference < 0, down, (up + down) * 0.5))


def _splitting(x: Term) -> ir.Node | None:
    """The layer or sum that makes ``x``, if one does."""
    node = x.value.producer()
    return node if node is not None and node.domain in ("", "ai.onnx") and node.op_type in SPLITTING else None


def _changing(n: NodeView, reference: Reference) -> list[int]:
    """The operands that differ between x and x′; none where the node is no sum over one of them."""
    found = [i for i, t in enumerate(n.inputs) if reference.changes(t)]
    if n.op_type in LAYERS:
        return found if len(found) == 1 and found[0] < 2 and n.attr("alpha", 1.0) >= 0 else []
    if len(found) != 1:
        return found if n.op_type in SUMS else []
    x = n.input(found[0])
    kept = n.op_type in ROUTES or (x.shape is not None and x.shape == n.y.shape)
    turned = n.op_type == "Sub" and found == [1]
    return found if kept and not turned and _splitting(x) is not None else []


def _positive_part(x: Term, reference: Reference) -> Term | None:
    """Δx⁺: the positive contributions to a pre-activation; None where no sum makes it."""
    node = _splitting(x)
    n = None if node is None else NodeView(node, x.emit)
    changing = [] if n is None else _changing(n, reference)
    if n is None or not changing:
        return None
    if n.op_type not in LAYERS and len(changing) == 1:
        inner = _positive_part(n.input(changing[0]), reference)
        return inner if inner is None or n.op_type in SUMS else n.replace({0: inner}).y
    differences = [reference.difference(n.input(i)) for i in changing]
    if n.op_type in SUMS:
        return _plus(differences[0]) + _plus(-differences[1] if n.op_type == "Sub" else differences[1])
    (i,), (difference,) = changing, differences
    w = n.input(1 - i)
    parts = [_layer(n, {i: part(difference), 1 - i: part(w)}).y for part in (_plus, _minus)]
    return parts[0] + parts[1]


def _layer(n: NodeView, operands: dict[int, Term | None]) -> NodeView:
    """The same layer on other operands, without its bias."""
    return n.replace(operands | ({2: None} if len(n.node.inputs) > 2 else {}))


def _plus(x: Term) -> Term:
    return x.emit.op("Relu", x)


def _minus(x: Term) -> Term:
    return x.emit.op("Min", x, 0)
