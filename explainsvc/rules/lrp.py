"""Layer-wise relevance propagation: rules, and which operator gets which.

Notation of Montavon et al. 2019 ("Layer-Wise Relevance Propagation: An Overview", section 10.2): a inputs of a layer,
w weights, z_j = Σ_i a_i w_ij + b_j, R_j relevance of its results. The backward product Σ_j w_ij s_j of every rule is the
vjp of the (modified) node, so one formula serves Conv, ConvTranspose, Gemm, MatMul, pooling and sums alike.
"""

from __future__ import annotations

from functools import cache

from explainsvc.autograd import NodeView, Rule, Term
from explainsvc.autograd.registry import apply_vjp, apply_vjps, has_vjp
from explainsvc.autograd.sliding import count_cells, spread_ones
from explainsvc.autograd.windows import INT64, sizes_of, spatial_rank, static_sizes, windows_of
from explainsvc.errors import NotDifferentiable
from explainsvc.rules.signs import is_nonnegative

STABILIZER = 1e-6
"""ε where a rule has none of its own (zennit's default)."""

CONVOLUTION = frozenset({"Conv", "ConvTranspose"})
DENSE = frozenset({"Gemm", "MatMul", "Einsum"})
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
        if n.op_type in CONVOLUTION | DENSE and len([i for i in n.asked if i < 2 or n.op_type == "Einsum"]) > 1:
            raise _refusal(n, "a product of two activations")
        z = n.y if bias else _without_bias(n)
        return _shares(n, r / stabilized(z, epsilon))

    return rule


def _shares(n: NodeView, s: Term) -> list[Term | None]:
    """a_i ⊙ Σ_j w_ij s_j for every operand that leads to the input."""
    back = {i: apply_vjp(n, i, s) for i in n.asked}
    return [None if (g := back.get(i)) is None else n.input(i) * g for i in range(len(n.node.inputs))]


def _without_bias(n: NodeView) -> Term:
    """The layer's result less its bias."""
    position = 2 if n.op_type in ("Conv", "ConvTranspose", "Gemm") else None
    if position is None or not n.has(position):
        return n.y
    b = n.input(position)
    if n.op_type == "Gemm":
        return n.y - b * float(n.attr("beta", 1.0))
    spatial = (n.y.rank or 4) - 2
    return n.y - n.emit.reshape(b, [1, -1] + [1] * spatial)


