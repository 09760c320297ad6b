"""Mutated models and messages against a running server: each answered or refused with a typed error, and nobody else delayed."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import onnx
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from explainpb.inference import inference_service_pb2 as oip
from explainpb.v1 import audit_service_pb2 as audit_pb
from explainpb.v1 import explanation_service_pb2 as explanation_pb
from explainpb.v1 import model_service_pb2 as pb
from explainpb.v1.target_pb2 import Target
from explainsvc.codec.tensors import to_named
from explainsvc.service.status import DETAILS_KEY
from explainsvc.upload_client import announced, messages
from tests.service import models
from tests.service.fuzz.mutations import mutated

CALL_SECONDS = 60.0
DELAY_SECONDS = 0.1
CANARY_SECONDS = 0.02
WARM = 0.3
"""Of the inputs pass before the memory of the server is looked at first."""
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
FINE = "fine"


@dataclass
class Found:
    """What came of a campaign.

    Attributes:
        outcomes: How often each: fine, or the reason of a refusal.
        untyped: What was neither, with the number of the input.
        delays: Of a caller who only asks for a model, in seconds, sorted.
        grown: By how many bytes the server's memory grew behind the first part.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    untyped: list[tuple[int, str]] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    grown: int = 0

    def slow(self, seconds: float = DELAY_SECONDS) -> list[float]:
        """Delays above a bound."""
        return [delay for delay in self.delays if delay > seconds]


