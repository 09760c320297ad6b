"""What comes out: attributions, model facts, rows, verdicts and cards ↔ their messages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import ParseDict

import explainsvc
from explainpb.v1 import audit_service_pb2, explanation_service_pb2, model_service_pb2
from explainpb.worker.v1 import worker_pb2
from explainsvc.attribution import Attribution
from explainsvc.cards import Card, ParameterCard
from explainsvc.checks.journal import Finished
from explainsvc.checks.pace import Standing
from explainsvc.checks.rows import Row
from explainsvc.codec.parameters import from_struct, from_value, to_struct, to_value
from explainsvc.codec.targets import from_resolved, to_resolved
from explainsvc.codec.tensors import fill_named, fill_tensor, from_named, from_tensor
from explainsvc.info import ModelInfo
from explainsvc.report.report import Report

STAGES = ("queue", "load", "compute")
CARD_TEXTS = [field.name for field in dataclasses.fields(Card) if field.name not in ("parameters", "axioms")]


def to_attribution(attribution: Attribution) -> explanation_service_pb2.Attribution:
    """The message of a result."""
    message = explanation_service_pb2.Attribution()
    fill_named(message.values, attribution.values, "values")
    fill_facts(message, attribution)
    return message


def fill_facts(message: explanation_service_pb2.Attribution, attribution: Attribution) -> None:
    """All of it but its values, into a message where it lies: what it is given is copied once."""
    tensors = {"output_value": attribution.output_value, "baseline_value": attribution.baseline_value}
    for name, array in (tensors | {"residual": attribution.residual}).items():
        if array is not None:
            fill_tensor(getattr(message, name), array)
    message.method = attribution.method
    message.target.CopyFrom(to_resolved(attribution.target))
    message.parameters.CopyFrom(to_struct(attribution.parameters))
    message.seed = attribution.seed
    message.model_digest = attribution.model_digest
    message.versions.update(attribution.versions)
    message.caveats.extend(attribution.caveats)


def from_attribution(message: explanation_service_pb2.Attribution) -> Attribution:
    """The result, bit for bit."""
    return Attribution(
        method=message.method,
        values=from_named(message.values, "values"),
        target=from_resolved(message.target),
        output_value=from_tensor(message.output_value),
        baseline_value=from_tensor(message.baseline_value) if message.HasField("baseline_value") else None,
        residual=from_tensor(message.residual) if message.HasField("residual") else None,
        parameters=parameters_in_force(message),
        seed=message.seed,
        model_digest=message.model_digest,
        versions=dict(message.versions),
        caveats=tuple(message.caveats),
        timings={stage: getattr(message.timings, f"{stage}_milliseconds") for stage in STAGES},
    )


def parameters_in_force(message: explanation_service_pb2.Attribution | explanation_service_pb2.Ledger) -> dict[str, Any]:
    """The parameters in force, floats where the method's card says so: a ``Struct`` cannot tell 1.0 from 1."""
    card = explainsvc.methods().get(message.method)
    kinds = {} if card is None else {parameter.name: parameter.type for parameter in card.parameters}
    return {name: as_floats(value, kinds.get(name, "")) for name, value in from_struct(message.parameters).items()}


def as_floats(value: Any, kind: str) -> Any:
    """An int as float for the kinds of parameters that hold floats."""
    return float(value) if kind in ("float", "value") and type(value) is int else value


def to_info(info: ModelInfo) -> model_service_pb2.ModelInfo:
    """The message of a model's facts; its fields are those of ``ModelInfo.to_json``."""
    document = info.to_json()
    tensors = {kind: [to_tensor_info(tensor) for tensor in document[kind]] for kind in ("inputs", "outputs")}
    nodes = [node | {"outputs": [to_tensor_info(tensor) for tensor in node["outputs"]]} for node in document["nodes"]]
    others = {name: {"names": names} for name, names in document["alternatives"].items()}
    return ParseDict(document | tensors | {"nodes": nodes, "alternatives": others}, model_service_pb2.ModelInfo())


def to_tensor_info(tensor: Mapping[str, Any]) -> dict[str, Any]:
    """An input or output, as JSON of its message."""
    names = {int: "size", str: "symbol"}
    shape = tensor["shape"]
    axes = None if shape is None else [{} if axis is None else {names[type(axis)]: axis} for axis in shape]
    return {**tensor, "shape": None if axes is None else {"dimensions": axes}}


def from_info(message: model_service_pb2.ModelInfo) -> dict[str, Any]:
    """``ModelInfo.to_json()``, as it was."""
    return {
        "digest": message.digest,
        "producer": message.producer,
        "ir_version": message.ir_version,
        "opsets": dict(message.opsets),
        "operators": dict(message.operators),
        "parameters": message.parameters,
        "size_bytes": message.size_bytes,
        "inputs": [from_tensor_info(tensor) for tensor in message.inputs],
        "outputs": [from_tensor_info(tensor) for tensor in message.outputs],
        "differentiable": dict(message.differentiable),
        "methods": dict(message.methods),
        "alternatives": {name: list(others.names) for name, others in message.alternatives.items()},
        "passes": [_from_pass(p) for p in message.passes],
        "units": list(message.units),
        "caveats": list(message.caveats),
        "nodes": [_from_node(node) for node in message.nodes],
        "cost": _from_cost(message.cost),
    }


