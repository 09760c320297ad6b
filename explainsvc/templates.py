"""A graph without its learned numbers: a session of it, or of a part of it, is made for any numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import onnx

from explainsvc.autograd.shapes import Array
from explainsvc.graph.borders import part, types_of, with_initializers
from explainsvc.graph.spans import Spans, exchanged, raw
from explainsvc.runtime import Session, new_session

Arrays = Mapping[str, Array]
"""Learned tensors of the model, all of them, C-contiguous."""
Values = Mapping[str, onnx.ValueInfoProto]


class Template(Protocol):
    """A graph that differs from model to model in its learned numbers only.

    Attributes:
        model: Without the initializers that depend on learned numbers.
    """

    @property
    def model(self) -> onnx.ModelProto:
        """The graph."""

    def touched(self, changed: Collection[str]) -> Collection[str]:
        """The initializers of the graph that change when these learned tensors do."""

    def whole(self, arrays: Arrays) -> Session:
        """A session of the graph."""

    def part(self, outputs: list[str], fed: Values, arrays: Arrays) -> Session:
        """A session that computes the outputs from the graph's inputs and the values that are fed.

        Raises:
            ModelUnsupported: onnxruntime does not take the part by itself.
        """

    def known(self, session: Session) -> Values:
        """The types of the values that a session of a part gives; what has none is left out."""


@dataclass(frozen=True)
class Serialized:
    """A graph as it was built; onnxruntime optimises it for every session.

    Attributes:
        model: Without the initializers that hold learned numbers.
        data: The graph with the numbers of some model, serialized.
        spans: Where they lie.
    """

    model: onnx.ModelProto
    data: bytes = field(repr=False)
    spans: Spans = field(repr=False)

    @classmethod
    def of(cls, data: bytes, spans: Spans) -> Serialized:
        """A serialized graph, and where the learned numbers lie in it."""
        proto = onnx.ModelProto.FromString(data)
        others = [t for t in proto.graph.initializer if t.name not in spans]
        del proto.graph.initializer[:]
        proto.graph.initializer.extend(others)
        return cls(proto, data, spans)

    def touched(self, changed: Collection[str]) -> Collection[str]:
        """Themselves."""
        return changed

    def whole(self, arrays: Arrays) -> Session:
        """Of the file with other numbers."""
        return new_session(self.filled(arrays))

    def filled(self, arrays: Arrays) -> bytes:
        """The graph with these numbers, serialized."""
        return exchanged(self.data, self.spans, {name: raw(array) for name, array in arrays.items()})

    def part(self, outputs: list[str], fed: Values, arrays: Arrays) -> Session:
        """ModelUnsupported also where a type is declared otherwise than onnxruntime infers it."""
        return new_session(with_initializers(part(self.model, outputs, fed), self._protos(arrays)))

    def known(self, session: Session) -> Values:
        """As they were declared, with their shapes."""
        types = types_of(self.model.graph)
        return {name: types[name] for name in session.outputs if name in types}

    def _protos(self, arrays: Arrays) -> Iterator[onnx.TensorProto]:
        for name in self.spans:
            array = arrays[name]
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            yield onnx.TensorProto(name=name, dims=array.shape, data_type=kind, raw_data=bytes(raw(array)))
