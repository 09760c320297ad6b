"""A scale or a bias written as a Mul or an Add of its own behind a layer becomes part of the layer, as relevance rules see it.

Rules tell a layer's weights and bias from the operands of a product and a sum: written as two nodes, the same layer would
get another map. Frozen BatchNormalization is exported so.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from explainsvc.autograd.shapes import Array
from explainsvc.graph.passes.rewrite import Rewriter, constant_of, maker

_LAYERS = {"Mul": frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"}), "Add": frozenset({"Conv", "ConvTranspose", "Gemm"})}
"""MatMul has no place for a bias."""


def fold_affine(model: ir.Model) -> bool:
    """Folds Mul(layer, c) and Add(layer, c), c one constant per channel, in place; True when there was one."""
    write, found = Rewriter(model.graph), False
    for graph in (model.graph, *model.graph.subgraphs()):
        for node in [n for n in graph if n.op_type in _LAYERS and n.domain == ""]:
            found |= any(_fold(node, node.inputs[i], node.inputs[1 - i], write) for i in (0, 1))
    if found:
        common.RemoveUnusedNodesPass()(model)
    return found


def _fold(node: ir.Node, product: ir.Value | None, constant: ir.Value | None, write: Rewriter) -> bool:
    """One Mul or Add; False where it is none of a layer that nothing else reads and one constant per channel."""
    layer, numbers = maker(product), constant_of(constant)
    if layer is None or constant is None or numbers is None or not _ends_in(layer, node) or not _per_channel(numbers, layer):
        return False
    bias = layer.inputs[2] if len(layer.inputs) > 2 else None
    if bias is not None and not _is_row(constant_of(bias)):
        return False
    fold = _times if node.op_type == "Mul" else _plus
    _instead(node, layer, fold(node, layer, bias, constant, write), write)
    return True


def _times(_node: ir.Node, layer: ir.Node, bias: ir.Value | None, constant: ir.Value, write: Rewriter) -> list[ir.Value]:
    """Weight and bias, if there is one, times the numbers."""
    scale, weight = _row(constant), layer.inputs[1]
    assert weight is not None
    scaled = write.changed(weight, _scaled(layer, scale), {layer})
    return [scaled] if bias is None else [scaled, write.changed(bias, _row(bias) * scale, {layer})]


def _plus(node: ir.Node, layer: ir.Node, bias: ir.Value | None, constant: ir.Value, write: Rewriter) -> list[ir.Value]:
    """The weight, and the bias with the numbers added; β of a Gemm goes into it."""
    weight, beta = layer.inputs[1], layer.attributes.pop("beta", None)
    assert weight is not None
    if bias is None:
        return [weight, write.reshaped(constant, (_row(constant).size,), {node})]
    factor = 1.0 if beta is None else beta.as_float()
    return [weight, write.changed(bias, factor * _row(bias) + _row(constant), {layer})]


def _instead(node: ir.Node, layer: ir.Node, parts: list[ir.Value], write: Rewriter) -> None:
    """The layer with these parts, in the place of the node; it keeps its name and where it comes from."""
    given, dtype, graph = dict(layer.attributes.items()), node.outputs[0].dtype, layer.graph
    result = write.before(node, layer.op_type, [layer.inputs[0], *parts], given, dtype, name=layer.name or "")
    made = maker(result)
    assert made is not None
    assert graph is not None
    made.metadata_props.update(layer.metadata_props)
    write.replace(node, result)
    graph.remove(layer, safe=True)  # at once: as long as it reads them, its weights count as those of two layers


def _ends_in(layer: ir.Node, node: ir.Node) -> bool:
    """Whether the layer's bare result is read by this node alone, and nobody sees it."""
    result = layer.outputs[0]
    alone = [use.node for use in result.uses()] == [node] and not result.is_graph_output()
    return layer.op_type in _LAYERS[node.op_type] and layer.domain == "" and layer.graph is node.graph and alone


def _per_channel(numbers: Array, layer: ir.Node) -> bool:
    """Whether they stand along the axis of the layer's channels, one each; a scalar is no learned bias or scale."""
    weight = constant_of(layer.inputs[1])
    if weight is None or (layer.op_type == "MatMul" and weight.ndim != 2):
        return False
    if layer.op_type in ("Gemm", "MatMul"):
        along: tuple[int, ...] = (weight.shape[0 if layer.attributes.get_int("transB", 0) else 1],)
    else:
        transposed = layer.op_type == "ConvTranspose"
        channels = weight.shape[1] * layer.attributes.get_int("group", 1) if transposed else weight.shape[0]
        along = (channels, *[1] * (weight.ndim - 2))
    return numbers.shape == along or (layer.op_type != "MatMul" and numbers.shape == (1, *along))


def _is_row(bias: Array | None) -> bool:
    """Whether a layer's bias is a constant that is the same for all items; that of a Gemm need not be."""
    return bias is not None and bias.size == (bias.shape[-1] if bias.ndim else 1)


def _row(bias: ir.Value) -> Array:
    numbers = constant_of(bias)
    assert numbers is not None
    return numbers.reshape(-1)


def _scaled(layer: ir.Node, scale: Array) -> Array:
    """The layer's weight with every output channel times its number."""
    weight = constant_of(layer.inputs[1])
    assert weight is not None
    if layer.op_type == "Conv":
        return np.asarray(weight * scale.reshape(-1, *[1] * (weight.ndim - 1)))
    if layer.op_type == "ConvTranspose":  # [channel, output channel of its group, …]
        groups = layer.attributes.get_int("group", 1)
        own = np.repeat(scale.reshape(groups, -1), len(weight) // groups, axis=0)
        return np.asarray(weight * own.reshape(*own.shape, *[1] * (weight.ndim - 2)))
    return np.asarray(weight * (scale[:, None] if layer.attributes.get_int("transB", 0) else scale))
