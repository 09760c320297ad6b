"""Models made from another one by rewriting its prepared graph."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from explainsvc.graph.load import Loaded, digest_of
from explainsvc.model import Model


def derived(model: Model, graph: ir.Model) -> Model:
    """The model whose prepared graph is ``graph``, a rewritten clone of that of ``model``; takes :meth:`Model.internal` feeds.

    An explained graph becomes a model that can be differentiated again: read back from its proto, its nodes no longer count as
    emitted by the walk.
    """
    proto = ir.to_proto(graph)
    data = proto.SerializeToString()
    prepared = replace(model.prepared, model=ir.from_proto(proto), upcast=False, opened=None)
    return Model(Loaded(proto, digest_of(data), len(data)), prepared)
