"""Mean shift: a model that computes at x + m what the first one computes at x (Kindermans et al. 2017, section 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from explainsvc.autograd.shapes import Array
from explainsvc.checks import _surgery as surgery
from explainsvc.errors import MethodNotApplicable
from explainsvc.model import Model


def shifted(
    model: Model, feeds: Mapping[str, Array], shifts: Mapping[str, Array | float], *, sub: bool = False
) -> tuple[Model, dict[str, Array]]:
    """The corrected model and the shifted inputs: f₂(x + m) = f(x).

    The bias of a dense layer or of an unpadded convolution that alone reads an input is corrected, b₂ = b − Wᵀm (section 2.1);
    else a Sub is put behind the input, which a padded convolution needs: its zeros lie outside the shifted data.

    Args:
        model: Not changed.
        feeds: Inputs.
        shifts: Input → m, a number or an array of the shape of one item (or of the input, with a leading 1).
        sub: Always by a Sub.

    Raises:
        MethodNotApplicable: A shifted input does not hold floats.
    """
    proto = model.proto
    for name, m in shifts.items():
        if feeds[name].dtype.kind != "f":
            raise MethodNotApplicable("cannot be shifted", where=f'input "{name}"', expected="an input of float numbers")
        shift = np.asarray(m, feeds[name].dtype)
        corrected = None if sub else _bias_corrected(proto, name, shift, feeds[name])
        proto = _with_sub(proto, name, shift) if corrected is None else corrected
    moved = {name: (feeds[name] + np.asarray(m)).astype(feeds[name].dtype) for name, m in shifts.items()}
    return surgery.as_model(proto), {**feeds, **moved}


def range_shifts(feeds: Mapping[str, Array], names: Sequence[str], amount: float) -> dict[str, float]:
    """m = ``amount`` times the range of the values of each input; ``amount`` itself where all values are equal."""
    ranges = {name: float(np.ptp(feeds[name].astype(np.float64))) for name in names}
    return {name: amount * (size if size > 0 else 1.0) for name, size in ranges.items()}


def _with_sub(proto: onnx.ModelProto, name: str, shift: Array) -> onnx.ModelProto:
    def made(copy: onnx.ModelProto, x: str, result: str) -> list[onnx.NodeProto]:
        m = surgery.add_constant(copy, "shift", shift)
        return [helper.make_node("Sub", [x, m], [result], f"{surgery.TAG}unshift.{x}")]

    return surgery.before_inputs(proto, [name], made)


def _bias_corrected(proto: onnx.ModelProto, name: str, shift: Array, x: Array) -> onnx.ModelProto | None:
    """The bias of the only reader corrected by −Wᵀm; None where there is no such reader."""
    readers = [n for n in proto.graph.node if name in surgery.names_read(n)]
    known = surgery.constants(surgery.copy_of(proto))
    if len(readers) != 1 or len(readers[0].input) < 3 or any(i not in known for i in readers[0].input[1:3]):
        return None
    node, weight, bias = readers[0], known[readers[0].input[1]], known[readers[0].input[2]]
    taken = _dense(node, weight, shift, x) if surgery.is_op(node, "Gemm") else _convolved(node, weight, shift, x)
    if taken is None:
        return None

    def instead(copy: surgery.Copy, n: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        if n != node:
            return None
        other = onnx.NodeProto()
        other.CopyFrom(n)
        other.input[2] = copy.constant("bias", (bias.astype(np.float64) - taken).astype(bias.dtype))
        return [other]

    return surgery.replace_nodes(proto, instead)


def _dense(node: onnx.NodeProto, weight: Array, shift: Array, x: Array) -> Array | None:
    """α/β Wᵀm of a Gemm that reads the input as its rows."""
    given = surgery.attributes(node)
    if given.get("transA", 0) or given.get("beta", 1.0) == 0 or x.ndim != 2:
        return None
    w = (weight.T if given.get("transB", 0) else weight).astype(np.float64)
    m = np.broadcast_to(shift, (1, *x.shape[1:])).astype(np.float64)
    return np.asarray(given.get("alpha", 1.0) / given.get("beta", 1.0) * (m @ w)[0])


def _convolved(node: onnx.NodeProto, weight: Array, shift: Array, x: Array) -> Array | None:
    """Σ W m of an unpadded convolution, for one number of m per channel at most."""
    given = surgery.attributes(node)
    padded = any(given.get("pads", [])) or given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    if not surgery.is_op(node, "Conv") or padded or shift.size > 1 or given.get("group", 1) != 1:
        return None
    return np.asarray(weight.astype(np.float64).sum(axis=tuple(range(1, weight.ndim))) * float(shift.reshape(())))
