"""A worker process: ``python -m explainsvc.worker MEMORY_BYTES``; see ``jobs``, which starts it.

It reads jobs from the pipe that was its stdin and answers on the pipe that was its stdout, one job at a time.
Whatever libraries print goes to stderr. It is the only place of the server where the bytes of a model are parsed.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import resource
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO

import explainsvc
from explainpb.v1 import explanation_service_pb2, model_service_pb2
from explainpb.v1.audit_service_pb2 import CreateAuditRequest
from explainpb.v1.explanation_service_pb2 import (
    CompileExplanationRequest,
    DryRunRequest,
    ExplainRequest,
    ExplainResponse,
    ExplainStreamRequest,
    GetLedgerRequest,
)
from explainpb.worker.v1.worker_pb2 import Accepted, AuditBegun, AuditWork, Job, Ready, Reply, ValidateWork
from explainsvc import explain_work, frames
from explainsvc.check import Part
from explainsvc.checks.journal import Finished
from explainsvc.codec.books import to_ledger, to_plan
from explainsvc.codec.errors import to_error
from explainsvc.codec.pictures import from_inputs
from explainsvc.codec.questions import Asking, from_fields
from explainsvc.codec.results import from_finished, to_finished, to_info, to_progress, to_row
from explainsvc.codec.tensors import to_named
from explainsvc.errors import ExplainsvcError, NotDifferentiable, WorkerOutOfMemory
from explainsvc.model import Model
from explainsvc.runtime import providers
from explainsvc.store import MODEL_FILE

LOG = logging.getLogger(__name__)
KEPT_MODELS = 4
OPEN_FILES = 256
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "Failed to allocate memory")
"""How onnxruntime says that an allocation failed."""

Send = Callable[[Reply], None]
Models = OrderedDict[str, Model]


def main(arguments: list[str]) -> None:
    """Serve jobs until the server closes the pipe."""
    jobs, replies = _private_pipes()
    logging.basicConfig(level=logging.INFO, format=f"worker {os.getpid()}: %(message)s")
    _confine(int(arguments[0]))

    def send(reply: Reply) -> None:
        replies.write(frames.framed(reply))
        replies.flush()

    send(Reply(ready=Ready()))
    models: Models = OrderedDict()
    while (job := frames.read(jobs, Job)) is not None:
        send(Reply(accepted=Accepted()))
        send(answer(job, models, send))


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Take the pipes out of the way of anything that reads descriptor 0 or prints to descriptor 1."""
    jobs, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return os.fdopen(jobs, "rb"), os.fdopen(replies, "wb")


def _confine(memory_bytes: int) -> None:
    """Limits that hold from now on, and an end when the server ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    if memory_bytes > 0 and "CUDAExecutionProvider" not in providers():  # CUDA reserves far more than it uses
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group: the server drains, and then kills
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def answer(job: Job, models: Models, send: Send) -> Reply:
    """The last reply to a job: its result or its error."""
    kind = job.WhichOneof("work")
    try:
        return WORK[kind or ""](job.model_folder, getattr(job, kind or ""), models, send)
    except Exception as error:  # whatever a library raises must reach the caller as an error, not as a dead worker
        if isinstance(error, MemoryError) or any(word in str(error) for word in OUT_OF_MEMORY):
            return _out_of_memory()
        if isinstance(error, NotDifferentiable):
            error = explain_work.advised(error, loaded(job.model_folder, models))
        if isinstance(error, ExplainsvcError):
            return Reply(error=to_error(error))
        LOG.exception("%s failed", kind)
        unexpected = ExplainsvcError(f"an unexpected {type(error).__name__} in {kind}", to_do="Report it with the server's log")
        return Reply(error=to_error(unexpected))


def _out_of_memory() -> Reply:
    error = WorkerOutOfMemory(
        "the work needs more memory than a worker may use",
        to_do="Ask for less (a smaller batch, fewer samples), or raise worker_memory_bytes of the server",
    )
    return Reply(error=to_error(error))


def loaded(folder: str, models: Models) -> Model:
    """The model of a stored folder, kept for the next job."""
    digest = Path(folder).parent.name
    model = models[digest] if digest in models else read(folder)
    return _kept(digest, model, models)


def read(folder: str) -> Model:
    """The model of a folder; given as bytes, because the folder's path is nobody's business in an error."""
    files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return explainsvc.load(files.pop(MODEL_FILE), external_data=files)


def _kept(digest: str, model: Model, models: Models) -> Model:
    models[digest] = model
    models.move_to_end(digest)
    while len(models) > KEPT_MODELS:
        models.popitem(last=False)
    return model


def validate(folder: str, _work: ValidateWork, models: Models, _send: Send) -> Reply:
    """Load an uploaded model."""
    model = read(folder)
    return Reply(digest=_kept(model.digest, model, models).digest)


def inspect(folder: str, _work: model_service_pb2.InspectModelRequest, models: Models, _send: Send) -> Reply:
    """The model's facts."""
    return Reply(info=to_info(loaded(folder, models).info))


