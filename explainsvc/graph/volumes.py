"""Bounds on what the nodes compute: volumes of values, and trip counts of loops, as far as constants tell.

An abstract run of the graph, node by node in its order, on types, static shapes and small constants. The first value
that would be too large is refused before anything, an inference included, builds on it. Functions are entered call by
call; :mod:`explainsvc.graph.limits` has bounded how many nodes that makes.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper

from explainsvc.graph.facts import UNKNOWN, Fact, inferred, of_array, of_sparse, of_tensor, shape_arithmetic
from explainsvc.graph.folding import SMALL, constant_value, folded
from explainsvc.graph.limits import Key, Limits, exceeded, function_key, functions_of, node_name, subgraphs

SIZED_BY: dict[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,), "Expand": (1,), "Tile": (1,), "Range": (0, 1, 2), "Pad": (1,), "Resize": (2, 3), "Upsample": (1,),
    "OneHot": (1,), "CenterCropPad": (1,), "MaxUnpool": (2,), "Col2Im": (1,), "AffineGrid": (1,), "HannWindow": (0,),
    "HammingWindow": (0,), "BlackmanWindow": (0,), "MelWeightMatrix": (0, 1), "DFT": (1,), "CropAndResize": (3,),
}  # fmt: skip
"""Operators whose result is as large as numbers in an operand say, and which operands say it."""
SPREADING = frozenset({"Expand", "Tile", "Pad", "Resize", "Upsample"})
"""Those that multiply what operand 0 has."""
RANDOM = frozenset("RandomNormal RandomUniform RandomNormalLike RandomUniformLike Multinomial Bernoulli Dropout".split())
"""No optimizer computes them once and for all."""
FOLD_RATIO = 8
"""Stored weights pass through a few casts, transposes and dequantisations before they are used."""
FREE_SIZES = (224, 32, 8)
"""Lengths that open axes are tried with, the largest that fits: a photograph, a sentence. Batches are one item."""
LARGEST_TRIAL = 2**24
"""Elements of an input in such a trial."""

Scope = ChainMap[str, Fact]


def check_volumes(proto: onnx.ModelProto, limits: Limits, stored_bytes: int) -> None:
    """Refuses what would compute too large a value or loop too long: on any input, and on an input of modest size.

    Args:
        proto: A model that passed :func:`explainsvc.graph.limits.check_counts` and onnx.checker, external data inside.
        limits: In force.
        stored_bytes: Of all tensors of the model.

    Raises:
        ModelLimitExceeded: Names the node.
    """
    initializers = {t.name for t in proto.graph.initializer}
    given = [UNKNOWN if v.name in initializers else Fact(v.type) for v in proto.graph.input]
    for value, fact in zip(proto.graph.input, given, strict=True):
        _check_bytes(fact, f'input "{value.name}"', limits)
    for inputs in (given, trial(given)):
        if inputs is not None:
            tally = _Tally(limits.folded_bytes + FOLD_RATIO * stored_bytes)
            run = _Run(limits, functions_of(proto), _versions(proto.opset_import), {}, tally, certain=inputs is given)
            run.graph(proto.graph, ChainMap(), inputs)


def trial(given: Sequence[Fact]) -> list[Fact] | None:
    """The inputs with lengths for all open axes; None where none is open, or none of our lengths is modest."""
    if all(None not in (fact.dims or []) for fact in given):
        return None
    for size in FREE_SIZES:
        filled = [fact.filled(1, size) for fact in given]
        if all(math.prod(d or 0 for d in fact.dims or []) <= LARGEST_TRIAL for fact in filled):
            return filled
    return None


def _versions(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {"" if o.domain == "ai.onnx" else o.domain: o.version for o in imports}


def _check_bytes(fact: Fact, where: str, limits: Limits, on: str = "") -> None:
    if fact.bytes > limits.value_bytes:
        raise exceeded("value_bytes", f"its {fact.bytes:,} bytes{on} are too many", f"{limits.value_bytes:,} bytes", where)


@dataclass
class _Tally:
    """What adds up over a run: bytes that may still be folded, and the longest nest of loops of the graph at hand."""

    folded_left: int
    trips: int = 1


@dataclass(frozen=True)
class _Run:
    """One abstract run; inside a function with that function's opsets and the call's attributes.

    ``certain``: what it finds holds for all inputs.
    """

    limits: Limits
    functions: Mapping[Key, onnx.FunctionProto]
    versions: Mapping[str, int]
    attributes: Mapping[str, onnx.AttributeProto]
    tally: _Tally
    certain: bool

    def graph(self, graph: onnx.GraphProto, outer: Scope, inputs: Sequence[Fact]) -> list[Fact]:
        """The facts of a graph's outputs."""
        scope = outer.new_child({v.name: fact for v, fact in zip(graph.input, inputs, strict=False)})
        scope.update({t.name: of_tensor(t) for t in graph.initializer})
        scope.update({s.values.name: of_sparse(s) for s in graph.sparse_initializer})
        self.nodes(graph.node, scope)
        return [scope.get(o.name, UNKNOWN) for o in graph.output]

    def nodes(self, nodes: Iterable[onnx.NodeProto], scope: MutableMapping[str, Fact]) -> None:
        """Adds the facts of all results to ``scope``."""
        for written in nodes:
            node = self._resolved(written)
            scope.update({n: f for n, f in zip(node.output, self._results(node, scope), strict=False) if n})

    def _resolved(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """References to the attributes of the function that is called, replaced by what the call says."""
        if not any(a.ref_attr_name for a in node.attribute):
            return node
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.attribute[:]
        for attribute in node.attribute:
            source = self.attributes.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
            if source is not None:
                copy.attribute.add().CopyFrom(source)
                copy.attribute[-1].name = attribute.name
        return copy

    def _results(self, node: onnx.NodeProto, scope: MutableMapping[str, Fact]) -> Sequence[Fact]:
        operands = [scope.get(name, UNKNOWN) if name else UNKNOWN for name in node.input]
        outer = scope if isinstance(scope, ChainMap) else ChainMap(scope)
        if function_key(node) in self.functions:
            return self._call(node, operands)
        if node.op_type == "Constant":
            return [_constant(node)]
        graphs = list(subgraphs(node))
        if node.op_type == "If" and len(graphs) == 2:
            return self._if(node, operands, outer)
        if node.op_type == "Loop" and len(graphs) == 1:
            return self._loop(node, graphs[0], operands, outer)
        for graph in graphs:
            self.graph(graph, outer, [UNKNOWN for _ in graph.input])
        return [UNKNOWN for _ in node.output] if graphs else self._plain(node, operands)

    def _plain(self, node: onnx.NodeProto, operands: Sequence[Fact]) -> Sequence[Fact]:
        """A node without subgraphs: its result's size is checked, then its small results are computed."""
        self._check_sized(node, operands)
        named = {name: fact for name, fact in zip(node.input, operands, strict=True) if name}
        constant = node.op_type not in RANDOM and all(fact.constant for fact in named.values())
        facts = [replace(f, constant=constant and f.is_tensor) for f in self._sized(node, operands, named)]
        for fact in facts:
            self._check(node, fact)
        shape = shape_arithmetic(node, operands)
        if shape is not None:
            return [of_array(shape)]
        values = {name: fact.value for name, fact in named.items() if fact.value is not None}
        small = all(_elements(fact) <= SMALL for fact in facts)
        results = folded(node, values, self.versions) if constant and small and len(values) == len(named) else None
        return facts if results is None else [of_array(result) for result in results]

    def _sized(self, node: onnx.NodeProto, operands: Sequence[Fact], named: Mapping[str, Fact]) -> list[Fact]:
        """Inference; where operand 0 leaves axes open, the least result of a spreading operator is checked too."""
        if node.op_type == "CropAndResize" and len(operands) > 3 and operands[3].value is not None:
            size = [int(d) for d in operands[3].value.ravel()]
            return [Fact(helper.make_tensor_type_proto(operands[0].elem_type, [1, 1, *size]))]
        facts = inferred(node, named, self.versions)
        dims = operands[0].dims if operands else None
        if node.op_type in SPREADING and (dims is None or None in dims):
            least = _ones(node, operands) if dims is None else operands[0].filled(1, 1)
            for fact in inferred(node, dict(named) | {node.input[0]: least}, self.versions):
                self._check(node, fact)
        return facts

    def _check(self, node: onnx.NodeProto, fact: Fact) -> None:
        on = "" if self.certain else " on inputs of modest size"
        _check_bytes(fact, node_name(node), self.limits, on)
        if fact.constant:
            self.tally.folded_left -= fact.bytes
            if self.tally.folded_left < 0:
                raise exceeded("folded_bytes", "what is computed from constants takes too many bytes in all",
                               f"{self.limits.folded_bytes:,} bytes and {FOLD_RATIO} times the stored tensors",
                               node_name(node))  # fmt: skip

    def _check_sized(self, node: onnx.NodeProto, operands: Sequence[Fact]) -> None:
        """A size that comes from constants must be one that can be followed: an optimizer would compute it."""
        sizes = [operands[i] for i in SIZED_BY.get(node.op_type, ()) if i < len(operands)]
        if self.certain and any(fact.constant and fact.value is None for fact in sizes):
            raise exceeded("value_bytes", "the size of its result is computed from constants in a way that cannot be followed",
                           f"{self.limits.value_bytes:,} bytes, from a shape of small constants", node_name(node))  # fmt: skip

    def _call(self, node: onnx.NodeProto, operands: Sequence[Fact]) -> list[Fact]:
        """A function of the model itself."""
        function = self.functions[function_key(node)]
        attributes = {a.name: a for a in (*function.attribute_proto, *node.attribute)}
        inner = replace(self, versions=_versions(function.opset_import), attributes=attributes)
        scope: Scope = ChainMap(dict(zip(function.input, operands, strict=False)))
        inner.nodes(function.node, scope)
        return [scope.get(name, UNKNOWN) for name in function.output]

    def _if(self, node: onnx.NodeProto, operands: Sequence[Fact], outer: Scope) -> Sequence[Fact]:
        """The branch that a constant condition takes, or both."""
        branches = {a.name: a.g for a in node.attribute if a.HasField("g")}
        flag = operands[0].value if operands else None
        taken = [n for n in ("then_branch", "else_branch") if flag is None or bool(np.all(flag)) == (n == "then_branch")]
        found = [self.graph(branches[name], outer, []) for name in taken if name in branches]
        return found[0] if len(found) == 1 else [UNKNOWN for _ in node.output]

    def _loop(self, node: onnx.NodeProto, body: onnx.GraphProto, operands: Sequence[Fact], outer: Scope) -> Sequence[Fact]:
        """A loop that provably ends by its count alone has that count; one that provably never ends is refused."""
        count, start = (operands[i] if i < len(node.input) and node.input[i] else None for i in (0, 1))
        goes = start is None or (start.value is not None and bool(np.all(start.value)))
        condition = of_array(np.array(True)) if goes else Fact(helper.make_tensor_type_proto(onnx.TensorProto.BOOL, []))
        counter = Fact(helper.make_tensor_type_proto(onnx.TensorProto.INT64, []))
        inputs = [counter, condition, *(Fact(fact.type) for fact in operands[2:])]
        before, self.tally.trips = self.tally.trips, 1
        results = self.graph(body, outer, inputs)
        inner, self.tally.trips = self.tally.trips, before
        again = results[0].value if results else None
        trips: float = 1
        if goes and again is not None and bool(np.all(again)):
            trips = math.inf if count is None else 1 if count.value is None else max(int(np.max(count.value)), 0)
        self._check_trips(node, trips * inner)
        self.tally.trips = max(before, int(trips * inner))
        states = max(len(operands) - 1, 1)
        stacked = [fact.stacked(int(trips)) for fact in results[states:]]
        for fact in stacked:
            self._check(node, fact)
        return [fact.anywhere() for fact in results[1:states]] + stacked

    def _check_trips(self, node: onnx.NodeProto, trips: float) -> None:
        limit = self.limits.loop_trips
        if trips == math.inf:
            what = "it never ends: it has no trip count, and its condition is always true"
            raise exceeded("loop_trips", what, f"{limit:,} iterations", node_name(node))
        if trips > limit:
            raise exceeded("loop_trips", f"it runs {int(trips):,} iterations", f"{limit:,} iterations", node_name(node))


def _constant(node: onnx.NodeProto) -> Fact:
    sparse = next((a.sparse_tensor for a in node.attribute if a.name == "sparse_value"), None)
    value = constant_value(node)
    if value is None:
        return UNKNOWN if sparse is None else of_sparse(sparse)
    return of_tensor(value) if isinstance(value, onnx.TensorProto) else of_array(value)


def _elements(fact: Fact) -> int:
    return math.prod(1 if d is None else d for d in fact.dims or [])


def _ones(node: onnx.NodeProto, operands: Sequence[Fact]) -> Fact:
    """The least operand 0 that fits what the other operands say of its rank."""
    sizes = [operands[i].value for i in SIZED_BY[node.op_type] if i < len(operands)]
    rank = max((value.size for value in sizes if value is not None), default=0) // (2 if node.op_type == "Pad" else 1)
    return Fact(helper.make_tensor_type_proto(operands[0].elem_type, [1] * (0 if node.op_type == "Expand" else rank)))
