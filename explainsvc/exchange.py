"""One model with many different weights: what does not depend on the numbers is made once.

A randomised model differs from the untouched one in the numbers of some initializers only. Its file is the same but for these
bytes. So is the explained graph of a method, if nothing has read the numbers by the time it is built: then they cannot have
decided anything in it. The initializers of such a graph are therefore watched; one that is read makes the graph count for that
model alone, and it is built anew for the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from explainsvc.autograd.shapes import Array
from explainsvc.digests import Digests
from explainsvc.files import serialised
from explainsvc.graph.spans import Spans, exchanged, plain_spans, raw
from explainsvc.memory import remember
from explainsvc.model import Model
from explainsvc.optimised import Moved, optimised
from explainsvc.prefix import KEPT_BYTES, Prefix, Shelf, prefix_of
from explainsvc.runtime import Session, new_session
from explainsvc.templates import Arrays, Serialized, Template
from explainsvc.weights import file_with, initializers, parameter_units, replace_weights, require_fitting

KEPT_TEMPLATE_BYTES = 2**22
"""Of an optimised graph without its learned numbers that its model keeps for the next walk; that of ResNet-18 takes 23 KB."""


@dataclass
class Reads:
    """Whether a model's numbers have been looked at."""

    seen: bool = False


class Watched(ir.LazyTensor):
    """A tensor that notes when its numbers are read."""

    def __init__(self, array: Array, like: ir.TensorProtocol, reads: Reads) -> None:
        def read() -> ir.Tensor[Any]:
            reads.seen = True
            return ir.Tensor(array, name=like.name)

        super().__init__(read, like.dtype, ir.Shape(array.shape), cache=False, name=like.name)


@dataclass(frozen=True)
class File:
    """The file of a model with other weights; made when it is asked for."""

    data: bytes = field(repr=False)
    spans: Spans = field(repr=False)
    arrays: Arrays = field(repr=False)
    digests: Digests = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """The sha256 of the file."""
        return self.digests.of(self.arrays)

    @cached_property
    def proto(self) -> onnx.ModelProto:
        """The file, read."""
        numbers = {name: raw(array) for name, array in self.arrays.items()}
        return onnx.ModelProto.FromString(exchanged(self.data, self.spans, numbers))

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return len(self.data)


@dataclass(frozen=True)
class Kept:
    """A graph that was built without a look at the numbers, and what is kept of its values."""

    template: Template
    prefix: Prefix | None = None


