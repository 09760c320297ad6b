"""Questions: what every request about a method of a model has in common ↔ keyword arguments of ``Model``'s calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explainpb.v1.explanation_service_pb2 import CompileExplanationRequest, DryRunRequest, ExplainRequest, GetLedgerRequest
from explainsvc.codec.parameters import join, split
from explainsvc.codec.targets import from_target, to_target

Asking = ExplainRequest | CompileExplanationRequest | GetLedgerRequest | DryRunRequest
"""Requests with these fields."""


@dataclass(frozen=True)
class Question:
    """A method, and what it is asked; the fields are those of the requests."""

    method: str
    target: Any = None
    inputs: Sequence[str] | None = None
    parameters: Mapping[str, Any] | None = None
    straight_through: bool = False


def to_fields(digest: str, question: Question) -> dict[str, Any]:
    """The fields of a request about a stored model."""
    plain, arrays = split(question.parameters or {})
    return {
        "model_digest": digest,
        "method": question.method,
        "target": to_target(question.target),
        "explained_inputs": question.inputs or (),
        "parameters": plain,
        "array_parameters": arrays,
        "straight_through": question.straight_through,
    }


def from_fields(message: Asking) -> dict[str, Any]:
    """Keyword arguments of ``Model.explain`` and its kin; ``straight_through`` is no argument but a model."""
    return join(message.parameters, message.array_parameters) | {
        "method": message.method or "gradient",
        "target": from_target(message.target),
        "inputs": list(message.explained_inputs) or None,
    }
