"""In which order a graph's initializers stand in its file."""

from __future__ import annotations

import onnx_ir as ir


def largest_first(graph: ir.Graph) -> None:
    """Initializers by their bytes; those of equal size stay in their order.

    Of a model whose weights are exchanged piece by piece, a file differs from the last one from the changed piece on. Each piece
    changes once, whatever the order of the exchange, so that fewest bytes lie behind them where the large ones stand in front.
    """
    known = graph.initializers
    values = sorted(known.values(), key=lambda v: -(v.const_value.nbytes if v.const_value is not None else 0))
    for value in values:
        del known[value.name or ""]
    for value in values:
        known.add(value)
