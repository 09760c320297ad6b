"""What onnxruntime runs: the model as it is, or, where it cannot be run, the nearest form of it that can.

onnxruntime has dropped most forms before opset 7, and has next to no bfloat16 kernels on the CPU. Such models run in opset 7
and in float32; predictions are then those of that form, which is said.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import onnx
import onnx_ir as ir

from explainsvc.errors import ModelUnsupported
from explainsvc.graph.passes import read
from explainsvc.graph.passes.adapters import SETTLED, adapt_old_operators
from explainsvc.graph.passes.precision import upcast_half
from explainsvc.graph.passes.shapes import infer_shapes
from explainsvc.graph.passes.structure import simplify_structure
from explainsvc.runtime import Session, new_session

BFLOAT_UPCAST = "onnxruntime has no kernels for its bfloat16 operators: it is run and explained in float32"
OLD_FORMS = "onnxruntime no longer runs the forms of opset {}: it was rewritten to opset 7 before anything ran"


@dataclass(frozen=True)
class Runnable:
    """The model that stands for the loaded one, its session, and in words how it differs."""

    proto: onnx.ModelProto
    session: Session
    notes: tuple[str, ...] = ()
    narrow: frozenset[str] = frozenset()
    """Inputs that the model wants in bfloat16: these take float32, which numpy has, and round it."""


def runnable(proto: onnx.ModelProto) -> Runnable:
    """The model as onnxruntime runs it.

    Raises:
        ModelUnsupported: onnxruntime refuses it in every form, or numpy cannot hold its outputs.
    """
    _refuse_bfloat_outputs(proto)
    given = {tensor.name for tensor in proto.graph.initializer}
    narrow = frozenset(value.name for value in proto.graph.input if _is_bfloat(value) and value.name not in given)
    proto = _rounding(proto, narrow) if narrow else proto
    try:
        return Runnable(proto, new_session(proto.SerializeToString()), narrow=narrow)
    except ModelUnsupported:
        other = _other_form(proto)
        if other is None:
            raise
        return replace(other, narrow=narrow)


def _is_bfloat(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16)


def _refuse_bfloat_outputs(proto: onnx.ModelProto) -> None:
    for value in filter(_is_bfloat, proto.graph.output):
        raise ModelUnsupported(
            "the output is of type bfloat16, which numpy cannot hold", where=f'output "{value.name}"',
            expected="outputs of other types; bfloat16 inputs and bfloat16 inside the model are fine",
            to_do="Export it with a Cast to float32 at its outputs",
        )  # fmt: skip


def _rounding(proto: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """The model with inputs of float32, each of which is rounded to bfloat16 at once: numbers of bfloat16 stay as they are."""
    model = read(proto)
    for value in model.graph.inputs:
        if value.name in names:
            cast = ir.node("Cast", [value], {"to": int(ir.DataType.BFLOAT16)})
            rounded = cast.outputs[0]
            rounded.dtype, rounded.shape = ir.DataType.BFLOAT16, value.shape
            value.replace_all_uses_with(rounded)
            cast.replace_input_with(0, value)
            value.dtype = ir.DataType.FLOAT
            model.graph.insert_before(model.graph[0], cast)
    return ir.to_proto(model)


def _other_form(proto: onnx.ModelProto) -> Runnable | None:
    """Rewritten to opset 7 or to float32, where that is what was missing."""
    notes = []
    try:
        model = ir.from_proto(proto)
        version = model.graph.opset_imports.get("", SETTLED)
        simplify_structure(model)
        if version < SETTLED and adapt_old_operators(model):
            notes.append(OLD_FORMS.format(version))
        infer_shapes(model)
        if _has_bfloat(model) and upcast_half(model):
            notes.append(BFLOAT_UPCAST)
        changed = ir.to_proto(model)
        return Runnable(changed, new_session(changed.SerializeToString()), tuple(notes)) if notes else None
    except Exception:  # noqa: BLE001  (the refusal of the model as it was given says more)
        return None


def _has_bfloat(model: ir.Model) -> bool:
    values = [v for n in model.graph.all_nodes() for v in n.outputs] + list(model.graph.initializers.values())
    return any(v.dtype == ir.DataType.BFLOAT16 for v in values)
