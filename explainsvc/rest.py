"""The rest of a model from inner values on: a model of its own, so that every method explains a layer as it does an input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import onnx_ir as ir
from onnx_ir.passes import common

from explainsvc.attribution import Attribution
from explainsvc.autograd.shapes import Array
from explainsvc.engine import hold_against
from explainsvc.explained import find_value
from explainsvc.graph.load import Loaded, digest_of

if TYPE_CHECKING:
    from explainsvc.ledger import Ledger
    from explainsvc.model import Model

Answer = TypeVar("Answer", Attribution, "Ledger")


def inner_values(model: Model, names: Sequence[str]) -> tuple[str, ...]:
    """Those of ``names`` that are no inputs of the model but values inside its prepared graph."""
    inputs = {t.name for t in model.inputs}
    unknown = [n for n in names if n not in inputs]
    if not unknown:
        return ()
    inside = {v.name for node in model.graph for v in node.outputs}
    return tuple(n for n in dict.fromkeys(unknown) if n in inside)


def rest_at(model: Model, inner: tuple[str, ...], feeds: Mapping[str, Array]) -> tuple[Model, dict[str, Array]]:
    """The rest of the model from these values on, and its feeds where the model's are ``feeds``.

    Raises:
        PassChangedFunction: It does not compute what the model computes; seen the first time that it is asked for.
    """
    rest = model.memory.rests.get(inner) or rest_of(model, inner)
    values = model.internal(feeds) | {name: model.value_of(feeds, name) for name in inner}
    at = {t.name: values[t.name] for t in rest.inputs}
    if inner not in model.memory.rests:
        hold_against(model, feeds, rest.plain(at))
        model.memory.rests[inner] = rest
    return rest, at


def of_the_whole(model: Model, layer: Answer) -> Answer:
    """An explanation of the rest, or its ledger, as one of the model."""
    return replace(layer, model_digest=model.digest, caveats=tuple(dict.fromkeys((*model.caveats, *layer.caveats))))


def rest_of(model: Model, names: Sequence[str]) -> Model:
    """The model whose inputs are the named inner values, and those of the model's own inputs that are still needed.

    Its graph is the prepared one less what only served to compute these values.

    Raises:
        TargetOutOfRange: The graph has no such value.
    """
    rest = model.prepared.model.clone()
    for name in names:
        _cut(rest.graph, find_value(rest.graph, name))
    common.RemoveUnusedNodesPass()(rest)
    for value in [v for v in rest.graph.inputs if not (v.uses() or v.is_graph_output() or v.name in names)]:
        rest.graph.inputs.remove(value)
    proto = ir.to_proto(rest)
    data = proto.SerializeToString()
    prepared = replace(model.prepared, model=rest, upcast=False, opened=None)
    return type(model)(Loaded(proto, digest_of(data), len(data)), prepared)


def _cut(graph: ir.Graph, value: ir.Value) -> None:
    """Everything that reads ``value`` reads a new input of the same name instead."""
    name = value.name
    given = ir.Value(name=name, shape=value.shape, type=value.type)
    value.name = f"{name}.computed"
    if value.is_graph_output():
        graph.outputs.remove(value)
    value.replace_all_uses_with(given)
    graph.inputs.append(given)
