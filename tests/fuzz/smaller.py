"""The smallest part of a graph that still fails: nodes are taken out, and what they gave becomes an input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import onnx

from tests.fuzz.graphs import Drawn, reads_of
from tests.fuzz.sketch import model_of, value_info


def smallest(drawn: Drawn, fails: Callable[[Drawn], bool]) -> Drawn:
    """No node can be taken out of the result, and no earlier value explained, without losing the failure."""
    while (found := next((d for d in _smaller(drawn) if fails(d)), None)) is not None:
        drawn = found
    return drawn


def _smaller(drawn: Drawn) -> Iterator[Drawn]:
    nodes = list(drawn.proto.graph.node)
    for node in nodes[:-1]:
        for name in node.output:
            if name != drawn.target and name in drawn.values and drawn.values[name].dtype == np.float32:
                yield _with(drawn, nodes, name)
    for place, node in enumerate(nodes):
        if drawn.target not in node.output:
            yield _with(drawn, nodes[:place] + nodes[place + 1 :], drawn.target)


def _with(drawn: Drawn, nodes: list[onnx.NodeProto], target: str) -> Drawn:
    """Only what leads to the target; a value without a maker is an input where it is float, else a constant."""
    kept: list[onnx.NodeProto] = []
    needed = {target}
    for node in reversed(nodes):
        if needed & set(node.output):
            kept.insert(0, node)
            needed |= {n for n in reads_of(node) if n in drawn.values}
    needed -= {n for node in kept for n in node.output}
    graph = drawn.proto.graph
    declared = {v.name: v for v in graph.input}
    tensors = [t for t in graph.initializer if t.name in needed]
    free = sorted(needed - {t.name for t in tensors})
    feeds = {n: drawn.values[n] for n in free if drawn.values[n].dtype == np.float32}
    tensors += [onnx.numpy_helper.from_array(drawn.values[n], n) for n in free if n not in feeds]
    inputs = [declared.get(n) or value_info(n, np.float32, a.shape) for n, a in feeds.items()]
    output = value_info(target, np.float32, [None] * drawn.values[target].ndim)
    proto = model_of(kept, inputs, [output], tensors, drawn.proto.opset_import[0].version)
    return replace(drawn, proto=proto, feeds=feeds, target=target)
