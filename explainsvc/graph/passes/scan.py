"""Scan of opset 8, which has a batch axis: a Scan over the batch around a Scan over the sequence.

onnx's converter takes the axis away from the model's inputs instead.
"""

from __future__ import annotations

import onnx_ir as ir

BATCHED, PLAIN = 8, 9
"""The opsets of the Scan with a batch axis, and of the one without."""
_CHANGED = frozenset({"Upsample"})
"""Other operators whose form opset 9 changed; BatchNormalization only lost an attribute."""


def has_batched_scan(model: ir.Model) -> bool:
    """Whether there is one."""
    return model.graph.opset_imports.get("") == BATCHED and any(_is_scan(n) for n in model.graph.all_nodes())


def give_up_batch_axis(model: ir.Model) -> int:
    """Rewrites every Scan, in place, and gives the opset that the model has then.

    Raises:
        ValueError: Sequences of different lengths in one batch, or an operator that opset 9 has in another form.
    """
    nodes = list(model.graph.all_nodes())
    other = next((n.op_type for n in nodes if n.op_type in _CHANGED and n.domain == ""), None)
    if other is not None:
        raise ValueError(f"{other} beside a Scan of opset 8")
    for node in nodes:
        if _is_scan(node):
            _nest(node)
        elif node.op_type == "BatchNormalization" and node.attributes.get_int("spatial", 1) == 0:
            raise ValueError("BatchNormalization of single pixels beside a Scan of opset 8")
        elif node.op_type == "BatchNormalization":
            node.attributes.pop("spatial", None)
    model.graph.opset_imports[""] = PLAIN
    return PLAIN


def _is_scan(node: ir.Node) -> bool:
    return node.op_type == "Scan" and node.domain == ""


def _nest(node: ir.Node) -> None:
    """The node becomes the outer Scan: it hands every item of the batch to the inner one and stacks what comes back."""
    lengths, *operands = node.inputs
    if lengths is not None:
        raise ValueError("Scan of opset 8 with sequence_lens")
    body = node.attributes["body"].as_graph()
    kept = dict(node.attributes.items())
    directions = kept.pop("directions", None)
    if directions is not None:
        kept["scan_input_directions"] = ir.AttrInt64s("scan_input_directions", list(directions.as_ints()))
    name = node.outputs[0].name or node.outputs[-1].name
    items = [_item(value, f"{name}.item{i}") for i, value in enumerate(operands)]
    inner = ir.node("Scan", items, kept, num_outputs=len(node.outputs), name=f"{node.name or name}.of_item")
    for i, value in enumerate(inner.outputs):
        value.name = f"{name}.result{i}"
        value.type = body.outputs[i].type
    outer = ir.Graph(items, list(inner.outputs), nodes=[inner], name=f"{name}.batch")
    _set_operands(node, operands)
    node.attributes.clear()
    node.attributes["body"] = ir.AttrGraph("body", outer)
    node.attributes["num_scan_inputs"] = ir.AttrInt64("num_scan_inputs", len(operands))


def _item(value: ir.Value | None, name: str) -> ir.Value:
    """One entry of the batch."""
    assert value is not None
    shape = None if value.shape is None else ir.Shape(list(value.shape)[1:])
    return ir.Value(name=name, type=value.type, shape=shape)


def _set_operands(node: ir.Node, operands: list[ir.Value | None]) -> None:
    for i, value in enumerate(operands):
        node.replace_input_with(i, value)
    node.resize_inputs(len(operands))
