"""Audits over gRPC: progress while they run, the library's report at the end, and their life in the store."""

from __future__ import annotations

import json
from collections.abc import Iterator

import grpc
import pytest

from explainpb.v1 import audit_service_pb2 as pb
from explainpb.v1.audit_service_pb2_grpc import AuditServiceStub
from explainsvc import errors
from explainsvc.checks.rows import Row
from explainsvc.client import Client
from explainsvc.codec.results import from_row
from explainsvc.codec.tensors import to_named
from explainsvc.model import Model
from tests.service import models
from tests.service.processes import workers

METHODS = ["gradient", "random"]


@pytest.fixture
def audits(address: str) -> Iterator[AuditServiceStub]:
    """The audit service without this project's client."""
    with grpc.insecure_channel(address) as channel:
        yield AuditServiceStub(channel)


def test_the_report_is_the_librarys(client: Client, digest: str, cnn: Model) -> None:
    """The client's audit gives the report that ``Model.audit`` gives, with progress on the way."""
    heard: list[tuple[int, int, str]] = []
    inputs = models.image(3)
    rows: list[Row] = []
    there = client.audit(
        digest, inputs, methods=METHODS, target=1, seed=3, progress=lambda *s: heard.append(s), on_row=rows.append
    )
    here = cnn.audit(inputs, methods=METHODS, target=1, seed=3)
    assert there.to_json() == here.to_json()
    assert there.verdicts == here.verdicts
    assert [row.to_json() for row in rows] == [row.to_json() for row in here.rows]
    assert heard


def test_the_stream_and_the_store(audits: AuditServiceStub, digest: str) -> None:
    """First the id, progress while it runs, the audit last; GetAudit and DownloadReport agree with it."""
    request = pb.CreateAuditRequest(model_digest=digest, inputs=to_named(models.image(3)), methods=METHODS)
    events = list(audits.CreateAudit(request))
    kinds = [event.WhichOneof("event") for event in events]
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    assert {"progress", "row"} <= set(kinds)
    finished = events[-1].finished
    assert finished.audit_id == events[0].started.audit_id
    assert finished.state == pb.AUDIT_STATE_SUCCEEDED
    assert finished.end_time.ToNanoseconds() >= finished.create_time.ToNanoseconds()
    assert audits.GetAudit(pb.GetAuditRequest(audit_id=finished.audit_id)).audit == finished

    parts = audits.DownloadReport(pb.DownloadReportRequest(audit_id=finished.audit_id))
    report = json.loads(b"".join(part.chunk for part in parts))
    assert [from_row(row).to_json() for row in finished.rows] == report["rows"]
    assert len(finished.verdicts) == len(report["verdicts"]) > 0


def test_the_page(audits: AuditServiceStub, digest: str) -> None:
    """A report can be had as a page."""
    request = pb.CreateAuditRequest(model_digest=digest, inputs=to_named(models.image(3)), methods=METHODS)
    audit_id = next(iter(audits.CreateAudit(request))).started.audit_id
    with pytest.raises(grpc.RpcError) as error:  # that stream was dropped, which cancels the audit
        list(audits.DownloadReport(pb.DownloadReportRequest(audit_id=audit_id)))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    *_, last = audits.CreateAudit(request)
    html = pb.DownloadReportRequest(audit_id=last.finished.audit_id, format=pb.REPORT_FORMAT_HTML)
    assert b"".join(part.chunk for part in audits.DownloadReport(html)).lstrip().lower().startswith(b"<!doctype html")


def test_a_failed_audit_says_why(audits: AuditServiceStub, client: Client, digest: str) -> None:
    """An audit that fails ends its stream in the error, and GetAudit keeps it."""
    with pytest.raises(errors.UnknownMethod):
        client.audit(digest, models.image(), methods=["gradiant"])
    request = pb.CreateAuditRequest(model_digest=digest, inputs=to_named(models.image()), methods=["gradiant"])
    stream = audits.CreateAudit(request)
    audit_id = next(stream).started.audit_id
    with pytest.raises(grpc.RpcError):
        next(stream)
    audit = audits.GetAudit(pb.GetAuditRequest(audit_id=audit_id)).audit
    assert (audit.state, audit.error.reason) == (pb.AUDIT_STATE_FAILED, "UNKNOWN_METHOD")
    assert audit.error.what


def test_an_audit_without_its_caller_is_cancelled(audits: AuditServiceStub, client: Client, digest: str) -> None:
    """Closing the stream ends the audit and frees the worker."""
    pids = workers().keys()
    request = pb.CreateAuditRequest(model_digest=digest, inputs=to_named(models.image(1024)), methods=METHODS)
    stream = audits.CreateAudit(request)
    audit_id = next(stream).started.audit_id
    stream.cancel()
    for _ in range(len(pids) + 1):
        assert client.predict(digest, models.image())["y"].shape == (2, 3)
    state = audits.GetAudit(pb.GetAuditRequest(audit_id=audit_id)).audit.state
    assert state == pb.AUDIT_STATE_CANCELLED


def test_unknown_audit(audits: AuditServiceStub) -> None:
    """An id of no audit is NOT_FOUND."""
    for call in (
        lambda: audits.GetAudit(pb.GetAuditRequest(audit_id="../x")),
        lambda: list(audits.DownloadReport(pb.DownloadReportRequest(audit_id="0" * 32))),
    ):
        with pytest.raises(grpc.RpcError) as error:
            call()
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
