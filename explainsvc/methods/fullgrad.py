"""fullgrad: Gradient × input together with the gradients of all biases, which make it complete, laid over the input.

Computes: ψ(x ⊙ ∂S/∂x) + Σ_l Σ_c ψ(b_l ⊙ ∂S/∂z_l)_c over the layers l with positions, b_l the bias that z_l contains; ψ is the
  absolute value, rescaled to [0, 1] over the item and upsampled linearly to the input's positions.
Output: Non-negative, the input's shape, the same value in every channel; no unit.
Needs: An input with positions, convolutions with biases, and a differentiable path of float values from the input to the target.
Cost: Two forward and backward passes: one for the map, one for the residual.
Properties: Before ψ the terms, those of dense layers included, sum to S for ReLU networks; `residual` reports what is missing.
Limits: ψ drops signs and the layers' scales. Constants that activations other than ReLU add are no biases: see the residual.
Source: Srinivas, Fleuret 2019, arXiv:1905.00780, proposition 1 and section 4; ψ as in the authors' fullgrad.py.
Differs: BatchNorm is folded into the convolution, so that both are one layer (the authors': two); upsampled between pixel centres
  as Grad-CAM is (theirs: corners aligned); a constant that is added is a bias, whichever operator adds it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

import onnx_ir as ir

from explainsvc.autograd import NodeView, Term, backward
from explainsvc.autograd.backward import leading_to
from explainsvc.cards import read_card
from explainsvc.engine import attribute
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import Builder
from explainsvc.graph.spatial import channel_axis, spatial_values
from explainsvc.method import Method, Request, Result
from explainsvc.methods._cam import to_input_size

STABILIZER = 1e-6
"""Added to the largest value that a map is divided by (the authors' eps)."""


@dataclass(frozen=True)
class Params:
    """None."""


def run(request: Request, p: Params) -> Result:
    """The map, and what the decomposition lacks of S."""
    values = attribute(_MAP, p, request).values
    return Result(values, residual=attribute(_DECOMPOSITION, p, request).residual)


def program(b: Builder, p: Params) -> Mapping[str, Term]:
    """Σ of the ψ of every term, over every wanted input."""
    layers = spatial_values(b.path())
    inner, gradients = _terms(b)
    maps = [rescaled(term) for value, term in inner if value in layers]
    if not maps:
        raise MethodNotApplicable(
            "fullgrad needs layers with positions and biases; there are none", where="model",
            expected="convolutions with biases between the input and the target", to_do="Use input_x_gradient or occlusion",
        )  # fmt: skip
    result = {}
    for name, gradient in gradients.items():
        x = b.wanted[name]
        ups = [to_input_size(b, b.emit.sum(m, [1]), x) for m in maps]  # channels are summed first: upsampling is linear
        own = b.emit.sum(rescaled(x * gradient), [channel_axis(x.value, b.path())])
        result[name] = sum(ups, b.emit.expand_like(own, x))
    return result


def rescaled(term: Term) -> Term:
    """ψ without the upsampling: (|t| − min) / (max − min) over every item."""
    emit, size, rank = term.emit, term.emit.op("Abs", term), term.rank or 1
    axes, shape = emit.ints(range(1, rank)), None if term.shape is None else (term.shape[0], *[1] * (rank - 1))
    low, high = (emit.op(reduce, size, axes, shape=shape, keepdims=1) for reduce in ("ReduceMin", "ReduceMax"))
    return (size - low) / (high - low + STABILIZER)


def decomposition(b: Builder, p: Params) -> Mapping[str, Term]:
    """x ⊙ ∂S/∂x, and on the first input Σ_l b_l ⊙ ∂S/∂z_l spread evenly: it sums to S where the decomposition is complete."""
    inner, gradients = _terms(b)
    terms = {name: b.wanted[name] * gradient for name, gradient in gradients.items()}
    first = next(iter(terms))
    share = sum((_spread(term, terms[first]) for _, term in inner), terms[first])
    return terms | {first: share}


def _spread(term: Term, like: Term) -> Term:
    """The sum of a term per item, the same part of it in every element of ``like``."""
    emit, rank = like.emit, like.rank or 1
    items = emit.op("Slice", emit.shape(like), emit.ints([0]), emit.ints([1]), dtype=ir.DataType.INT64)
    rows = emit.op("Concat", items, emit.ints([-1]), dtype=ir.DataType.INT64, axis=0)
    total = emit.op("ReduceSum", emit.op("Reshape", term, rows), emit.ints([1]), keepdims=1)
    count = emit.sum(emit.zeros_like(like) + 1, range(1, rank))
    return emit.reshape(total, [-1, *[1] * (rank - 1)]) / count


def _terms(b: Builder) -> tuple[list[tuple[ir.Value, Term]], dict[str, Term]]:
    """(z_l, b_l ⊙ ∂S/∂z_l) for every value that contains a bias, and ∂S/∂x for every wanted input, by one walk."""
    wanted, path = {name: x.value for name, x in b.wanted.items()}, b.path()
    reached = leading_to((n.node for n in path), wanted.values())
    found = {n.node.outputs[0]: bias for n in path if (bias := _bias(n, reached)) is not None}
    slopes = backward(b.emit, {b.target.value: b.seed}, [*wanted.values(), *found])
    terms = [(value, slopes[value] * bias) for value, bias in found.items() if value in slopes]
    return terms, {name: slopes[value] for name, value in wanted.items() if value in slopes}


def _bias(n: NodeView, reached: Container[ir.Value]) -> Term | None:
    """What a node adds that does not depend on the input, shaped to broadcast to its result; None where it adds nothing."""
    if n.op_type in ("Add", "Sub"):
        still = [i for i in (0, 1) if n.input(i).value not in reached]
        return None if not still else -n.input(1) if (n.op_type, still) == ("Sub", [1]) else n.input(still[0])
    if n.op_type == "BatchNormalization":
        scale, shift, mean, variance = (n.input(i) for i in range(1, 5))
        return _per_channel(shift - mean * scale / n.emit.op("Sqrt", variance + n.attr("epsilon", 1e-5)), n)
    if n.op_type not in ("Conv", "ConvTranspose", "Gemm") or not n.has(2):
        return None
    return n.input(2) * float(n.attr("beta", 1.0)) if n.op_type == "Gemm" else _per_channel(n.input(2), n)


def _per_channel(bias: Term, n: NodeView) -> Term:
    return n.emit.reshape(bias, [1, -1, *[1] * ((n.y.rank or 2) - 2)])


_CARD = read_card("fullgrad", __doc__, Params)
_MAP = Method(_CARD, Params, program=program, from_logit=True)
_DECOMPOSITION = Method(replace(_CARD, name="fullgrad_decomposition"), Params, program=decomposition, complete="output")
METHOD = Method(_CARD, Params, program=program, run=run, from_logit=True)
