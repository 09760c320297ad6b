"""torch's gradient in float64 where every ReLU opens as it did in onnxruntime's float32: what decides at several kinks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import onnx_ir as ir
import onnxruntime as ort
import torch
from torch.overrides import TorchFunctionMode

import explainsvc
from explainsvc.engine import build, program_of
from explainsvc.methods import find_method
from tests.models import Array

RELUS = (torch.relu, torch.relu_, torch.nn.functional.relu)
ROUNDING = 1e-4
"""How far from 0, in standard deviations of its layer, a pre-activation may be that float32 sees on the other side."""


class Gated(TorchFunctionMode):
    """Inside, ReLUs open where the next gate says. One that differs from their own must be one that rounding decides."""

    def __init__(self, gates: Iterable[Array]) -> None:
        super().__init__()
        self.gates = iter(gates)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in RELUS:
            return func(*args, **(kwargs or {}))
        z, gate = args[0], torch.tensor(next(self.gates))
        other = z.detach().abs()[(z > 0) != gate]
        assert other.numel() == 0 or other.max() < ROUNDING * z.detach().std()
        return z * gate


def gates(model: explainsvc.Model, feeds: Mapping[str, Array], seed: Array) -> list[Array]:
    """Where each Relu of the explained graph is open, in the order of the graph."""
    program = program_of(find_method("gradient"), None)
    graph = build(model, "gradient", None, program, "y", [name for name, a in feeds.items() if a.dtype.kind == "f"])
    relus = [node.outputs[0] for node in graph.graph if node.op_type == "Relu"]
    known = set(graph.graph.outputs)
    graph.graph.outputs.extend(value for value in relus if value not in known)
    session = ort.InferenceSession(ir.to_proto(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    return [a > 0 for a in session.run([value.name for value in relus], {**feeds, "explain.seed": seed})]
