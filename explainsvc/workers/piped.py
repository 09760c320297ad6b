"""The journal of an audit as its worker sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from explainpb.worker.v1.worker_pb2 import AuditBegun, AuditWork, Reply
from explainsvc.check import Part
from explainsvc.checks.journal import Finished
from explainsvc.codec.results import from_finished, to_finished
from explainsvc.workers.models import Send


@dataclass(frozen=True)
class Piped:
    """The journal of an audit, kept by the server: what it sent along is finished, what is finished goes to it."""

    work: AuditWork
    send: Send

    def begin(self, question: str) -> Mapping[Part, Finished]:
        """See Journal; the server knows whether its journal is that of this question."""
        self.send(Reply(begun=AuditBegun(question=question)))
        finished = map(from_finished, self.work.finished)
        return {each.part: each for each in finished}

    def record(self, finished: Finished) -> None:
        """See Journal; the server writes it down before it does anything else for the audit."""
        self.send(Reply(part=to_finished(finished)))
