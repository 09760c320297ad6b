"""Ledgers and dry runs ↔ their messages."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from explainpb.v1 import explanation_service_pb2 as pb
from explainsvc.codec.parameters import from_struct, to_struct
from explainsvc.codec.results import as_floats, parameters_in_force
from explainsvc.codec.targets import from_resolved, to_resolved
from explainsvc.dry_run import DryRun, NodeRule
from explainsvc.ledger import Account, Ledger


def to_ledger(ledger: Ledger) -> pb.Ledger:
    """The message of a ledger."""
    return pb.Ledger(
        method=ledger.method,
        target=to_resolved(ledger.target),
        explained_inputs=ledger.inputs,
        start=ledger.start,
        accounts=map(_to_account, ledger.accounts),
        values=_to_relevance(ledger.values),
        parameters=to_struct(ledger.parameters),
        model_digest=ledger.model_digest,
        versions=ledger.versions,
        caveats=ledger.caveats,
    )


def from_ledger(message: pb.Ledger) -> Ledger:
    """The ledger, bit for bit."""
    return Ledger(
        method=message.method,
        target=from_resolved(message.target),
        inputs=tuple(message.explained_inputs),
        start=message.start,
        accounts=tuple(map(_from_account, message.accounts)),
        values=_from_relevance(message.values),
        parameters=parameters_in_force(message),
        model_digest=message.model_digest,
        versions=dict(message.versions),
        caveats=tuple(message.caveats),
    )


def _to_account(account: Account) -> pb.Account:
    fields = {field.name: getattr(account, field.name) for field in dataclasses.fields(account)}
    return pb.Account(**fields | {"handed_on": _to_relevance(account.handed_on)})


def _from_account(message: pb.Account) -> Account:
    fields = {field.name: getattr(message, field.name) for field in dataclasses.fields(Account)}
    return Account(**fields | {"results": tuple(message.results), "handed_on": _from_relevance(message.handed_on)})


def _to_relevance(sums: Mapping[str, float]) -> list[pb.Relevance]:
    """In order: a protobuf map has none."""
    return [pb.Relevance(name=name, sum=number) for name, number in sums.items()]


def _from_relevance(messages: Iterable[pb.Relevance]) -> dict[str, float]:
    return {message.name: message.sum for message in messages}


def to_plan(plan: DryRun) -> pb.RulePlan:
    """The message of a dry run."""
    nodes = map(_to_node_rule, plan.nodes)
    return pb.RulePlan(method=plan.method, output=plan.output, explained_inputs=plan.inputs, nodes=nodes)


def from_plan(message: pb.RulePlan) -> DryRun:
    """The dry run, as it was."""
    nodes = tuple(map(_from_node_rule, message.nodes))
    return DryRun(message.method, message.output, tuple(message.explained_inputs), nodes)


def _to_node_rule(node: NodeRule) -> pb.NodeRule:
    fields = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
    return pb.NodeRule(**fields | {"parameters": to_struct(node.parameters)})


def _from_node_rule(message: pb.NodeRule) -> NodeRule:
    fields = {field.name: getattr(message, field.name) for field in dataclasses.fields(NodeRule)}
    return NodeRule(**fields | {"results": tuple(message.results), "parameters": _rule_parameters(message)})


def _rule_parameters(message: pb.NodeRule) -> dict[str, Any]:
    """In the order of the rule's own, floats where it has floats: a ``Struct`` knows neither."""
    kinds = {field.name: field.metadata["kind"] for field in _known_fields(message.rule)}
    found = from_struct(message.parameters)
    return {name: as_floats(found[name], kinds.get(name, "")) for name in (*kinds, *found) if name in found}


def _known_fields(rule: str) -> Sequence[dataclasses.Field[Any]]:
    """Of the rule's parameters; none in a distribution without the files of LRP."""
    if find_spec("explainsvc.rules.lrp_table") is None:
        return ()
    rules = import_module("explainsvc.rules.lrp_table").RULES
    return dataclasses.fields(rules[rule].params) if rule in rules else ()
