"""The prepared graph of a model in torch, node for node, for the second engine."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import onnx
import onnx2torch
import onnx_ir as ir
from onnx2torch.node_converters.registry import get_converter
from torch import fx

from explainsvc.errors import NotTrainable

if TYPE_CHECKING:
    from explainsvc.model import Model


@dataclass(frozen=True)
class Converted:
    """A graph in torch.

    Attributes:
        module: Called with the inputs in their order; every operator's module has an ``onnx_mapping``, the names of its values.
        inputs: Their names.
    """

    module: fx.GraphModule = field(repr=False)
    inputs: tuple[str, ...]


def converted(model: Model) -> Converted:
    """The prepared graph, in the mode of inference.

    Raises:
        NotTrainable: torch lacks an operator of it, or the converter fails.
    """
    proto = stamped(ir.to_proto(model.prepared.model))
    for number, node in enumerate(proto.graph.node):
        node.name = f"node_{number}"  # names become those of Python variables
    try:
        module = onnx2torch.convert(proto, attach_onnx_mapping=True)
    except Exception as error:  # the converters raise what Python and torch raise
        reason = " ".join(str(error).split())[:300]
        raise NotTrainable(
            f"onnx2torch does not convert it: {reason}", where="model", to_do="Explain it by onnxruntime alone"
        ) from error
    return Converted(module.eval(), tuple(i.name or "" for i in model.graph.inputs))


OLDEST, NEWEST = 13, 24


def stamped(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same nodes under the newest opset of which the converter knows every operator; itself where there is none.

    Most operators of a new opset take more types and compute the same, but the converter knows each version by its number. The
    checker refuses nodes that the other opset spells in another way; whether they compute the same, their user finds out.
    """
    for version in range(NEWEST, OLDEST - 1, -1):
        found = onnx.ModelProto.FromString(model.SerializeToString())
        for opset in found.opset_import:
            opset.version = version if opset.domain in ("", "ai.onnx") else opset.version
        del found.graph.value_info[:]
        if _known(found, version) and _valid(found):
            return found
    return model


def _known(model: onnx.ModelProto, version: int) -> bool:
    """Whether each operator has a converter."""
    for operator, domain in {(node.op_type, node.domain) for node in model.graph.node}:
        try:
            get_converter(operator, version if domain in ("", "ai.onnx") else 1, domain)
        except NotImplementedError:
            return False
    return True


def _valid(model: onnx.ModelProto) -> bool:
    with suppress(onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        onnx.checker.check_model(model, full_check=True)
        return True
    return False
