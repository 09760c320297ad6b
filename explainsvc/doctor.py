"""Does it work here: providers compute, a worker starts and cannot break out, the store takes a file.

Nothing is assumed, all is tried; 0 means that a server with these settings is ready for strangers.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from explainpb.worker.v1.worker_pb2 import Job, Probe, ProbeWork
from explainsvc import __version__, jobs, runtime, texts
from explainsvc.jobs import Limits
from explainsvc.service import config

OPSET, IR_VERSION = 17, 8
BOTH = ("onnxruntime", "onnxruntime-gpu")
EXECUTION = "ExecutionProvider"


@dataclass(frozen=True)
class Finding:
    """One thing that was tried."""

    name: str
    works: bool
    detail: str


def run(options: argparse.Namespace) -> int:
    """Try everything, print it, return 1 when something does not work."""
    findings = list(examine(config.configured(options)))
    healthy = all(finding.works for finding in findings)
    document = {"works": healthy, "findings": [dataclasses.asdict(finding) for finding in findings]}
    lines = ((finding.name, "works" if finding.works else "FAILS", finding.detail) for finding in findings)
    print(json.dumps(document) if options.json else texts.table(lines))
    return int(not healthy)


def examine(settings: config.Config) -> Iterator[Finding]:
    """Everything, in the order in which it is needed."""
    yield Finding("python", True, f"{platform.python_version()} on {platform.platform()}")
    yield Finding("explainsvc", True, __version__)
    yield runtimes()
    for provider in runtime.providers():
        yield _tried(provider.removesuffix(EXECUTION).lower(), partial(computes, provider))
    limits = dataclasses.replace(settings.limits(), workers=1, spares=0, devices=settings.limits().devices[:1])
    yield from worker_and_sandbox(limits)
    yield _tried("store", partial(store_is_writable, settings.store))


def _tried(name: str, attempt: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, attempt())
    except Exception as error:  # whatever goes wrong here is what was asked for
        return Finding(name, False, _short(error))


def _short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


def runtimes() -> Finding:
    """One distribution of onnxruntime: two overwrite each other's files."""
    installed = [name for name in BOTH if any(metadata.distributions(name=name))]
    detail = f"{onnxruntime.__version__}, from {' and '.join(installed) or 'a build of its own'}"
    if len(installed) > 1:
        return Finding("onnxruntime", False, f"{detail}: they share one folder; see README.md, On a GPU")
    return Finding("onnxruntime", True, detail)


def computes(provider: str) -> str:
    """A matrix product on this provider and no other equals numpy's."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(_product(), options, providers=[provider])
    if session.get_providers()[0] != provider:
        raise RuntimeError(f"onnxruntime lists it and falls back to {session.get_providers()[0]}")
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_allclose(session.run(None, {"x": x, "y": x.T})[0], x @ x.T, rtol=1e-3)
    return "computes a matrix product"


def _product() -> bytes:
    x, y, z = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in "xyz")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "y"], ["z"])], "product", [x, y], [z])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    data: bytes = model.SerializeToString()
    return data


def worker_and_sandbox(limits: Limits) -> Iterator[Finding]:
    """A worker process of these settings starts, tries to break out, and is refused each time."""
    try:
        found = asyncio.run(_probed(limits))
    except Exception as error:  # as above
        yield Finding("worker", False, _short(error))
        yield Finding("sandbox", False, "there is no worker to try it in")
        return
    yield Finding("worker", True, "a worker process started, answered and ended")
    doors = [f"{probe.name} ({probe.detail})" for probe in found if not probe.denied]
    if doors or not found:
        yield Finding("sandbox", False, f"sandbox={limits.sandbox}: a worker can {', '.join(doors)}")
    else:
        yield Finding("sandbox", True, f"a worker is refused to {', '.join(probe.name for probe in found)}")


async def _probed(limits: Limits) -> list[Probe]:
    async with jobs.running(limits) as pool:
        reply = await pool.result(Job(probe=ProbeWork()))
        return list(reply.probes.probes)


def store_is_writable(root: Path) -> str:
    """A file is written, synced, renamed and read back in the store's folder."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix="doctor-") as folder:
        written, kept = Path(folder, "written"), Path(folder, "kept")
        with written.open("wb") as file:
            file.write(b"explainsvc")
            file.flush()
            os.fsync(file.fileno())
        written.rename(kept)
        if kept.read_bytes() != b"explainsvc":
            raise OSError(f"{kept} does not hold what was written")
    return f"{root} takes files"
