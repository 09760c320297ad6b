"""A graph as onnxruntime optimised it, into which other learned numbers are put.

Optimising takes most of what a session of a convolutional network takes: kernels are turned around for the backward pass, and all
weights brought into the order of the processor's vector registers. This moves numbers and computes nothing with them. Where each
goes is found out once, by putting in numbers that occur only once; then every session starts from the optimised graph.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from explainsvc.autograd.shapes import Array
from explainsvc.errors import ModelUnsupported
from explainsvc.graph.borders import has_bodies, part, read_in, with_initializers
from explainsvc.graph.layouts import Layout, Numbering, View
from explainsvc.graph.probe import DTYPES
from explainsvc.runtime import Session, optimised_session, optimised_twin
from explainsvc.sharing import outside
from explainsvc.templates import Arrays, Values

MOST = 2**25
"""Learned elements that are numbered at most: the optimiser holds each a dozen times while it works, 50 bytes in all.

The bits stay those of finite numbers, too."""
INLINE = 1024
"""Bytes up to which a tensor stays in the graph: onnxruntime reads small ones when it plans a run."""


@dataclass(frozen=True)
class Moved:
    """Numbers in the order of a layout, and the tensor that they were taken from."""

    source: Array = field(repr=False)
    value: ort.OrtValue = field(repr=False)
    array: Array = field(repr=False)


@dataclass(frozen=True)
class Optimised:
    """A graph that onnxruntime has optimised (:class:`explainsvc.templates.Template`).

    Attributes:
        model: Without the initializers that hold learned numbers.
        layouts: Such an initializer → where its numbers come from.
        dims: Its shape.
        kept: What the last sessions were given: from step to step few tensors change, and graphs of other methods walk through
            many of them in the same way.
    """

    model: onnx.ModelProto = field(repr=False)
    layouts: Mapping[str, Layout]
    dims: Mapping[str, tuple[int, ...]]
    kept: dict[Hashable, Moved] = field(default_factory=dict, repr=False)

    @property
    def nbytes(self) -> int:
        """Of the graph and the places of its numbers, without those that are kept."""
        return self.model.ByteSize() + sum(layout.nbytes for layout in self.layouts.values())

    def touched(self, changed: Collection[str]) -> Collection[str]:
        """Those that are taken from them."""
        return {name for name, layout in self.layouts.items() if layout.source in changed}

    def whole(self, arrays: Arrays) -> Session:
        """Of all of it."""
        return self._session(self.model, arrays)

    def part(self, outputs: list[str], fed: Values, arrays: Arrays) -> Session:
        """Fed values lie as onnxruntime has ordered them."""
        return self._session(part(self.model, outputs, fed, copied=False), arrays)

    def known(self, session: Session) -> Values:
        """Of their shapes nothing is said: those in blocks have none that a reader would expect."""
        types = {o.name: DTYPES[o.type] for o in session.ort.get_outputs() if o.type in DTYPES}
        kinds = {name: helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for name, kind in types.items()}
        return {name: helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()}

    def _session(self, model: onnx.ModelProto, arrays: Arrays) -> Session:
        given = {name: self._value(name, arrays) for name in self.layouts.keys() & read_in(model.graph)}
        tensors = (_tensor(name, self.dims[name], value.array) for name, value in given.items())
        values = {name: value.value for name, value in given.items() if value.array.nbytes > INLINE}
        return optimised_session(with_initializers(model, tensors), values)

    def _value(self, name: str, arrays: Arrays) -> Moved:
        layout = self.layouts[name]
        key: Hashable = (layout, self.dims[name]) if isinstance(layout, View) else (id(self), name)
        source, kept = arrays[layout.source], self.kept.get(key)
        if kept is None or kept.source is not source:
            array = layout.of(source).reshape(self.dims[name])
            kept = self.kept[key] = Moved(source, ort.OrtValue.ortvalue_from_numpy(array), array)
        return kept


def _tensor(name: str, dims: Sequence[int], array: Array) -> onnx.TensorProto:
    if array.nbytes > INLINE:
        return outside(name, dims, array.nbytes)
    return onnx.TensorProto(name=name, dims=dims, data_type=onnx.TensorProto.FLOAT, raw_data=array.tobytes())


def optimised(fill: Callable[[Arrays], bytes], arrays: Arrays) -> Optimised | None:
    """A graph as onnxruntime optimises it.

    None where learned numbers were computed with, or decided what became of the graph; where they are not float32, or too many;
    or where a node has a graph of its own.

    Args:
        fill: The serialized graph with these numbers.
        arrays: The learned tensors of some model, for their names and shapes.
    """
    if any(array.dtype != np.float32 for array in arrays.values()) or not 0 < sum(a.size for a in arrays.values()) <= MOST:
        return None
    numbering, drawn = Numbering.of(arrays), _drawn(arrays)
    numbered, random = (optimised_twin(fill(filling)) for filling in (numbering.numbers(arrays), drawn))
    if numbered is None or random is None or has_bodies(random.graph) or _nodes(numbered) != _nodes(random):
        return None
    tensors, expected = _by_name(numbered), _by_name(random)
    if tensors.keys() != expected.keys():
        return None
    moved = {name for name in tensors if tensors[name] != expected[name]}
    layouts = {name: _layout(numbering, tensors[name], expected[name], drawn) for name in moved}
    found = {name: layout for name, layout in layouts.items() if layout is not None}
    if len(found) < len(layouts):
        return None
    dims = {name: tuple(expected[name].dims) for name in found}
    del random.graph.initializer[:], random.graph.value_info[:]  # onnxruntime's own shapes it infers anew
    random.graph.initializer.extend(tensor for name, tensor in expected.items() if name not in found)
    template = Optimised(random, found, dims)
    return replace(template, kept={}) if _loads(template, drawn) else None


def _loads(template: Optimised, arrays: Arrays) -> bool:
    """Whether onnxruntime takes it back."""
    with suppress(ModelUnsupported):
        template.whole(arrays)
        return True
    return False


def _drawn(arrays: Arrays) -> dict[str, Array]:
    """Others, of both signs: what numbers decide must come out as with the first."""
    rng = np.random.default_rng(0)
    return {name: rng.random(array.shape, np.float32) - np.float32(0.5) for name, array in arrays.items()}


def _nodes(model: onnx.ModelProto) -> dict[tuple[str, ...], bytes]:
    """Outputs → the node, but for its name, which onnxruntime makes up anew every time."""
    found = {}
    for node in model.graph.node:
        nameless = onnx.NodeProto.FromString(node.SerializeToString())
        nameless.ClearField("name")
        found[tuple(node.output)] = nameless.SerializeToString(deterministic=True)
    return found


def _by_name(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def _layout(numbering: Numbering, found: onnx.TensorProto, other: onnx.TensorProto, drawn: Arrays) -> Layout | None:
    if found.data_type != onnx.TensorProto.FLOAT:
        return None
    layout = numbering.layout(numpy_helper.to_array(found))
    if layout is None:
        return None
    expected = np.asarray(numpy_helper.to_array(other)).reshape(-1)
    # bit by bit: a number that was computed with is not where its number went
    same = np.array_equal(layout.of(drawn[layout.source]).view(np.int32), expected.view(np.int32))
    return layout if same else None
