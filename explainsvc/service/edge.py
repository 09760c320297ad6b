"""The edge of a server, put together from its settings: who hears of calls, and the gate that they pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explainsvc.errors import ExplainsvcError
from explainsvc.service import security, tls
from explainsvc.service.config import Config
from explainsvc.service.interceptor import Gate
from explainsvc.service.logs import AuditLog, CallLog
from explainsvc.service.quotas import Quotas
from explainsvc.service.reloading import Reloading
from explainsvc.service.telemetry import Metrics

if TYPE_CHECKING:
    from explainsvc.service.tracing import Traces


@dataclass(frozen=True)
class Perimeter:
    """The gate, the metrics and the traces that hear of it, and the certificates of both ports."""

    gate: Gate
    metrics: Metrics
    traces: Traces | None
    material: Reloading[tls.Material] | None


@contextmanager
def perimeter(config: Config) -> Iterator[Perimeter]:
    """What stands around a server; its files are closed at the end.

    Raises:
        InvalidParameter: The settings do not go together, or a file that they name is not usable.
    """
    security.check(config)
    material, knows, metrics = tls.material(config), security.authenticator(config), Metrics()
    with ExitStack() as stack:
        audit_log, traces = _audit_log(config, stack), _traces(config, stack)
        observers = [metrics, CallLog(), *(one for one in (audit_log, traces) if one is not None)]
        quotas = Quotas(config, knows, metrics.refused)
        yield Perimeter(Gate(config, knows, quotas, observers), metrics, traces, material)


def _audit_log(config: Config, stack: ExitStack) -> AuditLog | None:
    if config.audit_log is None:
        return None
    log = AuditLog(config.audit_log)
    stack.callback(log.close)
    return log


def _traces(config: Config, stack: ExitStack) -> Traces | None:
    if not config.traces:
        return None
    try:
        from explainsvc.service.tracing import Traces  # here, for OpenTelemetry comes with an extra
    except ImportError as error:
        raise ExplainsvcError("traces need OpenTelemetry", where="traces", to_do="Install explainsvc[otel]") from error
    traces = Traces()
    stack.callback(traces.close)
    return traces
