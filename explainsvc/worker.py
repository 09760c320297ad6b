"""A worker process; see ``workers.process``, which starts it and speaks with it.

It reads jobs from the pipe that was its stdin and answers on the pipe that was its stdout, one job at a time; a thread
reads ahead, so that a cancellation is heard while a job is computed. It opens no file: those of models come as open
descriptors. Whatever libraries print goes to stderr. It is the only place of the server where the bytes of a model are parsed.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, BinaryIO

from explainpb.v1 import audit_service_pb2, explanation_service_pb2, model_service_pb2
from explainpb.v1.explanation_service_pb2 import (
    CompileExplanationRequest,
    DryRunRequest,
    ExplainRequest,
    ExplainResponse,
    ExplainStreamRequest,
    GetLedgerRequest,
)
from explainpb.worker.v1.worker_pb2 import (
    Accepted,
    Answers,
    AuditBegun,
    AuditWork,
    Cancelled,
    ExplainTogether,
    Job,
    Probe,
    Probes,
    ProbeWork,
    Ready,
    Reply,
    ValidateWork,
)  # fmt: skip
from explainsvc import explain_work, frames, sandbox
from explainsvc.attribution import Attribution
from explainsvc.check import Part
from explainsvc.checks.journal import Finished
from explainsvc.codec.books import to_ledger, to_plan
from explainsvc.codec.errors import to_error
from explainsvc.codec.pictures import from_inputs
from explainsvc.codec.questions import Asking, from_fields
from explainsvc.codec.results import from_finished, to_attribution, to_finished, to_info, to_progress, to_row
from explainsvc.codec.signatures import to_signature
from explainsvc.codec.tensors import to_named
from explainsvc.errors import ExplainsvcError, NotDifferentiable, WorkerOutOfMemory
from explainsvc.model import Model
from explainsvc.runtime import CUDA, providers
from explainsvc.sandbox.probes import attempts
from explainsvc.stopping import STOP, Stopped
from explainsvc.together import together
from explainsvc.workers.handed import Models, Send, loaded, read
from explainsvc.workers.inbox import Inbox
from explainsvc.workers.kept import Kept
from explainsvc.workers.warm import warm_up

LOG = logging.getLogger(__name__)
OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "Failed to allocate memory")
"""How onnxruntime says that an allocation failed."""


def main(arguments: list[str]) -> None:
    """Serve jobs until the server closes the pipe: ``MEMORY_BYTES SANDBOX SOCKET CACHE_BYTES``."""
    memory, mode, files, cache = arguments
    jobs, replies = _private_pipes()
    logging.basicConfig(level=logging.INFO, format=f"worker {os.getpid()}: %(message)s")
    models = Models(Kept(int(cache)), socket.socket(fileno=int(files)))
    _confine(int(memory), sandbox.Mode(mode))

    def send(reply: Reply) -> None:
        replies.write(frames.framed(reply))
        replies.flush()

    inbox = Inbox.of(jobs)
    send(Reply(ready=Ready()))
    while (received := inbox.next()) is not None:
        job, stop = received
        STOP.set(stop)
        send(Reply(accepted=Accepted()))
        reply = answer(job, models, send)
        inbox.done(job)
        reply.held.extend(models.kept.digests)
        send(reply)


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Take the pipes out of the way of anything that reads descriptor 0 or prints to descriptor 1."""
    jobs, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return os.fdopen(jobs, "rb"), os.fdopen(replies, "wb")


def _confine(memory_bytes: int, mode: sandbox.Mode) -> None:
    """Limits, then all that may be imported, then the sandbox, in which nothing can be."""
    cuda = CUDA in providers()
    sandbox.limit(0 if cuda else memory_bytes)  # CUDA reserves far more address space than it uses
    warm_up()
    for missing in sandbox.confine(mode, cuda).missing:
        LOG.warning("not confined: %s", missing)


def answer(job: Job, models: Models, send: Send) -> Reply:
    """The last reply to a job: its result or its error."""
    kind = job.WhichOneof("work") or ""
    try:
        STOP.get().check()
        return WORK[kind](job.model_folder, getattr(job, kind), models, send)
    except Stopped:
        return Reply(cancelled=Cancelled())
    except Exception as error:  # whatever a library raises must reach the caller as an error, not as a dead worker
        if isinstance(error, NotDifferentiable):
            error = explain_work.advised(error, loaded(job.model_folder, models, send))
        return _failed(error, kind)


def _failed(error: Exception, kind: str) -> Reply:
    if isinstance(error, MemoryError) or any(word in str(error) for word in OUT_OF_MEMORY):
        return _out_of_memory()
    if isinstance(error, ExplainsvcError):
        return Reply(error=to_error(error))
    LOG.error("%s failed", kind, exc_info=error)
    unexpected = ExplainsvcError(f"an unexpected {type(error).__name__} in {kind}", to_do="Report it with the server's log")
    return Reply(error=to_error(unexpected))


def _out_of_memory() -> Reply:
    error = WorkerOutOfMemory(
        "the work needs more memory than a worker may use",
        to_do="Ask for less (a smaller batch, fewer samples), or raise worker_memory_bytes of the server",
    )
    return Reply(error=to_error(error))


def validate(_folder: str, _work: ValidateWork, models: Models, send: Send) -> Reply:
    """Load an uploaded model."""
    model = read(models, send)
    return Reply(digest=models.kept.add(model.digest, model).digest)


