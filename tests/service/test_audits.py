"""Audits over gRPC: progress while they run, the library's report at the end, and their life in the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from explainpb.v1 import audit_service_pb2 as pb
from explainpb.v1.audit_service_pb2_grpc import AuditServiceStub
from explainsvc import errors
from explainsvc.checks.presets import PRESETS
from explainsvc.checks.rows import Row
from explainsvc.client import Client
from explainsvc.codec.results import from_row, to_row
from explainsvc.codec.tensors import to_named
from explainsvc.errors import InvalidParameter
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


def test_watching_from_the_middle(audits: AuditServiceStub, client: Client, digest: str) -> None:
    """Rows behind a sequence come as CreateAudit sent them, while the audit runs and when it has ended."""
    request = pb.CreateAuditRequest(model_digest=digest, inputs=to_named(models.image(64)), methods=METHODS)
    stream = audits.CreateAudit(request)
    audit_id = next(stream).started.audit_id
    watched: list[tuple[int, Row]] = []
    with ThreadPoolExecutor() as threads:
        live = threads.submit(client.audits.watch, audit_id, after=5, on_row=lambda row: watched.append((0, row)))
        events = list(stream)
        assert live.result(timeout=60).rows
    rows = [(event.sequence, event.row) for event in events if event.HasField("row")]
    assert [number for number, _ in rows] == list(range(1, len(rows) + 1))
    assert [event.sequence for event in events] == sorted(event.sequence for event in events)
    assert [to_row(row) for _, row in watched] == [row for _, row in rows[5:]]
    for after in (0, 7, len(rows)):
        later = list(audits.WatchAudit(pb.WatchAuditRequest(audit_id=audit_id, after_sequence=after)))
        assert [(event.sequence, event.row) for event in later[1:-1]] == rows[after:]
        assert later[0].started.state == pb.AUDIT_STATE_SUCCEEDED
        assert (later[-1].finished, later[-1].sequence) == (events[-1].finished, len(rows))
    with pytest.raises(grpc.RpcError) as error:
        list(audits.WatchAudit(pb.WatchAuditRequest(audit_id=audit_id, after_sequence=-1)))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_the_time_left_is_told(audits: AuditServiceStub, digest: str) -> None:
    """It is unset while the untouched model is explained, then positive, and 0 at the end."""
    request = pb.CreateAuditRequest(model_digest=digest, inputs=to_named(models.image(16)), methods=METHODS)
    progress = [event.progress for event in audits.CreateAudit(request) if event.HasField("progress")]
    for each in progress:
        assert each.HasField("remaining") == (not each.what.startswith("untouched"))
    assert progress[-1].remaining.ToMilliseconds() == 0
    assert progress[-1].done == progress[-1].total


def test_cancel_and_delete(audits: AuditServiceStub, client: Client, digest: str) -> None:
    """A cancelled audit says so to its watchers and frees its worker; a deleted one is gone; an ended one stays."""
    audit_id = client.audits.start(digest, models.image(1024), methods=METHODS)
    stream = audits.WatchAudit(pb.WatchAuditRequest(audit_id=audit_id))
    assert next(stream).started.state == pb.AUDIT_STATE_RUNNING
    assert client.audits.cancel(audit_id).state == pb.AUDIT_STATE_CANCELLED
    assert list(stream)[-1].finished.state == pb.AUDIT_STATE_CANCELLED
    with pytest.raises(errors.AuditNotFound, match="it is cancelled"):
        client.audits.watch(audit_id)
    assert client.audits.cancel(audit_id).state == pb.AUDIT_STATE_CANCELLED
    running = client.audits.start(digest, models.image(1024), methods=METHODS)
    for each in (audit_id, running):
        client.audits.delete(each)
        with pytest.raises(errors.AuditNotFound):
            client.audits.get(each)
    assert not {audit_id, running} & {audit.audit_id for audit in client.audits.list()}
    assert client.predict(digest, models.image())["y"].shape == (2, 3)


def test_audits_are_listed_page_by_page(audits: AuditServiceStub, client: Client, digest: str) -> None:
    """The newest first, each once, without rows."""
    made = [client.audits.start(digest, models.image(2), methods=["random"]) for _ in range(3)]
    for audit_id in made:
        client.audits.watch(audit_id)
    token, found = "", list[str]()
    while token or not found:
        page = audits.ListAudits(pb.ListAuditsRequest(page_size=2, page_token=token))
        assert len(page.audits) <= 2
        assert not any(audit.rows or audit.verdicts for audit in page.audits)
        found += [audit.audit_id for audit in page.audits]
        token = page.next_page_token
    assert found[:3] == made[::-1]
    assert len(found) == len(set(found))


PLAN = """
methods = ["gradient", "random"]
checks = ["complexity", "completeness"]
target = 1
seed = 5
[parameters.complexity]
threshold = 0.2
"""


def test_plans_and_presets(client: Client, digest: str, cnn: Model) -> None:
    """A plan is what the library does with its fields; the request's own come first; a preset is one by its name."""
    x = models.image(5)
    whole = {"methods": ["gradient", "random"], "checks": ["complexity", "completeness"], "target": 1, "seed": 5}
    here = cnn.audit(x, **whole, parameters={"complexity": {"threshold": 0.2}})
    assert client.audit(digest, x, plan=PLAN).to_json() == here.to_json()
    there = client.audit(digest, x, plan=PLAN, seed=0, checks=["complexity"], parameters={"complexity": {"threshold": 0.3}})
    other = whole | {"seed": 0, "checks": ["complexity"]}
    assert there.to_json() == cnn.audit(x, **other, parameters={"complexity": {"threshold": 0.3}}).to_json()
    quick = client.audit(digest, x, preset="quick", checks=["complexity"])
    assert quick.header["asked"] == list(PRESETS["quick"].methods)


