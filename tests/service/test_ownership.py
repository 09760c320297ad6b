"""Whose a model or an audit is: what the services answer to its owner, to others, and to administrators."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from explainpb.v1 import audit_service_pb2 as audit_pb
from explainpb.v1 import explanation_service_pb2 as explanation_pb
from explainpb.v1 import model_service_pb2 as pb
from explainsvc import store
from explainsvc.errors import AuditNotFound, ExplainsvcError, ModelNotFound, UploadNotFound
from explainsvc.jobs import Pool
from explainsvc.service.audit_runs import AuditRuns
from explainsvc.service.audits import AuditService
from explainsvc.service.backend import Backend
from explainsvc.service.config import Config
from explainsvc.service.explanations import ExplanationService
from explainsvc.service.model_uploads import ModelUploads
from explainsvc.service.models import ModelService
from explainsvc.service.principals import CALLER, Principal
from explainsvc.store import StoredAudit, opened
from tests.service.stores import put

ANN, BEN = (Principal(name, frozenset({"upload", "explain", "audit"})) for name in ("ann", "ben"))
ROOT = Principal("root", frozenset({"admin"}))
AUDIT = StoredAudit("cd" * 16, store.SUCCEEDED, "", 1.0, 2.0, owner="ann")
BY_AUDIT = ("GetAudit", "DownloadReport", "WatchAudit", "CancelAudit", "DeleteAudit")
"""The calls that name an audit; the others name a model."""


class Nobody:
    """Workers that nothing here may come as far as."""

    def require_room(self) -> None:
        """There is."""

    async def result(self, job: Any) -> Any:
        """Never asked for."""
        raise AssertionError(job)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    """A store in which Ann has a model, an audit and an upload that has begun."""
    with opened(tmp_path) as kept:
        put(kept, b"model", "ann", "Ann's")
        kept.audits.save(AUDIT, b"{}")
        kept.partials.begin("ann", "upload", "body", 10)
        yield Backend(kept, cast(Pool, Nobody()), Config(store=tmp_path))


def asked_by(who: Principal, call: Callable[[], Awaitable[Any]]) -> Any:
    """What a caller gets."""

    async def asking() -> Any:
        CALLER.set(who)
        return await call()

    return asyncio.run(asking())


def calls(backend: Backend, digest: str, audit_id: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Every way to something that has an owner."""
    models = ModelService(backend, ModelUploads(backend))
    audits = AuditService(backend, AuditRuns(backend, asyncio.Semaphore(1)))
    explanations = ExplanationService(backend)
    listen = pb.InspectModelRequest(digest=digest)

    async def drained(stream: Any) -> list[Any]:
        return [event async for event in stream]

    by_id = {"audit_id": audit_id}
    return {
        "GetModel": lambda: models.GetModel(pb.GetModelRequest(digest=digest), None),
        "InspectModel": lambda: models.InspectModel(listen, None),
        "Predict": lambda: explanations.Predict(explanation_pb.PredictRequest(model_digest=digest), None),
        "Explain": lambda: explanations.Explain(explanation_pb.ExplainRequest(model_digest=digest), None),
        "CreateAudit": lambda: drained(
            audits.CreateAudit(audit_pb.CreateAuditRequest(model_digest=digest, methods=["gradient"], keep_running=True), None)
        ),
        "DeleteModel": lambda: models.DeleteModel(pb.DeleteModelRequest(digest=digest), None),
        "GetAudit": lambda: audits.GetAudit(audit_pb.GetAuditRequest(**by_id), None),
        "DownloadReport": lambda: drained(audits.DownloadReport(audit_pb.DownloadReportRequest(**by_id), None)),
        "WatchAudit": lambda: drained(audits.WatchAudit(audit_pb.WatchAuditRequest(**by_id), None)),
        "CancelAudit": lambda: audits.CancelAudit(audit_pb.CancelAuditRequest(**by_id), None),
        "DeleteAudit": lambda: audits.DeleteAudit(audit_pb.DeleteAuditRequest(**by_id), None),
    }


def refusal(who: Principal, call: Callable[[], Awaitable[Any]]) -> tuple[type, str]:
    """The error that a caller gets."""
    with pytest.raises(ExplainsvcError) as error:
        asked_by(who, call)
    return type(error.value), str(error.value)


def test_what_is_anothers_does_not_exist(backend: Backend) -> None:
    """For Ben each call about what is Ann's fails word for word as it does about what never was, and Ann keeps it."""
    digest = backend.whole.seen_by(store.Viewer("ann")).models(store.Wanted(), None, 1)[0].digest
    nothing = ("0" * 64, "0" * 32)
    there, missing = calls(backend, digest, AUDIT.audit_id), calls(backend, *nothing)
    for name, call in there.items():
        kind, words = refusal(BEN, call)
        assert kind is (AuditNotFound if name in BY_AUDIT else ModelNotFound)
        expected = refusal(BEN, missing[name])
        assert (kind, words.replace(digest, nothing[0]).replace(AUDIT.audit_id, nothing[1])) == expected
    assert asked_by(ANN, there["GetModel"]).model.name == "Ann's"
    assert backend.whole.audits.report(AUDIT.audit_id, store.SERVER) == b"{}"


def test_lists_show_ones_own(backend: Backend) -> None:
    """Ben's lists are empty; Ann's and an administrator's are not; an upload goes on only for who began it."""
    models = ModelService(backend, ModelUploads(backend))
    audits = AuditService(backend, AuditRuns(backend, asyncio.Semaphore(1)))
    for who, number in ((ANN, 1), (BEN, 0), (ROOT, 1)):
        assert len(asked_by(who, lambda: models.ListModels(pb.ListModelsRequest(), None)).models) == number
        assert len(asked_by(who, lambda: audits.ListAudits(audit_pb.ListAuditsRequest(), None)).audits) == number
    request = pb.GetUploadRequest(upload_id="upload")
    assert asked_by(ANN, lambda: models.GetUpload(request, None)).upload.upload_id == "upload"
    for who in (BEN, ROOT):
        assert refusal(who, lambda: models.GetUpload(request, None))[0] is UploadNotFound


def test_the_second_owner_sends_every_byte(backend: Backend) -> None:
    """An upload of bytes that Ann has, cut short, ends for Ben as one of bytes that nobody has."""
    from explainsvc.upload_client import announced

    uploads = ModelUploads(backend)

    async def upload(data: bytes) -> Any:
        async def requests() -> Any:
            header = announced("m", data, {})
            yield pb.UploadModelRequest(header=header)

        return await uploads.receive(requests())

    assert refusal(BEN, lambda: upload(b"model")) == refusal(BEN, lambda: upload(b"mOdel"))
