"""From which graph a model is converted, and what in it is learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from explainsvc.autograd.backward import FLOATS
from explainsvc.errors import NotTrainable
from explainsvc.graph.later import simplified_to_rms
from explainsvc.graph.layers import LAYERS, parameter_units
from explainsvc.graph.limits import all_nodes
from explainsvc.graph.passes import Pass, quiet, read
from explainsvc.graph.passes.adapters import adapt_old_operators
from explainsvc.graph.passes.constants import fold_constants, fold_shapes
from explainsvc.graph.passes.expand import expand_functions
from explainsvc.graph.passes.opset import convert_opset
from explainsvc.graph.passes.precision import upcast_half
from explainsvc.graph.passes.sequences import resolve_sequences
from explainsvc.graph.passes.structure import simplify_structure
from explainsvc.graph.passes.zipmap import tensor_outputs
from explainsvc.model import Model

_FORM: tuple[Pass, ...] = (
    simplify_structure, upcast_half, adapt_old_operators, convert_opset, simplified_to_rms, resolve_sequences, expand_functions,
)  # fmt: skip
"""What changes the form of a graph and no layer in it: a BatchNormalization or a Dropout that is there stays, to be trained."""
_FOLDED: tuple[Pass, ...] = (*_FORM, fold_constants, fold_shapes)
"""Also computes what is constant: some converters take pads, axes and sizes only as constants."""
_INTEGER = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"})
_TREES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble")
_BRANCHING = frozenset({"If", "Loop", "Scan"})
_HOLDING = frozenset({"LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor", *_TREES})
_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_POINTWISE = frozenset({"Add", "Mul"})
_MEASURED = frozenset({"mean", "var"})


@dataclass(frozen=True)
class Source:
    """A graph with the model's inputs and outputs, the initializers that training changes, and those that it only measures."""

    proto: onnx.ModelProto
    learned: tuple[str, ...]
    measured: tuple[str, ...]


def sources(model: Model) -> Iterator[Source]:
    """The graphs to try, the one nearest to the file first: the source, the source with its constants folded, the prepared one.

    The prepared graph would do for most models, but its BatchNormalizations are folded into the layers before them, and it
    has weights that the file lacks. It comes last, for operators that only its passes replace by others.

    Raises:
        NotTrainable: Its weights are integers, or none of its operators has float weights that a gradient could change.
    """
    _refuse_integers(model.proto)
    refusal, some = None, False
    for form in (_FORM, _FOLDED, None):
        graph = model.prepared.model if form is None else _formed(model.proto, form)
        try:
            source = _source(graph)
        except NotTrainable as error:
            refusal = refusal or error
        else:
            some = True
            yield source
    if refusal is not None and not some:
        raise refusal


def _formed(proto: onnx.ModelProto, form: Sequence[Callable[[ir.Model], bool]]) -> ir.Model:
    """The graph after these passes; one that fails leaves it as it was, and what comes of it is verified as a whole."""
    model = read(tensor_outputs(proto)[0])
    with quiet():
        for change in form:
            changed = model.clone()
            try:
                change(changed)
            except Exception:  # noqa: BLE001, S112  (a third-party rewrite that fails leaves the model as it was)
                continue
            model = changed
    return model


def _source(model: ir.Model) -> Source:
    roles = {p.name: p.role for unit in parameter_units(model.graph) for p in unit.tensors}
    more = {name for node in model.graph for name in (*_single_bias(node), *_made_into_weights(node))}
    proto = ir.to_proto(model)
    names = [t.name for t in proto.graph.initializer if t.name in roles or t.name in more]
    learned = tuple(name for name in names if roles.get(name) not in _MEASURED)
    if not learned:
        raise _nothing_learns(proto)
    return Source(proto, learned, tuple(name for name in names if roles.get(name) in _MEASURED))


def _single_bias(node: ir.Node) -> Iterator[str]:
    """The bias of a layer with one output, where it is an Add of its own: a unit's constants of one element are formulas'."""
    if node.op_type == "Add" and node.domain == "":
        for layer, bias in (node.inputs, tuple(reversed(node.inputs))):
            made, tensor = (None, None) if layer is None or bias is None else (layer.producer(), bias.const_value)
            alone = tensor is not None and tensor.size == 1 and len(tensor.shape) > 0 and tensor.dtype in FLOATS
            if made is not None and made.op_type in _LAYERS and alone and bias is not None and bias.is_initializer():
                yield bias.name or ""


def _made_into_weights(node: ir.Node) -> Iterator[str]:
    """What a layer's weight is computed from, where that is initializers only: gates in another order, a weight norm."""
    operands = LAYERS[node.op_type][0] if node.op_type in LAYERS.keys() - _POINTWISE and node.domain == "" else {}
    for value in (node.inputs[k] for k in operands if k < len(node.inputs)):
        origins = _origins(value)
        if all(origin.is_initializer() for origin in origins):
            tensors = [(v.name or "", v.const_value) for v in origins]
            yield from (name for name, t in tensors if t is not None and t.dtype in FLOATS and t.size > 1)


def _origins(value: ir.Value | None) -> list[ir.Value]:
    """The inputs and initializers that a value is computed from."""
    found: dict[ir.Value, None] = {}
    waiting = [] if value is None else [value]
    while waiting:
        value = waiting.pop()
        if value not in found:
            found[value] = None
            maker = value.producer()
            waiting += [] if maker is None else [v for v in maker.inputs if v is not None]
    return [v for v in found if v.producer() is None]


def _nothing_learns(proto: onnx.ModelProto) -> NotTrainable:
    kinds = sorted({n.op_type for n in proto.graph.node})
    holding = [n.op_type for n in proto.graph.node if n.op_type in _HOLDING or n.op_type in _BRANCHING]
    why = f"what {holding[0]} has learned is no initializer" if holding else "none of its operators has float weights"
    return NotTrainable(
        f"nothing in it learns: {why}", expected="layers such as Conv, Gemm, MatMul or LSTM with float weights",
        to_do="Take checks that need no training", details={"operator": holding[0] if holding else " ".join(kinds)},
    )  # fmt: skip


def _refuse_integers(proto: onnx.ModelProto) -> None:
    for node in all_nodes([*proto.graph.node, *(n for f in proto.functions for n in f.node)]):
        if node.op_type in _INTEGER or node.op_type.startswith("QLinear"):
            raise NotTrainable(
                "its weights are integers, which no gradient changes", where=f'node "{node.name}" ({node.op_type})',
                expected="float weights", to_do="Train the model that it was quantised from",
                details={"operator": node.op_type, "node": node.name},
            )  # fmt: skip
