"""The edge of a server, put together from its settings: who hears of calls, and the gate that they pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from explainsvc.errors import ExplainsvcError
from explainsvc.service import security, tls
from explainsvc.service.calls import Observer
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
    """The gate, the metrics that hear of it, and the certificates of both ports."""

    gate: Gate
    metrics: Metrics
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
        observers = (metrics, CallLog(), *_further(config, stack))
        quotas = Quotas(config, knows, metrics.refused)
        yield Perimeter(Gate(config, knows, quotas, observers), metrics, material)


def _further(config: Config, stack: ExitStack) -> Iterator[Observer]:
    """Those that the settings ask for."""
    if config.audit_log is not None:
        log = AuditLog(config.audit_log)
        stack.callback(log.close)
        yield log
    if config.traces:
        traces = _traces()
        stack.callback(traces.close)
        yield traces


def _traces() -> Traces:
    try:
        from explainsvc.service.tracing import Traces  # here, for OpenTelemetry comes with an extra
    except ImportError as error:
        raise ExplainsvcError("traces need OpenTelemetry", where="traces", to_do="Install explainsvc[otel]") from error
    return Traces()