def resident(pid: int) -> int:
    """The memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_SIZE


def requests(digest: str) -> list[tuple[str, Message]]:
    """A sound request of each kind, none of which changes what others rely on."""
    inputs, other = to_named(models.image()), "ab" * 32
    explain = {"model_digest": digest, "inputs": inputs, "target": Target()}
    audit = {"model_digest": digest, "inputs": inputs, "methods": ["gradient"], "checks": ["complexity"]}
    return [
        ("ModelService/GetModel", pb.GetModelRequest(digest=digest)),
        ("ModelService/ListModels", pb.ListModelsRequest(page_size=2, name_prefix="m")),
        ("ModelService/DeleteModel", pb.DeleteModelRequest(digest=other)),
        ("ModelService/InspectModel", pb.InspectModelRequest(digest=digest)),
        ("ModelService/GetUpload", pb.GetUploadRequest(upload_id="x")),
        ("ExplanationService/Predict", explanation_pb.PredictRequest(model_digest=digest, inputs=inputs)),
        ("ExplanationService/Explain", explanation_pb.ExplainRequest(method="gradient", **explain)),
        ("ExplanationService/CompileExplanation", explanation_pb.CompileExplanationRequest(model_digest=digest)),
        ("ExplanationService/ListMethods", explanation_pb.ListMethodsRequest()),
        ("AuditService/CreateAudit", audit_pb.CreateAuditRequest(**audit)),
        ("AuditService/GetAudit", audit_pb.GetAuditRequest(audit_id="cd" * 16)),
        ("AuditService/ListAudits", audit_pb.ListAuditsRequest(page_size=3)),
        ("AuditService/CancelAudit", audit_pb.CancelAuditRequest(audit_id="cd" * 16)),
        ("AuditService/DeleteAudit", audit_pb.DeleteAuditRequest(audit_id="cd" * 16)),
        ("ModelService/SetModelPreprocessing", pb.SetModelPreprocessingRequest(digest=other, preprocessing={"mean": [0.5]})),
        *((f"/inference.GRPCInferenceService/{name}", request) for name, request in inferences(digest)),
    ]


def inferences(digest: str) -> Iterator[tuple[str, Message]]:
    """The same by the Open Inference Protocol: raw, and typed with an explanation."""
    x = models.image()["x"]
    given = oip.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=x.shape)
    yield "ModelMetadata", oip.ModelMetadataRequest(name=digest)
    yield "ModelInfer", oip.ModelInferRequest(model_name=digest, inputs=[given], raw_input_contents=[x.tobytes()])
    given.contents.fp32_contents.extend(x.ravel().tolist())
    request = oip.ModelInferRequest(model_name=digest, inputs=[given])
    options = {"method": "integrated_gradients", "target": "y:1", "steps": "4", "seed": "1", "inputs": "x"}
    for name, text in options.items():
        request.parameters[f"explain_{name}"].string_param = text
    yield "ModelInfer", request


STREAMED = ("ExplanationService/CompileExplanation", "AuditService/CreateAudit")


@dataclass(frozen=True)
class Attacked:
    """A server under attack."""

    channel: grpc.Channel
    digest: str
    seeds: Sequence[bytes]

    def attack(self, draw: random.Random) -> tuple[Callable[[], Any], bytes]:
        """One input: a call that sends it, and its bytes."""
        if draw.random() < 0.5:
            return self._model(mutated(draw, onnx.ModelProto.FromString(draw.choice(self.seeds))))
        if draw.random() < 0.2:
            return self._upload(draw)
        path, request = draw.choice(requests(self.digest))
        data = mutated(draw, request)
        make = self.channel.unary_stream if path in STREAMED else self.channel.unary_unary
        return lambda: _drained(
            make(path if path.startswith("/") else f"/explainsvc.v1.{path}", None, None)(data, timeout=CALL_SECONDS)
        ), data

    def _model(self, data: bytes) -> tuple[Callable[[], Any], bytes]:
        """A mutated model, soundly uploaded."""
        header = announced("m", data, {})
        parts = [part.SerializeToString() for part in messages(header, {"": data}, {})]
        return lambda: self._sent(parts), data

    def _upload(self, draw: random.Random) -> tuple[Callable[[], Any], bytes]:
        """A sound model, in mutated messages."""
        data = draw.choice(self.seeds)
        parts = [part.SerializeToString() for part in messages(announced("m", data, {}), {"": data}, {})]
        at = draw.randrange(len(parts))
        parts[at] = mutated(draw, pb.UploadModelRequest.FromString(parts[at]))
        return lambda: self._sent(parts), b"".join(parts)

    def _sent(self, parts: Sequence[bytes]) -> Any:
        send = self.channel.stream_unary("/explainsvc.v1.ModelService/UploadModel", None, None)
        return send(iter(parts), timeout=CALL_SECONDS)


def _drained(answer: Any) -> Any:
    return answer if isinstance(answer, bytes) else list(answer)


def outcome(call: Callable[[], Any]) -> tuple[str, bool]:
    """What a call ends in, and whether that is fine or a typed refusal."""
    try:
        call()
    except grpc.RpcError as error:
        reason = _reason(error)
        return (reason, reason != "INTERNAL") if reason else (f"{error.code().name}: {error.details()}", False)
    return FINE, True


def _reason(error: Any) -> str:
    status = status_pb2.Status.FromString(dict(error.trailing_metadata() or ()).get(DETAILS_KEY, b""))
    info = error_details_pb2.ErrorInfo()
    return info.reason if any(detail.Unpack(info) for detail in status.details) and info.domain == "explainsvc" else ""


@contextmanager
def another_caller(channel: grpc.Channel, digest: str, delays: list[float]) -> Iterator[None]:
    """Asks for a model all the time, and notes how long that takes."""
    over = threading.Event()
    get = channel.unary_unary("/explainsvc.v1.ModelService/GetModel", None, None)
    request = pb.GetModelRequest(digest=digest).SerializeToString()

    def ask() -> None:
        while not over.wait(CANARY_SECONDS):
            start = time.perf_counter()
            outcome(lambda: get(request, timeout=CALL_SECONDS))
            delays.append(time.perf_counter() - start)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()


@dataclass(frozen=True)
class Attack:
    """How many inputs of which seed, against which process; what is not typed is kept in a folder."""

    number: int
    seed: int
    pid: int
    kept: Path
    say: Callable[[str], None] = print


def campaign(address: str, digest: str, seeds: Sequence[bytes], attack: Attack) -> Found:
    """Every input, one after the other, while another caller asks."""
    found, before = Found(), 0
    with grpc.insecure_channel(address) as channel, grpc.insecure_channel(address, [("explainsvc.other", 1)]) as other:
        server = Attacked(channel, digest, seeds)
        with another_caller(other, digest, found.delays):
            for number in range(attack.number):
                if number == int(attack.number * WARM):
                    before = resident(attack.pid)
                call, data = server.attack(random.Random(f"{attack.seed}/{number}"))
                reason, typed = outcome(call)
                found.outcomes[reason] += 1
                if not typed:
                    found.untyped.append((number, reason))
                    (attack.kept / f"{attack.seed}-{number}-{hashlib.sha256(data).hexdigest()[:8]}").write_bytes(data)
                if number % 1000 == 999:
                    attack.say(f"{number + 1}: {dict(found.outcomes)}")
    found.grown = resident(attack.pid) - before
    found.delays.sort()
    return found
