"""The table of failures, line by line, as any gRPC client sees it: code, reason, domain and details."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2 as details_pb2
from google.rpc import status_pb2

from explainpb.v1 import audit_service_pb2, explanation_service_pb2, model_service_pb2
from explainpb.v1.audit_service_pb2_grpc import AuditServiceStub
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from explainpb.v1.model_service_pb2_grpc import ModelServiceStub
from explainsvc.client import Client
from explainsvc.codec.parameters import to_struct
from explainsvc.codec.tensors import to_named
from explainsvc.methods import METHODS
from explainsvc.service.config import Config
from explainsvc.service.server import background
from tests import models as small
from tests.graph import bombs
from tests.service import models
from tests.service.processes import workers

Code = grpc.StatusCode


class Stubs:
    """The generated clients of one server, and the models that it has."""

    def __init__(self, channel: grpc.Channel, client: Client) -> None:
        self.models = ModelServiceStub(channel)
        self.explanations = ExplanationServiceStub(channel)
        self.audits = AuditServiceStub(channel)
        self.upload = client.upload

    def explain(self, model: bytes, inputs: dict[str, Any], timeout: float | None = None, **fields: Any) -> Any:
        """Explain, of a model that is uploaded first."""
        request = explanation_service_pb2.ExplainRequest(model_digest=self.upload(model), inputs=to_named(inputs), **fields)
        return self.explanations.Explain(request, timeout=timeout)

    def predict(self, digest: str, inputs: dict[str, Any]) -> Any:
        """Predict."""
        return self.explanations.Predict(explanation_service_pb2.PredictRequest(model_digest=digest, inputs=to_named(inputs)))

    def send(self, model: bytes, files: dict[str, bytes] | None = None, sha256: str = "") -> Any:
        """UploadModel, message by message."""
        header = model_service_pb2.UploadHeader(
            size_bytes=len(model), sha256=sha256 or hashlib.sha256(model).hexdigest(),
            external_data=[{"name": name, "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                           for name, data in (files or {}).items()],
        )  # fmt: skip
        parts: list[dict[str, Any]] = [{"header": header}, {"chunk": {"data": model}}]
        parts += [{"chunk": {"file": name, "data": data}} for name, data in (files or {}).items()]
        return self.models.UploadModel(model_service_pb2.UploadModelRequest(**part) for part in parts)


@pytest.fixture(scope="module")
def stubs(address: str, client: Client) -> Iterator[Stubs]:
    """Of the shared server."""
    with grpc.insecure_channel(address) as channel:
        yield Stubs(channel, client)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stubs]:
    """Of a server with one worker, no queue, three seconds a job, and little memory."""
    store = tmp_path_factory.mktemp("narrow")
    config = Config(
        address="127.0.0.1:0", store=store, workers=1, queue=0, job_seconds=3.0, worker_memory_bytes=4 * 2**30, worker_threads=1
    )
    with background(config) as address, grpc.insecure_channel(address) as channel, Client(address) as client:
        yield Stubs(channel, client)


def status_of(call: Callable[[], Any]) -> tuple[grpc.StatusCode, dict[str, Any]]:
    """The code of a failed call, and its details by the names of their messages."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    metadata = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    found = {}
    for detail in status.details:
        name = detail.type_url.rpartition(".")[2]
        found[name] = getattr(details_pb2, name)()
        assert detail.Unpack(found[name])
    assert found["ErrorInfo"].domain == "explainsvc"
    return error.code(), found


@dataclass(frozen=True)
class Line:
    """A failure, what it must carry beside ErrorInfo, and what some field or text of that must hold."""

    code: grpc.StatusCode
    reason: str
    call: Callable[[Stubs], Any]
    detail: str = ""
    holds: tuple[str, ...] = ()