def predict(folder: str, work: explanation_service_pb2.PredictRequest, models: Models, _send: Send) -> Reply:
    """The model's outputs."""
    model = loaded(folder, models)
    outputs = model.predict(from_inputs(work, model.inputs).feeds)
    return Reply(outputs=explanation_service_pb2.PredictResponse(outputs=to_named(outputs, "outputs")))


def _asked(folder: str, work: Asking, models: Models) -> Model:
    model = loaded(folder, models)
    return model.straight_through if work.straight_through else model


def explain(folder: str, work: ExplainRequest, models: Models, _send: Send) -> Reply:
    """One explanation."""
    return _timed(folder, work, models, lambda model: explain_work.explained(model, work))


def explain_stream(folder: str, work: ExplainStreamRequest, models: Models, send: Send) -> Reply:
    """One explanation; what is known of it on the way goes ahead."""
    return _timed(
        folder,
        work.request,
        models,
        lambda model: explain_work.streamed(model, work, lambda event: send(Reply(streamed=event))),
    )


def _timed(folder: str, work: ExplainRequest, models: Models, compute: Callable[[Model], ExplainResponse]) -> Reply:
    """The reply, with the time that it took to have the model ready."""
    start = perf_counter()
    model = _asked(folder, work, models)
    model.prepared  # noqa: B018  (made now, where it is new, so that it counts as loading)
    load, response = perf_counter() - start, compute(model)
    if response.HasField("attribution"):
        response.attribution.timings.load_milliseconds = 1000 * load
    return Reply(explained=response)


def compile_(folder: str, work: CompileExplanationRequest, models: Models, _send: Send) -> Reply:
    """An explanation as ONNX."""
    if work.validate_only:
        return Reply(validation=explain_work.validated_compiling(_asked(folder, work, models), work))
    return Reply(compiled=_asked(folder, work, models).compile(**from_fields(work)).proto.SerializeToString())


def ledger(folder: str, work: GetLedgerRequest, models: Models, _send: Send) -> Reply:
    """The books of one explanation."""
    model, question = _asked(folder, work, models), from_fields(work)
    return Reply(ledger=to_ledger(model.ledger(from_inputs(work, model.inputs).feeds, **question)))


def dry_run(folder: str, work: DryRunRequest, models: Models, _send: Send) -> Reply:
    """The rule of every node."""
    return Reply(plan=to_plan(_asked(folder, work, models).dry_run(**from_fields(work))))


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
    model = loaded(folder, models)
    feeds, question = explain_work.audit_feeds(model, work.request)
    report = model.audit(
        feeds,
        **question,
        on_standing=lambda standing: send(Reply(progress=to_progress(standing))),
        on_row=lambda row: send(Reply(row=to_row(row))),
        journal=Piped(work, send),
    )
    return Reply(report=json.dumps(report.to_json(), allow_nan=False).encode())


def validate_audit(folder: str, work: CreateAuditRequest, models: Models, _send: Send) -> Reply:
    """What an audit would do."""
    return Reply(audit_validation=explain_work.validated_audit(loaded(folder, models), work))


WORK: dict[str, Callable[[str, Any, Models, Send], Reply]] = {
    "validate": validate,
    "inspect": inspect,
    "predict": predict,
    "explain": explain,
    "explain_stream": explain_stream,
    "compile": compile_,
    "ledger": ledger,
    "dry_run": dry_run,
    "audit": audit,
    "validate_audit": validate_audit,
}


if __name__ == "__main__":
    main(sys.argv[1:])
