"""A span a call by OpenTelemetry, child of the client's (W3C ``traceparent``), and below it those of the work in a worker.

Needs the extra ``otel``. Workers reach no network: they say with their reply when they did what, and the spans are made here.

Where the spans go is what the standard ``OTEL_*`` variables say. The process's global tracer is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from explainpb.worker.v1 import worker_pb2
from explainsvc.service.calls import Call, Silent

HEADERS = ("traceparent", "tracestate")
SERVERS_FAULT = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Codes that make a server's span an error, by OpenTelemetry's conventions for gRPC."""

IN_FORCE: ContextVar[Span | None] = ContextVar("span", default=None)
"""That of the call that is being answered."""


class Traces(Silent):
    """Spans of all calls that are not open to all."""

    def __init__(self) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": "explainsvc"}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("explainsvc")
        self._propagator = TraceContextTextMapPropagator()
        self._spans: dict[Call, Span] = {}

    def began(self, call: Call) -> None:
        """Begins its span."""
        carrier = {name: call.headers[name][0] for name in HEADERS if name in call.headers}
        service, _, method = call.rpc.lstrip("/").rpartition("/")
        facts = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method, "explainsvc.request_id": call.request_id}
        context = self._propagator.extract(carrier)
        span = self._tracer.start_span(call.rpc.lstrip("/"), context, SpanKind.SERVER, facts)
        self._spans[call] = span
        IN_FORCE.set(span)

    def spent(self, spans: Iterable[worker_pb2.Span]) -> None:
        """What a worker did for the call that is being answered."""
        if (parent := IN_FORCE.get()) is None:
            return
        context = set_span_in_context(parent)
        for one in spans:
            facts = {"explainsvc.times": one.times}
            self._tracer.start_span(one.name, context, attributes=facts, start_time=one.start_unix_nanos).end(one.end_unix_nanos)

    def ended(self, call: Call) -> None:
        """Ends it with its code."""
        span = self._spans.pop(call)
        span.set_attribute("rpc.grpc.status_code", call.code)
        span.set_attribute("enduser.id", call.principal.name)
        if call.code in SERVERS_FAULT:
            span.set_status(Status(StatusCode.ERROR, call.code))
        span.end()

    def close(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()