def test_everything_wrong_with_a_plan_is_listed(client: Client, digest: str) -> None:
    """Unknown keys, presets, types; no plan at all; names and parameters of methods and checks."""
    with pytest.raises(InvalidParameter) as error:
        client.audit(digest, models.image(), preset="quik", plan='methodes = ["gradient"]\nseed = "x"')
    assert [violation.field for violation in error.value.violations] == ["plan", "preset", "plan.methodes", "plan.seed"]
    with pytest.raises(InvalidParameter, match=r"methods: is empty, and no preset"):
        client.audit(digest, models.image())
    with pytest.raises(InvalidParameter) as error:
        client.audit(digest, models.image(), plan="methods = [1]\ntarget = 1979-05-27")
    with pytest.raises(errors.UnknownMethod) as unknown:
        client.audit(digest, models.image(), methods=["gradiant", "random"], checks=["complexitie"])
    assert [violation.field for violation in unknown.value.violations] == ["methods[0]", "checks[0]"]
    wrong = {"complexity": {"threshold": 2, "treshold": 0.1}, "random": {"distribution": "x"}, "occlusion": {}}
    with pytest.raises(InvalidParameter) as error:
        client.audit(digest, models.image(), methods=METHODS, checks=["complexity"], parameters=wrong)
    fields = {"complexity.threshold", "complexity.treshold", "random.distribution", "occlusion"}
    assert {violation.field for violation in error.value.violations} == {f"parameters.{field}" for field in fields}


def test_unknown_audit(audits: AuditServiceStub) -> None:
    """An id of no audit is NOT_FOUND."""
    for call in (
        lambda: audits.GetAudit(pb.GetAuditRequest(audit_id="../x")),
        lambda: list(audits.DownloadReport(pb.DownloadReportRequest(audit_id="0" * 32))),
        lambda: list(audits.WatchAudit(pb.WatchAuditRequest(audit_id="0" * 32))),
        lambda: audits.CancelAudit(pb.CancelAuditRequest(audit_id="0" * 32)),
        lambda: audits.DeleteAudit(pb.DeleteAuditRequest(audit_id="0" * 32)),
    ):
        with pytest.raises(grpc.RpcError) as error:
            call()
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
