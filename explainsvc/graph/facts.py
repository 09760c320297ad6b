"""What can be told of a value before anything runs: type, static lengths, and small constants' numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import onnx
from onnx import TypeProto, helper, numpy_helper

from explainsvc.autograd.shapes import Array
from explainsvc.graph.folding import is_small, tensor_value
from explainsvc.graph.limits import declared_bytes, domain_of

MICROSOFT = "com.microsoft"
ALIASED = frozenset({"Pad", "Range"})
"""Operators of com.microsoft that are those of the ONNX domain, earlier."""


@dataclass(frozen=True)
class Fact:
    """A value: its type with as much of its shape as is known; its numbers where it is a small constant.

    ``constant``: computed from constants alone, so that an optimizer may compute it once and for all.
    """

    type: TypeProto | None = None
    value: Array | None = None
    constant: bool = False

    @property
    def is_tensor(self) -> bool:
        """Whether its type is known to be a tensor."""
        return self.type is not None and self.type.HasField("tensor_type")

    @property
    def dims(self) -> list[int | None] | None:
        """Static lengths, None for open axes; None where the rank is unknown, or it is no tensor."""
        if self.type is None or not self.is_tensor or not self.type.tensor_type.HasField("shape"):
            return None
        return [d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in self.type.tensor_type.shape.dim]

    @property
    def bytes(self) -> int:
        """At least this many: an open axis counts 1."""
        dims = self.dims
        return 0 if dims is None else declared_bytes(self.elem_type, [1 if d is None else d for d in dims])

    @property
    def elem_type(self) -> int:
        """Of a tensor; float where it is unknown."""
        known = self.type.tensor_type.elem_type if self.type is not None and self.is_tensor else 0
        return known or onnx.TensorProto.FLOAT

    def filled(self, leading: int, others: int) -> Fact:
        """The same with lengths for its open axes: the first, and all others."""
        dims = self.dims
        if dims is None:
            return self
        lengths = [(leading if axis == 0 else others) if d is None else d for axis, d in enumerate(dims)]
        return replace(self, type=helper.make_tensor_type_proto(self.elem_type, lengths))

    def anywhere(self) -> Fact:
        """Only its element type: what holds for a value that changes from one iteration to the next."""
        if not self.is_tensor:
            return UNKNOWN
        return Fact(helper.make_tensor_type_proto(self.elem_type, None))

    def stacked(self, count: int) -> Fact:
        """So many of it along a new first axis, at least."""
        dims = self.dims
        return self.anywhere() if dims is None else Fact(helper.make_tensor_type_proto(self.elem_type, [count, *dims]))


UNKNOWN = Fact()


def of_array(array: Array) -> Fact:
    """A constant whose numbers are known."""
    elem_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    return Fact(helper.make_tensor_type_proto(elem_type, array.shape), array if is_small(array) else None, constant=True)


def of_tensor(tensor: onnx.TensorProto) -> Fact:
    """A stored tensor."""
    return Fact(helper.make_tensor_type_proto(tensor.data_type, tensor.dims), tensor_value(tensor), constant=True)


def of_sparse(tensor: onnx.SparseTensorProto) -> Fact:
    """A stored sparse tensor, as it is after loading."""
    return Fact(helper.make_tensor_type_proto(tensor.values.data_type, tensor.dims), None, constant=True)


def inferred(node: onnx.NodeProto, facts: Mapping[str, Fact], versions: Mapping[str, int]) -> list[Fact]:
    """The types of a node's results by onnx's shape inference of this one node; unknown where it has none.

    Only types and small constants go in, so that the work does not grow with what the node would compute.
    """
    domain = "" if domain_of(node) == MICROSOFT and node.op_type in ALIASED else domain_of(node)
    schema = _schema(node.op_type, versions.get(domain, 1 if domain else onnx.defs.onnx_opset_version()), domain)
    if schema is None:
        return [UNKNOWN for _ in node.output]
    types = {name: fact.type or TypeProto() for name, fact in facts.items()}
    imports = [helper.make_opsetid(d, v) for d, v in versions.items()]
    try:
        data = {name: numpy_helper.from_array(f.value, name) for name, f in facts.items() if f.value is not None}
        found = onnx.shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=imports)
    except Exception:  # noqa: BLE001  (inference raises what it likes; the node is then simply not known)
        return [UNKNOWN for _ in node.output]
    return [Fact(found[name]) if name in found else UNKNOWN for name in node.output]


@lru_cache(maxsize=2048)
def _schema(op_type: str, version: int, domain: str) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(op_type, version, domain)
    except onnx.defs.SchemaError:
        return None


def shape_arithmetic(node: onnx.NodeProto, operands: Sequence[Fact]) -> Array | None:
    """The numbers that Shape and Size give for static shapes."""
    dims = operands[0].dims if operands and node.op_type in ("Shape", "Size") else None
    static = [d for d in dims or () if d is not None]
    if dims is None or len(static) < len(dims):
        return None
    if node.op_type == "Size":
        return np.asarray(int(np.prod([float(d) for d in static])) if static else 1, np.int64)
    ends = {a.name: a.i for a in node.attribute}
    return np.asarray(static[slice(ends.get("start", 0), ends.get("end", len(static)))], np.int64)