def _from_node(message: model_service_pb2.NodeInfo) -> dict[str, Any]:
    return {
        "name": message.name,
        "operator": message.operator,
        "outputs": [from_tensor_info(tensor) for tensor in message.outputs],
        "becomes": list(message.becomes),
        "vjp": message.vjp,
        "rules": dict(message.rules),
        "flops": message.flops if message.HasField("flops") else None,
    }


def _from_cost(message: model_service_pb2.Cost) -> dict[str, Any]:
    return {
        "assumed": dict(message.assumed),
        "flops": message.flops,
        "uncounted": list(message.uncounted),
        "weight_bytes": message.weight_bytes,
        "activation_bytes": message.activation_bytes,
        "peak_bytes": message.peak_bytes,
        "unsized": message.unsized,
        "methods": dict(message.methods),
    }


def from_tensor_info(message: model_service_pb2.TensorInfo) -> dict[str, Any]:
    """An input or output: its name, type and axes."""
    shape = [_axis(axis) for axis in message.shape.dimensions] if message.HasField("shape") else None
    return {"name": message.name, "dtype": message.dtype, "shape": shape}


def _from_pass(message: model_service_pb2.PassInfo) -> dict[str, Any]:
    error = message.error if message.HasField("error") else None
    return {"name": message.name, "applied": message.applied, "error": error, "note": message.note}


def _axis(message: model_service_pb2.Dimension) -> int | str | None:
    extent = message.WhichOneof("extent")
    return None if extent is None else getattr(message, extent)


def to_row(row: Row) -> audit_service_pb2.AuditRow:
    """The message of a row; the fields have the same names."""
    return audit_service_pb2.AuditRow(**dataclasses.asdict(row))


def from_row(message: audit_service_pb2.AuditRow) -> Row:
    """The row."""
    return Row(**{field.name: getattr(message, field.name) for field in dataclasses.fields(Row)})


def to_finished(part: Finished) -> worker_pb2.FinishedPart:
    """The message of a finished part of an audit."""
    return worker_pb2.FinishedPart(part=part.part, seconds=part.seconds, rows=map(to_row, part.rows))


def from_finished(message: worker_pb2.FinishedPart) -> Finished:
    """The part, bit for bit."""
    return Finished(tuple(message.part), message.seconds, tuple(map(from_row, message.rows)))


def to_progress(standing: Standing) -> audit_service_pb2.Progress:
    """How far an audit is; the time left in whole milliseconds."""
    progress = audit_service_pb2.Progress(done=standing.done, total=standing.total, what=standing.what)
    if standing.remaining is not None:
        progress.remaining.FromMilliseconds(round(1000 * standing.remaining))
    return progress


def from_progress(message: audit_service_pb2.Progress) -> Standing:
    """How far an audit is."""
    remaining = message.remaining.ToMilliseconds() / 1000 if message.HasField("remaining") else None
    return Standing(message.done, message.total, message.what, remaining)


def to_verdicts(report: Report) -> list[audit_service_pb2.Verdict]:
    """The verdicts of a report, with their reasons."""
    return [
        audit_service_pb2.Verdict(method=method, check=check, verdict=verdict, reason=report.reasons.get((method, check), ""))
        for (method, check), verdict in report.verdicts.items()
    ]


def to_card(card: Card) -> explanation_service_pb2.Card:
    """The message of a card; the fields have the same names."""
    texts = {name: getattr(card, name) for name in CARD_TEXTS}
    axioms = {str(axiom): str(manner) for axiom, manner in card.axioms.items()}
    return explanation_service_pb2.Card(**texts, parameters=map(_to_parameter_card, card.parameters), axioms=axioms)


def _to_parameter_card(card: ParameterCard) -> explanation_service_pb2.ParameterCard:
    return explanation_service_pb2.ParameterCard(
        name=card.name,
        type=card.type,
        default=to_value(card.default, card.name),
        description=card.description,
        range=card.range,
    )


def from_card(message: explanation_service_pb2.Card) -> Card:
    """The card."""
    texts = {name: getattr(message, name) for name in CARD_TEXTS}
    axioms: Any = dict(sorted(message.axioms.items()))  # names that a newer server knows are shown as they are
    return Card(**texts, parameters=tuple(_from_parameter_card(p) for p in message.parameters), axioms=axioms)


def _from_parameter_card(message: explanation_service_pb2.ParameterCard) -> ParameterCard:
    default = as_floats(from_value(message.default), message.type)
    return ParameterCard(
        name=message.name,
        type=message.type,
        default=tuple(default) if isinstance(default, list) else default,
        description=message.description,
        range=message.range,
    )
