"""Trials: the program of every method is written into one copy of the graph, only to see whether it can be, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from explainsvc.autograd import Emitter, Term, gradient_rulebook
from explainsvc.autograd.survey import Outcome, Survey
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


class Trials:
    """The copy, and the trials already made on it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._graph = model.prepared.model.clone().graph
        self._twins = dict(zip(model.graph, self._graph, strict=True))
        self._emit = Emitter(self._graph)
        self._builders: dict[tuple[str, tuple[str, ...]], Builder] = {}
        self._surveys: dict[tuple[str, tuple[str, ...]], Survey] = {}
        self._by_vjp: dict[ir.Node, Outcome] = {}
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
            results = program_of(method, method.params())(self._builder(target, wanted))
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
        builder, survey = self._builder(target, wanted), self._survey(target, wanted)
        rulebook = gradient_rulebook if method.rulebook is None else method.rulebook(builder, method.params())
        refused = self.of(method, target, wanted).refusal is not None
        found = survey.tried(rulebook, self._by_vjp) if refused else survey.told(rulebook)
        self._by_vjp |= found if method.rulebook is None else {}
        return {node: found[twin] for node, twin in self._twins.items() if twin in found}

    def _survey(self, target: str, wanted: tuple[str, ...]) -> Survey:
        if (target, wanted) not in self._surveys:
            builder = self._builder(target, wanted)
            terms = builder.wanted.values()
            self._surveys[target, wanted] = Survey(self._emit, builder.target.value, [t.value for t in terms])
        return self._surveys[target, wanted]

    def _builder(self, target: str, wanted: tuple[str, ...]) -> Builder:
        if (target, wanted) not in self._builders:
            value = find_value(self._graph, target)
            seed = self._emit.input(self._emit.fresh(SEED), value)
            terms = {v.name or "": self._emit.term(v) for v in self._graph.inputs if v.name in wanted}
            self._builders[target, wanted] = Builder(self._emit, self._emit.term(value), seed, terms)
        return self._builders[target, wanted]
