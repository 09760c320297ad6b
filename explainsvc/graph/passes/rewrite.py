"""What passes of our own write with: new nodes before a node, new constants beside the weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.shapes import Array

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm"})


class Rewriter:
    """Inserts nodes and constants into a graph under names that it does not have yet."""

    def __init__(self, graph: ir.Graph) -> None:
        self._outermost = graph
        self._names = {v.name for n in graph.all_nodes() for v in n.outputs}
        self._names |= {v.name for g in (graph, *graph.subgraphs()) for v in (*g.inputs, *g.initializers.values())}

    def fresh(self, stem: str) -> str:
        """``stem``, or the first of ``stem_1``, ``stem_2``, … that is free."""
        name, count = stem, 0
        while name in self._names:
            count += 1
            name = f"{stem}_{count}"
        self._names.add(name)
        return name

    def constant(self, array: Array, stem: str) -> ir.Value:
        """A new initializer."""
        name = self.fresh(stem)
        tensor = ir.Tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self._outermost.register_initializer(value)
        return value

    def reshaped(self, value: ir.Value, shape: Sequence[int], inside: Collection[ir.Node]) -> ir.Value:
        """A constant in another shape; see :meth:`changed`."""
        array = constant_of(value)
        assert array is not None
        return value if array.shape == tuple(shape) else self.changed(value, array.reshape(shape), inside)

    def changed(self, value: ir.Value, array: Array, inside: Collection[ir.Node]) -> ir.Value:
        """A constant with other numbers: the same initializer where only nodes ``inside`` read it, else a copy."""
        if not value.is_initializer() or value.is_graph_output() or any(use.node not in inside for use in value.uses()):
            return self.constant(array, f"{value.name}_changed")
        value.const_value = ir.Tensor(np.ascontiguousarray(array).reshape(array.shape), name=value.name)
        value.shape = ir.Shape(array.shape)
        return value

    def before(
        self,
        node: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        dtype: ir.DataType | None = None,
        **names: str,
    ) -> ir.Value:
        """The result of one new node in front of ``node``; ``names``: ``value`` of the result, ``name`` of the node."""
        graph = node.graph
        assert graph is not None
        out = ir.Value(name=self.fresh(names.get("value") or f"{node.outputs[0].name}_{op_type}"))
        out.type = None if dtype is None else ir.TensorType(dtype)
        new = ir.node(op_type, inputs, dict(attributes or {}), outputs=[out], name=names.get("name") or f"{out.name}_node")
        graph.insert_before(node, new)
        return out

    def replace(self, node: ir.Node, result: ir.Value) -> None:
        """All uses of the only result of ``node`` become uses of ``result``, which takes over its name; the node goes.

        What makes ``result`` belongs to the same module of the source program: it takes over the metadata.
        """
        old, graph, maker = node.outputs[0], node.graph, result.producer()
        assert graph is not None
        if maker is not None:
            maker.metadata_props.update({k: v for k, v in node.metadata_props.items() if k not in maker.metadata_props})
        result.name, old.name = old.name, self.fresh(f"{old.name}_replaced")
        result.shape = old.shape if result.shape is None else result.shape
        result.type = old.type if result.type is None else result.type
        old.replace_all_uses_with(result, replace_graph_outputs=True)
        graph.remove(node, safe=True)


def maker(value: ir.Value | None) -> ir.Node | None:
    """The node that makes a value."""
    return None if value is None else value.producer()


def keep_names(graph: ir.Graph, names: Mapping[str | None, str | None]) -> None:
    """Layers that a rewrite put in place of a pair are called what the source calls the layer.

    Args:
        graph: After the rewrite.
        names: Result of a pair → name of its layer.
    """
    taken = {n.name for n in graph.all_nodes()}
    for node in graph:
        name = names.get(node.outputs[0].name)
        if node.op_type in _LAYERS and name and name not in taken:
            node.name = name
            taken.add(name)


def constant_of(value: ir.Value | None) -> Array | None:
    """The numbers of an initializer or a Constant node, None for everything else."""
    return None if value is None or value.const_value is None else value.const_value.numpy()