class Exchange:
    """Makes models of other weights out of one, as :func:`explainsvc.weights.replace_weights` does, many of them.

    Args:
        model: Not changed.
        changing: The initializers that each of the models will have changed, where that is known: what none of a model's
            changes reaches is then computed once per input. Kernels may round otherwise in a part than in the whole graph.
        room: Bytes that each graph may keep of that.
    """

    def __init__(self, model: Model, changing: Sequence[Collection[str]] = (), room: int = KEPT_BYTES) -> None:
        self._model = model
        self._changing = changing
        learned = {p.name for unit in parameter_units(model) for p in unit.tensors}
        tensors = {n: v.const_value for n, v in initializers(model.graph).items() if n in learned}
        self._tensors = {n: t for n, t in tensors.items() if t is not None}
        self._untouched = {n: np.asarray(t.numpy(), order="C") for n, t in self._tensors.items()}
        self._data = serialised(model.prepared.model)
        self._spans = plain_spans(self._data, learned)
        self._digests = Digests(self._data, self._spans, model.memory.hashed)
        self._graphs: dict[Hashable, Kept] = {}
        self._moved: dict[Hashable, Moved] = {}
        self._room = room
        self._building = threading.Lock()

    def with_weights(self, weights: Mapping[str, Array]) -> Model:
        """The model with other numbers in some initializers; arguments and errors as those of ``replace_weights``."""
        if not weights.keys() <= self._tensors.keys():
            return replace_weights(self._model, weights)
        require_fitting(self._model, weights)
        arrays = {n: _plain(w, self._tensors[n].dtype.numpy()) for n, w in weights.items()}
        reads, prepared = Reads(), self._model.prepared.model.clone()
        known = initializers(prepared.graph)
        everything = self._untouched | arrays
        for name, tensor in self._tensors.items():
            known[name].const_value = Watched(everything[name], tensor, reads)
        short = weights.keys() <= self._spans.keys()
        file = File(self._data, self._spans, arrays, self._digests) if short else file_with(self._model, weights)
        twin = replace(self._model.prepared, model=prepared, upcast=False, opened=None)
        weights_of_twin = Weights(everything, frozenset(weights), reads)
        return Model(file, twin, make=lambda key, build: self._session(key, build, weights_of_twin))

    def _session(self, key: Hashable, build: Callable[[], ir.Model], weights: Weights) -> Session:
        """The session of a graph made from a model: of the one that was built for another model, with this one's numbers."""
        with self._building:
            data = self._built(key, build, weights) if key not in self._graphs or weights.reads.seen else b""
            kept = None if weights.reads.seen else self._graphs.get(key)
        if kept is None:
            return new_session(data)
        whole = cache(partial(kept.template.whole, weights.arrays))
        if kept.prefix is None:
            return whole()
        return kept.prefix.continued(weights.changed, weights.arrays, whole) or whole()

    def _built(self, key: Hashable, build: Callable[[], ir.Model], weights: Weights) -> bytes:
        """Serialized; empty where the graph is known from an earlier walk."""
        if not weights.reads.seen and (known := self._model.memory.templates.get(key)) is not None and self._changing:
            self._graphs[key] = self._cut(replace(known, kept=self._moved))
            return b""
        graph = build()
        unread = not weights.reads.seen
        data = serialised(graph)
        if unread:
            weights.reads.seen = False  # by serialised() alone
            spans = plain_spans(data, weights.arrays.keys())
            if all(name in spans for name in _holding(graph)):
                self._graphs[key] = self._kept(key, Serialized.of(data, spans))
        return data

    def _kept(self, key: Hashable, built: Serialized) -> Kept:
        if not self._changing:
            return Kept(built)
        found = optimised(built.filled, {name: self._untouched[name] for name in built.spans})
        if found is None:
            return self._cut(built)
        if found.nbytes <= KEPT_TEMPLATE_BYTES:
            remember(self._model.memory.templates, key, found)
        return self._cut(replace(found, kept=self._moved))

    def _cut(self, template: Template) -> Kept:
        inputs = {v.name or "" for v in self._model.graph.inputs}
        return Kept(template, prefix_of(template, inputs, self._changing, self._untouched, Shelf(self._room)))


@dataclass(frozen=True)
class Weights:
    """All learned numbers of one model, which of them are not the untouched ones, and whether they were looked at."""

    arrays: Arrays = field(repr=False)
    changed: frozenset[str]
    reads: Reads


def _plain(array: Array, kind: np.dtype[Any]) -> Array:
    """C-contiguous, of this type; itself if it is: templates know by it that numbers are those of the last step.

    numpy.asarray makes a view where the types are equal but not the same object.
    """
    return array if array.dtype == kind and array.flags.c_contiguous else np.asarray(array, kind, order="C")


def _holding(model: ir.Model) -> Iterator[str | None]:
    """The names under which a graph holds watched numbers; None for an attribute."""
    for graph in (model.graph, *model.graph.subgraphs()):
        yield from (v.name for v in graph.initializers.values() if isinstance(v.const_value, Watched))
    for node in model.graph.all_nodes():
        yield from (None for a in node.attributes.values() if _has_watched(a.value))


def _has_watched(value: Any) -> bool:
    return isinstance(value, Watched) or (isinstance(value, (list, tuple)) and any(isinstance(v, Watched) for v in value))
