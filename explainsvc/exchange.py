"""One model with many different weights: what does not depend on the numbers is made once.

A randomised model differs from the untouched one in the numbers of some initializers only. Its file is the same but for these
bytes. So is the explained graph of a method, if nothing has read the numbers by the time it is built: then they cannot have
decided anything in it. The initializers of such a graph are therefore watched; one that is read makes the graph count for that
model alone, and it is built anew for the next.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from explainsvc.autograd.shapes import Array
from explainsvc.graph.load import digest_of
from explainsvc.graph.spans import Spans, exchanged, plain_spans
from explainsvc.model import Model, serialised
from explainsvc.weights import initializers, parameter_units, replace_weights, require_fitting


@dataclass
class Reads:
    """Whether a model's numbers have been looked at."""

    seen: bool = False


class Watched(ir.LazyTensor):
    """A tensor that notes when its numbers are read."""

    def __init__(self, array: Array, like: ir.TensorProtocol, reads: Reads) -> None:
        def read() -> ir.Tensor:
            reads.seen = True
            return ir.Tensor(array, name=like.name)

        super().__init__(read, like.dtype, ir.Shape(array.shape), cache=False, name=like.name)


@dataclass(frozen=True)
class File:
    """The file of a model with other weights; made when it is asked for."""

    data: bytes = field(repr=False)
    spans: Spans = field(repr=False)
    arrays: Mapping[str, memoryview] = field(repr=False)

    @cached_property
    def _bytes(self) -> bytes:
        return bytes(exchanged(self.data, self.spans, self.arrays))

    @cached_property
    def digest(self) -> str:
        """The sha256 of the file."""
        return digest_of(self._bytes)

    @cached_property
    def proto(self) -> onnx.ModelProto:
        """The file, read."""
        return onnx.ModelProto.FromString(self._bytes)

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return len(self.data)


class Exchange:
    """Makes models of other weights out of one, as :func:`explainsvc.weights.replace_weights` does, many of them.

    Args:
        model: Not changed.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        learned = {p.name for unit in parameter_units(model) for p in unit.tensors}
        self._tensors = {n: v.const_value for n, v in initializers(model.graph).items() if n in learned and v.const_value}
        self._data = serialised(model.prepared.model)
        self._spans = plain_spans(self._data, learned)
        self._graphs: dict[Hashable, tuple[bytes, Spans]] = {}

    def with_weights(self, weights: Mapping[str, Array]) -> Model:
        """The model with other numbers in some initializers; arguments and errors as those of ``replace_weights``."""
        if not weights.keys() <= self._spans.keys():
            return replace_weights(self._model, weights)
        require_fitting(self._model, weights)
        arrays = {n: np.ascontiguousarray(w, self._tensors[n].dtype.numpy()) for n, w in weights.items()}
        reads, prepared = Reads(), self._model.prepared.model.clone()
        known = initializers(prepared.graph)
        for name, tensor in self._tensors.items():
            known[name].const_value = Watched(arrays.get(name, tensor.numpy()), tensor, reads)
        everything = {n: _raw(arrays.get(n, t.numpy())) for n, t in self._tensors.items()}
        file = File(self._data, self._spans, {n: everything[n] for n in weights})
        twin = replace(self._model.prepared, model=prepared, upcast=False, opened=None)
        return Model(file, twin, serialise=lambda key, build: self._graph(key, build, file.digest, everything, reads))

    def _graph(
        self, key: Hashable, build: Callable[[], ir.Model], digest: str, arrays: Mapping[str, memoryview], reads: Reads
    ) -> bytes:
        """A graph made from a model, serialized: the one that was built for another model, with this one's numbers."""
        kept = tuple(part for part in key if part != digest) if isinstance(key, tuple) else key
        if kept in self._graphs and not reads.seen:
            return bytes(exchanged(*self._graphs[kept], arrays))
        graph = build()
        unread = not reads.seen
        data = serialised(graph)
        if unread:
            reads.seen = False  # by serialized() alone
            spans = plain_spans(data, arrays.keys())
            if all(name in spans for name in _holding(graph)):
                self._graphs[kept] = data, spans
        return data


def _raw(array: Array) -> memoryview:
    return memoryview(np.ascontiguousarray(array)).cast("B") if array.size else memoryview(b"")


def _holding(model: ir.Model) -> Iterator[str | None]:
    """The names under which a graph holds watched numbers; None for an attribute."""
    for graph in (model.graph, *model.graph.subgraphs()):
        yield from (v.name for v in graph.initializers.values() if isinstance(v.const_value, Watched))
    for node in model.graph.all_nodes():
        yield from (None for a in node.attributes.values() if isinstance(a, ir.Attr) and _has_watched(a.value))


def _has_watched(value: Any) -> bool:
    return isinstance(value, Watched) or (isinstance(value, (list, tuple)) and any(isinstance(v, Watched) for v in value))
