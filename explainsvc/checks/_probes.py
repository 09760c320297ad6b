"""Questions with a known answer: a model with one more input, explained beside the old ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from explainsvc.autograd.shapes import Array
from explainsvc.check import Explained, Subject
from explainsvc.checks import _surgery as surgery
from explainsvc.checks import maps
from explainsvc.errors import MethodNotApplicable
from explainsvc.method import Request, silent
from explainsvc.model import Model

PER_INPUT = ("baseline", "background", "feature_mask")
"""Parameters of methods that may be given input by input."""


@dataclass(frozen=True)
class Twin:
    """A model in which every explained input has a partner.

    Attributes:
        model: Computes what the subject's model computes.
        feeds: For all its inputs.
        partners: Explained input → the added one.
    """

    model: Model
    feeds: dict[str, Array]
    partners: dict[str, str]

    def explained(self, subject: Subject, e: Explained) -> tuple[Array, Array]:
        """The map of the old inputs and that of the added ones, [item, element] each, in one explanation."""
        wanted = (*e.wanted, *(self.partners[name] for name in e.wanted))
        request = Request(self.model, self.feeds, wanted, e.target, subject.seed, silent)
        values = maps.attribute(e.method, self._params(e), request).values
        own = maps.flat({name: values[name] for name in e.wanted}, request.batched)
        added = maps.flat({name: values[self.partners[name]] for name in e.wanted}, request.batched)
        return own, added

    def _params(self, e: Explained) -> Any:
        """The method's parameters; what is given for an input (a baseline, background rows) holds for its partner too."""
        own = {f.name: getattr(e.params, f.name) for f in dataclasses.fields(e.params)}
        given = {n: v for n, v in own.items() if n in PER_INPUT and isinstance(v, (Mapping, np.ndarray))}
        by_input = {n: dict(v) if isinstance(v, Mapping) else dict.fromkeys(e.wanted, v) for n, v in given.items()}
        both = {n: v | {self.partners[x]: v[x] for x in e.wanted if x in v} for n, v in by_input.items()}
        return dataclasses.replace(e.params, **both)


def with_dummies(subject: Subject, names: Sequence[str]) -> Twin:
    """Each input x is read as x + 0·d: d, of the shape of x, holds other items' values, and S does not depend on it."""
    _require_floats(subject, names)
    partners = {name: f"{surgery.TAG}dummy.{name}" for name in names}

    def made(copy: onnx.ModelProto, x: str, result: str) -> list[onnx.NodeProto]:
        d = surgery.add_input(copy, x, partners[x])
        nothing, zero = f"{d}.nothing", surgery.number(copy, x, 0.0)
        return [
            helper.make_node("Mul", [d, zero], [nothing], f"{d}.mul"),
            helper.make_node("Add", [x, nothing], [result], f"{d}.add"),
        ]

    proto = surgery.before_inputs(subject.model.proto, names, made)
    others = {partners[name]: _other_values(subject.feeds[name]) for name in names}
    return Twin(surgery.as_model(proto), {**subject.feeds, **others}, partners)


def with_halves(subject: Subject, names: Sequence[str]) -> Twin:
    """Each input x is read as a/2 + b/2 and given twice, a = b = x: exchanging a and b changes S nowhere."""
    _require_floats(subject, names)
    partners = {name: f"{surgery.TAG}twin.{name}" for name in names}

    def made(copy: onnx.ModelProto, x: str, result: str) -> list[onnx.NodeProto]:
        other = surgery.add_input(copy, x, partners[x])
        half = surgery.number(copy, x, 0.5)
        halves = [f"{other}.first", f"{other}.second"]
        muls = [helper.make_node("Mul", [v, half], [h], f"{h}.mul") for v, h in zip((x, other), halves, strict=True)]
        return [*muls, helper.make_node("Add", halves, [result], f"{other}.add")]

    proto = surgery.before_inputs(subject.model.proto, names, made)
    return Twin(surgery.as_model(proto), {**subject.feeds, **{partners[n]: subject.feeds[n].copy() for n in names}}, partners)


def _other_values(x: Array) -> Array:
    """Of the next item; of one item its elements backwards."""
    return np.roll(x, 1, axis=0) if x.ndim and len(x) > 1 else x.reshape(-1)[::-1].reshape(x.shape)


def _require_floats(subject: Subject, names: Sequence[str]) -> None:
    for name in names:
        if subject.feeds[name].dtype.kind != "f":
            raise MethodNotApplicable("cannot be given a partner", where=f'input "{name}"', expected="an input of float numbers")
