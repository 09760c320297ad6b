"""Static limits: what a model may hold, counted on the proto before onnxruntime or any inference sees it.

Nothing here expands, unpacks or allocates what it counts: functions are counted on their call graph, tensors by the
dimensions that they declare. What the nodes would compute is bounded in :mod:`explainsvc.graph.volumes`.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx

from explainsvc.errors import InvalidParameter, ModelLimitExceeded, ModelMalformed, ModelUnsupported, Violation

PREFIX = "EXPLAINSVC_LIMIT_"
REGISTERED = ("ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc")
"""The domains that a plain build of onnxruntime registers operators for."""


def _limit(default: int, text: str) -> int:
    number: int = field(default=default, metadata={"text": text})
    return number


@dataclass(frozen=True)
class Limits:
    """What a model may be. Every number is a keyword, and a variable ``EXPLAINSVC_LIMIT_<NAME>``."""

    file_bytes: int = _limit(2**31 - 1, "of all files of a model; protobuf cannot hold a longer message")
    nodes: int = _limit(100_000, "nodes as written, in all graphs and functions")
    expanded_nodes: int = _limit(200_000, "nodes once every function is inlined")
    initializer_bytes: int = _limit(2**31 - 1, "of all tensors that the model holds")
    subgraph_depth: int = _limit(32, "nesting of subgraphs and function calls")
    value_bytes: int = _limit(2**30, "of one value that a node computes, as far as constants and declared shapes tell")
    folded_bytes: int = _limit(2**30, "of all values computed from constants, on top of eight times the stored tensors")
    loop_trips: int = _limit(1_000_000, "iterations of nested loops whose counts are constant")
    oldest_opset: int = _limit(1, "of the ONNX domain")
    newest_opset: int = _limit(onnx.defs.onnx_opset_version(), "of the ONNX domain")
    domains: tuple[str, ...] = field(default=REGISTERED, metadata={"text": "of operators that are not local functions"})
    nested_external_data: bool = field(default=True, metadata={"text": "whether external data may lie in folders"})

    def environment(self) -> dict[str, str]:
        """The variables that :func:`configured` reads back."""
        return {PREFIX + one.name.upper(): _written(getattr(self, one.name)) for one in dataclasses.fields(self)}


def _written(value: int | bool | tuple[str, ...]) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(int(value))


def configured(environment: Mapping[str, str] = os.environ) -> Limits:
    """The limits in force: ``EXPLAINSVC_LIMIT_*``, then defaults.

    Raises:
        InvalidParameter: A variable cannot be read; all of them together.
    """
    given: dict[str, int | bool | tuple[str, ...]] = {}
    violations = []
    for one in dataclasses.fields(Limits):
        text = environment.get(PREFIX + one.name.upper())
        if text is None:
            continue
        if one.name == "domains":
            given[one.name] = tuple(filter(None, text.split(",")))
        elif text.strip().isdigit():
            given[one.name] = bool(int(text)) if one.name == "nested_external_data" else int(text)
        else:
            violations.append(Violation(PREFIX + one.name.upper(), f"{text!r} is no number of at least 0"))
    if violations:
        raise InvalidParameter("the limits of models are not usable", violations=violations)
    return Limits(**given)  # type: ignore[arg-type]  # every value was read for its own field


def exceeded(name: str, what: str, limit: object, where: str = "") -> ModelLimitExceeded:
    """The refusal of one limit; it names the keyword and the variable that raise it."""
    to_do = f"Where the model is trusted, raise {name} of explainsvc.Limits, or {PREFIX}{name.upper()}"
    return ModelLimitExceeded(what, where=where, expected=f"at most {limit}", to_do=to_do)


def node_name(node: onnx.NodeProto) -> str:
    """How a user finds this node: name and operator."""
    return f'node "{node.name or next(iter(node.output), "")}" ({node.op_type})'


def domain_of(node: onnx.NodeProto) -> str:
    """The node's domain; the ONNX one has two names."""
    return "" if node.domain == "ai.onnx" else node.domain


Key = tuple[str, str, str]


def function_key(node: onnx.NodeProto) -> Key:
    """What a call has in common with the function that it calls."""
    return (domain_of(node), node.op_type, node.overload)


def functions_of(proto: onnx.ModelProto) -> dict[Key, onnx.FunctionProto]:
    """The model's own functions."""
    return {("" if f.domain == "ai.onnx" else f.domain, f.name, f.overload): f for f in proto.functions}


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """These nodes and those of all their subgraphs."""
    waiting = [iter(nodes)]
    while waiting:
        for node in waiting.pop():
            yield node
            waiting += [iter(graph.node) for graph in subgraphs(node)]


def check_counts(proto: onnx.ModelProto, limits: Limits) -> None:
    """Opsets, domains, nodes, nesting and expanded functions.

    Raises:
        ModelUnsupported: An opset or a domain that is not allowed.
        ModelLimitExceeded: Too many nodes, or too deep.
        ModelMalformed: A function calls itself.
    """
    _check_opsets(proto, limits)
    functions = functions_of(proto)
    count = 0
    for node in all_nodes([*proto.graph.node, *(n for f in proto.functions for n in f.node)]):
        count += 1  # noqa: SIM113
        if count > limits.nodes:
            raise exceeded("nodes", f"the model has more than {limits.nodes} nodes", f"{limits.nodes} nodes")
        _check_domain(node, functions, limits)
    _Expansion(functions, limits).of_graph(proto.graph.node)


