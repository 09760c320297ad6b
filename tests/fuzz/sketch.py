"""A graph while it is drawn: every node is run as soon as it is added, so that all shapes and numbers are known.

A row of the tables (``pointwise.py``, ``layers.py``, …) is a function of the sketch that adds one operator, and where that
needs it the few nodes that bring an operand into its domain. What does not fit raises :class:`Unfit` and leaves no trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

T = TypeVar("T")
LARGEST = 8.0
"""Magnitude of a value from which on it is scaled down: rounding in float32 is to stay small against the gradient."""
MOST_ELEMENTS = 400
MICROSOFT = "com.microsoft"
_STEMS = (
    "x", "input.1", "onnx::MatMul_{0}", "/layers.{0}/attn/MatMul_output_0", "model/dense_{0}/BiasAdd:0", "{0}", "y.{0}",
    "StatefulPartitionedCall/seq{0}/act:0", "_val_{0}", "explain.{0}", "transpose(int32[{0}])", "a b{0}",
)  # fmt: skip
"""What exporters call values: dots, slashes, colons, brackets, blanks, digits only; and names as we write them ourselves."""


class Unfit(Exception):
    """This row cannot be added to this sketch: no operand fits, or onnxruntime has no such kernel."""


@dataclass
class Sketch:
    """Nodes, inputs, constants, and the value of everything at the point that was drawn.

    ``live``: the float values that depend on an input. ``kept``: constants that stay float32 in the double graph.
    """

    opset: int
    choices: np.random.Generator
    inputs: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    live: list[str] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    count: int = 0

    # Choices -------------------------------------------------------------------------------------------------------

    def integer(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""
        return int(self.choices.integers(low, high + 1))

    def flag(self) -> bool:
        """Heads or tails."""
        return self.integer(0, 1) == 1

    def one(self, choices: Sequence[T]) -> T:
        """One of these."""
        return choices[self.integer(0, len(choices) - 1)]

    def rng(self) -> np.random.Generator:
        """Numbers of constants, a stream of their own."""
        return np.random.default_rng(self.integer(0, 2**31))

    def name(self) -> str:
        """A name that no value has."""
        self.count += 1
        name = self.one(_STEMS).format(self.count)
        name = name if name not in self.taken else f"{name}_{self.count}"
        self.taken.add(name)
        return name

    # Operands ------------------------------------------------------------------------------------------------------

    def constant(self, array: Any, as_is: bool = False) -> str:
        """An initializer. ``as_is``: of a type that the operator fixes, also in double."""
        data = np.asarray(array)
        data = data.astype(np.float32) if data.dtype == np.float64 else data
        name = self.name()
        self.constants[name] = self.values[name] = data
        if as_is:
            self.kept.add(name)
        return name

    def ints(self, *numbers: int) -> str:
        """An int64 vector."""
        return self.constant(np.array(numbers, np.int64))

    def numbers(self, *shape: int, low: float = -1.5, high: float = 1.5) -> str:
        """A float constant, uniform."""
        return self.constant(np.asarray(self.rng().uniform(low, high, shape), np.float32))

    def pick(self, fits: Callable[[Any], bool] = lambda _: True) -> str:
        """A live float value that fits; every other time the last one, so that graphs grow deep."""
        names = [name for name in reversed(self.live) if fits(self.values[name])]
        if not names:
            raise Unfit("no operand")
        return names[0] if self.flag() else self.one(names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a value."""
        return tuple(self.values[name].shape)

    def ranked(self, least: int, most: int = 5) -> str:
        """A live value of so many axes; one is reshaped where there is none."""
        try:
            return self.pick(lambda a: least <= a.ndim <= most)
        except Unfit:
            return self.shaped(*(self.integer(1, 3) for _ in range(least)))

    def shaped(self, *shape: int) -> str:
        """A live value of exactly this shape; where there is none, one with its elements picked from another value."""
        try:
            return self.pick(lambda a: a.shape == shape)
        except Unfit:
            source, size = self.pick(), math.prod(shape)
        flat = self.node("Reshape", [source, self.ints(-1)])[0]
        total = self.values[flat].size
        if total != size:
            flat = self.node("Gather", [flat, self.constant(self.rng().integers(-total, total, size))], axis=0)[0]
        return self.node("Reshape", [flat, self.ints(*shape)])[0] if self.shape(flat) != shape else flat

    def either(self, *shape: int, low: float = -1.5, high: float = 1.5) -> str:
        """A constant of this shape, or a live value."""
        return self.numbers(*shape, low=low, high=high) if self.flag() else self.shaped(*shape)

    def within(self, name: str, low: float = -math.inf, high: float = math.inf) -> str:
        """The value, squeezed into an interval where it leaves it."""
        array = self.values[name]
        if array.min() >= low and array.max() <= high:
            return name
        high = low + 3 if math.isinf(high) else high
        factor = 0.45 * (high - low) / max(1.0, float(np.abs(array).max()))
        return self.node("Add", [self.node("Mul", [name, self.scalar(factor)])[0], self.scalar((low + high) / 2)])[0]

    def scalar(self, number: float) -> str:
        """A float constant of rank 0."""
        return self.constant(np.array(number, np.float32))

    # Nodes ---------------------------------------------------------------------------------------------------------

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        outputs: int = 1,
        domain: str = "",
        captured: Iterable[str] = (),
        omitted: Sequence[int] = (),
        **attributes: Any,
    ) -> list[str]:
        """Adds a node and runs it. ``captured``: what its subgraphs read; ``omitted``: results without a name."""
        names = ["" if i in omitted else self.name() for i in range(outputs)]
        label = self.one(("", f"/{op_type}_{self.count}", next(n for n in names if n)))
        kept = {k: v for k, v in attributes.items() if v is not None}
        node = helper.make_node(op_type, inputs, names, name=label, domain=domain, **kept)
        read = list(dict.fromkeys(n for n in (*inputs, *captured) if n))
        results = run_node(node, {n: self.values[n] for n in read}, self.constants, self.opset)
        for array in results.values():
            if array.size > MOST_ELEMENTS or array.size == 0 or (array.dtype.kind == "f" and not np.isfinite(array).all()):
                raise Unfit("too large, empty or not finite")
        self.nodes.append(node)
        self.values |= results
        floats = [n for n, a in results.items() if a.dtype == np.float32]
        if any(n in self.live or n in self.inputs or n not in self.constants for n in read):
            self.live += floats
        return names

    def add(self, row: Callable[[Sketch], None]) -> bool:
        """Adds a row; False where it does not fit, and all is as before."""
        nodes, live, values = len(self.nodes), list(self.live), dict(self.values)
        try:
            row(self)
        except Unfit:
            del self.nodes[nodes:]
            self.live, self.values = live, values
            self.constants = {n: a for n, a in self.constants.items() if n in values}
            return False
        for name in [n for n in self.live if n not in live]:
            if np.abs(self.values[name]).max() > LARGEST:
                self.live.remove(name)
                self.node("Div", [name, self.scalar(float(np.abs(self.values[name]).max()) / 3)])
        return True


