"""Mean shift: a model that computes at x + m what the first one computes at x (Kindermans et al. 2017, arXiv:1711.00867)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.shapes import Array
from explainsvc.checks._derived import derived
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import find_value
from explainsvc.graph.passes.rewrite import Rewriter, constant_of
from explainsvc.model import Model


def shifted(
    model: Model, feeds: Mapping[str, Array], shifts: Mapping[str, Array | float], *, sub: bool = False
) -> tuple[Model, dict[str, Array]]:
    """The corrected model and the shifted inputs: f₂(x + m) = f(x), up to rounding.

    The bias of a dense layer or of an unpadded convolution that alone reads an input is corrected, b₂ = b − Wᵀm (section 2.1);
    else a Sub is put in front of all that reads it, which a padded convolution needs: its zeros lie outside the shifted data.

    Args:
        model: Not changed.
        feeds: Inputs.
        shifts: Input → m, a number or an array of the shape of one item (or of the input, with a leading 1).
        sub: Always by a Sub.

    Raises:
        MethodNotApplicable: A shifted input does not hold floats.
    """
    changed, moved = model.prepared.model.clone(), model.internal(feeds)
    write = Rewriter(changed.graph)
    for name, m in shifts.items():
        if moved[name].dtype.kind != "f":
            raise MethodNotApplicable("cannot be shifted", where=f'input "{name}"', expected="an input of float numbers")
        shift, x = np.asarray(m, moved[name].dtype), find_value(changed.graph, name)
        if sub or not _bias_corrected(x, shift, write):
            _subtracted(changed.graph, x, shift, write)
        moved[name] = moved[name] + shift
    return derived(model, changed), moved


def range_shifts(feeds: Mapping[str, Array], names: Sequence[str], amount: float) -> dict[str, float]:
    """m = ``amount`` times the range of the values of each input; ``amount`` itself where all values are equal."""
    ranges = {name: float(np.ptp(feeds[name].astype(np.float64))) for name in names}
    return {name: amount * (size if size > 0 else 1.0) for name, size in ranges.items()}


def _subtracted(graph: ir.Graph, x: ir.Value, shift: Array, write: Rewriter) -> None:
    """All that reads x, in branches and loops too, reads x − m, which comes before everything."""
    uses = list(x.uses())
    back = write.before(next(iter(graph)), "Sub", [x, write.constant(shift, f"{x.name}_shift")], dtype=x.dtype)
    back.shape = x.shape
    for use in uses:
        use.node.replace_input_with(use.idx, back)


def _bias_corrected(x: ir.Value, shift: Array, write: Rewriter) -> bool:
    """The bias of the only reader corrected by −Wᵀm; False where there is no such reader."""
    uses = list(x.uses())
    node = uses[0].node if len(uses) == 1 and uses[0].idx == 0 else None
    if node is None or node.domain != "" or len(node.inputs) < 3:
        return False
    weight, bias = (constant_of(value) for value in node.inputs[1:3])
    if weight is None or bias is None:
        return False
    taken = _dense(node, weight, shift) if node.op_type == "Gemm" else _convolved(node, weight, shift)
    if taken is None:
        return False
    corrected = write.constant((bias.astype(np.float64) - taken).astype(bias.dtype), f"{node.name}_bias")
    node.replace_input_with(2, corrected)
    return True


def _dense(node: ir.Node, weight: Array, shift: Array) -> Array | None:
    """α/β Wᵀm of a Gemm that reads the input as its rows."""
    alpha, beta = (node.attributes.get_float(name, 1.0) for name in ("alpha", "beta"))
    if node.attributes.get_int("transA", 0) or beta == 0:
        return None
    w = (weight.T if node.attributes.get_int("transB", 0) else weight).astype(np.float64)
    m = np.broadcast_to(shift, (1, len(w))).astype(np.float64)
    return np.asarray(alpha / beta * (m @ w)[0])


def _convolved(node: ir.Node, weight: Array, shift: Array) -> Array | None:
    """Σ W m of an unpadded convolution, for one number of m at most."""
    given = node.attributes
    padded = any(given.get_ints("pads", [])) or given.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    if node.op_type != "Conv" or padded or shift.size > 1 or given.get_int("group", 1) != 1:
        return None
    return np.asarray(weight.astype(np.float64).sum(axis=tuple(range(1, weight.ndim))) * float(shift.reshape(())))
