"""What a method would do at every node between inputs and target: nothing is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import onnx_ir as ir

from explainsvc.cards import plain, read_params
from explainsvc.errors import ExplainsvcError
from explainsvc.inspection import target_name, wanted_inputs
from explainsvc.methods import find_method
from explainsvc.nodes import operator_name
from explainsvc.rest import inner_values, rest_of
from explainsvc.target import Target
from explainsvc.trials import Trials

if TYPE_CHECKING:
    from explainsvc.model import Model


@dataclass(frozen=True)
class NodeRule:
    """One node of the prepared graph on the way from the inputs to the target.

    Attributes:
        name: Of the node, as a rulebook's globs see it.
        operator: ``Conv``, ``com.microsoft::Attention``.
        results: Names of its results, which globs see too.
        rule: Name of the rule, else "vjp", "stop" or "control".
        parameters: Of the rule, in force.
        refusal: Why the rule refuses the node; empty where it does not.
    """

    name: str
    operator: str
    results: tuple[str, ...]
    rule: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings."""
        document: dict[str, Any] = plain(asdict(self))
        return document


@dataclass(frozen=True)
class DryRun:
    """What a method would do.

    Attributes:
        method: Name of the method.
        output: Name of the value that would be explained.
        inputs: Names of the inputs that would be explained.
        nodes: Every node on the way from them to it, in the order of the prepared graph.
    """

    method: str
    output: str
    inputs: tuple[str, ...]
    nodes: tuple[NodeRule, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings."""
        document: dict[str, Any] = plain(asdict(self))
        return document


@runtime_checkable
class _Telling(Protocol):
    """A rulebook that knows its rules by name and parameters."""

    def treatment(self, node: ir.Node) -> tuple[str, Mapping[str, Any]]:
        """Rule and parameters."""


def dry_run(
    model: Model, /, method: str, target: Target = None, *, inputs: Sequence[str] | None = None, **parameters: Any
) -> DryRun:
    """See :meth:`explainsvc.model.Model.dry_run`."""
    found = find_method(method)
    params: Any = read_params(found.params, parameters, method)
    if inner := inner_values(model, inputs or ()):
        return dry_run(model.memory.rests.get(inner) or rest_of(model, inner), method, target, inputs=inputs, **parameters)
    output, _ = target_name(model, found, target)
    wanted = wanted_inputs(model, inputs, found, output)
    rulebook, told, tried = Trials(model).surveyed(found, params, output, wanted)
    nodes = tuple(_node_rule(node, rulebook, told[node].treatment, tried[node].refusal) for node in told)
    return DryRun(method, output, wanted, nodes)


def treatment_by(rulebook: object, node: ir.Node) -> tuple[str, Mapping[str, Any]] | None:
    """Rule and parameters in force, where the rulebook tells them."""
    return rulebook.treatment(node) if isinstance(rulebook, _Telling) else None


def _node_rule(node: ir.Node, rulebook: object, treatment: str, refusal: ExplainsvcError | None) -> NodeRule:
    rule, parameters = treatment_by(rulebook, node) or (treatment, {})
    names = tuple(v.name or "" for v in node.outputs)
    reason = "" if refusal is None else str(refusal)
    return NodeRule(node.name or "", operator_name(node), names, rule, plain(parameters), reason)
