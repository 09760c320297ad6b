"""The same operations on a model, in this process or on a server: what a command needs not know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

import explainsvc
from explainsvc.attribution import Attribution
from explainsvc.cards import Card
from explainsvc.checks.journal import Journal
from explainsvc.checks.pace import Standing
from explainsvc.client import Client
from explainsvc.codec.questions import Question
from explainsvc.connecting import Connection
from explainsvc.dry_run import DryRun
from explainsvc.explanation_client import Asked
from explainsvc.images import Preprocessing
from explainsvc.info import TensorInfo
from explainsvc.ledger import Ledger
from explainsvc.method import silent
from explainsvc.model import Model
from explainsvc.report.report import Report

Feeds = Mapping[str, npt.NDArray[Any]]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Audit:
    """What is asked of an audit."""

    methods: Sequence[str]
    checks: Sequence[str]
    target: Any = None
    labels: npt.NDArray[np.int64] | None = None
    seed: int = 0
    parameters: Mapping[str, Mapping[str, Any]] | None = None


OnStanding = Callable[[Standing], None]


class Engine(Protocol):
    """One model, somewhere."""

    def inspect(self) -> dict[str, Any]:
        """``ModelInfo.to_json()``."""

    def inputs(self) -> Sequence[TensorInfo]:
        """The model's inputs."""

    def preprocessing(self) -> Preprocessing | None:
        """How pictures become the model's input, where that is kept with it."""

    def explain(self, feeds: Feeds, question: Question, seed: int, progress: Progress) -> Attribution:
        """One explanation."""

    def compile(self, question: Question) -> bytes:
        """The explained graph, serialised."""

    def ledger(self, feeds: Feeds, question: Question) -> Ledger:
        """The books of one explanation."""

    def dry_run(self, question: Question) -> DryRun:
        """The rule of every node."""

    def audit(self, feeds: Feeds, audit: Audit, on_standing: OnStanding, journal: Journal | None) -> Report:
        """All methods through all checks; a server keeps a journal of its own."""


@dataclass(frozen=True)
class Local:
    """A model in this process."""

    model: Model

    def inspect(self) -> dict[str, Any]:
        """See Engine."""
        return self.model.info.to_json()

    def inputs(self) -> Sequence[TensorInfo]:
        """See Engine."""
        return self.model.inputs

    def preprocessing(self) -> None:
        """See Engine; only a server keeps it."""

    def explain(self, feeds: Feeds, question: Question, seed: int, progress: Progress) -> Attribution:
        """See Engine."""
        return self._asked(question).explain(
            feeds,
            question.method,
            question.target,
            inputs=question.inputs,
            seed=seed,
            progress=progress,
            **question.parameters or {},
        )

    def compile(self, question: Question) -> bytes:
        """See Engine."""
        model, parameters = self._asked(question), question.parameters or {}
        return model.compile(question.method, question.target, inputs=question.inputs, **parameters).proto.SerializeToString()

    def ledger(self, feeds: Feeds, question: Question) -> Ledger:
        """See Engine."""
        model, parameters = self._asked(question), question.parameters or {}
        return model.ledger(feeds, question.method, question.target, inputs=question.inputs, **parameters)

    def dry_run(self, question: Question) -> DryRun:
        """See Engine."""
        model, parameters = self._asked(question), question.parameters or {}
        return model.dry_run(question.method, question.target, inputs=question.inputs, **parameters)

    def _asked(self, question: Question) -> Model:
        return self.model.straight_through if question.straight_through else self.model

    def audit(self, feeds: Feeds, audit: Audit, on_standing: OnStanding, journal: Journal | None) -> Report:
        """See Engine."""
        return self.model.audit(
            feeds,
            methods=audit.methods,
            checks=audit.checks,
            target=audit.target,
            labels=audit.labels,
            seed=audit.seed,
            parameters=audit.parameters,
            on_standing=on_standing,
            journal=journal,
        )


@dataclass(frozen=True)
class Remote:
    """A model on a server, by digest."""

    client: Client
    digest: str

    def inspect(self) -> dict[str, Any]:
        """See Engine."""
        return self.client.inspect(self.digest)

    def inputs(self) -> Sequence[TensorInfo]:
        """See Engine."""
        return [TensorInfo(**fields) for fields in self.inspect()["inputs"]]

    def preprocessing(self) -> Preprocessing | None:
        """See Engine."""
        return self.client.preprocessing(self.digest)

    def explain(self, feeds: Feeds, question: Question, seed: int, progress: Progress) -> Attribution:
        """See Engine; where nobody hears of the progress, by the call that the server computes together with others."""
        asked = Asked(self.digest, question, feeds, seed=seed)
        if progress is silent:
            return self.client.explanations.explain(asked)
        return self.client.explanations.stream(asked, progress=progress)

    def compile(self, question: Question) -> bytes:
        """See Engine."""
        return self.client.compile(self.digest, question.method, question.target, **_rest(question))

    def ledger(self, feeds: Feeds, question: Question) -> Ledger:
        """See Engine."""
        return self.client.ledger(self.digest, feeds, question.method, question.target, **_rest(question))

    def dry_run(self, question: Question) -> DryRun:
        """See Engine."""
        return self.client.dry_run(self.digest, question.method, question.target, **_rest(question))

    def audit(self, feeds: Feeds, audit: Audit, on_standing: OnStanding, _journal: Journal | None) -> Report:
        """See Engine."""
        return self.client.audit(
            self.digest,
            feeds,
            methods=audit.methods,
            checks=audit.checks,
            target=audit.target,
            labels=audit.labels,
            seed=audit.seed,
            parameters=audit.parameters,
            on_standing=on_standing,
        )


def _rest(question: Question) -> dict[str, Any]:
    """What the client takes by name, of all operations alike."""
    names = {"inputs_wanted": question.inputs, "parameters": question.parameters}
    return names | {"straight_through": question.straight_through}


@contextmanager
def opened(model: str, server: Connection | None) -> Iterator[Engine]:
    """The model at this path, loaded here or uploaded to the server."""
    if server is None:
        yield Local(explainsvc.load(model))
    else:
        with Client(server) as client:
            yield Remote(client, client.upload(model))


def methods(server: Connection | None) -> Mapping[str, Card]:
    """The cards of the methods, here or of the server."""
    if server is None:
        return explainsvc.methods()
    with Client(server) as client:
        return client.methods()


def checks(server: Connection | None) -> Mapping[str, Card]:
    """The cards of the checks, here or of the server."""
    if server is None:
        return explainsvc.checks()
    with Client(server) as client:
        return client.checks()
