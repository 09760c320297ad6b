"""A worker process; ``forkserver`` forks it, ``workers.process`` speaks with it.

It reads jobs from one pipe and answers on another, one job at a time; a thread reads a third one, so that a cancellation is heard
while a job is computed. It opens no file: those of models come as open descriptors. Whatever libraries print goes to stderr.
It is the only place of the server where the bytes of a model are parsed.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from explainpb.v1 import audit_service_pb2, explanation_service_pb2, model_service_pb2
from explainpb.v1.explanation_service_pb2 import (
    CompileExplanationRequest,
    DryRunRequest,
    ExplainRequest,
    ExplainResponse,
    ExplainStreamRequest,
    ExplainStreamResponse,
    GetLedgerRequest,
)
from explainpb.worker.v1.worker_pb2 import (
    Answers,
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
from explainsvc.codec.beside import values_of, whole_reply
from explainsvc.codec.books import to_ledger, to_plan
from explainsvc.codec.pictures import from_inputs
from explainsvc.codec.questions import Asking, from_fields
from explainsvc.codec.results import fill_facts, to_info, to_progress, to_row
from explainsvc.codec.signatures import to_signature
from explainsvc.codec.spans import add_spans
from explainsvc.codec.tensors import fill_named
from explainsvc.errors import NotDifferentiable
from explainsvc.explain_work import Values
from explainsvc.frames import Parts
from explainsvc.model import Model
from explainsvc.runtime import CUDA, providers
from explainsvc.sandbox.probes import attempts
from explainsvc.spans import SPANS, Spans
from explainsvc.stopping import STOP, Stopped
from explainsvc.together import together
from explainsvc.windows import windows
from explainsvc.workers.failures import failed
from explainsvc.workers.inbox import Inbox
from explainsvc.workers.kept import Kept
from explainsvc.workers.models import Models, Send, loaded, read
from explainsvc.workers.piped import Piped

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pipes:
    """Descriptors: where jobs are read, replies written, cancellations heard; the socket for files; the memory that is shared."""

    jobs: int
    replies: int
    files: int
    cancellations: int
    memory: int


@dataclass(frozen=True)
class Settings:
    """Bytes of address space, mode of the sandbox, bytes of the models that are kept, whether spans are told."""

    memory_bytes: int
    sandbox: str
    cache_bytes: int
    spans: bool


def work(pipes: Pipes, settings: Settings, parent: int) -> None:
    """Serve jobs until the server closes the pipe, in a process that was just forked by this parent."""
    logging.basicConfig(level=logging.INFO, format=f"worker {os.getpid()}: %(message)s")
    models = Models(Kept(settings.cache_bytes), socket.socket(fileno=pipes.files))
    requests, values = windows(pipes.memory)
    _confine(settings, parent)

    def send(reply: Reply, beside: Parts = ()) -> None:
        frames.write(pipes.replies, reply, *beside, window=values)

    inbox = Inbox.of(pipes.jobs, requests, pipes.cancellations)
    send(Reply(ready=Ready()))
    while (received := inbox.next()) is not None:
        job, stop = received
        STOP.set(stop)
        SPANS.set(Spans() if settings.spans else None)
        reply, beside = answer(job, models, send)
        inbox.done(job)
        add_spans(reply)
        reply.held.extend(models.kept.digests)
        send(reply, beside)


def _confine(settings: Settings, parent: int) -> None:
    """Limits, then the sandbox, in which nothing can be imported: everything has been."""
    cuda = CUDA in providers()
    sandbox.limit(0 if cuda else settings.memory_bytes)  # CUDA reserves far more address space than it uses
    if os.getppid() != parent:  # it ended before this process asked to end with it
        raise ProcessLookupError(f"process {parent} has ended")
    for missing in sandbox.confine(sandbox.Mode(settings.sandbox), cuda).missing:
        LOG.warning("not confined: %s", missing)


def answer(job: Job, models: Models, send: Send) -> tuple[Reply, Parts]:
    """The last reply to a job, its result or its error; and the values of an explanation, which lie beside it."""
    kind = job.WhichOneof("work") or ""
    try:
        STOP.get().check()
        if kind == "explain":
            return explain(job.model_folder, job.explain, models, send)
        return WORK[kind](job.model_folder, getattr(job, kind), models, send), ()
    except Stopped:
        return Reply(cancelled=Cancelled()), ()
    except Exception as error:  # whatever a library raises must reach the caller as an error, not as a dead worker
        if isinstance(error, NotDifferentiable):
            error = explain_work.advised(error, loaded(job.model_folder, models, send))
        return failed(error, kind), ()


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
    fill_named((reply := Reply()).outputs.outputs, outputs, "outputs")
    reply.outputs.SetInParent()
    return reply


def _asked(folder: str, work: Asking, models: Models, send: Send) -> Model:
    model = loaded(folder, models, send)
    return model.straight_through if work.straight_through else model


def explain(folder: str, work: ExplainRequest, models: Models, send: Send) -> tuple[Reply, Parts]:
    """One explanation; its values beside it, unless there is more than an attribution."""
    asked = _Asked(folder, work, models, send)
    reply, values = _timed(asked, lambda model, response: explain_work.explained(model, work, response))
    if work.HasField("render"):
        fill_named(reply.explained.attribution.values, values, "values")
        return reply, ()
    return reply, values_of(values)


def explain_stream(folder: str, work: ExplainStreamRequest, models: Models, send: Send) -> Reply:
    """One explanation; what is known of it on the way goes ahead."""

    def tell(event: ExplainStreamResponse) -> None:
        send(Reply(streamed=event))

    asked = _Asked(folder, work.request, models, send)
    reply, values = _timed(asked, lambda model, response: explain_work.streamed(model, work, response, tell))
    fill_named(reply.explained.attribution.values, values, "values")
    return reply


@dataclass(frozen=True)
class _Asked:
    """What an explanation is asked of."""

    folder: str
    work: ExplainRequest
    models: Models
    send: Send

    def model(self) -> Model:
        return _asked(self.folder, self.work, self.models, self.send)


def _timed(asked: _Asked, compute: Callable[[Model, ExplainResponse], Values]) -> tuple[Reply, Values]:
    """The reply, with the time that it took to have the model ready, and the values that are not in it."""
    start, reply = perf_counter(), Reply()
    model = asked.model()
    model.prepared  # noqa: B018  (made now, where it is new, so that it counts as loading)
    load = perf_counter() - start
    values = compute(model, reply.explained)
    if reply.explained.HasField("attribution"):
        reply.explained.attribution.timings.load_milliseconds = 1000 * load
    return reply, values


def explain_together(folder: str, work: ExplainTogether, models: Models, send: Send) -> Reply:
    """Several explanations as one batch where that gives what each gives alone; an error is that of its own request."""
    model = _asked(folder, work.requests[0], models, send)
    start = perf_counter()
    found = together(model, work.requests, models.kept.proven[model.digest])
    if found is not None:
        return Reply(answers=Answers(replies=[_shared(one, start) for one in found]))
    alone = (whole_reply(*answer(Job(model_folder=folder, explain=request), models, send)) for request in work.requests)
    return Reply(answers=Answers(replies=alone))


def _shared(attribution: Attribution, start: float) -> Reply:
    """The reply to one of several; all took the time of the batch."""
    fill_named((reply := Reply()).explained.attribution.values, attribution.values, "values")
    fill_facts(reply.explained.attribution, attribution)
    reply.explained.attribution.timings.compute_milliseconds = 1000 * (perf_counter() - start)
    return reply


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
    "explain_stream": explain_stream,
    "compile": compile_,
    "ledger": ledger,
    "dry_run": dry_run,
    "audit": audit,
    "together": explain_together,
    "probe": probe,
    "validate_audit": validate_audit,
}
