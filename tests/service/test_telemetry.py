"""What an operator sees: metrics, probes, health of models, logs, traces."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from explainpb.inference.inference_service_pb2 import ModelInferRequest
from explainpb.inference.inference_service_pb2_grpc import GRPCInferenceServiceStub
from explainpb.v1.explanation_service_pb2 import ExplainRequest, ExplainStreamRequest, ListMethodsRequest, PredictRequest
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from explainsvc.client import Client
from explainsvc.codec.tensors import to_named
from explainsvc.errors import ExplainsvcError, ModelNotFound
from explainsvc.service import health
from explainsvc.service.calls import Call
from explainsvc.service.config import Config
from explainsvc.service.edge import perimeter
from explainsvc.service.logs import AuditLog, JsonFormatter
from explainsvc.service.server import Listening, in_thread
from explainsvc.service.telemetry import GAUGES, Metrics
from tests.house.repository import ROOT
from tests.service import models
from tests.service.processes import wait_for

SERVING, UNKNOWN = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
RPC = "explainsvc.v1.ExplanationService/Explain"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector of spans, as OpenTelemetry's protocol has it."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def Export(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Keeps what it gets."""
        self.spans += [span for spans in request.resource_spans for scope in spans.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, str]]:
    """A collector and its address."""
    collecting, server = Collector(), grpc.server(futures.ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collecting, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collecting, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


Proof = tuple[threading.Event, list[str]]


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory, collector: tuple[Collector, str]) -> Iterator[tuple[Listening, Proof]]:
    """A server without authentication, with its HTTP port, traces, and checks that end when they are told to."""
    proof: Proof = threading.Event(), []

    def prove() -> list[str]:
        assert proof[0].wait(60)
        return proof[1]

    config = Config(
        address="127.0.0.1:0", http_address="127.0.0.1:0", store=tmp_path_factory.mktemp("store"), workers=1, worker_threads=1,
        traces=True,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector[1])
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        with in_thread(config, prove) as listening:
            yield listening, proof


def curl(url: str) -> tuple[int, str]:
    """Status and body, by a client that nobody here wrote."""
    done = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", url], capture_output=True, text=True, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def test_ready_only_once_the_checks_have_passed(observed: tuple[Listening, Proof]) -> None:
    """Alive at once; ready, over HTTP and gRPC, when the doctor's checks have ended and found nothing."""
    listening, (over, _) = observed
    url = f"http://{listening.http}"
    with grpc.insecure_channel(listening.grpc) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert curl(f"{url}/healthz") == (200, "ok\n")
        status, body = curl(f"{url}/readyz")
        assert (status, json.loads(body)) == (503, {"ready": False, "reasons": {"checks": "have not ended yet"}})
        over.set()
        assert next(watch).status == SERVING
        assert curl(f"{url}/readyz")[0] == 200
        watch.cancel()


def test_health_of_a_model(observed: tuple[Listening, Proof], cnn_bytes: bytes) -> None:
    """Unknown before the upload, serving after it, unknown once it is deleted; a watcher hears all three."""
    with Client(observed[0].grpc) as client, grpc.insecure_channel(observed[0].grpc) as channel:
        digest = client.upload(cnn_bytes)
        client.delete(digest)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=health.MODELS + digest))
        heard = [next(watch).status]
        client.upload(cnn_bytes)
        heard.append(next(watch).status)
        client.delete(digest)
        heard.append(next(watch).status)
        assert heard == [UNKNOWN, SERVING, UNKNOWN]
        watch.cancel()


def test_metrics_count_what_happened(observed: tuple[Listening, Proof], cnn_bytes: bytes) -> None:
    """Calls by code, uploaded bytes, residuals by method, gauges; an rpc of any other name is not counted by that name."""
    url = f"http://{observed[0].http}/metrics"

    def value(line: str) -> float:
        found = re.search(rf"^{re.escape(line)} (\S+)$", curl(url)[1], re.MULTILINE)
        return 0.0 if found is None else float(found[1])

    explained = 'grpc_server_handled_total{grpc_code="OK",grpc_method="Explain",grpc_service="explainsvc.v1.ExplanationService"'
    explained += ',grpc_type="unary"}'
    before, uploaded = value(explained), value("explainsvc_upload_bytes_total")
    with Client(observed[0].grpc) as client:
        digest = client.upload(cnn_bytes)
        client.explain(digest, models.image(), "integrated_gradients")
        with pytest.raises(ModelNotFound):
            client.explain(64 * "0", models.image())
    assert value(explained) == before + 1
    assert value(explained.replace('"OK"', '"NOT_FOUND"')) == 1
    assert value("explainsvc_upload_bytes_total") == uploaded + len(cnn_bytes)
    with grpc.insecure_channel(observed[0].grpc) as channel:
        request = ModelInferRequest(model_name=digest, raw_input_contents=[models.image(1)["x"].tobytes()])
        request.inputs.add(name="x", datatype="FP32", shape=[1, 1, 6, 6])
        GRPCInferenceServiceStub(channel).ModelInfer(request)
        request.parameters["explain_method"].string_param = "integrated_gradients"
        GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert value('explainsvc_completeness_residual_count{method="integrated_gradients"}') == 3
    assert value('explainsvc_completeness_residual_bucket{le="0.1",method="integrated_gradients"}') == 3
    assert (value("explainsvc_workers"), value("explainsvc_models_loaded"), value("explainsvc_queue_length")) == (1, 1, 0)
    assert value('explainsvc_http_seconds_count{code="OK",route="/metrics"}') > 0


