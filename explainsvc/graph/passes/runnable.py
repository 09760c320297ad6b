"""What onnxruntime runs: the model as it is, or, where it cannot be run, the nearest form of it that can.

onnxruntime has dropped most forms before opset 7, and has next to no bfloat16 kernels on the CPU. Such models run in opset 7
and in float32; predictions are then those of that form, which is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import onnx_ir as ir

from explainsvc.errors import ModelUnsupported
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


def runnable(proto: onnx.ModelProto) -> Runnable:
    """The model as onnxruntime runs it.

    Raises:
        ModelUnsupported: onnxruntime refuses it in every form, or numpy cannot hold its inputs or outputs.
    """
    _refuse_bfloat_ends(proto)
    try:
        return Runnable(proto, new_session(proto.SerializeToString()))
    except ModelUnsupported:
        other = _other_form(proto)
        if other is None:
            raise
        return other


def _refuse_bfloat_ends(proto: onnx.ModelProto) -> None:
    ends = [*(("input", v) for v in proto.graph.input), *(("output", v) for v in proto.graph.output)]
    for kind, value in ends:
        if value.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16:
            raise ModelUnsupported(
                f"the {kind} is of type bfloat16, which numpy cannot hold", where=f'{kind} "{value.name}"',
                expected="inputs and outputs of other types; bfloat16 inside the model is fine",
                to_do="Export it with a Cast from and to float32 at its inputs and outputs",
            )  # fmt: skip


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
