"""DeepLIFT at operators that are formulas of simpler ones: the formula is emitted, at x and at x′, and walked back by rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import takewhile

import onnx_ir as ir

from explainsvc.autograd import NodeView, Rule, Rulebook, Term
from explainsvc.autograd.backward import contributions, leading_to
from explainsvc.autograd.reference import Reference
from explainsvc.autograd.vjps.layernorm import SKIP_EPSILON
from explainsvc.autograd.vjps.norm import EPSILON, along_channels
from explainsvc.rules.deeplift import refusal

Definition = Callable[..., "Term | Sequence[Term | None]"]
"""``(n, *operands) -> the result``, or results, None for those that have no formula; omitted operands are None."""


def deeplift_definition(definition: Definition, reference: Reference, rulebook: Rulebook) -> Rule:
    """The multipliers of a node by its definition; ``rulebook`` knows the operators that it uses."""

    def rule(n: NodeView, *m: Term | None) -> list[Term | None]:
        emit, last = n.emit, next(reversed(n.emit.graph))
        # copies of the operands: one value may be several of them, and may be read elsewhere
        copies = {i: emit.op("Identity", t, shape=t.shape) for i, t in enumerate(n.inputs) if t is not None and reference.changes(t)}
        made = definition(n, *(copies.get(i, t) for i, t in enumerate(n.inputs)))
        written = list(takewhile(lambda node: node is not last, reversed(emit.graph)))[::-1]
        start = _seeds(n, [made] if isinstance(made, Term) else made, m)
        twins = {copy.value: reference.at(n.input(i)) for i, copy in copies.items()}
        inner = [node for node in written if node.outputs[0] not in twins]
        reference.mirror(inner, twins)
        asked = {copies[i].value: i for i in n.asked if i in copies}
        found = _walk(inner, start, list(asked), n, rulebook)
        back = {i: found[value] for value, i in asked.items() if value in found}
        return [back.get(i) for i in range(len(n.node.inputs))]

    return rule


def _seeds(n: NodeView, results: Sequence[Term | None], m: Sequence[Term | None]) -> dict[ir.Value, Term]:
    """Multipliers of the definition's results."""
    padded = [*results, *[None] * (len(m) - len(results))]
    if any(given is not None and result is None for given, result in zip(m, padded, strict=False)):
        raise refusal(n, "the statistics that are results of")
    return {r.value: given for r, given in zip(padded, m, strict=False) if r is not None and given is not None}


def _walk(
    nodes: Sequence[ir.Node], found: dict[ir.Value, Term], wanted: list[ir.Value], n: NodeView, rulebook: Rulebook
) -> dict[ir.Value, Term]:
    """From the results back to ``wanted``, through nodes that all have rules."""
    reached = leading_to(nodes, wanted)
    for node in reversed(nodes):
        for value, term in _sent(NodeView(node, n.emit, _asked(node, reached)), found, rulebook):
            found[value] = found[value] + term if value in found else term
    return found


def _asked(node: ir.Node, reached: set[ir.Value]) -> tuple[int, ...]:
    return tuple(i for i, v in enumerate(node.inputs) if v in reached)


def _sent(view: NodeView, found: Mapping[ir.Value, Term], rulebook: Rulebook) -> Iterator[tuple[ir.Value, Term]]:
    results = [found.get(v) for v in view.node.outputs]
    if view.asked and any(r is not None for r in results):
        yield from contributions(view, results, [], rulebook)


# Normalisations ----------------------------------------------------------------------------------------------------


def _centred(x: Term, axes: Sequence[int]) -> Term:
    return x - x.emit.mean(x, axes)


def _root(x: Term) -> Term:
    return x.emit.op("Sqrt", x, shape=x.shape)


def _standardised(x: Term, axes: Sequence[int], epsilon: float) -> Term:
    """(x − mean) / √(variance + ε)."""
    c = _centred(x, axes)
    return c / _root(x.emit.mean(c * c, axes) + epsilon)


def _by_mean_square(x: Term, axes: Sequence[int], epsilon: float) -> Term:
    """x / √(mean(x²) + ε)."""
    return x / _root(x.emit.mean(x * x, axes) + epsilon)


def _last_axes(n: NodeView) -> list[int]:
    axis = int(n.attr("axis", -1))
    if axis >= 0 and n.x.rank is None:
        raise refusal(n, "an operand of unknown rank in")
    return list(range(axis, 0)) if axis < 0 else list(range(axis, n.x.rank or 0))


def _layer_normalization(n: NodeView, x: Term, scale: Term, bias: Term | None = None) -> Term:
    y = _standardised(x, _last_axes(n), n.attr("epsilon", EPSILON)) * scale
    return y if bias is None else y + bias


def _rms_normalization(n: NodeView, x: Term, scale: Term) -> Term:
    return _by_mean_square(x, _last_axes(n), n.attr("epsilon", EPSILON)) * scale


