"""What a model remembers of earlier questions; none of it changes an answer."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from explainsvc.autograd.shapes import Array

if TYPE_CHECKING:
    from explainsvc.model import Model


@dataclass(eq=False)
class Memory:
    """Of one model.

    Attributes:
        verified: Explained graphs that were held against the plain model.
        rests: Inner values → the rest of the model from there on.
        shapes: The explained value for inputs of these shapes, without its numbers.
        separable: Pairs of items → whether each gave the same alone.
    """

    verified: set[Hashable] = field(default_factory=set)
    rests: dict[tuple[str, ...], Model] = field(default_factory=dict)
    shapes: dict[Hashable, Array] = field(default_factory=dict)
    separable: dict[Hashable, bool] = field(default_factory=dict)