@cache
def lrp_z_plus(bias: bool = True) -> Rule:
    """α1β0: R_i = Σ_j (a_i w_ij)⁺ / Σ_i (a_i w_ij)⁺ R_j (Montavon et al. 2017, arXiv:1512.02479, z⁺-rule).

    (a w)⁺ = a⁺w⁺ + a⁻w⁻; where a ≥ 0 is known (after a ReLU) the second product vanishes and is not computed.
    A bias counts with its positive part.
    """

    def rule(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
        (i,) = _only_data_operand(n)
        a, w = n.input(i), n.input(1 - i)
        b = n.emit.op("Relu", n.input(2)) if bias and n.has(2) else None
        stabilizer = STABILIZER
        if n.op_type in CONVOLUTION and n.has(2):  # ε is added with the bias: one pass over z less
            b, stabilizer = (n.input(2) * 0 if b is None else b) + STABILIZER, 0.0
        drop: dict[int, Term | None] = {2: b} if len(n.node.inputs) > 2 else {}
        if is_nonnegative(a.value):
            parts = [(a, n.replace({1 - i: _plus(w), **drop}))]
        else:
            negative: dict[int, Term | None] = {2: None} if drop else {}
            parts = [
                (_plus(a), n.replace({i: _plus(a), 1 - i: _plus(w), **drop})),
                (_minus(a), n.replace({i: _minus(a), 1 - i: _minus(w), **negative})),
            ]
        z = parts[0][1].y if len(parts) == 1 else parts[0][1].y + parts[1][1].y
        s = r / (z + stabilizer if stabilizer > 0 else z)  # z is a sum of positive parts
        products = [part * back for part, m in parts if (back := apply_vjp(m, i, s)) is not None]
        result: list[Term | None] = [None] * len(n.node.inputs)
        result[i] = products[0] if len(products) == 1 else products[0] + products[1]
        return result

    return rule


def lrp_flat(n: NodeView, r: Term, *_: Term | None) -> list[Term | None]:
    """R_i = Σ_j 1/(Σ_i 1) R_j over the inputs i of neuron j (Lapuschkin et al. 2019, arXiv:1902.10178)."""
    (i,) = _only_data_operand(n)
    a, w = n.input(i), n.input(1 - i)
    result: list[Term | None] = [None] * len(n.node.inputs)
    if n.op_type == "Conv" and i == 0 and n.attr("group", 1) == 1 and static_sizes(w) is not None:
        result[0] = _flat_over_windows(n, r)
        return result
    operands: dict[int, Term | None] = {i: _ones_like(a), 1 - i: _ones_like(w)}
    m = n.replace(operands | ({2: None} if len(n.node.inputs) > 2 else {}))
    result[i] = apply_vjp(m, i, r / (m.y + STABILIZER))
    return result


def _flat_over_windows(n: NodeView, r: Term) -> Term:
    """:func:`lrp_flat` of a Conv: a neuron gives the same to all channels of a cell, so that one channel is computed."""
    emit, win = n.emit, windows_of(n, sizes_of(n.input(1), spatial_rank(n)))
    channels = emit.cast(emit.op("Shape", n.x, dtype=INT64, shape=(1,), start=1, end=2), r.dtype or emit.float_type)
    share = r / (count_cells(n.x, n.y, win, padding_counts=False) * channels + STABILIZER)
    shape = None if n.x.shape is None else (n.x.shape[0], 1, *n.x.shape[2:])
    one_channel = emit.op("Slice", n.x, emit.ints([0]), emit.ints([1]), emit.ints([1]), shape=shape)
    return emit.expand_like(spread_ones(emit.sum(share, [1]), win, one_channel), n.x)


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
            raise _refusal(n, "a product of two activations")
        if n.op_type in ("Add", "Sub", "Mul", "Div") and len(n.asked) == 1 and (not bias or n.op_type in ("Mul", "Div")):
            (i,) = n.asked
            if n.input(i).shape is not None and n.input(i).shape == n.y.shape:
                return [r if k == i else None for k in range(2)]
        return list(in_proportion(n, r, *rest))

    return rule


def refuse(n: NodeView, *_: Term | None) -> list[Term | None]:
    """No rule is known: LRP never falls back to the gradient silently."""
    raise _refusal(n, "this operator")


def _refusal(n: NodeView, what: str) -> NotDifferentiable:
    others = "integrated_gradients or occlusion" if all(has_vjp(n, i) for i in n.asked) else "occlusion"
    return NotDifferentiable(
        f"LRP has no rule for {what} ({n.op_type})", where=n.where(),
        expected="convolutions, dense layers, sums, pooling, ReLU-like activations and routing operators",
        to_do=f"Use {others}, or explain a value before this node (a logit instead of a Softmax)",
    )  # fmt: skip


def _only_data_operand(n: NodeView) -> tuple[int]:
    """The operand that leads to the input; the other factor is the weight."""
    data = [i for i in n.asked if i < 2]
    factors = (2,) if n.op_type == "Einsum" else (2, 3)  # a third operand of an Einsum is no bias
    if len(data) != 1 or len(n.node.inputs) not in factors:
        raise _refusal(n, "a product of two activations")
    return (data[0],)


def _plus(x: Term) -> Term:
    return x.emit.op("Relu", x)


def _minus(x: Term) -> Term:
    return x.emit.op("Min", x, 0)


def _ones_like(x: Term) -> Term:
    return x.emit.zeros_like(x) + 1
