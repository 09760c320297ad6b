"""What the service adds to ``model.explain``: ``python -m benchmarks.service_overhead``; one client, one call at a time.

The server is a process of its own. Each round times the library's call in this process and the same call over loopback; the
overhead is their difference within the round. The budget is 5 ms at the 99th percentile up to 1 MiB of input (and as much of
output). Client and library run with the server's settings of the allocator (``explainsvc.allocator``): the page faults of glibc's
own in a client in Python, 2,000 a mebibyte, are none of the service. The control sends 16 MiB, which cannot pass four pipes
within the budget: a measure that let that through would measure nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from onnx import parser

import explainsvc
from benchmarks.results import table
from explainpb.v1.explanation_service_pb2 import ExplainRequest
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from explainpb.v1.model_service_pb2_grpc import ModelServiceStub
from explainsvc.allocator import keep_freed_memory
from explainsvc.codec.questions import Question, to_fields
from explainsvc.codec.results import from_attribution
from explainsvc.codec.tensors import to_named
from explainsvc.connecting import OPTIONS
from explainsvc.upload_client import announced, messages

MODEL = """<ir_version: 9, opset_import: ["" : 17]>
sums (float[N, M] x) => (float[N] y) { s = Mul (x, x)  r = Relu (s)  axis = Constant <value_ints = [1]> ()
  y = ReduceSum <keepdims = 0> (r, axis) }"""
BUDGET_MS = 5.0
TOKEN = "a-token-of-the-benchmark"  # noqa: S105  # of a server that lives for a minute
PRINCIPAL = """[[principal]]
name = "benchmark"
scopes = ["upload", "explain"]
tokens = ["sha256:{}"]
quota_rate = 1e9
quota_burst = 1e9
in_flight = 4
"""
EMPTY = """
import asyncio
import grpc
from explainsvc.allocator import keep_freed_memory
LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        async def same(request, context):
            return request
        return grpc.unary_unary_rpc_method_handler(same)
async def main():
    keep_freed_memory()
    server = grpc.aio.server(options=LARGE)
    server.add_generic_rpc_handlers((Echo(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()
asyncio.run(main())
"""
HEADER = ("server", "KiB each way", "library p50, ms", "service p50, ms", "overhead p50, ms", "overhead p99, ms")


@dataclass(frozen=True)
class Line:
    """Milliseconds of one size: of the library, of the service, and of the difference."""

    name: str
    kibibytes: int
    library_p50: float
    service_p50: float
    overhead_p50: float
    overhead_p99: float


@contextmanager
def server(folder: Path, *options: str) -> Iterator[str]:
    """A server process of one worker of one thread; its address."""
    command = [sys.executable, "-m", "explainsvc.service.server", "--address", "127.0.0.1:0", "--store", str(folder / "store")]
    command += ["--workers", "1", "--worker-threads", "1", "--log-level", "warning", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment()) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().removeprefix("listening on ").strip()
        finally:
            process.kill()


def _environment() -> dict[str, str]:
    """Of a server that imports what this process does."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def measure(name: str, calls: tuple[Callable[[], object], Callable[[], object]], kibibytes: int, rounds: int) -> Line:
    """Rounds of both calls, one after the other."""
    for call in calls * 3:
        call()
    times = np.array([[_seconds(call) for call in calls] for _ in range(rounds)]) * 1000
    overhead = times[:, 1] - times[:, 0]
    library, service = np.median(times, axis=0)
    return Line(name, kibibytes, library, service, *np.percentile(overhead, (50, 99)))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def lines(address: str, name: str, token: str, sizes: dict[int, int]) -> Iterator[Line]:
    """One line a size (KiB → rounds), of a server."""
    data = parser.parse_model(MODEL).SerializeToString()
    model = explainsvc.load(data)
    metadata = [("authorization", f"Bearer {token}")] if token else None
    with grpc.insecure_channel(address, OPTIONS) as channel:
        header = announced("", data, {})
        ModelServiceStub(channel).UploadModel(messages(header, {"": data}, {}), metadata=metadata)
        explain = ExplanationServiceStub(channel).Explain
        fields = to_fields(model.digest, Question("gradient", None, None, {}, False))
        for kibibytes, rounds in sizes.items():
            x = np.ones((1, kibibytes * 256), np.float32)

            def library(x: np.ndarray = x) -> object:
                return model.explain({"x": x}).values["x"]

            def service(x: np.ndarray = x) -> object:
                request = ExplainRequest(**fields, inputs=to_named({"x": x}))
                return from_attribution(explain(request, metadata=metadata).attribution).values["x"]

            yield measure(name, (library, service), kibibytes, rounds)


def floor(kibibytes: int, rounds: int) -> Line:
    """The same bytes to an empty gRPC server in Python and back: what no service of this kind can go below."""
    with subprocess.Popen([sys.executable, "-c", EMPTY], stdout=subprocess.PIPE, text=True, env=_environment()) as process:
        try:
            assert process.stdout is not None
            with grpc.insecure_channel(f"127.0.0.1:{process.stdout.readline().strip()}", OPTIONS) as channel:
                call, data = channel.unary_unary("/empty/Echo", bytes, bytes), bytes(kibibytes * 1024)
                return measure("empty gRPC server", (lambda: None, lambda: call(data)), kibibytes, rounds)
        finally:
            process.kill()


def measured(rounds: int) -> list[Line]:
    """All servers and sizes, the empty server of the same size last."""
    keep_freed_memory()
    os.environ["EXPLAINSVC_THREADS"] = "1"
    found: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        principals = Path(folder) / "principals.toml"
        principals.write_text(PRINCIPAL.format(hashlib.sha256(TOKEN.encode()).hexdigest()))
        with server(Path(folder)) as address:
            found += lines(address, "plain", "", {4: rounds, 1024: rounds, 16384: 5})
        guards = ("--principals", str(principals), "--audit-log", f"{folder}/audit.jsonl")
        with server(Path(folder), *guards) as address:
            found += lines(address, "token, quota, audit log", TOKEN, {4: rounds, 1024: rounds})
    return [*found, *(floor(kibibytes, rounds) for kibibytes in (4, 1024))]


def main() -> int:
    """Prints a table; 1 when the budget is passed up to 1 MiB, or the control keeps it."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.service_overhead", description=__doc__)
    arguments.add_argument("--rounds", type=int, default=1000, help="default: 1000")
    found = measured(arguments.parse_args().rounds)
    print(table(HEADER, map(row, found)))
    *ours, _, _ = found
    within = [line.overhead_p99 <= BUDGET_MS for line in ours if line.kibibytes <= 1024]
    control = [line.overhead_p50 > BUDGET_MS for line in ours if line.kibibytes > 1024]
    return int(not (all(within) and all(control)))


def row(line: Line) -> list[str]:
    """A line of the table."""
    return [str(value) if isinstance(value, (str, int)) else f"{value:.2f}" for value in vars(line).values()]


if __name__ == "__main__":
    sys.exit(main())
