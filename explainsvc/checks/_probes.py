"""Questions with a known answer: a model with one more input, explained beside the old ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        values = maps.attribute(e.method, e.params, request).values
        own = maps.flat({name: values[name] for name in e.wanted}, request.batched)
        added = maps.flat({name: values[self.partners[name]] for name in e.wanted}, request.batched)
        return own, added


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
