"""What the service adds to the call in process, as a line of the results; ``make overhead`` shows all of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from benchmarks.contest import Record, Settings
from benchmarks.service_overhead import BUDGET_MS, measured

TITLE = "What the service adds"
LEGEND = """\
Milliseconds, 99th percentile of the difference between a call over loopback and the same call in process, each way so many KiB;
one worker of one thread. Beside it the same bytes to an empty gRPC server in Python and back.
"""


def specs(_quick: bool) -> Iterator[dict[str, Any]]:
    """One line."""
    yield {"work": "gradient", "network": "sums", "batch": 1, "target": BUDGET_MS}


def measure(spec: dict[str, Any], settings: Settings) -> Record:
    """All sizes."""
    rounds = 20 if settings.quick else 1000
    found = {f"{line.name}, {line.kibibytes} KiB": line.overhead_p99 for line in measured(rounds)}
    judged = "plain, 1024 KiB"
    ours = [name for name in found if not name.startswith("empty")]
    return {**spec, "kind": "ms", "judged": judged, "ours": ours, "values": found, "load": round(os.getloadavg()[0], 1)}
