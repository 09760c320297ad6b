"""TensorScatter: rows written into a cache. What was overwritten gets nothing, the rest stays."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import vjp
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.sizes import INT64, flat


@vjp("TensorScatter")
def _past(n: NodeView, g: Term) -> Term:
    return n.replace({0: g, 1: n.emit.zeros_like(n.input(1))}).y


@vjp("TensorScatter", 1)
def _update(n: NodeView, g: Term) -> Term:
    """Writing 1, 2, … into a cache of zeros says what every cell came from; what came from 0 is dropped."""
    emit, update = n.emit, n.input(1)
    count = emit.op("Size", update, dtype=INT64, shape=())
    end = count + emit.constant(1, np.int64)
    numbers = emit.op("Range", emit.constant(1, np.int64), end, emit.constant(1, np.int64), dtype=INT64)
    nothing = emit.cast(emit.zeros_like(n.x), INT64)
    source = n.replace({0: nothing, 1: emit.reshape_like(numbers, update)}).y
    source.value.type = ir.TensorType(INT64)  # a new type: the view shares the forward node's
    zeros = emit.op("Concat", emit.constant(np.zeros(1, _numpy(update))), flat(emit.zeros_like(update)), axis=0)
    summed = emit.op("ScatterElements", zeros, flat(source), flat(g), dtype=g.dtype, axis=0, reduction="add")
    kept = emit.op("Slice", summed, emit.ints([1]), emit.ints([np.iinfo(np.int64).max]), emit.ints([0]))
    return emit.reshape_like(kept, update)


def _numpy(term: Term) -> np.dtype[np.generic]:
    return np.dtype((term.dtype or term.emit.float_type).numpy())
