"""Columns: which element of the model's inputs each column of an inner value is computed from, where it is one element."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.shapes import Array
from explainsvc.errors import MethodNotApplicable

NOBODY = -1
"""The origin of constants."""
ELEMENTWISE = frozenset(
    "Identity Cast CastLike Scaler Imputer Binarizer LabelEncoder CategoryMapper Dropout Neg Abs Log Exp Sqrt Floor Ceil Round "
    "Relu Sigmoid Tanh Sign Reciprocal Not IsNaN IsInf Clip Add Sub Mul Div Pow Mod Min Max Where Equal Less LessOrEqual Greater "
    "GreaterOrEqual And Or Xor Sum Erf Softplus".split()
)
"""Each element of the result comes from the elements of the operands in its place."""


def origins(value: ir.Value, inputs: Mapping[str, Array]) -> Array:
    """The origin of every element of ``value`` for one item.

    Args:
        value: An inner value.
        inputs: Input → number of each of its elements for one item [1, ...].

    Returns:
        int64 of the value's shape for one item [1, ...]: a number from ``inputs``, or NOBODY.

    Raises:
        MethodNotApplicable: An operator on the way mixes elements, or is not known not to.
    """
    if value.const_value is not None:
        return np.full(value.const_value.numpy().shape, NOBODY)
    if value.is_graph_input() and value.name is not None:
        return inputs[value.name]
    node = value.producer()
    if node is None:
        raise MethodNotApplicable(f'nothing is known of "{value.name}"')
    if node.op_type in ELEMENTWISE:
        return _together(node, [origins(v, inputs) for v in node.inputs if v is not None])
    if node.op_type not in MOVES:
        raise mixing(node)
    try:
        return MOVES[node.op_type](node, value, inputs)
    except (ValueError, IndexError, AttributeError, TypeError) as error:  # an operand that is no constant, a shape of many items
        raise mixing(node) from error


def mixing(node: ir.Node) -> MethodNotApplicable:
    """The refusal of an operator between the inputs and the trees."""
    return MethodNotApplicable(
        "each column of the trees' input must come from one element of an input",
        where=f'node "{node.name or node.outputs[0].name}" ({node.op_type})',
        expected="operators that work on single elements or move them: Cast, Scaler, Imputer, OneHotEncoder, Concat, Reshape, …",
        to_do="Use kernel_shap or sampling_shap, which need nothing of the model",
    )


def _together(node: ir.Node, operands: list[Array]) -> Array:
    """Operands broadcast: constants count for nobody, two elements in one place are one too many."""
    result = operands[0]
    for other in operands[1:]:
        if node.op_type in ("Scaler", "Imputer", "Clip"):
            break
        here, there = np.broadcast_arrays(result, other)
        if np.any((here != there) & (here != NOBODY) & (there != NOBODY)):
            raise mixing(node)
        result = np.where(here == NOBODY, there, here)
    return result


def _constant(node: ir.Node, index: int) -> Array:
    value = node.inputs[index]
    assert value is not None
    if value.const_value is None:
        raise mixing(node)
    return np.asarray(value.const_value.numpy())


def _first(node: ir.Node, inputs: Mapping[str, Array]) -> Array:
    value = node.inputs[0]
    assert value is not None
    return origins(value, inputs)


def _reshape(node: ir.Node, _: ir.Value, inputs: Mapping[str, Array]) -> Array:
    x, shape = _first(node, inputs), _constant(node, 1).tolist()
    return x.reshape([x.shape[k] if n == 0 else n for k, n in enumerate(shape)])


def _flatten(node: ir.Node, _: ir.Value, inputs: Mapping[str, Array]) -> Array:
    x, axis = _first(node, inputs), _int(node, "axis", 1)
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


def _squeeze(node: ir.Node, _: ir.Value, inputs: Mapping[str, Array]) -> Array:
    return np.squeeze(_first(node, inputs), tuple(_constant(node, 1).tolist()))


def _unsqueeze(node: ir.Node, _: ir.Value, inputs: Mapping[str, Array]) -> Array:
    return np.expand_dims(_first(node, inputs), tuple(_constant(node, 1).tolist()))


def _transpose(node: ir.Node, _: ir.Value, inputs: Mapping[str, Array]) -> Array:
    perm = node.attributes.get("perm")
    return np.transpose(_first(node, inputs), None if perm is None else list(perm.as_ints()))


def _concat(node: ir.Node, _: ir.Value, inputs: Mapping[str, Array]) -> Array:
    parts = [origins(v, inputs) for v in node.inputs if v is not None]
    return np.concatenate(parts, axis=_int(node, "axis", 1))


def _gather(node: ir.Node, _: ir.Value, inputs: Mapping[str, Array]) -> Array:
    return np.take(_first(node, inputs), _constant(node, 1), axis=_int(node, "axis", 0))


def _extracted(node: ir.Node, _: ir.Value, inputs: Mapping[str, Array]) -> Array:
    return np.take(_first(node, inputs), _constant(node, 1).reshape(-1), axis=-1)


def _slice(node: ir.Node, _: ir.Value, inputs: Mapping[str, Array]) -> Array:
    x, starts, ends = _first(node, inputs), _constant(node, 1).tolist(), _constant(node, 2).tolist()
    axes = _constant(node, 3).tolist() if len(node.inputs) > 3 and node.inputs[3] is not None else range(len(starts))
    steps = _constant(node, 4).tolist() if len(node.inputs) > 4 else [1] * len(starts)
    cut = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 0:
            raise mixing(node)
        cut[axis] = slice(start, end, step)
    return np.asarray(x[tuple(cut)])


def _split(node: ir.Node, value: ir.Value, inputs: Mapping[str, Array]) -> Array:
    x, axis = _first(node, inputs), _int(node, "axis", 0)
    sizes = _constant(node, 1) if len(node.inputs) > 1 else np.full(len(node.outputs), x.shape[axis] // len(node.outputs))
    return np.split(x, np.cumsum(sizes)[:-1], axis=axis)[node.outputs.index(value)]


def _one_hot(node: ir.Node, _: ir.Value, inputs: Mapping[str, Array]) -> Array:
    kinds = [node.attributes[name].value for name in ("cats_int64s", "cats_strings") if name in node.attributes]
    x = _first(node, inputs)
    return np.repeat(x[..., None], max(len(k) for k in kinds), axis=-1)


def _int(node: ir.Node, name: str, default: int) -> int:
    return node.attributes[name].as_int() if name in node.attributes else default


MOVES: dict[str, Callable[[ir.Node, ir.Value, Mapping[str, Array]], Array]] = {
    "Reshape": _reshape, "Flatten": _flatten, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Transpose": _transpose,
    "Concat": _concat, "FeatureVectorizer": _concat, "Gather": _gather, "ArrayFeatureExtractor": _extracted, "Slice": _slice,
    "Split": _split, "OneHotEncoder": _one_hot,
}  # fmt: skip
