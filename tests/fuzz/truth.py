"""The independent truth: the graph in double precision, node by node, and differences of it.

A node runs in onnxruntime where that has a double kernel, else in onnx's reference evaluator. Both are held against what
onnxruntime computes in float32: where they disagree one of the two is wrong, and no difference can be the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.fuzz.formulas import BY_HAND
from tests.fuzz.graphs import Drawn, reads_of
from tests.fuzz.sketch import new_session, one_node

Values = dict[str, Any]
STEP = 2e-4
SMOOTH = 1e-5
"""Two estimates that differ by more, relative to the largest derivative: there is a corner or a jump within the step."""


RECURRENT = frozenset({"LSTM", "GRU", "RNN"})


class NoTruth(Exception):
    """No evaluator computes this node in double as onnxruntime computes it in single precision."""


class Kinked(Exception):
    """The function is not smooth around the point."""


@dataclass(frozen=True)
class Step:
    """One node in double precision."""

    node: onnx.NodeProto
    run: Callable[[Values], list[Any]]
    reads: tuple[str, ...]


def in_double(proto: onnx.ModelProto, kept: frozenset[str] = frozenset()) -> onnx.ModelProto:
    """The same model with float64 wherever it has float32, but for the ``kept`` constants."""
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    _widen(model.graph, kept)
    return model


def in_single(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A model of one node with float32 inputs and constants."""
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    for value in model.graph.input:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.DOUBLE:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    return model


def _widen(graph: onnx.GraphProto, kept: frozenset[str]) -> None:
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in graph.initializer:
        _widen_tensor(tensor, kept)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _widen(attribute.g, kept)
            elif attribute.HasField("t"):
                _widen_tensor(attribute.t, kept)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
        if node.op_type == "ConstantOfShape" and not node.attribute:
            zero = numpy_helper.from_array(np.zeros(1))
            node.attribute.append(onnx.helper.make_attribute("value", zero))


def _widen_tensor(tensor: onnx.TensorProto, kept: frozenset[str]) -> None:
    if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))


def steps_of(drawn: Drawn) -> tuple[list[Step], Values]:
    """The nodes in double, and the value of everything at the point.

    Raises:
        NoTruth: Names the operator.
    """
    model = in_double(drawn.proto, drawn.kept)
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    constants = dict(values)
    values |= {n: a.astype(np.float64) for n, a in drawn.feeds.items()}
    steps = []
    for node in model.graph.node:
        step = _step(node, values, constants, drawn)
        results = step.run(values)
        values |= dict(zip([n for n in node.output if n], results, strict=True))
        steps.append(step)
    return steps, values


def _step(node: onnx.NodeProto, values: Values, constants: Values, drawn: Drawn) -> Step:
    reads = tuple(dict.fromkeys(n for n in reads_of(node) if n in values))
    model = one_node(node, {n: values[n] for n in reads}, constants, drawn.proto.opset_import[0].version)
    fed = [n for n in reads if n not in constants]
    names = [n for n in node.output if n]
    found = []
    for evaluator in (_by_hand, _by_onnxruntime, _by_reference, _by_matrix):
        try:
            run = evaluator(model, fed, names)
            results = run(values)
        except Exception as error:  # noqa: BLE001  (no such kernel, or a reference that fails: the other one may do)
            found.append(f"{evaluator.__name__}: {str(error)[:200]}")
            continue
        wrong = [n for n, a in zip(names, results, strict=True) if not _same(drawn.values[n], a)]
        if not wrong:
            return Step(node, run, reads)
        found.append(f"{evaluator.__name__} differs in {wrong}")
    raise NoTruth(f"{node.op_type}: {'; '.join(found)}")


def _same(single: Any, double: Any) -> bool:
    if single.shape != double.shape or (single.dtype.kind == "f") != (double.dtype.kind == "f"):
        return False
    scale = max(1.0, float(np.abs(single).max())) if single.dtype.kind == "f" else 0.0
    return bool(np.abs(single.astype(np.float64) - double).max() <= 1e-4 * scale)


