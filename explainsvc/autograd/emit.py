"""Writing ONNX nodes as expressions.

A :class:`Term` is a value of the graph under construction with arithmetic on it: ``g * y`` appends a Mul.
:class:`Emitter` owns the graph.
Static shapes are used where shape inference knows them, ``Shape`` nodes where it does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from explainsvc.autograd.padding import padded
from explainsvc.autograd.shapes import Shape, broadcast, broadcast_axes
from explainsvc.autograd.term import Operand as Operand
from explainsvc.autograd.term import Term as Term

PREFIX = "explain."
"""Every value and node that we add has a name that starts with this."""


_STEEP = float(np.finfo(np.float32).max)

_BROADCASTING = frozenset(
    "Add Sub Mul Div Pow Neg Greater Less GreaterOrEqual LessOrEqual Equal Where And Or Not Max Min Mod Abs Sign Sqrt "
    "Exp Log Relu Sigmoid Tanh Erf Reciprocal Cast Identity Clip Cos Sin Sum Mean Floor Ceil Round".split()
)


_EMITTED = "explainsvc.emitted"
_NODE = ".node"
"""Ends the name of a node, which is otherwise that of its first result."""


def is_emitted(node: ir.Node) -> bool:
    """Whether an :class:`Emitter` wrote this node, in this walk or an earlier one."""
    return node.meta.get(_EMITTED, False) is True


def _typed(name: str, value: Any) -> Any:
    """Numbers, names and lists of integers as attributes: ``ir.node`` tells their types too, ten times as slowly."""
    if isinstance(value, int):
        return ir.AttrInt64(name, value)
    if isinstance(value, str):
        return ir.AttrString(name, value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(number, int) for number in value):
        return ir.AttrInt64s(name, value)
    return value


class Emitter:
    """Appends nodes to ``graph``. ``scope`` names the forward node in whose name they are written."""

    def __init__(self, graph: ir.Graph, float_type: ir.DataType = ir.DataType.FLOAT) -> None:
        self.graph = graph
        self._outermost = graph
        self.float_type = float_type
        self.scope = ""
        self._names = {v.name for n in graph.all_nodes() for v in n.outputs}
        self._names |= {v.name for g in (graph, *graph.subgraphs()) for v in (*g.inputs, *g.initializers.values())}
        self._names |= {n.name.removesuffix(_NODE) for n in graph.all_nodes() if n.name}  # of an explained graph: see append
        self._counts: dict[str, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    def inside(self, subgraph: ir.Graph) -> Emitter:
        """Writes into a subgraph of this graph: names stay unique over both, constants are captured from outside."""
        inner = copy(self)
        inner.graph = subgraph
        return inner

    def term(self, value: ir.Value) -> Term:
        """An existing value of the graph as a term."""
        return Term(value, self)

    def fresh(self, stem: str) -> str:
        """A name that no value of the graph has: ``explain.<scope>.<stem>[.<n>]``."""
        base = PREFIX + (f"{self.scope}.{stem}" if self.scope else stem)
        count = self._counts.get(base, 0)
        while (name := f"{base}.{count}" if count else base) in self._names:
            count += 1
        self._counts[base] = count
        self._names.add(name)
        return name

    def constant(self, array: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> Term:
        """An initializer holding ``array``; equal small constants are shared."""
        data = np.asarray(array, dtype=dtype)
        key = (str(data.dtype), data.shape, data.tobytes())
        if key not in self._constants:
            name = self.fresh("constant")
            value = ir.Value(
                name=name,
                shape=ir.Shape(data.shape),
                type=ir.TensorType(ir.DataType.from_numpy(data.dtype)),
                const_value=ir.tensor(data, name=name),
            )
            self._outermost.register_initializer(value)
            self._constants[key] = value
        return Term(self._constants[key], self)

    def ints(self, values: Iterable[int]) -> Term:
        """A one-dimensional int64 constant: axes, shapes, pads."""
        return self.constant(np.asarray(list(values), dtype=np.int64))

    def input(self, name: str, like: ir.Value) -> Term:
        """A new run-time input of the graph with the shape and type of ``like``."""
        value = ir.Value(name=name, shape=like.shape, type=like.type)
        self._names.add(name)
        self.graph.inputs.append(value)
        return Term(value, self)

    def output(self, name: str, term: Term) -> None:
        """Makes ``term`` an output of the graph under ``name``."""
        named = self.append("Identity", [term.value], 1, "", {}, names=[name])[0]
        named.shape, named.type = term.value.shape, term.value.type
        self.graph.outputs.append(named)

    def op(
        self,
        op_type: str,
        *inputs: Operand,
        dtype: ir.DataType | None = None,
        shape: Shape | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> Term:
        """One node with one output.

        Numbers become constants of the type of the first term among the inputs; numpy arrays keep their own type.

        Args:
            op_type: ONNX operator.
            inputs: Terms, numbers, arrays, or None for an omitted optional input.
            dtype: Element type of the output; by default that of the first term.
            shape: Shape of the output where the caller knows it; pointwise operators infer it.
            domain: Operator domain.
            attributes: ONNX attributes; None means absent.
        """
        return self.ops(op_type, *inputs, count=1, dtype=dtype, shape=shape, domain=domain, **attributes)[0]

    def ops(
        self,
        op_type: str,
        *inputs: Operand,
        count: int,
        dtype: ir.DataType | None = None,
        shape: Shape | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> tuple[Term, ...]:
        """One node with ``count`` outputs; see :meth:`op`."""
        first = next((t for t in inputs if isinstance(t, Term)), None)
        like = self.float_type if first is None or first.dtype is None else first.dtype
        terms = [self._operand(t, like) for t in inputs]
        kept = {k: v for k, v in attributes.items() if v is not None}
        values = self.append(op_type, [None if t is None else t.value for t in terms], count, domain, kept)
        if shape is None and op_type in _BROADCASTING:
            shape = broadcast([t.shape for t in terms if t is not None])
        for value in values:
            value.type = ir.TensorType(like if dtype is None else dtype)
            value.shape = None if shape is None else ir.Shape(shape)
        return tuple(Term(v, self) for v in values)

    def _operand(self, operand: Operand, like: ir.DataType) -> Term | None:
        if operand is None or isinstance(operand, Term):
            return operand
        if isinstance(operand, np.ndarray):
            return self.constant(operand)
        return self.constant(operand, like.numpy())

    def append(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        count: int,
        domain: str,
        attributes: dict[str, Any],
        names: Sequence[str] | None = None,
    ) -> Sequence[ir.Value]:
        """Appends one node, shapes and types of its outputs left open; :meth:`op` is the ordinary way."""
        outputs = [ir.Value(name=n) for n in (names or [self.fresh(op_type) for _ in range(count)])]
        typed = {key: _typed(key, value) for key, value in attributes.items()}
        node = ir.node(op_type, inputs, typed, domain=domain, outputs=outputs, name=f"{outputs[0].name}{_NODE}")
        node.meta[_EMITTED] = True
        if self.scope:
            node.metadata_props["explain.source"] = self.scope
        self.graph.append(node)
        return node.outputs

    # Words that many formulas use -------------------------------------------------------------------------------

    def where(self, condition: Term, a: Operand, b: Operand) -> Term:
        """``condition ? a : b``."""
        like = next((t.dtype for t in (a, b) if isinstance(t, Term) and t.dtype is not None), self.float_type)
        x, y = self._operand(a, like), self._operand(b, like)
        return self.op("Where", condition, x, y, dtype=like)

    def cast(self, term: Term, dtype: ir.DataType) -> Term:
        """``term`` as elements of ``dtype``."""
        return self.op("Cast", term, dtype=dtype, shape=term.shape, to=int(dtype))

    def mask(self, condition: Term, like: Term) -> Term:
        """A bool term as 0/1 of the type of ``like``."""
        return self.cast(condition, like.dtype or self.float_type)

    def step(self, z: Term, at_zero: float = 0.0) -> Term:
        """1 where z > 0, 0 where z < 0, ``at_zero`` (0 or 1) where z = 0.

        In float32 by one HardSigmoid whose slope leaves a number between 0 and 1 to denormal ``z`` only: comparing and
        casting takes twice as long.
        """
        if z.dtype != ir.DataType.FLOAT:  # onnxruntime has no other HardSigmoid
            return self.mask(z >= 0 if at_zero > 0 else z > 0, z)
        return self.op("HardSigmoid", z, alpha=_STEEP, beta=at_zero, shape=z.shape)

    def shape(self, term: Term) -> Term:
        """The shape as an int64 vector: a constant where it is static, a ``Shape`` node where it is not."""
        dims = term.shape
        if dims is not None and all(isinstance(d, int) for d in dims):
            return self.ints(d for d in dims if isinstance(d, int))
        return self.op("Shape", term, dtype=ir.DataType.INT64, shape=None if dims is None else (len(dims),))

    def reshape_like(self, term: Term, like: Term) -> Term:
        """``term`` with the shape of ``like`` (same number of elements)."""
        dims = like.shape
        if dims is not None and 0 not in dims and sum(not isinstance(d, int) for d in dims) <= 1:
            target = self.ints(d if isinstance(d, int) else -1 for d in dims)
        else:
            target = self.shape(like)
        return self.op("Reshape", term, target, shape=dims)

    def reshape(self, term: Term, dims: Sequence[int]) -> Term:
        """``Reshape`` to constant dimensions (0 copies, -1 infers)."""
        static = tuple(d if d > 0 else None for d in dims)
        return self.op("Reshape", term, self.ints(dims), shape=static)

    def sum(self, term: Term, axes: Sequence[int], keepdims: bool = True) -> Term:
        """Sum over constant ``axes``."""
        return self._reduce("ReduceSum", term, axes, keepdims)

    def mean(self, term: Term, axes: Sequence[int], keepdims: bool = True) -> Term:
        """Mean over constant ``axes``."""
        return self._reduce("ReduceMean", term, axes, keepdims)

    def _reduce(self, op_type: str, term: Term, axes: Sequence[int], keepdims: bool) -> Term:
        if not axes:
            return term
        shape: Shape | None = None
        if term.shape is not None:
            chosen = {a % len(term.shape) for a in axes}
            shape = tuple(1 if i in chosen else d for i, d in enumerate(term.shape) if keepdims or i not in chosen)
        return self.op(op_type, term, self.ints(axes), shape=shape, keepdims=int(keepdims))

    def sum_to(self, term: Term, like: Term) -> Term:
        """The sum of ``term`` over the axes along which ``like`` was broadcast: it then has the shape of ``like``."""
        axes = broadcast_axes(like.shape, term.shape)
        if axes is None:
            return self._sum_to_dynamic(term, like)
        if not axes:
            return term
        summed = self.sum(term, axes)
        return summed if summed.rank == like.rank else self.reshape_like(summed, like)

    def _sum_to_dynamic(self, term: Term, like: Term) -> Term:
        """:meth:`sum_to` where only run time knows which axes were broadcast."""
        i64 = ir.DataType.INT64
        have = self.op("Shape", term, dtype=i64)
        want = self.op("Shape", like, dtype=i64)
        missing = self.op("Shape", have, dtype=i64) - self.op("Shape", want, dtype=i64)
        ones = self.op("ConstantOfShape", missing, dtype=i64, value=ir.tensor(np.ones(1, np.int64)))
        padded = self.op("Concat", ones, want, dtype=i64, axis=0)
        stretched = self.op("Not", padded.equals(have), dtype=ir.DataType.BOOL)
        axes = self.op("Squeeze", self.op("NonZero", stretched, dtype=i64), self.ints([0]), dtype=i64)
        summed = self.op("ReduceSum", term, axes, dtype=term.dtype, keepdims=1, noop_with_empty_axes=1)
        return self.op("Reshape", summed, want, shape=like.shape)

    def pad(
        self, term: Term, begins: Term, ends: Term, axes: Sequence[int], value: Term | None = None, shape: Shape | None = None
    ) -> Term:
        """``term`` with ``value`` (0) before and after along ``axes``; negative sizes crop."""
        return padded(term, begins, ends, axes, value, shape)

    def zeros_like(self, term: Term) -> Term:
        """Zeros of the shape and type of ``term``."""
        dtype = term.dtype or self.float_type
        zero = ir.tensor(np.zeros(1, dtype.numpy()))
        return self.op("ConstantOfShape", self.shape(term), dtype=dtype, shape=term.shape, value=zero)

    def expand_like(self, term: Term, like: Term) -> Term:
        """``term`` broadcast to the shape of ``like``."""
        return self.op("Expand", term, self.shape(like), shape=like.shape)