def test_labels_are_from_closed_sets() -> None:
    """Whatever names and reasons come, there is one label for what is not ours; a pool can tell it everything."""
    metrics = Metrics()
    for number in range(50):
        call = Call.of(f"/evil{number}.Service/Method{number}", "unary", ())
        metrics.began(call)
        call.code = "OK"
        metrics.ended(call)
        metrics.restarted(f"reason {number}")
    metrics.restarted("crash")
    metrics.waited(0.2)
    metrics.batched(3)
    text = metrics.text().decode()
    assert "evil" not in text
    assert 'grpc_server_started_total{grpc_method="unknown",grpc_service="unknown",grpc_type="unary"} 50.0' in text
    assert 'explainsvc_worker_restarts_total{reason="unknown"} 50.0' in text
    assert 'explainsvc_worker_restarts_total{reason="crash"} 1.0' in text
    assert 'explainsvc_queue_seconds_bucket{le="0.25"} 1.0' in text
    assert 'explainsvc_batch_size_bucket{le="4.0"} 1.0' in text


def test_the_dashboard_shows_metrics_that_exist() -> None:
    """Every metric that a panel asks for is one that the server has."""
    metrics = Metrics()
    known = {name for family in metrics.registry.collect() for name in _names(family)} | {f"explainsvc_{name}" for name in GAUGES}
    dashboard = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked = {name for query in queries for name in re.findall(r"\b(?:grpc_server|explainsvc)_\w+", query)}
    assert len(queries) >= 8
    assert asked - known - {"explainsvc_audits"} == set()


def _names(family: Any) -> list[str]:
    if family.type == "histogram":
        return [f"{family.name}{suffix}" for suffix in ("_bucket", "_count", "_sum")]
    return [f"{family.name}_total"]


def test_a_span_a_call(observed: tuple[Listening, Proof], collector: tuple[Collector, str]) -> None:
    """A child of the client's span, with the rpc, its code and the request's id; a real collector gets it."""
    metadata = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-request-id", "traced")]
    with grpc.insecure_channel(observed[0].grpc) as channel:
        ExplanationServiceStub(channel).ListMethods(ListMethodsRequest(), metadata=metadata)

    def span() -> Any:
        return next((span for span in collector[0].spans if span.trace_id.hex() == TRACE), None)

    wait_for(lambda: span() is not None, 20)
    facts = {attribute.key: attribute.value.string_value for attribute in span().attributes}
    assert (span().name, span().parent_span_id.hex()) == ("explainsvc.v1.ExplanationService/ListMethods", PARENT)
    assert (facts["rpc.grpc.status_code"], facts["explainsvc.request_id"]) == ("OK", "traced")


def _of_trace(collector: Collector, trace: str) -> list[Any]:
    return [span for span in collector.spans if span.trace_id.hex() == trace]


def _explained(listening: Listening, digest: str, trace: str) -> None:
    request = ExplainRequest(model_digest=digest, inputs=to_named(models.image()), method="gradient")
    with grpc.insecure_channel(listening.grpc) as channel:
        ExplanationServiceStub(channel).Explain(request, metadata=[("traceparent", f"00-{trace}-{PARENT}-01")])


def test_the_work_in_a_worker_is_below_its_call(observed: tuple[Listening, Proof], collector: tuple[Collector, str]) -> None:
    """What a worker did is part of the call's trace: load, the model's run, build, session, run; for the next call the runs."""
    first, second = "1" * 32, "2" * 32
    with Client(observed[0].grpc) as client:
        digest = client.upload(models.linear_of_pictures())
    for trace, names in ((first, ["load", "build", "session", "run"]), (second, ["run"])):
        _explained(observed[0], digest, trace)
        wait_for(lambda trace=trace: RPC in {span.name for span in _of_trace(collector[0], trace)}, 20)
        spans = sorted(_of_trace(collector[0], trace), key=lambda span: span.start_time_unix_nano)
        call, *work = spans
        assert [span.name for span in work] == names
        assert {span.parent_span_id for span in work} == {call.span_id}
        times = [time for span in work for time in (span.start_time_unix_nano, span.end_time_unix_nano)]
        assert times == sorted(times)
        assert call.start_time_unix_nano <= times[0] <= times[-1] <= call.end_time_unix_nano


