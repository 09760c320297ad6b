"""Ten times what a server can do: ``python -m benchmarks.overload [--seconds 20]``.

First its capacity: answers a second while as many callers as it has workers and places in the line ask one question after the
other. Then calls arrive at ten times that rate, whatever becomes of those before. The server must still answer 80 % of its
capacity, and refuse the rest with RESOURCE_EXHAUSTED and RetryInfo. The control is the same server with a line without end,
whose callers give up after some seconds: they do not hear that it is overloaded, and end in DEADLINE_EXCEEDED, or in gRPC's own
UNAVAILABLE beyond the streams that a connection may have.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from onnx import parser

from benchmarks.drains import SLOW
from benchmarks.questions import is_backpressure
from benchmarks.results import table
from benchmarks.service_overhead import server
from explainpb.v1.explanation_service_pb2 import PredictRequest
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from explainsvc.client import Client
from explainsvc.codec.tensors import to_named
from explainsvc.connecting import OPTIONS

ROUNDS = 30_000
"""Of the loop in the model: tens of milliseconds of one core."""
TIMES, GOODPUT, QUEUE, PATIENCE = 10, 0.8, 8, 2.0
"""Of the capacity that arrives, that must be answered; places in the line; seconds after which a caller gives up."""
REFUSED = "RESOURCE_EXHAUSTED"


@dataclass(frozen=True)
class Outcome:
    """Answers a second without overload and with it, and how all calls of the overload ended."""

    capacity: float
    goodput: float
    codes: Counter[str]

    @property
    def share(self) -> float:
        """Of the capacity that is left."""
        return self.goodput / self.capacity

    @property
    def kept(self) -> bool:
        """Whether the figure is."""
        return self.share >= GOODPUT and self.codes[REFUSED] > 0 and not self.codes.keys() - {"OK", REFUSED}


async def overloaded(address: str, request: PredictRequest, seconds: float) -> Outcome:
    """The capacity, then the overload, each for so long."""
    async with grpc.aio.insecure_channel(address, OPTIONS) as channel:
        predict = ExplanationServiceStub(channel).Predict
        capacity = await _capacity(predict, request, seconds)
        codes: Counter[str] = Counter()
        calls, start = list[asyncio.Task[None]](), time.monotonic()
        while (now := time.monotonic() - start) < seconds:
            due = int(now * TIMES * capacity) - len(calls)
            calls += [asyncio.create_task(_counted(predict, request, codes)) for _ in range(due)]
            await asyncio.sleep(0.002)
        goodput = codes["OK"] / seconds
        await asyncio.gather(*calls)
        return Outcome(capacity, goodput, codes)


async def _capacity(predict: Any, request: PredictRequest, seconds: float) -> float:
    end, answered = time.monotonic() + seconds, 0

    async def caller() -> None:
        nonlocal answered
        while time.monotonic() < end:
            await predict(request)
            answered += time.monotonic() < end

    await asyncio.gather(*(caller() for _ in range(QUEUE)))
    return answered / seconds


async def _counted(predict: Any, request: PredictRequest, codes: Counter[str]) -> None:
    try:
        await predict(request, timeout=PATIENCE)
    except grpc.aio.AioRpcError as error:
        told = error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED or is_backpressure(error) is not None
        codes[error.code().name if told else f"{REFUSED} without RetryInfo"] += 1
    else:
        codes["OK"] += 1


def measured(address: str, seconds: float) -> Outcome:
    """Of a server."""
    with Client(address) as client:
        digest = client.upload(parser.parse_model(SLOW).SerializeToString())
    inputs = to_named({"x": np.ones((1, 4), np.float32), "n": np.array([ROUNDS], np.int64)})
    return asyncio.run(overloaded(address, PredictRequest(model_digest=digest, inputs=inputs), seconds))


@contextmanager
def lined(queue: int) -> Iterator[str]:
    """A server of one worker with so many places in its line; its address."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), "--queue", str(queue)) as address:
        yield address


def row(name: str, found: Outcome) -> list[str]:
    """A line of the table."""
    codes = ", ".join(f"{code} {count}" for code, count in sorted(found.codes.items()))
    calls, share = sum(found.codes.values()), f"{100 * found.share:.0f} %"
    return [name, f"{found.capacity:.1f}", str(calls), f"{found.goodput:.1f}", share, codes]


def main() -> int:
    """Measures, prints a table; 1 when the figure is missed, or the control keeps it."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    arguments.add_argument("--seconds", type=float, default=20.0, help="of each measurement; default: 20")
    seconds = arguments.parse_args().seconds
    with lined(QUEUE) as address:
        found = measured(address, seconds)
    with lined(10**6) as address:
        control = measured(address, seconds)
    header = ("line", "capacity, a second", "calls", "goodput, a second", "of capacity", "ended")
    print(table(header, [row(f"{QUEUE} places", found), row("control: without end", control)]))
    return int(not found.kept or control.kept)


if __name__ == "__main__":
    sys.exit(main())