def run_node(node: onnx.NodeProto, feeds: dict[str, Any], constants: dict[str, Any], opset: int) -> dict[str, Any]:
    """What onnxruntime gives for one node.

    Raises:
        Unfit: It does not run it.
    """
    model = one_node(node, feeds, constants, opset)
    try:
        session = new_session(model)
        given = {n: a for n, a in feeds.items() if n not in constants}
        names = [n for n in node.output if n]
        return dict(zip(names, map(np.asarray, session.run(names, given)), strict=True))
    except Exception as error:  # onnxruntime's exception classes share no public base below Exception
        raise Unfit(f"{node.op_type}: {str(error)[:300]}") from error


def new_session(model: onnx.ModelProto) -> ort.InferenceSession:
    """onnxruntime as it is without its optimizer, on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def one_node(node: onnx.NodeProto, feeds: dict[str, Any], constants: dict[str, Any], opset: int) -> onnx.ModelProto:
    """The model of one node: what is constant in the graph is constant in it."""
    inputs = [value_info(n, a.dtype, a.shape) for n, a in feeds.items() if n not in constants]
    outputs = [onnx.ValueInfoProto(name=n) for n in node.output if n]
    tensors = [numpy_helper.from_array(a, n) for n, a in feeds.items() if n in constants]
    return model_of([node], inputs, outputs, tensors, opset)


def model_of(nodes: Any, inputs: Any, outputs: Any, tensors: Any, opset: int) -> onnx.ModelProto:
    """A model, with onnxruntime's own domain where it is used."""
    domains = {n.domain for n in nodes if n.domain}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(helper.make_graph(nodes, "fuzz", inputs, outputs, tensors), opset_imports=opsets, ir_version=10)


def value_info(name: str, dtype: Any, shape: Sequence[int | str | None] | None) -> onnx.ValueInfoProto:
    """A declaration."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
