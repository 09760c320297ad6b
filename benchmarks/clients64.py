"""Many clients at once, mixed models and methods: ``python -m benchmarks.clients64 [--minutes 10] [--clients 64]``.

Each client has a connection of its own and asks one question after the other, in an order of its own. No call may end in
anything but its answer or backpressure (RESOURCE_EXHAUSTED with RetryInfo, after which the client waits as it is told), and
each answer must be the one that the same server gave when nobody else asked: bit for bit, or where requests are computed as a
batch within the documented tolerance of batches. The control alters every tenth answer by three times that, or by one bit of one
value, and each of these must be seen.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np

from benchmarks.questions import Asked, difference, is_backpressure, questions
from benchmarks.results import table
from benchmarks.service_overhead import server
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from explainsvc.codec.tensors import Array
from explainsvc.connecting import OPTIONS

CLIENTS = 64


@dataclass(eq=False)
class Tally:
    """What became of all calls; ``codes`` counts those that were neither answered nor told to come again."""

    answered: int = 0
    bitwise: int = 0
    wrong: int = 0
    altered: int = 0
    backpressure: int = 0
    worst: float = 0.0
    codes: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def judge(self, asked: Asked, found: dict[str, Array], expected: dict[str, Array]) -> None:
        """Compares an answer with the serial one."""
        apart = difference(found, expected)
        with self.lock:
            self.answered += 1
            self.bitwise += apart == 0
            self.wrong += not apart <= asked.tolerance
            self.worst = max(self.worst, apart)


@dataclass(frozen=True)
class Load:
    """What is asked of which server, and what was answered when nobody else asked."""

    address: str
    asked: list[Asked]
    serial: list[dict[str, Array]]

    def run(self, clients: int, seconds: float, alter: bool = False) -> Tally:
        """So many clients for so long."""
        tally, end = Tally(), time.monotonic() + seconds
        with ThreadPoolExecutor(clients) as threads:
            list(threads.map(lambda number: self._client(number, end, tally, alter), range(clients)))
        return tally

    def _client(self, number: int, end: float, tally: Tally, alter: bool) -> None:
        random = np.random.default_rng(number)
        with grpc.insecure_channel(self.address, [*OPTIONS, ("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub, count = ExplanationServiceStub(channel), 0
            while time.monotonic() < end:
                count += 1
                self._ask(stub, int(random.integers(len(self.asked))), tally, alter and count % 10 == 0)

    def _ask(self, stub: ExplanationServiceStub, which: int, tally: Tally, alter: bool) -> None:
        asked, expected = self.asked[which], self.serial[which]
        try:
            found = asked.answer(stub)
        except grpc.RpcError as error:
            _refused(error, tally)
            return
        if alter:
            found = altered(asked, found)
            with tally.lock:
                tally.altered += 1
        tally.judge(asked, found, expected)


def _refused(error: grpc.RpcError, tally: Tally) -> None:
    wait = is_backpressure(error)
    with tally.lock:
        tally.backpressure += wait is not None
        if wait is None:
            tally.codes[error.code().name] += 1
    time.sleep(wait or 0.0)


def altered(asked: Asked, found: dict[str, Array]) -> dict[str, Array]:
    """The answer with one value changed by as little as must be seen."""
    name, array = next(iter(found.items()))
    changed = array.copy()
    place = np.unravel_index(int(np.abs(array).argmax()), array.shape)
    largest = abs(changed[place])
    next_one, apart = np.nextafter(changed[place], np.inf), changed[place] + 3 * asked.tolerance * largest
    changed[place] = next_one if asked.tolerance == 0 else apart
    return {**found, name: changed}


def loaded(address: str, seeds: int = 3) -> Load:
    """The questions, and their serial answers."""
    asked = questions(address, seeds)
    with grpc.insecure_channel(address, OPTIONS) as channel:
        stub = ExplanationServiceStub(channel)
        return Load(address, asked, [one.answer(stub) for one in asked])


def fine(tally: Tally) -> bool:
    """Whether the figure is kept."""
    return tally.answered > 0 and tally.wrong == 0 and not tally.codes


def row(name: str, tally: Tally, seconds: float) -> list[str]:
    """A line of the table."""
    codes = ", ".join(f"{code} {count}" for code, count in sorted(tally.codes.items())) or "none"
    numbers = [tally.answered, f"{tally.answered / seconds:.0f}", tally.bitwise, f"{tally.worst:.1e}", tally.wrong, tally.altered]
    return [name, *map(str, numbers), str(tally.backpressure), codes]


HEADER = ("run", "answers", "a second", "bit for bit", "largest difference", "wrong", "altered", "backpressure", "other errors")


def main() -> int:
    """Measures, prints a table; 1 when an answer was wrong, a call ended otherwise, or the control was not seen."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.clients64", description=__doc__)
    arguments.add_argument("--minutes", type=float, default=10.0, help="default: 10")
    arguments.add_argument("--clients", type=int, default=CLIENTS, help=f"default: {CLIENTS}")
    options = arguments.parse_args()
    seconds = 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), "--workers", "2", "--queue", "32") as address:
        load = loaded(address)
        found, control = load.run(options.clients, seconds), load.run(8, 5.0, alter=True)
    print(table(HEADER, [row(f"{options.clients} clients", found, seconds), row("control: answers altered", control, 5.0)]))
    return int(not (fine(found) and control.altered > 0 and control.wrong == control.altered))


if __name__ == "__main__":
    sys.exit(main())