def test_each_call_of_a_batch_has_the_work_of_the_batch(
    observed: tuple[Listening, Proof], collector: tuple[Collector, str]
) -> None:
    """Calls that are computed together while the only worker is busy each have its work in their own trace."""
    traces = [f"{number:x}" * 32 for number in range(3, 7)]
    with Client(observed[0].grpc) as client:
        digest = client.upload(models.cnn())
        client.explain(digest, models.image())
        with grpc.insecure_channel(observed[0].grpc) as channel, futures.ThreadPoolExecutor(4) as threads:
            endless = to_named(models.rounds(models.ENDLESS))
            request = ExplainRequest(model_digest=client.upload(models.loop()), inputs=endless, method="gradient")
            busy = ExplanationServiceStub(channel).ExplainStream(ExplainStreamRequest(request=request), timeout=60)
            wait_for(lambda: "explainsvc_workers_idle 0.0" in curl(f"http://{observed[0].http}/metrics")[1])
            calls = [threads.submit(_explained, observed[0], digest, trace) for trace in traces]
            wait_for(lambda: "explainsvc_queue_length 1.0" in curl(f"http://{observed[0].http}/metrics")[1])
            time.sleep(0.5)
            busy.cancel()
            for call in calls:
                call.result(60)
    wait_for(lambda: sum(span.name == "run" for trace in traces for span in _of_trace(collector[0], trace)) == len(traces), 20)
    runs = [span for trace in traces for span in _of_trace(collector[0], trace) if span.name == "run"]
    assert len({span.start_time_unix_nano for span in runs}) == 1


def test_a_log_line_is_json_and_has_the_call(observed: tuple[Listening, Proof], caplog: pytest.LogCaptureFixture) -> None:
    """One object a line: what was called, how it ended, by whom, the request's id."""
    with caplog.at_level(logging.INFO, "explainsvc.service.logs"), grpc.insecure_channel(observed[0].grpc) as channel:
        ExplanationServiceStub(channel).ListMethods(ListMethodsRequest(), metadata=[("x-request-id", "logged")])
    (record,) = [record for record in caplog.records if "logged" in record.getMessage()]
    line = json.loads(JsonFormatter().format(record))
    assert (line["rpc"], line["code"], line["request_id"]) == ("/explainsvc.v1.ExplanationService/ListMethods", "OK", "logged")
    assert line["milliseconds"] >= 0


@pytest.mark.parametrize(
    ("module", "ours", "settings", "extra"),
    [
        ("jwt", "web_tokens", {"jwt_keys": Path("keys"), "jwt_issuer": "i", "jwt_audience": "a"}, "explainsvc[jwt]"),
        ("opentelemetry.sdk.trace", "tracing", {"traces": True}, "explainsvc[otel]"),
    ],
)
def test_extras_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch, module: str, ours: str, settings: dict[str, Any], extra: str
) -> None:
    """A server that needs a library which is not installed says which extra to install; one that does not, starts."""
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"explainsvc.service.{ours}", raising=False)
    with perimeter(Config()):
        pass
    with pytest.raises(ExplainsvcError, match=re.escape(extra)), perimeter(Config(**settings)):
        pass


def test_a_deadline_is_told_from_a_cancellation(observed: tuple[Listening, Proof]) -> None:
    """A call whose time is over is counted as DEADLINE_EXCEEDED, one that its caller gave up before as CANCELLED."""
    listening, _ = observed
    with Client(listening.grpc) as client, grpc.insecure_channel(listening.grpc) as channel:
        inputs = to_named(models.rounds(models.ENDLESS))
        request = PredictRequest(model_digest=client.upload(models.loop()), inputs=inputs)
        with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
            ExplanationServiceStub(channel).Predict(request, timeout=0.3)
        call = ExplanationServiceStub(channel).Predict.future(request, timeout=60)
        time.sleep(0.3)
        call.cancel()
        for code in ("DEADLINE_EXCEEDED", "CANCELLED"):
            line = f'_handled_total{{grpc_code="{code}",grpc_method="Predict",grpc_service="explainsvc.v1.ExplanationService"'
            wait_for(lambda line=line: f'{line},grpc_type="unary"}} 1.0' in curl(f"http://{listening.http}/metrics")[1], 10.0)


def test_an_audit_log_that_cannot_be_written_ends_no_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """On a full disk, or where the file may not be opened anew: the log says so, and the file in use stays."""
    AuditLog(Path("/dev/full")).ended(Call.of("/a/B", "unary", ()))
    log = AuditLog(path := tmp_path / "audit.jsonl")
    path.rename(moved := tmp_path / "audit.1")
    path.mkdir()
    log.ended(Call.of("/a/B", "unary", ()))
    path.rmdir()
    log.ended(Call.of("/a/C", "unary", ()))
    log.close()
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == ["No space left on device", "Is a directory"]
    assert (moved.read_text(), json.loads(path.read_text())["rpc"]) == ("", "/a/C")
