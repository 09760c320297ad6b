"""SIGTERM while clients wait: ``python -m benchmarks.drains [--drains 50]``. Whatever the server accepted is answered.

Each drain is a server process of its own: so many calls run or wait in its queue, it gets SIGTERM, more calls come. Lost is
every call accepted before the signal that is not answered, and every call after it that ends in anything but its answer or
UNAVAILABLE. The control gives the server no time to finish (``grace_seconds = 0``), and must lose some.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from onnx import parser

from explainpb.v1.explanation_service_pb2 import PredictRequest
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from explainsvc.client import Client
from explainsvc.codec.tensors import to_named

SLOW = """<ir_version: 9, opset_import: ["" : 17]>
slow (float[N, 4] x, int64[1] n) => (float[N, 4] y) {
  rounds = Squeeze (n)
  y = Loop (rounds, , x) <body = body (int64 i, bool go, float[N, 4] v) => (bool again, float[N, 4] next) {
    again = Identity (go)  next = Tanh (v)
  }>
}"""
"""As slow as ``n`` says."""
CALLS, ROUNDS = 4, 30_000
"""Calls in flight at the signal, and rounds of each: tens of milliseconds."""
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass(frozen=True)
class Outcome:
    """Of one drain.

    Attributes:
        answered: Calls accepted before the signal that were answered.
        lost: Those that were not, and calls after it that ended in another way than their answer or UNAVAILABLE.
        ready: /readyz before the signal and while the server drained.
        watched: The last status that a watcher of its health heard, if the server ended the watch itself.
        strange: How calls after it ended that ended in another way, and gRPC's words for it.
        exit_code: Of the process.
        seconds: From the signal to its end.
    """

    answered: int
    lost: int
    ready: tuple[int, int]
    watched: int
    strange: tuple[str, ...]
    exit_code: int
    seconds: float


@contextmanager
def server(store: Path, grace: float, checked: bool) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A server process of one worker, its gRPC address and the URL of its HTTP port; ``checked`` by the doctor, or not."""
    command = [sys.executable, "-m", "explainsvc.cli", "serve", "--self-check", str(checked)]
    command += ["--address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--workers", "1", "--worker-threads", "1"]
    command += ["--store", str(store), "--grace-seconds", str(grace)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    with process:
        try:
            assert process.stdout is not None
            address, url = (process.stdout.readline().removeprefix("listening on ").strip() for _ in range(2))
            yield process, address, url
        finally:
            process.kill()


def drain(store: Path, grace: float = 30.0, checked: bool = False) -> Outcome:
    """One drain, of a server that is ready."""
    with server(store, grace, checked) as (process, address, url), ThreadPoolExecutor(2 * CALLS + 2) as threads:
        with Client(address) as client, grpc.insecure_channel(address) as channel:
            digest = client.upload(parser.parse_model(SLOW).SerializeToString())
            inputs = to_named({"x": np.ones((1, 4), np.float32), "n": np.array([ROUNDS], np.int64)})
            request, predict = PredictRequest(model_digest=digest, inputs=inputs), ExplanationServiceStub(channel).Predict
            predict(request)
            watch = threads.submit(_watch, channel)
            before = _changed(url, 503)
            begun = _started(url)
            accepted = [threads.submit(predict, request) for _ in range(CALLS)]
            while _started(url) < begun + CALLS:
                time.sleep(0.002)
            start = time.perf_counter()
            os.kill(process.pid, signal.SIGTERM)
            during = _changed(url, 200)
            late = [threads.submit(predict, request) for _ in range(CALLS)]
            codes = [_code(call) for call in accepted]
            strange = tuple(_told(call) for call in late if _code(call) not in ("OK", "UNAVAILABLE"))
            watched = watch.result()
        exit_code = process.wait(60)
        lost = len(codes) - codes.count("OK") + len(strange)
        return Outcome(codes.count("OK"), lost, (before, during), watched, strange, exit_code, time.perf_counter() - start)


def _code(call: Future[object]) -> str:
    error = call.exception()
    return "OK" if error is None else str(error.code().name) if isinstance(error, grpc.Call) else type(error).__name__


def _told(call: Future[object]) -> str:
    """Code and words."""
    error: Any = call.exception()
    return f"{_code(call)}: {error.details()}" if isinstance(error, grpc.RpcError) else repr(error)


def _watch(channel: grpc.Channel) -> int:
    """The last status; -1 when the connection broke before the server ended the watch."""
    status = -1
    try:
        for response in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
            status = response.status
    except grpc.RpcError:
        return -1
    return status


def _ready(url: str) -> int:
    """/readyz; 0 when the port is closed."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as response:  # noqa: S310  # a loopback address
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _started(url: str) -> int:
    """Predict calls that the server has begun to answer."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as response:  # noqa: S310  # as above
        text = response.read().decode()
    found = re.search(r'^grpc_server_started_total\{grpc_method="Predict".*\} ([\d.]+)$', text, re.MULTILINE)
    return 0 if found is None else int(float(found[1]))


def _changed(url: str, old: int, seconds: float = 60.0) -> int:
    """What /readyz says first that is not this."""
    end, status = time.monotonic() + seconds, old
    while status == old and time.monotonic() < end:
        status = _ready(url)
        time.sleep(0.002)
    return status


def main() -> int:
    """Drains, a control, one JSON line each and one of all; 1 when a call was lost, or the control lost none."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.drains", description=__doc__)
    arguments.add_argument("--drains", type=int, default=50, help="default: 50")
    count = arguments.parse_args().drains
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [_printed(drain(Path(folder))) for _ in range(count)]
        control = _printed(drain(Path(folder), grace=0))
    lost, answered = sum(o.lost for o in outcomes), sum(o.answered for o in outcomes)
    seconds = sorted(o.seconds for o in outcomes)
    clean = all(o.exit_code == 0 and o.watched == NOT_SERVING for o in outcomes)
    facts = {"drains": count, "answered": answered, "lost": lost, "clean": clean, "control_lost": control.lost}
    print(json.dumps(facts | {"median_seconds": round(seconds[count // 2], 3), "slowest_seconds": round(seconds[-1], 3)}))
    return int(lost > 0 or not clean or control.lost == 0)


def _printed(outcome: Outcome) -> Outcome:
    print(json.dumps(vars(outcome)), flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