def _check_opsets(proto: onnx.ModelProto, limits: Limits) -> None:
    imports = [*proto.opset_import, *(o for f in proto.functions for o in f.opset_import)]
    for opset in imports:
        if opset.domain in ("", "ai.onnx") and not limits.oldest_opset <= opset.version <= limits.newest_opset:
            raise ModelUnsupported(
                f"the model uses opset {opset.version}",
                where="opset_import",
                expected=f"an opset from {limits.oldest_opset} to {limits.newest_opset}",
                to_do="Export it again with an older opset",
            )


def _check_domain(node: onnx.NodeProto, functions: Mapping[Key, object], limits: Limits) -> None:
    domain = domain_of(node) or "ai.onnx"
    if domain not in limits.domains and function_key(node) not in functions:
        raise ModelUnsupported(
            f"the operator {domain}::{node.op_type} is of a domain that is not allowed",
            where=node_name(node),
            expected=f"an operator of {', '.join(limits.domains)}, or a function of the model itself",
            to_do="Replace the operator by standard ones and export again",
        )


@dataclass
class _Expansion:
    """Nodes and depth of everything once functions are inlined, computed bottom-up and once a function."""

    functions: Mapping[Key, onnx.FunctionProto]
    limits: Limits
    known: dict[Key, tuple[int, int]] = field(default_factory=dict)
    open: list[Key] = field(default_factory=list)

    def of_graph(self, nodes: Iterable[onnx.NodeProto], depth: int = 0) -> tuple[int, int]:
        """(number of nodes, depth) of a body at this depth below the outermost graph."""
        self._check_depth(depth)
        total, deepest = 0, 0
        for node in nodes:
            parts = [self.of_graph(graph.node, depth + 1) for graph in subgraphs(node)]
            if (key := function_key(node)) in self.functions:
                parts.append(self._of_function(key, depth + 1))
            total += 1 + sum(count for count, _ in parts)
            deepest = max(deepest, *(1 + below for _, below in parts), 0)
            if total > self.limits.expanded_nodes:
                raise exceeded("expanded_nodes", f"functions expand to more than {self.limits.expanded_nodes} nodes",
                               f"{self.limits.expanded_nodes} nodes", self._where(node))  # fmt: skip
        return total, deepest

    def _of_function(self, key: Key, depth: int) -> tuple[int, int]:
        if key in self.open:
            raise ModelMalformed("a function calls itself", where=f'function "{key[1]}"', expected="calls that end")
        if key not in self.known:
            self.open.append(key)
            self.known[key] = self.of_graph(self.functions[key].node, depth)
            self.open.pop()
        self._check_depth(depth + self.known[key][1])
        return self.known[key]

    def _check_depth(self, depth: int) -> None:
        limit = self.limits.subgraph_depth
        if depth > limit:
            what = f"subgraphs and function calls are nested deeper than {limit}"
            raise exceeded("subgraph_depth", what, f"{limit} levels", self._where())

    def _where(self, node: onnx.NodeProto | None = None) -> str:
        return node_name(node) if node is not None else f'function "{self.open[-1][1]}"' if self.open else ""


# Tensors ------------------------------------------------------------------------------------------------------------


def bits_of(elem_type: int) -> int:
    """Of one element in memory; strings count as their pointer."""
    narrow = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6, "STRING": 64}
    known = onnx.TensorProto.DataType.keys()[onnx.TensorProto.DataType.values().index(elem_type)]
    return narrow.get(known) or 8 * onnx.helper.tensor_dtype_to_np_dtype(elem_type).itemsize


def declared_bytes(elem_type: int, dims: Iterable[int]) -> int:
    """What a tensor of this type and shape takes in memory; 0 for a type that does not exist."""
    if elem_type not in onnx.TensorProto.DataType.values() or elem_type == onnx.TensorProto.UNDEFINED:
        return 0
    return -(-math.prod(dims) * bits_of(elem_type) // 8)


def check_tensors(dense: Iterable[onnx.TensorProto], sparse: Iterable[onnx.SparseTensorProto], limits: Limits) -> int:
    """The bytes that all tensors declare, sparse ones as if dense: that is how they are loaded.

    Raises:
        ModelMalformed: A negative dimension.
        ModelLimitExceeded: Too many bytes.
    """
    total = 0
    shapes = [(t.name, t.data_type, t.dims) for t in dense] + [(s.values.name, s.values.data_type, s.dims) for s in sparse]
    for name, elem_type, dims in shapes:
        if any(d < 0 for d in dims):
            raise ModelMalformed(
                "a tensor has a negative dimension", where=f'tensor "{name}"', expected="dimensions of 0 or more"
            )
        total += declared_bytes(elem_type, dims)
        if total > limits.initializer_bytes:
            raise exceeded("initializer_bytes", f"the model's tensors take more than {limits.initializer_bytes} bytes",
                           f"{limits.initializer_bytes} bytes", f'tensor "{name}"')  # fmt: skip
    return total


def check_held(tensor: onnx.TensorProto) -> None:
    """A tensor must hold the elements that its dimensions declare: onnxruntime allocates before it looks.

    Raises:
        ModelMalformed: It holds fewer.
    """
    wanted = math.prod(tensor.dims)
    if tensor.HasField("raw_data"):
        enough = len(tensor.raw_data) >= declared_bytes(tensor.data_type, tensor.dims)
    else:
        fields = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data,
                  tensor.string_data)  # fmt: skip
        known = tensor.data_type != onnx.TensorProto.UNDEFINED and tensor.data_type in onnx.TensorProto.DataType.values()
        packed = max(1, 8 // bits_of(tensor.data_type)) if known else 1
        enough = max(len(values) for values in fields) * packed >= wanted
    if not enough:
        raise ModelMalformed(
            f"a tensor declares {wanted} elements and holds fewer", where=f'tensor "{tensor.name}"',
            expected="as many elements as its dimensions say", to_do="Export or download the model again",
        )  # fmt: skip
