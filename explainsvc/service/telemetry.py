"""Metrics for Prometheus: those of go-grpc-prometheus by their names, and our own as ``explainsvc_*``.

Labels come from closed sets (rpcs that are served, methods of the registry, reasons of the code), never from a request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from explainpb.inference.inference_service_pb2 import ModelInferResponse
from explainpb.v1.explanation_service_pb2 import Attribution, ExplainResponse
from explainpb.v1.model_service_pb2 import UploadModelRequest
from explainsvc.codec.tensors import from_tensor
from explainsvc.methods import METHODS
from explainsvc.service.access import REFLECTION, SCOPES_OF
from explainsvc.service.calls import HTTP, Call, Silent
from explainsvc.service.inference import attribution_of
from explainsvc.workers.stats import RESTARTS

UNKNOWN = "unknown"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
RATIOS = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10)
CALL = ("grpc_type", "grpc_service", "grpc_method")
KNOWN = frozenset({*SCOPES_OF, *REFLECTION})


@dataclass(frozen=True)
class Gauges:
    """Numbers that are read when somebody asks.

    Attributes:
        read: Name of a gauge → its value now.
        audits: State → number of audits.
    """

    read: Callable[[], Mapping[str, float]]
    audits: Callable[[], Mapping[str, float]]

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        for name, value in self.read().items():
            yield GaugeMetricFamily(f"explainsvc_{name}", GAUGES[name], value=value)
        audits = GaugeMetricFamily("explainsvc_audits", "Audits that the store knows, by state", labels=["state"])
        for state, count in self.audits().items():
            audits.add_metric([state], count)
        yield audits


GAUGES = {
    "queue_length": "Jobs that wait for a worker",
    "workers": "Worker processes that are ready or compute",
    "workers_idle": "Worker processes that wait for a job",
    "workers_spare": "Worker processes that wait for another to die",
    "models_loaded": "Models that workers hold, each as often as it is held",
    "models_quarantined": "Models that are refused because they brought down workers",
    "ready": "1 while /readyz says so",
}


@dataclass(frozen=True)
class _Rpc:
    """What is counted of one rpc, whatever its calls end in."""

    started: Counter
    received: Counter
    sent: Counter
    handling: Histogram


class Metrics(Silent):
    """All counters and histograms of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._started = self._counter("grpc_server_started", "RPCs started on the server", *CALL)
        self._handled = self._counter("grpc_server_handled", "RPCs completed on the server", *CALL, "grpc_code")
        self._received = self._counter("grpc_server_msg_received", "Messages received from clients", *CALL)
        self._sent = self._counter("grpc_server_msg_sent", "Messages sent to clients", *CALL)
        self._handling = self._histogram("grpc_server_handling_seconds", "Seconds of an RPC on the server", SECONDS, *CALL)
        text = "Seconds of a request on the HTTP port, by route and code"
        self._http = self._histogram("explainsvc_http_seconds", text, SECONDS, "route", "code")
        self._queue = self._histogram("explainsvc_queue_seconds", "Seconds that a job waited for a worker", SECONDS)
        self._batch = self._histogram("explainsvc_batch_size", "Requests that ran as one", SIZES)
        self._restarts = self._counter("explainsvc_worker_restarts", "Workers that were followed by another", "reason")
        self._uploaded = self._counter("explainsvc_upload_bytes", "Bytes of models that were received")
        self._refused = self._counter("explainsvc_quota_refusals", "Calls refused by a quota", "reason")
        text = "|residual| of an explanation over |output - baseline|, an item; for methods that claim completeness"
        self._residual = self._histogram("explainsvc_completeness_residual", text, RATIOS, "method")
        self._rpcs: dict[tuple[str, str, str], _Rpc] = {}

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=tuple(buckets), registry=self.registry)

    def add(self, gauges: Gauges) -> None:
        """Numbers to read at each scrape."""
        self.registry.register(gauges)

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self.registry)

    def _of(self, call: Call) -> _Rpc:
        """The counters of a call's rpc, looked up by their labels once."""
        labels = _labels(call)
        found = self._rpcs.get(labels)
        if found is None:
            started, received, sent = (one.labels(*labels) for one in (self._started, self._received, self._sent))
            found = self._rpcs[labels] = _Rpc(started, received, sent, self._handling.labels(*labels))
        return found

    def began(self, call: Call) -> None:
        """Counts it."""
        if call.kind != HTTP:
            self._of(call).started.inc()

    def received(self, call: Call, message: Any) -> None:
        """Counts messages and the bytes of uploads."""
        if call.kind == HTTP:
            return
        self._of(call).received.inc()
        if isinstance(message, UploadModelRequest):
            self._uploaded.inc(len(message.chunk.data))

    def sent(self, call: Call, message: Any) -> None:
        """Counts messages; of an explanation also how far it is from complete."""
        if call.kind != HTTP:
            self._of(call).sent.inc()
        attribution = attribution_of(message) if isinstance(message, ModelInferResponse) else None
        if isinstance(message, ExplainResponse):
            attribution = message.attribution
        if attribution is not None and attribution.HasField("residual") and attribution.HasField("output_value"):
            self._observe_residual(attribution)

    def _observe_residual(self, attribution: Attribution) -> None:
        method = attribution.method if attribution.method in METHODS else UNKNOWN
        histogram = self._residual.labels(method)
        for ratio in residual_ratios(attribution):
            histogram.observe(ratio)

    def ended(self, call: Call) -> None:
        """Counts it by its code, and how long it took."""
        if call.kind == HTTP:
            self._http.labels(call.rpc, call.code).observe(call.seconds)
            return
        self._handled.labels(*_labels(call), call.code).inc()
        self._of(call).handling.observe(call.seconds)

    def refused(self, reason: str) -> None:
        """A quota refused a call."""
        self._refused.labels(reason).inc()

    def waited(self, seconds: float) -> None:
        """See :class:`explainsvc.workers.stats.Listener`."""
        self._queue.observe(seconds)

    def batched(self, requests: int) -> None:
        """See there."""
        self._batch.observe(requests)

    def restarted(self, reason: str) -> None:
        """See there."""
        self._restarts.labels(reason if reason in RESTARTS else UNKNOWN).inc()


def _labels(call: Call) -> tuple[str, str, str]:
    """Type, service and method; whatever is not ours is one."""
    if call.rpc not in KNOWN:
        return call.kind, UNKNOWN, UNKNOWN
    service, _, method = call.rpc[1:].rpartition("/")
    return call.kind, service, method


def residual_ratios(attribution: Attribution) -> list[float]:
    """What is missing to completeness, over what there was to share out, an item."""
    residual = np.abs(from_tensor(attribution.residual, "residual").astype(np.float64)).ravel()
    shared = from_tensor(attribution.output_value, "output_value").astype(np.float64).ravel()
    if attribution.HasField("baseline_value"):
        shared = shared - from_tensor(attribution.baseline_value, "baseline_value").astype(np.float64).ravel()
    whole = np.abs(shared) if shared.shape == residual.shape else np.abs(shared.sum(keepdims=True))
    ratios: list[float] = (residual / np.maximum(whole, np.finfo(np.float32).tiny)).tolist()
    return ratios