def _skip_layer(n: NodeView, x: Term, skip: Term, scale: Term, *biases: Term | None) -> list[Term | None]:
    """onnxruntime's fusion: the sum of the operands (and a bias) is normalised, and is the fourth result."""
    beta, bias = (*biases, None, None)[:2]
    total = x + skip if bias is None else x + skip + bias
    y = _standardised(total, [-1], n.attr("epsilon", SKIP_EPSILON)) * scale
    return [y if beta is None else y + beta, None, None, total]


def _skip_rms(n: NodeView, x: Term, skip: Term, scale: Term, bias: Term | None = None) -> list[Term | None]:
    total = x + skip if bias is None else x + skip + bias
    return [_by_mean_square(total, [-1], n.attr("epsilon", SKIP_EPSILON)) * scale, None, None, total]


def _group_normalization(n: NodeView, x: Term, scale: Term, bias: Term) -> Term:
    """Rows of one group (InstanceNormalization: one channel) of one item; scale and shift per channel."""
    groups = 0 if n.op_type == "InstanceNormalization" else int(n.attr("num_groups"))
    rows = x.emit.op("Reshape", x, x.emit.ints([0, groups, -1]), shape=(None, None, None))
    y = x.emit.reshape_like(_standardised(rows, [2], n.attr("epsilon", EPSILON)), n.x)
    return y * along_channels(n.x, scale) + along_channels(n.x, bias)


def _mean_variance(n: NodeView, x: Term) -> Term:
    """Its ε of 1e-9 is added to the deviation, not to the variance."""
    axes = list(n.attr("axes", (0, 2, 3)))
    c = _centred(x, axes)
    return c / (_root(x.emit.mean(c * c, axes)) + 1e-9)


def _local_response(n: NodeView, x: Term) -> Term:
    """x / (b + α/size Σ x²)^β over ``size`` neighbouring channels."""
    size = int(n.attr("size"))
    image = x.emit.op("Unsqueeze", x.emit.op("Reshape", x * x, x.emit.ints([0, 0, -1])), x.emit.ints([1]))
    window = {"kernel_shape": [size, 1], "pads": [(size - 1) // 2, 0, size // 2, 0], "count_include_pad": 1}
    mean = x.emit.reshape_like(x.emit.op("AveragePool", image, **window), n.x)
    return x / (float(n.attr("bias", 1.0)) + float(n.attr("alpha", 1e-4)) * mean) ** float(n.attr("beta", 0.75))


def _unit(n: NodeView, x: Term) -> Term:
    """x / ‖x‖, 0 where the norm is."""
    axes = [n.attr("axis", -1)]
    norm = _root(x.emit.sum(x * x, axes)) if n.attr("p", 2) == 2 else x.emit.sum(x.emit.op("Abs", x), axes)
    return x / x.emit.op("Max", norm, 1e-30)


# Reductions --------------------------------------------------------------------------------------------------------


def _reduced(op_type: str, n: NodeView, x: Term, axes: Term | None) -> Term:
    """The same reduction, of another kind, of another term."""
    kept = {k: n.attr(k) for k in ("keepdims", "noop_with_empty_axes")}
    return x.emit.op(op_type, x, axes, shape=n.y.shape, **kept)


def _l1(n: NodeView, x: Term, axes: Term | None = None) -> Term:
    return _reduced("ReduceSum", n, x.emit.op("Abs", x), axes)


def _l2(n: NodeView, x: Term, axes: Term | None = None) -> Term:
    return _root(_reduced("ReduceSum", n, x * x, axes))


def _sum_square(n: NodeView, x: Term, axes: Term | None = None) -> Term:
    return _reduced("ReduceSum", n, x * x, axes)


def _log_sum(n: NodeView, x: Term, axes: Term | None = None) -> Term:
    return x.emit.op("Log", _reduced("ReduceSum", n, x, axes))


def _global_max(n: NodeView, x: Term) -> Term:
    rows = x.emit.op("Reshape", x, x.emit.ints([0, 0, -1]), shape=(None, None, None))
    return x.emit.reshape_like(x.emit.op("ReduceMax", rows, x.emit.ints([2]), keepdims=1, shape=(None, None, 1)), n.y)


@cache
def definitions() -> dict[tuple[str, str], Definition]:
    """(domain, operator) → its definition."""
    own: dict[str, Definition] = {
        "LayerNormalization": _layer_normalization,
        "RMSNormalization": _rms_normalization,
        "SimplifiedLayerNormalization": _rms_normalization,
        "GroupNormalization": _group_normalization,
        "InstanceNormalization": _group_normalization,
        "MeanVarianceNormalization": _mean_variance,
        "LRN": _local_response,
        "LpNormalization": _unit,
        "ReduceL1": _l1,
        "ReduceL2": _l2,
        "ReduceSumSquare": _sum_square,
        "ReduceLogSum": _log_sum,
        "GlobalMaxPool": _global_max,
    }
    fused = {"SkipLayerNormalization": _skip_layer, "SkipSimplifiedLayerNormalization": _skip_rms}
    return {("", name): d for name, d in own.items()} | {("com.microsoft", name): d for name, d in fused.items()}
