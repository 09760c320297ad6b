"""Does memory grow? ``python -m benchmarks.soak [--minutes 30]``: the resident memory of a server and of its workers under load.

Eight clients ask mixed questions (see ``questions``) without a pause. Memory is read every few seconds; the first third of the
time is warming up, when caches fill. Over the rest the slope (Theil-Sen: the median of the slopes of all pairs, which single
peaks do not move) may be 1 MB in 10 minutes, for the server and for the workers together. A shorter run resolves less: there
the memory may grow by 1 MB over what was measured. The two controls leak on purpose: a client that opens streams after each
answer and never ends them, which the server must remember, and one that uploads a new model each time, which workers keep.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from onnx import helper, numpy_helper
from onnx.onnx_pb import ModelProto, TensorProto

from benchmarks.questions import outcome, questions
from benchmarks.results import table
from benchmarks.service_overhead import server
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from explainsvc.client import Client
from explainsvc.connecting import OPTIONS

CLIENTS, LIMIT, WARM, STREAMS = 8, 1.0, 1 / 3, 10
"""LIMIT: megabytes in ten minutes. STREAMS: of each connection that leaks."""
TEN_MINUTES = 600.0
Leak = Callable[[str], object]


@dataclass(frozen=True)
class Served:
    """A server that this process has started: where it answers, and the folder that it was given."""

    address: str
    folder: str

    @property
    def pid(self) -> int:
        """Of its process."""
        found = [pid for pid in children(os.getpid()) if self.folder.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return found[0]


@dataclass(frozen=True)
class Growth:
    """Of one part: megabytes at the beginning and the end of what was measured, and how fast they grew."""

    name: str
    seconds: float
    start: float
    end: float
    slope: float

    @property
    def kept(self) -> bool:
        """Whether the figure is."""
        return self.slope <= LIMIT * max(1.0, TEN_MINUTES / self.seconds)


@contextmanager
def fresh(*options: str) -> Iterator[Served]:
    """A server of two workers."""
    settings = ("--workers", "2", "--spare-workers", "0", *options)
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), *settings) as address:
        yield Served(address, folder)


def soaked(served: Served, seconds: float, leak: Leak | None = None) -> tuple[list[Growth], dict[str, int]]:
    """The growth of the server and of its workers, and how the calls ended."""
    address = served.address
    asked, codes, over = questions(address), dict[str, int](), threading.Event()

    def client(number: int) -> None:
        random = np.random.default_rng(number)
        with grpc.insecure_channel(address, OPTIONS) as channel:
            stub = ExplanationServiceStub(channel)
            while not over.is_set():
                one = asked[int(random.integers(len(asked)))]
                code = outcome(lambda one=one: one.answer(stub))  # type: ignore[misc]  # called at once
                codes[code] = codes.get(code, 0) + 1
                if leak is not None and number == 0:
                    leak(address)

    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(client, number) for number in range(CLIENTS)]
        try:
            samples = np.array(list(_samples(seconds, served.pid)))
        finally:
            over.set()
        for each in running:
            each.result()
    return [growth(name, samples[:, 0], samples[:, column]) for column, name in ((1, "server"), (2, "workers"))], codes


def growth(name: str, times: np.ndarray, sizes: np.ndarray) -> Growth:
    """Of sizes in megabytes at these seconds, once warm."""
    warm = times >= times[0] + WARM * (times[-1] - times[0])
    times, sizes = times[warm], sizes[warm]
    earlier, later = np.triu_indices(len(times), 1)
    slopes = (sizes[later] - sizes[earlier]) / (times[later] - times[earlier])
    return Growth(name, float(times[-1] - times[0]), float(sizes[0]), float(sizes[-1]), float(np.median(slopes)) * TEN_MINUTES)


def _samples(seconds: float, pid: int) -> Iterator[tuple[float, float, float]]:
    """Time, megabytes of the server, megabytes of its workers."""
    start, interval = time.monotonic(), max(0.5, seconds / 360)
    while (now := time.monotonic() - start) < seconds:
        forks = children(pid)
        yield now, resident(pid), sum(resident(worker) for fork in forks for worker in children(fork))
        time.sleep(interval)


def children(pid: int) -> list[int]:
    """Of a process, of whichever of its threads."""
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def resident(pid: int) -> float:
    """Megabytes; without the pages of files, which the system may drop at any time."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(eq=False)
class Streams:
    """The leak of the server: streams that never end."""

    def __post_init__(self) -> None:
        self._open: list[object] = []
        self._channels: list[grpc.Channel] = []

    def __call__(self, address: str) -> None:
        """A connection and its streams."""
        channel = grpc.insecure_channel(address, [*OPTIONS, ("grpc.use_local_subchannel_pool", 1)])
        self._channels.append(channel)
        watch = health_pb2_grpc.HealthStub(channel).Watch
        self._open += [watch(health_pb2.HealthCheckRequest()) for _ in range(STREAMS)]

    def close(self) -> None:
        """The connections."""
        for channel in self._channels:
            channel.close()


NUMBERS = count()


def upload_another(address: str) -> None:
    """The leak of the workers: a model of 64 kB that they keep."""
    weights = np.full((128, 128), next(NUMBERS), np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 128]) for name in ("x", "y"))
    graph = helper.make_graph(nodes, "another", [x], [y], [numpy_helper.from_array(weights, "w")])
    proto: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with Client(address) as client:
        client.upload(proto.SerializeToString())


def rows(name: str, grown: list[Growth], codes: dict[str, int]) -> list[list[str]]:
    """Lines of the table."""
    ended = ", ".join(f"{code} {number}" for code, number in sorted(codes.items()))
    return [[name, g.name, f"{g.seconds / 60:.1f}", f"{g.start:.1f}", f"{g.end:.1f}", f"{g.slope:+.2f}", ended] for g in grown]


def main() -> int:
    """Measures, prints a table; 1 when memory grew, a call ended in an error, or a leak was not seen."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    arguments.add_argument("--minutes", type=float, default=30.0, help="default: 30")
    arguments.add_argument("--control-minutes", type=float, default=1.0, help="of each control; default: 1")
    options = arguments.parse_args()
    with fresh() as served:
        found, codes = soaked(served, 60 * options.minutes)
    lines = rows("mixed load", found, codes)
    with fresh() as served, closing(Streams()) as streams:
        by_streams, ended = soaked(served, 60 * options.control_minutes, streams)
    lines += rows("control: streams that never end", by_streams[:1], ended)
    with fresh() as served:
        by_models, ended = soaked(served, 60 * options.control_minutes, upload_another)
    lines += rows("control: a new model each time", by_models[1:], ended)
    print(table(("load", "of", "minutes", "MB before", "MB after", "MB in 10 minutes", "calls ended"), lines))
    seen = not by_streams[0].kept and not by_models[1].kept
    return int(not (all(one.kept for one in found) and codes.keys() == {"OK"} and seen))


if __name__ == "__main__":
    sys.exit(main())
