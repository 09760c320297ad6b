"""In which order a graph's initializers stand in its file."""

from __future__ import annotations

import onnx_ir as ir


def output_side_first(graph: ir.Graph) -> None:
    """Initializers as the nodes read them, from the last node on; what no node of the graph reads stands before.

    Files of a model whose weights are exchanged from one side on then differ by a piece at the end, or from a piece near it on.
    """
    known = graph.initializers
    read = dict.fromkeys(v.name for node in reversed(graph) for v in node.inputs if v is not None and v.name in known)
    ordered = [*(name for name in known if name not in read), *(name for name in read if name is not None)]
    values = [known[name] for name in ordered]
    for value in values:
        del known[value.name or ""]
    for value in values:
        known.add(value)