def inspect(folder: str, _work: model_service_pb2.InspectModelRequest, models: Models, send: Send) -> Reply:
    """The model's facts."""
    return Reply(info=to_info(loaded(folder, models, send).info))


def predict(folder: str, work: explanation_service_pb2.PredictRequest, models: Models, send: Send) -> Reply:
    """The model's outputs."""
    model = loaded(folder, models, send)
    outputs = model.predict(from_inputs(work, model.inputs).feeds)
    return Reply(outputs=explanation_service_pb2.PredictResponse(outputs=to_named(outputs, "outputs")))


def _asked(folder: str, work: Asking, models: Models, send: Send) -> Model:
    model = loaded(folder, models, send)
    return model.straight_through if work.straight_through else model


def explain(folder: str, work: ExplainRequest, models: Models, send: Send) -> Reply:
    """One explanation."""
    return _timed(_Asked(folder, work, models, send), lambda model: explain_work.explained(model, work))


def explain_stream(folder: str, work: ExplainStreamRequest, models: Models, send: Send) -> Reply:
    """One explanation; what is known of it on the way goes ahead."""
    asked = _Asked(folder, work.request, models, send)
    return _timed(asked, lambda model: explain_work.streamed(model, work, lambda event: send(Reply(streamed=event))))


@dataclass(frozen=True)
class _Asked:
    """What an explanation is asked of."""

    folder: str
    work: ExplainRequest
    models: Models
    send: Send

    def model(self) -> Model:
        return _asked(self.folder, self.work, self.models, self.send)


def _timed(asked: _Asked, compute: Callable[[Model], ExplainResponse]) -> Reply:
    """The reply, with the time that it took to have the model ready."""
    start = perf_counter()
    model = asked.model()
    model.prepared  # noqa: B018  (made now, where it is new, so that it counts as loading)
    load, response = perf_counter() - start, compute(model)
    if response.HasField("attribution"):
        response.attribution.timings.load_milliseconds = 1000 * load
    return Reply(explained=response)


def explain_together(folder: str, work: ExplainTogether, models: Models, send: Send) -> Reply:
    """Several explanations as one batch where that gives what each gives alone; an error is that of its own request."""
    model = _asked(folder, work.requests[0], models, send)
    start = perf_counter()
    found = together(model, work.requests, models.kept.proven[model.digest])
    if found is not None:
        return Reply(answers=Answers(replies=[_shared(one, start) for one in found]))
    alone = (answer(Job(model_folder=folder, explain=request), models, send) for request in work.requests)
    return Reply(answers=Answers(replies=alone))


def _shared(attribution: Attribution, start: float) -> Reply:
    """The reply to one of several; all took the time of the batch."""
    response = ExplainResponse(attribution=to_attribution(attribution))
    response.attribution.timings.compute_milliseconds = 1000 * (perf_counter() - start)
    return Reply(explained=response)


def compile_(folder: str, work: CompileExplanationRequest, models: Models, send: Send) -> Reply:
    """An explanation as ONNX."""
    if work.validate_only:
        return Reply(validation=explain_work.validated_compiling(_asked(folder, work, models, send), work))
    return Reply(compiled=_asked(folder, work, models, send).compile(**from_fields(work)).proto.SerializeToString())


def ledger(folder: str, work: GetLedgerRequest, models: Models, send: Send) -> Reply:
    """The books of one explanation."""
    model, question = _asked(folder, work, models, send), from_fields(work)
    return Reply(ledger=to_ledger(model.ledger(from_inputs(work, model.inputs).feeds, **question)))


def dry_run(folder: str, work: DryRunRequest, models: Models, send: Send) -> Reply:
    """The rule of every node."""
    return Reply(plan=to_plan(_asked(folder, work, models, send).dry_run(**from_fields(work))))


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


def audit(folder: str, work: AuditWork, models: Models, send: Send) -> Reply:
    """The report of an audit; progress and rows go ahead of it."""
    model = loaded(folder, models, send)
    feeds, question = explain_work.audit_feeds(model, work.request)
    report = model.audit(
        feeds,
        **question,
        on_standing=lambda standing: send(Reply(progress=to_progress(standing))),
        on_row=lambda row: send(Reply(row=to_row(row))),
        journal=Piped(work, send),
    )
    return Reply(report=json.dumps(report.to_json(), allow_nan=False).encode())


def probe(_folder: str, _work: ProbeWork, _models: Models, _send: Send) -> Reply:
    """What comes of the attempts to break out."""
    return Reply(probes=Probes(probes=[Probe(name=a.name, denied=a.denied, detail=a.detail) for a in attempts()]))


def validate_audit(folder: str, work: audit_service_pb2.CreateAuditRequest, models: Models, send: Send) -> Reply:
    """What an audit would do."""
    return Reply(audit_validation=explain_work.validated_audit(loaded(folder, models, send), work))


WORK: dict[str, Callable[[str, Any, Models, Send], Reply]] = {
    "validate": validate,
    "inspect": inspect,
    "signature": lambda folder, _, models, send: Reply(signature=to_signature(loaded(folder, models, send))),
    "predict": predict,
    "explain": explain,
    "explain_stream": explain_stream,
    "compile": compile_,
    "ledger": ledger,
    "dry_run": dry_run,
    "audit": audit,
    "together": explain_together,
    "probe": probe,
    "validate_audit": validate_audit,
}


if __name__ == "__main__":
    main(sys.argv[1:])