def _by_hand(model: onnx.ModelProto, fed: list[str], names: list[str]) -> Callable[[Values], list[Any]]:
    node = model.graph.node[0]
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    formula = BY_HAND[f"{node.domain}::{node.op_type}" if node.domain else node.op_type]
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    given |= {"wanted": [bool(n) for n in node.output]} if node.op_type in RECURRENT else {}

    def run(values: Values) -> list[Any]:
        found = formula(*((constants | values)[n] if n else None for n in node.input), **given)
        results = found if isinstance(found, list) else [found]
        return [np.asarray(a) for a, n in zip(results, node.output, strict=False) if n]

    return run


def _by_onnxruntime(model: onnx.ModelProto, fed: list[str], names: list[str]) -> Callable[[Values], list[Any]]:
    session = new_session(model)
    return lambda values: [np.asarray(a) for a in session.run(names, {n: values[n] for n in fed})]


def _by_reference(model: onnx.ModelProto, fed: list[str], names: list[str]) -> Callable[[Values], list[Any]]:
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    for attribute in renamed.graph.node[0].attribute:  # the reference knows the modes of GridSample by their later names only
        attribute.s = {b"bilinear": b"linear", b"bicubic": b"cubic"}.get(attribute.s, attribute.s)
    evaluator = ReferenceEvaluator(renamed)
    return lambda values: [np.asarray(a) for a in evaluator.run(names, {n: values[n] for n in fed})]


LINEAR = frozenset({"Resize", "AveragePool"})
"""Linear in their first operand, without a double kernel in onnxruntime, and in some forms another operator in onnx."""


def _by_matrix(model: onnx.ModelProto, fed: list[str], names: list[str]) -> Callable[[Values], list[Any]]:
    """The matrix of a linear operator: what onnxruntime's float32 kernel makes of one 1 among zeros."""
    node = model.graph.node[0]
    if node.op_type not in LINEAR or fed != [node.input[0]]:
        raise ValueError("not linear")
    session = new_session(in_single(model))
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    ones = np.eye(int(np.prod(shape)), dtype=np.float32).reshape(-1, *shape)
    results = [session.run(names, {fed[0]: one})[0] for one in ones]
    matrix = np.stack([r.ravel() for r in results]).astype(np.float64)
    return lambda values: [(values[fed[0]].ravel() @ matrix).reshape(results[0].shape)]


def forward(steps: list[Step], values: Mapping[str, Any], moved: Mapping[str, Any]) -> Values:
    """Everything again that depends on the moved values."""
    found, changed = dict(values) | dict(moved), set(moved)
    for step in steps:
        if changed.intersection(step.reads):
            names = [n for n in step.node.output if n]
            found |= dict(zip(names, step.run(found), strict=True))
            changed.update(names)
    return found


def differences(steps: list[Step], values: Values, name: str, target: str, seed: Any) -> Any:
    """∂⟨seed, target⟩/∂input by central differences, extrapolated from two steps (Richardson), element by element.

    Raises:
        Kinked: The steps disagree, on the slope or on how the two one-sided slopes differ.
    """

    def at(index: tuple[int, ...], step: float) -> float:
        moved = values[name].copy()
        moved[index] += step
        return float((forward(steps, values, {name: moved})[target] * seed).sum())

    middle = float((values[target] * seed).sum())
    slopes, bends = np.zeros((2, *values[name].shape)), np.zeros((2, *values[name].shape))
    for index in np.ndindex(values[name].shape):
        for row, step in enumerate((STEP, STEP / 2)):
            above, below = at(index, step), at(index, -step)
            slopes[(row, *index)] = (above - below) / (2 * step)
            bends[(row, *index)] = (above - 2 * middle + below) / step
    scale = max(1.0, float(np.abs(slopes).max()))
    if np.abs(slopes[0] - slopes[1]).max() > SMOOTH * scale or np.abs(bends[0] - 2 * bends[1]).max() > SMOOTH * scale:
        raise Kinked(name)
    return (4 * slopes[1] - slopes[0]) / 3