X4 = {"x": np.ones((2, 4), np.float32)}
NONE, NOBODY = "0" * 64, "0" * 32
IMAGE = models.image()
FOREST = small.trees().SerializeToString()
LINES = {
    "unknown model": Line(Code.NOT_FOUND, "MODEL_NOT_FOUND", lambda s: s.predict(NONE, X4), "ResourceInfo", ("model", NONE)),
    "unknown audit": Line(
        Code.NOT_FOUND, "AUDIT_NOT_FOUND",
        lambda s: s.audits.GetAudit(audit_service_pb2.GetAuditRequest(audit_id=NOBODY)), "ResourceInfo", ("audit", NOBODY),
    ),
    "not ONNX": Line(Code.INVALID_ARGUMENT, "MODEL_MALFORMED", lambda s: s.send(b"zebra" * 99)),
    "digest mismatch": Line(Code.DATA_LOSS, "UPLOAD_DIGEST_MISMATCH", lambda s: s.send(models.cnn(), sha256=NONE)),
    "over a static limit": Line(
        Code.FAILED_PRECONDITION, "MODEL_LIMIT_EXCEEDED",
        lambda s: s.send(bombs.BOMBS["constant of shape"]().SerializeToString()),
        "PreconditionFailure", ("MODEL_LIMIT_EXCEEDED", "expected"),
    ),
    "external data missing": Line(
        Code.INVALID_ARGUMENT, "EXTERNAL_DATA_FORBIDDEN", lambda s: s.send(models.external()[0])
    ),
    "external data escaping": Line(
        Code.INVALID_ARGUMENT, "EXTERNAL_DATA_FORBIDDEN", lambda s: s.send(*models.external("../weights.bin"))
    ),
    "operator without rule": Line(
        Code.UNIMPLEMENTED, "OPERATOR_NOT_DIFFERENTIABLE",
        lambda s: s.explain(FOREST, {"x": np.ones((2, 2), np.float32)}),
        "ErrorInfo", ('"forest"', '"ai.onnx.ml::TreeEnsembleClassifier"', "occlusion", "kernel_shap"),
    ),
    "method not applicable": Line(
        Code.FAILED_PRECONDITION, "METHOD_NOT_APPLICABLE", lambda s: s.explain(models.linear(), X4, method="grad_cam"),
        "PreconditionFailure", ("METHOD_NOT_APPLICABLE",),
    ),
    "input without gradient": Line(
        Code.FAILED_PRECONDITION, "INPUT_NOT_DIFFERENTIABLE",
        lambda s: s.explain(models.embedding(), {"ids": np.ones((2, 5), np.int64)}),
        "PreconditionFailure", ("INPUT_NOT_DIFFERENTIABLE", "ids"),
    ),
    "bad inputs": Line(
        Code.INVALID_ARGUMENT, "INVALID_INPUT",
        lambda s: s.explain(models.cnn(), {"x": np.full((2, 1, 6, 5), np.nan), "z": np.ones(3)}),
        "BadRequest",
        (r'inputs[\"x\"].dtype', "expected float32", r'inputs[\"x\"].shape', "NaN", r'inputs[\"z\"]', "inputs: x"),
    ),
    "bad parameters": Line(
        Code.INVALID_ARGUMENT, "INVALID_PARAMETER",
        lambda s: s.explain(models.cnn(), IMAGE, method="integrated_gradients", parameters=to_struct({"step": 1, "steps": "x"})),
        "BadRequest", ("parameters.step", "known: ", "parameters.steps", "an integer"),
    ),
    "unknown method": Line(
        Code.INVALID_ARGUMENT, "UNKNOWN_METHOD", lambda s: s.explain(models.cnn(), IMAGE, method="gradiant"),
        "BadRequest", ('field: "method"', "known: ", "integrated_gradients"),
    ),
    "several kinds at once": Line(
        Code.INVALID_ARGUMENT, "INVALID_REQUEST",
        lambda s: s.explain(models.cnn(), {}, method="gradiant", seed=-1, explained_inputs=["q"]),
        "BadRequest", ('field: "method"', r'inputs[\"x\"]', "is missing", 'field: "seed"', r"\"q\" is neither"),
    ),
    "target out of range": Line(
        Code.OUT_OF_RANGE, "TARGET_OUT_OF_RANGE",
        lambda s: s.explain(models.cnn(), IMAGE, target={"index": {"positions": [9]}}), "ErrorInfo", ("indices below [3]",),
    ),
}  # fmt: skip


