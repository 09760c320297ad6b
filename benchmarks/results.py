"""Tables, and what machine they were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("explainsvc", "onnxruntime", "onnx", "numpy")
"""Ours; the peers tell theirs themselves."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(threads: int) -> str:
    """Date, processor, threads, load and versions, as Markdown."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    load = " / ".join(f"{n:.1f}" for n in os.getloadavg())
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    used = "1 thread" if threads == 1 else f"{threads} threads"
    return (
        f"{now} · {processor()}, {os.cpu_count()} cores, {used} each · load average {load} · {platform.system()} "
        f"{platform.machine()} · Python {platform.python_version()}\n\n{packages}"
    )


def processor() -> str:
    """The processor's name where the system tells it."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
