"""Trials: the program of every method is rehearsed on one copy of the graph, only to see whether it can be built, and how.

Its backward walk tries every node for itself; a rule that was tried at a node is not tried there again by another method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from explainsvc.autograd import Emitter, NodeView, Rulebook, Term, gradient_rulebook
from explainsvc.autograd.survey import Known, Outcome, Survey
from explainsvc.engine import program_of, require_working_opset
from explainsvc.errors import ExplainsvcError
from explainsvc.explained import SEED, Builder, find_value, require_reached
from explainsvc.method import Method

if TYPE_CHECKING:
    from explainsvc.model import Model


@dataclass(frozen=True)
class Trial:
    """What came of one program.

    Attributes:
        refusal: What building its graph raises, None where it can be built.
        reached: The wanted inputs that it has a result for.
    """

    refusal: ExplainsvcError | None
    reached: frozenset[str]


@dataclass(frozen=True)
class Rehearsal(Builder):
    """What a program writes with in a trial: the walk leaves stand-ins for its results."""

    survey: Survey = field(kw_only=True)

    def path(self) -> list[NodeView]:
        """See Builder."""
        return [NodeView(node, self.emit) for node in self.survey.path]

    def backward(self, rulebook: Rulebook = gradient_rulebook, seed: Term | None = None) -> dict[str, Term]:  # noqa: ARG002
        """See Builder: the inputs themselves stand for their gradients, which have the same shapes."""
        found = self.survey.walked(rulebook)
        return {name: t for name, t in self.wanted.items() if t.value in found}


class Trials:
    """The copy, and the trials already made on it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._graph = model.prepared.model.clone().graph
        self._twins = dict(zip(model.graph, self._graph, strict=True))
        self._emit = Emitter(self._graph)
        self._rehearsals: dict[tuple[str, tuple[str, ...]], Rehearsal] = {}
        self._known: Known = {}
        self._done: dict[tuple[str, str, tuple[str, ...]], Trial] = {}

    def of(self, method: Method, target: str, wanted: tuple[str, ...]) -> Trial:
        """The trial of a method that is one graph, with its default parameters."""
        key = (method.card.name, target, wanted)
        if key not in self._done:
            self._done[key] = self._tried(method, target, wanted)
        return self._done[key]

    def _tried(self, method: Method, target: str, wanted: tuple[str, ...]) -> Trial:
        results: Mapping[str, Term] = {}
        refusal = None
        try:
            require_working_opset(self._model)
            results = program_of(method, method.params())(self._rehearsal(target, wanted))
            require_reached(results, wanted, target)
        except ExplainsvcError as error:
            refusal = error
        return Trial(refusal, frozenset(results))

    def outcomes(self, method: Method, target: str, wanted: tuple[str, ...]) -> dict[ir.Node, Outcome]:
        """How the backward pass of a method treats the nodes of the prepared graph that lie on its way.

        Raises:
            ModelUnsupported: The model could not be brought to an opset that can be differentiated.
        """
        require_working_opset(self._model)
        builder = self._rehearsal(target, wanted)
        rulebook = gradient_rulebook if method.rulebook is None else method.rulebook(builder, method.params())
        refused = self.of(method, target, wanted).refusal is not None
        found = builder.survey.tried(rulebook) if refused else builder.survey.told(rulebook)
        return {node: found[twin] for node, twin in self._twins.items() if twin in found}

    def surveyed(
        self, method: Method, params: Any, target: str, wanted: tuple[str, ...]
    ) -> tuple[Rulebook, dict[ir.Node, Outcome], dict[ir.Node, Outcome]]:
        """The rulebook of a method with these parameters; what it does at the nodes on its way; what comes of each.

        Raises:
            ModelUnsupported: The model could not be brought to an opset that can be differentiated.
            MethodNotApplicable: The method is not one graph, or refuses the model though none of its nodes.
        """
        program = program_of(method, params)
        require_working_opset(self._model)
        builder = self._rehearsal(target, wanted)
        rulebook = gradient_rulebook if method.rulebook is None else method.rulebook(builder, params)
        tried = builder.survey.tried(rulebook)
        if all(outcome.refusal is None for outcome in tried.values()):
            program(builder)
        return rulebook, builder.survey.told(rulebook), tried

    def _rehearsal(self, target: str, wanted: tuple[str, ...]) -> Rehearsal:
        if (target, wanted) not in self._rehearsals:
            value = find_value(self._graph, target)
            seed = self._emit.input(self._emit.fresh(SEED), value)
            terms = {v.name or "": self._emit.term(v) for v in self._graph.inputs if v.name in wanted}
            survey = Survey(self._emit, value, [t.value for t in terms.values()], self._known)
            self._rehearsals[target, wanted] = Rehearsal(self._emit, self._emit.term(value), seed, terms, survey=survey)
        return self._rehearsals[target, wanted]
