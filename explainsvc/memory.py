"""What a model remembers of earlier questions; none of it changes an answer."""

from __future__ import annotations

from collections.abc import Hashable, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from explainsvc.autograd.shapes import Array
from explainsvc.digests import Line

if TYPE_CHECKING:
    from explainsvc.model import Model
    from explainsvc.optimised import Optimised

MOST = 256
"""Answers of a kind, per model; inputs of every size must not add up."""
K = TypeVar("K")
V = TypeVar("V")


def remember(known: MutableMapping[K, V], key: K, value: V) -> V:
    """The value, kept under its key; where that would be one too many, all others are forgotten."""
    if key not in known and len(known) >= MOST:
        known.clear()
    known[key] = value
    return value


@dataclass(eq=False)
class Memory:
    """Of one model.

    Attributes:
        verified: Explained graphs that were held against the plain model.
        rests: Inner values → the rest of the model from there on.
        shapes: The explained value for inputs of these shapes, without its numbers.
        separable: Pairs of items → whether each gave the same alone.
        templates: Explained graphs of this model with other weights, as onnxruntime optimised them.
        hashed: What its prepared file is hashed to, tensor by tensor; empty before it was.
    """

    verified: set[Hashable] = field(default_factory=set)
    rests: dict[tuple[str, ...], Model] = field(default_factory=dict)
    shapes: dict[Hashable, Array] = field(default_factory=dict)
    separable: dict[Hashable, bool] = field(default_factory=dict)
    templates: dict[Hashable, Optimised] = field(default_factory=dict)
    hashed: list[Line] = field(default_factory=list)