def check(line: Line, stubs: Stubs) -> None:
    """Code, reason and details are those of the table."""
    code, details = status_of(lambda: line.call(stubs))
    assert (code, details["ErrorInfo"].reason) == (line.code, line.reason)
    text = str(details[line.detail]) if line.detail else ""
    assert not [words for words in line.holds if words not in text], text
    assert ("PreconditionFailure" in details) == (code == Code.FAILED_PRECONDITION)


@pytest.mark.parametrize("name", LINES)
def test_a_line_of_the_table(stubs: Stubs, name: str) -> None:
    """The failure has its code, its reason, and the details that a program can act on."""
    check(LINES[name], stubs)


def test_the_methods_that_are_said_to_work_do(stubs: Stubs) -> None:
    """Every method named beside an operator without rule explains that very model."""
    inputs = {"x": np.array([[0.5, 0.25], [2.0, 1.0]], np.float32)}
    _, details = status_of(lambda: stubs.explain(FOREST, inputs))
    named = details["ErrorInfo"].metadata["methods"].split(", ")
    assert len(named) > 5
    few = {"samples": 24.0, "masks": 24.0}
    for name in named:
        known = {p.name for p in METHODS[name].card.parameters}
        fields = {key: value for key, value in few.items() if key in known}
        stubs.explain(FOREST, inputs, method=name, parameters=to_struct(fields))


def test_a_dead_worker(stubs: Stubs) -> None:
    """A worker that dies is INTERNAL, WORKER_CRASHED."""
    loop = stubs.upload(models.loop())
    with ThreadPoolExecutor() as threads:
        doomed = threads.submit(status_of, lambda: stubs.predict(loop, models.rounds(models.ENDLESS)))
        while not doomed.done():  # a worker that had not accepted the job yet is followed by another one
            time.sleep(0.3)
            for pid in workers():
                os.kill(pid, signal.SIGKILL)
        code, details = doomed.result()
    assert (code, details["ErrorInfo"].reason) == (Code.INTERNAL, "WORKER_CRASHED")


def test_backpressure_and_limits(narrow: Stubs) -> None:
    """A full queue says when to come back; a job that takes too long, or too much memory, does not."""
    loop, bomb = narrow.upload(models.loop()), narrow.upload(models.bomb())
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(status_of, lambda: narrow.predict(loop, models.rounds(models.ENDLESS)))
        time.sleep(0.5)
        code, details = status_of(lambda: narrow.predict(loop, models.rounds(1)))
        assert (code, details["ErrorInfo"].reason) == (Code.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert details["RetryInfo"].retry_delay.seconds >= 1
        code, details = slow.result(timeout=20)
        assert (code, details["ErrorInfo"].reason) == (Code.DEADLINE_EXCEEDED, "WORKER_TIMED_OUT")
        assert "RetryInfo" not in details
    await_worker(narrow, loop)
    code, details = status_of(lambda: narrow.predict(bomb, {"n": np.array([2**31], np.int64)}))
    assert (code, details["ErrorInfo"].reason) == (Code.RESOURCE_EXHAUSTED, "WORKER_OUT_OF_MEMORY")
    assert "RetryInfo" not in details


def await_worker(stubs: Stubs, digest: str) -> None:
    """Until the worker that replaces a dead one answers."""
    while True:
        try:
            stubs.predict(digest, models.rounds(1))
            return
        except grpc.RpcError as error:
            failed: Any = error
            assert failed.code() == Code.RESOURCE_EXHAUSTED
