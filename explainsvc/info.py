"""Facts about a model, as `inspect` shows them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

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


_ORT_TYPES = {"float": "float32", "double": "float64"}


def tensor_info(declared: Any) -> TensorInfo:
    """An onnxruntime ``NodeArg``: its name, numpy type name and declared shape."""
    kind: str = declared.type.removeprefix("optional(")
    inner = kind.removeprefix("tensor(").rstrip(")") if kind.startswith("tensor(") else ""
    shape = tuple(d if isinstance(d, (int, str)) else None for d in declared.shape)
    return TensorInfo(declared.name, _ORT_TYPES.get(inner, inner), shape)


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
        passes: What was rewritten before differentiating, with the measured error.
        units: Parameter units in topological order, output side first.
        caveats: What a user must know.
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
    passes: tuple[PassInfo, ...]
    units: tuple[str, ...]
    caveats: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings; an unmeasured pass error is null."""
        facts = dataclasses.asdict(self)
        for entry in facts["passes"]:
            entry["error"] = entry["error"] if entry["error"] == entry["error"] else None
        result: dict[str, Any] = json.loads(json.dumps(facts))
        return result
