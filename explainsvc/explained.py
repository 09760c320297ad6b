"""The explained graph: the model plus what a method emits, one ONNX graph.

Inputs: those of the model, ``explain.seed`` unless the graph finds the largest element itself, and
``explain.baseline.<input>`` where the method holds x against a baseline.
Outputs: those of the model, ``explain.<input>`` per explained input, and ``explain.target`` where the explained value is not
an output of the model. (Of a graph that is already an explained one: ``explain.explain.seed`` and so on.)
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from explainsvc.autograd import Emitter, NodeView, Rulebook, Term, backward, gradient_rulebook
from explainsvc.autograd.backward import nodes_between
from explainsvc.autograd.emit import PREFIX
from explainsvc.autograd.reference import Reference
from explainsvc.errors import NothingToDifferentiate, TargetOutOfRange
from explainsvc.info import TensorInfo

SEED = "seed"
BASELINE = "baseline."
TARGET = "target"


def prefix_in(graph: ir.Graph) -> str:
    """Starts the names that we add: ``explain.``, once more for a graph that is itself an explained one."""
    taken = [v.name or "" for v in (*graph.inputs, *graph.outputs)]
    prefix = PREFIX
    while any(name.startswith(prefix) for name in taken):
        prefix += PREFIX
    return prefix


@dataclass(frozen=True)
class Builder:
    """What a method's program writes with: the graph's values as terms, and the backward walk."""

    emit: Emitter
    target: Term
    seed: Term
    wanted: dict[str, Term]
    prefix: str = PREFIX

    @cached_property
    def reference(self) -> Reference:
        """The forward pass at baselines: ``explain.baseline.<input>``, one new input of the graph per wanted input."""
        return Reference(
            self.emit,
            {t.value: self.emit.input(f"{self.prefix}{BASELINE}{name}", t.value) for name, t in self.wanted.items()},
            self.target.value,
        )

    @property
    def graph(self) -> ir.Graph:
        """The graph under construction."""
        return self.emit.graph

    def backward(self, rulebook: Rulebook = gradient_rulebook, seed: Term | None = None) -> dict[str, Term]:
        """Gradient or relevance of every wanted input that it reaches, from ``seed`` (``explain.seed``) at the target."""
        start = {self.target.value: self.seed if seed is None else seed}
        found = backward(self.emit, start, [t.value for t in self.wanted.values()], rulebook)
        return {name: found[t.value] for name, t in self.wanted.items() if t.value in found}

    def relevance_of(self, value: Term) -> Term:
        """seed ⊙ value, what relevance starts as; 0 where the seed is, also at infinite elements, for 0·∞ is NaN."""
        return self.emit.where(self.seed.equals(0), 0.0, self.seed * value)

    def path(self) -> list[NodeView]:
        """The forward nodes between the wanted inputs and the target, in topological order."""
        nodes = nodes_between(self.graph, [t.value for t in self.wanted.values()], self.target.value)
        return [NodeView(node, self.emit) for node in nodes]

    def backward_to(self, value: Term, rulebook: Rulebook = gradient_rulebook) -> Term:
        """Gradient or relevance of any value of the forward graph.

        Raises:
            NothingToDifferentiate: The target does not depend on it.
        """
        found = backward(self.emit, {self.target.value: self.seed}, [value.value], rulebook)
        if value.value not in found:
            raise NothingToDifferentiate(f'"{self.target.value.name}" does not depend on "{value.value.name}"')
        return found[value.value]


Program = Callable[[Builder], Mapping[str, Term]]
"""Emits a method's result for the wanted inputs."""


def find_value(graph: ir.Graph, name: str, where: str = "target") -> ir.Value:
    """A value of the (top-level) graph by name; ``where`` tells which field of the request named it.

    Raises:
        TargetOutOfRange: There is none.
    """
    for value in (*graph.outputs, *graph.inputs, *(v for n in graph for v in n.outputs)):
        if value.name == name:
            return value
    outputs = ", ".join(v.name or "" for v in graph.outputs)
    raise TargetOutOfRange(
        f'the model has no value "{name}"', where=where, expected=f"one of its outputs ({outputs}) or an inner value",
        to_do="`explainsvc inspect` lists the outputs",
    )  # fmt: skip


