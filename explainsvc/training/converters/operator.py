"""How an ONNX operator becomes a torch module here: a formula of its operands, registered with onnx2torch.

onnx2torch copies the weights of Conv, Gemm, normalisations … into the module of the node, transposed or scaled where it
likes. A formula holds no numbers: a weight is an operand like any other, so that one initializer stays one tensor, with
ONNX's layout, however many nodes read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnx2torch.node_converters import registry
from onnx2torch.onnx_graph import OnnxGraph
from onnx2torch.onnx_node import OnnxNode
from onnx2torch.utils.common import OnnxMapping, OperationConverterResult

from explainsvc.errors import NotTrainable

Tensor = torch.Tensor
Given = Tensor | None
"""An operand that may be left out."""

OPERANDS = "explainsvc_operands"
"""Domain of the forms that stand for onnx2torch's own: other users of its registry keep theirs. No dot: it names modules."""
_VERSION = 1


@dataclass(frozen=True)
class Call:
    """What a formula knows of its node beside the operands."""

    attributes: Mapping[str, Any]
    outputs: int
    training: bool = False

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or what ONNX says it is where the node has none."""
        return self.attributes.get(name, default)


Formula = Callable[..., Any]
"""(call, operands in ONNX's order, None where one is left out) → the result, or a tuple of results."""


class Operator(torch.nn.Module):
    """One node: its formula, its attributes, and which operands are there."""

    def __init__(self, formula: Formula, attributes: Mapping[str, Any], present: tuple[bool, ...], outputs: int) -> None:
        super().__init__()
        self.formula, self.attributes, self.present, self.outputs = formula, dict(attributes), present, outputs

    def forward(self, *given: Tensor) -> Any:
        """The result, or all of them where the node has several."""
        operands = iter(given)
        call = Call(self.attributes, self.outputs, self.training)
        found = self.formula(call, *(next(operands) if there else None for there in self.present))
        return found[0] if isinstance(found, (tuple, list)) and self.outputs == 1 else found

    def extra_repr(self) -> str:
        """The operator's name, for torch's print of the module."""
        return self.formula.__name__.strip("_")


def operator(op_type: str, since: int) -> Callable[[Formula], Formula]:
    """Registers a formula for all versions of an operator of ONNX from ``since`` on that onnx2torch has no converter for."""

    def register(formula: Formula) -> Formula:
        for version in versions_of(op_type, since):
            add_missing(op_type, version, _converter(formula))
        return formula

    return register


def operand_form(op_type: str) -> Callable[[Formula], Formula]:
    """Registers a formula that stands for onnx2torch's own converter in our conversions only; see :data:`OPERAND_FORMS`."""

    def register(formula: Formula) -> Formula:
        OPERAND_FORMS.add(op_type)
        add_missing(op_type, _VERSION, _converter(formula), OPERANDS)
        return formula

    return register


OPERAND_FORMS: set[str] = set()
"""Operators of ONNX that are converted by a formula of their own."""


def add_missing(op_type: str, version: int, converter: Formula, domain: str = "") -> None:
    """Adds a converter to onnx2torch's registry where it has none for exactly this version."""
    if registry.OperationDescription(domain, op_type, version) not in registry._CONVERTER_REGISTRY:
        registry.add_converter(op_type, version, domain)(converter)


def versions_of(op_type: str, since: int) -> list[int]:
    """The versions of an operator that this onnx knows."""
    schemas = onnx.defs.get_all_schemas_with_history()
    return sorted(s.since_version for s in schemas if s.name == op_type and s.domain == "" and s.since_version >= since)


def _converter(formula: Formula) -> Formula:
    def convert(node: OnnxNode, _graph: OnnxGraph) -> OperationConverterResult:
        present = tuple(bool(name) for name in node.input_values)
        module = Operator(formula, node.attributes, present, len(node.output_values))
        operands = tuple(name for name in node.input_values if name)
        return OperationConverterResult(module, OnnxMapping(operands, node.output_values))

    return convert


def refuse_others(call: Call, **plain: Any) -> None:
    """Refuses values of attributes that a formula does not know.

    Raises:
        NotTrainable: Names the attribute; the walk adds the node.
    """
    for name, value in plain.items():
        if call.get(name, value) != value:
            raise NotTrainable(f"its attribute {name} is {call.get(name)}", expected=f"{name} = {value}")


def single_result(call: Call, most: int = 1) -> None:
    """Refuses results beyond the first ``most``, such as the indices of a MaxPool.

    Raises:
        NotTrainable: Something reads them.
    """
    if call.outputs > most:
        raise NotTrainable(f"something reads its result {most + 1}", expected=f"{most} result(s)")
