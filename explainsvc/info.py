"""Facts about a model, as `inspect` shows them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from explainsvc.autograd.shapes import shape_of
from explainsvc.graph.passes import PassInfo


@dataclass(frozen=True)
class TensorInfo:
    """An input or output: numpy type name ('string' for strings, '' where unknown), axes as int, name or None."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None

    def describe(self) -> str:
        """Such as ``float32[batch, 3, 224, 224]``."""
        if self.shape is None:
            return f"{self.dtype}[…]"
        return f"{self.dtype}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


_TYPES = {"float": "float32", "double": "float64"}


def tensor_info(declared: Any, narrow: Collection[str] = ()) -> TensorInfo:
    """An onnxruntime ``NodeArg``: its name, numpy type name and declared shape; ``narrow``: inputs whose type is bfloat16."""
    kind: str = declared.type.removeprefix("optional(")
    inner = kind.removeprefix("tensor(").rstrip(")") if kind.startswith("tensor(") else ""
    shape = tuple(d if isinstance(d, (int, str)) else None for d in declared.shape)
    return TensorInfo(declared.name, "bfloat16" if declared.name in narrow else _TYPES.get(inner, inner), shape)


_INVENTED = "unk__"
"""Starts the names that onnx's shape inference gives to lengths that it cannot tell."""


def value_info(value: ir.Value) -> TensorInfo:
    """A value of a graph, as far as its shape and type are inferred; sequences and maps have no element type."""
    kind = value.dtype.name.lower() if value.dtype is not None and isinstance(value.type, ir.TensorType) else ""
    shape = shape_of(value)
    axes = None if shape is None else tuple(None if str(d).startswith(_INVENTED) else d for d in shape)
    return TensorInfo(value.name or "", _TYPES.get(kind, kind), axes)


@dataclass(frozen=True)
class NodeInfo:
    """One node of the file, and what is made of it.

    Attributes:
        name: As the exporter wrote it; may be empty.
        operator: ``Conv``, ``com.microsoft::Attention``.
        outputs: Its results, with the shapes and types that can be inferred.
        becomes: The operators that stand for it in the graph that is differentiated; none for a constant. A node that was
            fused has those of the node that it was fused into.
        vjp: "vjp", "stop", "control", "expanded into its body", "by its real twin" (quantised), or "none: " and why.
        rules: Method with rules of its own → the rules that this node gets, in the order of ``becomes``; "refused: " and
            why; "" where no relevance comes by.
        flops: Twice the multiply-adds of one forward at the lengths of :class:`Cost`; None where shapes are not known.
    """

    name: str
    operator: str
    outputs: tuple[TensorInfo, ...]
    becomes: tuple[str, ...]
    vjp: str
    rules: dict[str, str]
    flops: int | None


@dataclass(frozen=True)
class Cost:
    """What one forward costs, told from shapes alone.

    Attributes:
        assumed: Open axis → the length that was taken for it: 1 for an axis of items, else that of the probe input. An axis
            is called by its symbol, or ``input[axis]``. A batch that the exporter fixed counts as it is.
        flops: Twice the multiply-adds of convolutions, matrix products, recurrent layers and linear models; all else counts 0.
        uncounted: Nodes among these whose shapes are not known: ``flops`` leaves them out.
        weight_bytes: Of initializers and constants, as the file stores them.
        activation_bytes: Of all results of nodes together.
        peak_bytes: The most that inputs and results need at once, in the file's order, without sharing memory.
        unsized: How many results have no known shape: the bytes leave them out.
        methods: Method → its cost in forward and backward passes, in its card's words.
    """

    assumed: dict[str, int]
    flops: int
    uncounted: tuple[str, ...]
    weight_bytes: int
    activation_bytes: int
    peak_bytes: int
    unsized: int
    methods: dict[str, str]


@dataclass(frozen=True)
class ModelInfo:
    """What a model is and what can be done with it.

    Attributes:
        digest: sha256 of what was loaded.
        producer: Name and version that the exporter wrote.
        ir_version: ONNX IR version.
        opsets: Domain → opset version.
        operators: Operator → number of nodes.
        parameters: Number of float weights.
        size_bytes: Of the file, external data included.
        inputs: The model's inputs.
        outputs: The model's outputs.
        differentiable: Input → "" where the gradient of the first float output reaches it, else why not.
        methods: Method → "" where applicable, else why not.
        alternatives: Method that is not applicable → those that are, its own family first; controls are none.
        passes: What was rewritten before differentiating, with the measured error.
        units: Parameter units in topological order, output side first.
        caveats: What a user must know.
        nodes: The nodes of the file's graph, in its order; subgraphs count as part of their node.
        cost: Of one forward.
    """

    digest: str
    producer: str
    ir_version: int
    opsets: dict[str, int]
    operators: dict[str, int]
    parameters: int
    size_bytes: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    differentiable: dict[str, str]
    methods: dict[str, str]
    alternatives: dict[str, tuple[str, ...]]
    passes: tuple[PassInfo, ...]
    units: tuple[str, ...]
    caveats: tuple[str, ...]
    nodes: tuple[NodeInfo, ...]
    cost: Cost

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings; an unmeasured pass error is null."""
        facts = dataclasses.asdict(self)
        for entry in facts["passes"]:
            entry["error"] = entry["error"] if entry["error"] == entry["error"] else None
        result: dict[str, Any] = json.loads(json.dumps(facts))
        return result