def explained_graph(
    prepared: ir.Model,
    target: str,
    wanted: Sequence[str],
    program: Program,
    metadata: Mapping[str, str],
    largest_per_item: bool | None = None,
) -> ir.Model:
    """Builds the explained graph of one method.

    Args:
        prepared: The model after the passes; not changed.
        target: Name of the value that is explained.
        wanted: Inputs, or inner values, to explain.
        program: The method.
        metadata: Written into the model (method, parameters, digest of the source).
        largest_per_item: Not None: the graph has no input for the seed and explains the largest element, of each item along
            axis 0 of the value (True), or of all of it.

    Raises:
        NotDifferentiable: A node on the way has no rule.
        NothingToDifferentiate: No gradient reaches a wanted input.
    """
    model = prepared.clone()
    emit = Emitter(model.graph)
    value = find_value(model.graph, target)
    terms = {name: emit.term(find_value(model.graph, name)) for name in wanted}
    prefix = prefix_in(model.graph)
    seed = emit.input(prefix + SEED, value) if largest_per_item is None else _largest(emit, emit.term(value), largest_per_item)
    results = program(Builder(emit, emit.term(value), seed, terms, prefix))
    require_reached(results, wanted, target)
    for name in wanted:
        emit.output(f"{prefix}{name}", results[name].like(terms[name]) if results[name].shape is None else results[name])
    if not value.is_graph_output():
        emit.output(prefix + TARGET, emit.term(value))
    common.RemoveUnusedNodesPass()(model)
    model.metadata_props.update({f"explainsvc.{key}": text for key, text in metadata.items()})
    return model


def finds_largest(graph: ir.Graph, name: str) -> bool:
    """Whether an explained graph can find the largest element of a value: float32 or float64, of one axis or more."""
    value = find_value(graph, name)
    return value.dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE) and bool(value.shape)


def _largest(emit: Emitter, value: Term, per_item: bool) -> Term:
    """1 at the first largest element, else 0."""
    i64 = ir.DataType.INT64
    flat = emit.op("Flatten", value, axis=int(per_item))
    index = emit.op("ArgMax", flat, dtype=i64, axis=1, keepdims=1)
    count = emit.op("Squeeze", emit.op("Shape", flat, dtype=i64, start=1, end=2), dtype=i64)
    place = emit.op("Range", emit.constant(np.int64(0)), count, emit.constant(np.int64(1)), dtype=i64)
    picked = emit.op("Equal", place, index, dtype=ir.DataType.BOOL)
    return emit.reshape_like(emit.mask(picked, value), value)


def require_reached(results: Container[str], wanted: Sequence[str], target: str) -> None:
    """A program must have a result for every wanted input.

    Raises:
        NothingToDifferentiate: Names the first that has none.
    """
    for name in wanted:
        if name not in results:
            raise NothingToDifferentiate(
                f'no gradient of "{target}" reaches it', where=f'input "{name}"',
                expected="a float input that the target depends on through differentiable operators",
                to_do="Explain another input, the output of the embedding, or use a perturbation method such as occlusion",
            )  # fmt: skip


def forward_graph(prepared: ir.Model, target: str) -> ir.Model:
    """The prepared model with ``target`` as its only output."""
    model = prepared.clone()
    value = find_value(model.graph, target)
    model.graph.outputs.clear()
    model.graph.outputs.append(value)
    common.RemoveUnusedNodesPass()(model)
    return model


@dataclass(frozen=True)
class Logit:
    """The value before the node that makes probabilities of it, and that node's operator: Softmax or LogSoftmax."""

    name: str
    operator: str


def logit_before(graph: ir.Graph, name: str) -> Logit | None:
    """What comes before the Softmax or LogSoftmax that makes the output ``name``, if one does.

    Looks through Identity, and through the Flatten/Reshape pair that opset conversion puts around an old Softmax: the name
    is that of the source's own value.
    """
    value: ir.Value | None = find_value(graph, name)
    shape = None if value is None else value.shape
    operator = ""
    while value is not None and (producer := value.producer()) is not None:
        if operator and value.shape == shape and not _only_reshaped(producer, shape):
            return Logit(value.name or "", operator)
        if producer.op_type in ("Softmax", "LogSoftmax") and not operator:
            operator, value = producer.op_type, producer.inputs[0]
            shape = shape if value is None or value.shape is None or len(value.shape) != len(shape or ()) else value.shape
        elif producer.op_type in ("Identity", "Reshape", "Flatten"):
            value = producer.inputs[0]
        else:
            return None
    return Logit(value.name or "", operator) if operator and value is not None and value.shape == shape else None


def _only_reshaped(node: ir.Node, shape: ir.Shape | None) -> bool:
    """Whether a node gives its operand back: what opset conversion put in is not what the source calls the logit."""
    before = node.inputs[0] if node.op_type in ("Identity", "Reshape", "Flatten") else None
    return before is not None and before.shape is not None and before.shape == shape


def declare_ranks(model: ir.Model, declared: Sequence[TensorInfo]) -> ir.Model:
    """Gives outputs whose shape cannot be inferred the rank that the model declares, sizes left open: files need one."""
    ranks = {t.name: None if t.shape is None else len(t.shape) for t in declared}
    for value in model.graph.outputs:
        rank = ranks.get(value.name or "")
        if value.shape is None and rank is not None:
            value.shape = ir.Shape([None] * rank)
    return model
