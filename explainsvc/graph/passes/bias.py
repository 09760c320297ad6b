"""A bias written as an Add of its own behind a convolution or a Gemm becomes the layer's bias, as relevance rules see it.

Rules tell a layer's bias from the operands of a sum: written as two nodes, the same layer would get another map.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from explainsvc.autograd.shapes import Array
from explainsvc.graph.passes.rewrite import Rewriter, constant_of, maker

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm"})


def fold_bias(model: ir.Model) -> bool:
    """Folds Add(layer, c), c one constant per channel, in place; True when there was one."""
    write, found = Rewriter(model.graph), False
    for graph in (model.graph, *model.graph.subgraphs()):
        for node in [n for n in graph if n.op_type == "Add" and n.domain == ""]:
            found |= any(_fold(node, node.inputs[i], node.inputs[1 - i], write) for i in (0, 1))
    if found:
        common.RemoveUnusedNodesPass()(model)
    return found


def _fold(add: ir.Node, product: ir.Value | None, constant: ir.Value | None, write: Rewriter) -> bool:
    """One sum; False where it is none of a layer that nothing else reads and one constant per channel."""
    layer, numbers = maker(product), constant_of(constant)
    if layer is None or constant is None or numbers is None or not _ends_in(layer, add):
        return False
    own = layer.inputs[2] if len(layer.inputs) > 2 else None
    if not _per_channel(numbers, layer) or not (own is None or _is_row(constant_of(own))):
        return False
    bias = write.reshaped(constant, (numbers.size,), {add}) if own is None else _added(own, numbers, layer, write)
    kept = {name: attribute for name, attribute in layer.attributes.items() if name != "beta"}
    result = write.before(add, layer.op_type, [*layer.inputs[:2], bias], kept, add.outputs[0].dtype, name=layer.name or "")
    made = maker(result)
    assert made is not None
    made.metadata_props.update(layer.metadata_props)
    write.replace(add, result)
    return True


def _ends_in(layer: ir.Node, add: ir.Node) -> bool:
    """Whether the layer's bare result is read by this sum alone, and nobody sees it."""
    result = layer.outputs[0]
    alone = [use.node for use in result.uses()] == [add] and not result.is_graph_output()
    return layer.op_type in _LAYERS and layer.domain == "" and layer.graph is add.graph and alone


def _per_channel(numbers: Array, layer: ir.Node) -> bool:
    """Whether they stand along the axis of the layer's channels, one each; a scalar is no learned bias."""
    weight = constant_of(layer.inputs[1])
    if weight is None:
        return False
    if layer.op_type == "Gemm":
        along: tuple[int, ...] = (weight.shape[0 if layer.attributes.get_int("transB", 0) else 1],)
    else:
        transposed = layer.op_type == "ConvTranspose"
        channels = weight.shape[1] * layer.attributes.get_int("group", 1) if transposed else weight.shape[0]
        along = (channels, *[1] * (weight.ndim - 2))
    return numbers.shape in (along, (1, *along))


def _is_row(bias: Array | None) -> bool:
    """Whether a layer's bias is a constant that is the same for all items; that of a Gemm need not be."""
    return bias is not None and bias.size == (bias.shape[-1] if bias.ndim else 1)


def _added(own: ir.Value, numbers: Array, layer: ir.Node, write: Rewriter) -> ir.Value:
    """The layer's own bias and the constant in one; β of a Gemm goes into it."""
    bias = constant_of(own)
    assert bias is not None
    beta = layer.attributes.get_float("beta", 1.0) if layer.op_type == "Gemm" else 1.0
    total = beta * bias.astype(np.float64).reshape(-1) + numbers.astype(np.float64).reshape(-1)
    return write.constant(total.astype(numbers.dtype), own.name or "bias")
