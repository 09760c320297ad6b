"""The prepared graph of a model in torch, node for node, for the second engine."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
from onnx2torch import convert
from torch import fx

from explainsvc.errors import NotTrainable
from explainsvc.training import converters as converters
from explainsvc.training.lowering import lower
from explainsvc.training.verification import short

if TYPE_CHECKING:
    from explainsvc.model import Model


@dataclass(frozen=True)
class Converted:
    """A graph in torch.

    Attributes:
        module: Called with the inputs in their order; every operator's module has an ``onnx_mapping``, the names of its values
            as they were lowered.
        inputs: Their names.
        names: Lowered name of a node's result → its name in the graph.
    """

    module: fx.GraphModule = field(repr=False)
    inputs: tuple[str, ...]
    names: Mapping[str, str] = field(repr=False)


def converted(model: Model) -> Converted:
    """The prepared graph, in the mode of inference.

    Raises:
        NotTrainable: torch lacks an operator of it, or the converter fails.
    """
    source = ir.to_proto(model.prepared.model)
    lowered = lower(source, ())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx2torch's doubts about Resize: outputs are compared by who asks
        try:
            module = convert(lowered, attach_onnx_mapping=True)
        except Exception as error:  # the converters raise what Python and torch raise
            raise NotTrainable(
                f"onnx2torch does not convert it: {short(error)}", where="model", to_do="Explain it by onnxruntime alone"
            ) from error
    return Converted(module.eval(), tuple(i.name or "" for i in model.graph.inputs), _names(lowered, source))


def _names(lowered: onnx.ModelProto, source: onnx.ModelProto) -> dict[str, str]:
    """Nodes stand in the order of the source's; a result that nothing reads may be missing at the end."""
    pairs = zip(lowered.graph.node, source.graph.node, strict=False)
    return {own: name for ours, theirs in pairs for own, name in zip(ours.output, theirs.output, strict=False) if name}
