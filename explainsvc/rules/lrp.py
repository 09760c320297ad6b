"""Layer-wise relevance propagation: rules, and which operator gets which.

Notation of Montavon et al. 2019 ("Layer-Wise Relevance Propagation: An Overview", section 10.2): a inputs of a layer,
w weights, z_j = Σ_i a_i w_ij + b_j, R_j relevance of its results. The backward product Σ_j w_ij s_j of every rule is the
vjp of the (modified) node, so one formula serves Conv, ConvTranspose, Gemm, MatMul, pooling and sums alike.
"""

from __future__ import annotations

from functools import cache

from explainsvc.autograd import NodeView, Rule, Term
from explainsvc.autograd.registry import apply_vjp, apply_vjps, has_vjp
from explainsvc.errors import NotDifferentiable

STABILIZER = 1e-6
"""ε where a rule has none of its own (zennit's default)."""

CONVOLUTION = frozenset({"Conv", "ConvTranspose"})
DENSE = frozenset({"Gemm", "MatMul", "Einsum"})
LINEAR = CONVOLUTION | DENSE
"""Layers with weights: what presets tell apart, and what is a first or last layer."""
ACTIVATION = frozenset(
    "Relu LeakyRelu PRelu Elu Selu Celu Sigmoid HardSigmoid Tanh HardSwish Swish Softplus Softsign Gelu Mish Clip "
    "ThresholdedRelu Erf".split()
)
ROUTING = frozenset(
    "MaxPool GlobalMaxPool ReduceMax ReduceMin Max Min Reshape Flatten Squeeze Unsqueeze Transpose Concat Split Slice Gather "
    "GatherElements GatherND Pad Identity Cast Dropout DepthToSpace SpaceToDepth Expand Tile Where TopK".split()
)
"""Their vjp is a 0/1 matrix: every element of the result has one source, which gets all its relevance."""
SHARING = frozenset(
    "Add Sub Sum Mean Neg Mul Div ReduceSum ReduceMean AveragePool GlobalAveragePool BatchNormalization Resize".split()
)
"""Linear in the operands that lead to the input: relevance in proportion to each operand's share (z-rule)."""


def stabilized(z: Term, epsilon: float) -> Term:
    """z + ε·sign(z), with sign(0) = +1."""
    return z + (z.emit.step(z, at_zero=1.0) * (2 * epsilon) - epsilon)


@cache
def lrp_epsilon(epsilon: float, bias: bool = True) -> Rule:
    """R_i = a_i Σ_j w_ij R_j / (z_j + ε sign z_j) (Bach et al. 2015, equation 58).

    Args:
        epsilon: Absorbs relevance where z is small.
        bias: Whether the bias counts in z_j as one more neuron (its share is then absorbed).
    """

    def rule(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
        return _shares(n, r / stabilized(_denominator(n, bias), epsilon))

    return rule


@cache
def lrp_0(bias: bool = True) -> Rule:
    """R_i = Σ_j z_ij / z_j R_j (LRP-Z; Bach et al. 2015, equation 56); a neuron with z_j = 0 hands nothing on."""

    def rule(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
        z = _denominator(n, bias)
        silent = z.equals(0)
        return _shares(n, n.emit.where(silent, 0.0, r / n.emit.where(silent, 1.0, z)))

    return rule


def _denominator(n: NodeView, bias: bool) -> Term:
    """z_j, with or without the bias; a bias that leads to the input is one more of the neuron's inputs."""
    if n.op_type == "Einsum" and len(n.asked) > 1:
        raise refusal(n, "a product of two activations")
    if n.op_type in LINEAR and n.op_type != "Einsum" and (n.asked != (2,) or not bias):
        data_operand(n)
    return n.y if bias or 2 in n.asked else without_bias(n)


def _shares(n: NodeView, s: Term) -> list[Term | None]:
    """a_i ⊙ Σ_j w_ij s_j for every operand that leads to the input."""
    back = {i: apply_vjp(n, i, s) for i in n.asked}
    return [None if (g := back.get(i)) is None else n.input(i) * g for i in range(len(n.node.inputs))]


def without_bias(n: NodeView) -> Term:
    """The layer's result less its bias."""
    if n.op_type not in ("Conv", "ConvTranspose", "Gemm") or not n.has(2):
        return n.y
    b = n.input(2)
    if n.op_type == "Gemm":
        return n.y - b * float(n.attr("beta", 1.0))
    spatial = (n.y.rank or 4) - 2
    return n.y - n.emit.reshape(b, [1, -1] + [1] * spatial)


def pass_through(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
    """R_in = R_out at activations: the relevance of a neuron is that of its pre-activation (Bach et al. 2015)."""
    nothing: list[Term | None] = [None] * (len(n.node.inputs) - 1)
    return [r, *nothing]


def route(n: NodeView, *r: Term | None) -> list[Term | None]:
    """Every result's relevance goes to the operand element that it is a copy of (max-pooling: winner takes all)."""
    back = apply_vjps(n, *r)
    return [back.get(i) for i in range(len(n.node.inputs))]


@cache
def share(bias: bool) -> Rule:
    """z-rule at sums, means, average pooling: in proportion to each operand's share (ε-rule with the stabilizer).

    A constant operand of an Add is a bias; scaling by a constant passes relevance unchanged.
    """
    in_proportion = lrp_epsilon(STABILIZER)

    def rule(n: NodeView, r: Term, *rest: Term | None) -> list[Term | None]:
        if (n.op_type in ("Mul", "Div") and len(n.asked) > 1) or (n.op_type == "Div" and 1 in n.asked):
            raise refusal(n, "a product of two activations")
        if n.op_type in ("Add", "Sub", "Mul", "Div") and len(n.asked) == 1 and (not bias or n.op_type in ("Mul", "Div")):
            (i,) = n.asked
            return [n.emit.sum_to(r, n.input(i)) if k == i else None for k in range(2)]
        return list(in_proportion(n, r, *rest))

    return rule


def refuse(n: NodeView, *_: Term | None) -> list[Term | None]:
    """No rule is known: LRP never falls back to the gradient silently."""
    raise refusal(n, "this operator")


def refusal(n: NodeView, what: str) -> NotDifferentiable:
    """What a rule raises at a node that it is not defined for."""
    others = "integrated_gradients or occlusion" if all(has_vjp(n, i) for i in n.asked) else "occlusion"
    return NotDifferentiable(
        f"LRP has no rule for {what} ({n.op_type})", where=n.where(),
        expected="convolutions, dense layers, sums, pooling, ReLU-like activations and routing operators",
        to_do=f"Use {others}, or explain a value before this node (a logit instead of a Softmax)",
    )  # fmt: skip


def data_operand(n: NodeView) -> int:
    """The one factor that leads to the input; the other is the weight.

    Raises:
        NotDifferentiable: Both lead there, or neither does, or there is no weight.
    """
    data = [i for i in n.asked if i < 2]
    factors = (2,) if n.op_type == "Einsum" else (2, 3)  # a third operand of an Einsum is no bias
    if len(data) != 1 or len(n.node.inputs) not in factors:
        raise refusal(n, "an activation in the place of a bias" if n.asked == (2,) else "a product of two activations")
    return data[0]


def counts_bias(n: NodeView, bias: bool) -> bool:
    """Whether operand 2 of a linear layer takes a share: as a bias that counts, or as one more input of the neuron."""
    return n.has(2) and (bias or 2 in n.asked)
