"""A model as a torch module that can be trained, held against onnxruntime before anybody gets it.

onnx2torch converts node by node; what it lacks is in :mod:`explainsvc.training.converters`. Learned tensors enter its graph as
inputs (:mod:`explainsvc.training.lowering`), and become parameters of the module afterwards: one for each initializer, in
ONNX's layout, so that trained numbers go back into the graph as they are.
"""

from __future__ import annotations

import onnx
import torch
from onnx import numpy_helper
from onnx2torch import convert
from onnx2torch.node_converters import get_converter
from onnx2torch.onnx_graph import OnnxGraph

from explainsvc.errors import NotTrainable
from explainsvc.model import Model
from explainsvc.training import converters as converters
from explainsvc.training.lowering import lower
from explainsvc.training.sources import Source, sources
from explainsvc.training.trainable import Trainable
from explainsvc.training.verification import blaming, short, verify

LEARNED = "learned"
"""The submodule that holds what training changes."""


def trainable(model: Model) -> Trainable:
    """The model as a torch module, in eval mode, whose outputs are onnxruntime's within 1e-4 of the largest on probe inputs.

    Models in half precision are trained in float32. What is converted is the graph of the file, brought to a current opset:
    its BatchNormalizations are trained as such, and a Dropout drops in train mode (:func:`explainsvc.training.sources.sources`).

    Args:
        model: Any model; not changed.

    Returns:
        A module of its own at each call.

    Raises:
        NotTrainable: Names the operator and node that cannot be converted, or the deviation that was measured, or says that
            nothing in the model learns. ``details`` has ``operator`` and ``node`` where one is to blame.
    """
    refusal: NotTrainable | None = None
    for source in sources(model):
        try:
            found = _converted(source)
            verify(found, model)
        except NotTrainable as error:
            refusal = refusal or error
        else:
            return found
    assert refusal is not None
    raise refusal


def _converted(source: Source) -> Trainable:
    lowered = lower(source.proto, [*source.learned, *source.measured])
    try:
        module = convert(lowered)
    except Exception as error:
        raise _unconverted(source.proto, lowered, error) from error
    graph = source.proto.graph
    inputs, outputs = tuple(v.name for v in graph.input), tuple(v.name for v in graph.output)
    tensors = _own(module, source, len(inputs))
    return Trainable(source.proto, module.eval(), inputs, outputs, tensors)


def _own(module: torch.fx.GraphModule, source: Source, inputs: int) -> dict[str, str]:
    """Gives the module the tensors that entered its graph as inputs; where each lies → its initializer."""
    arrays = {t.name: numpy_helper.to_array(t) for t in source.proto.graph.initializer}
    home, tensors = torch.nn.Module(), {}
    places = [node for node in module.graph.nodes if node.op == "placeholder"][inputs:]
    module.add_module(LEARNED, home)
    for k, (place, name) in enumerate(zip(places, (*source.learned, *source.measured), strict=True)):
        own, tensor = f"t{k}", torch.from_numpy(arrays[name].copy())
        if name in source.learned:
            home.register_parameter(own, torch.nn.Parameter(tensor))
        else:
            home.register_buffer(own, tensor)
        with module.graph.inserting_before(place):
            place.replace_all_uses_with(module.graph.get_attr(f"{LEARNED}.{own}"))
        module.graph.erase_node(place)
        tensors[f"{LEARNED}.{own}"] = name
    module.recompile()
    return tensors


def _unconverted(source: onnx.ModelProto, lowered: onnx.ModelProto, error: Exception) -> NotTrainable:
    """The first node that has no converter, or one that refuses its attributes; or else what the conversion said."""
    versions = {o.domain: o.version for o in lowered.opset_import}
    graph = OnnxGraph(lowered.graph)
    for own, node in zip(graph.nodes.values(), source.graph.node, strict=False):
        version = versions.get(own.domain, 1)
        try:
            converter = get_converter(own.operation_type, version, own.domain)
        except NotImplementedError:
            return blaming(node, f"there is no torch converter for it (opset {version})")
        try:
            converter(own, graph)
        except Exception as why:  # noqa: BLE001  (every converter of onnx2torch raises what it likes)
            return blaming(node, f"onnx2torch refuses it: {short(why)}")
    return NotTrainable(f"onnx2torch does not convert it: {short(error)}", expected="operators that torch has")
