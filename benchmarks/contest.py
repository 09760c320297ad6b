"""One line of the results: our contestants in this process, the peers each in an environment of its own, in turns."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.environments import ROOT, python
from benchmarks.timing import FEWEST, Timed, rotate, timed

Array = NDArray[Any]
Record = dict[str, Any]
"""A line of JSON."""
REFERENCE = "float64"
"""A run of a peer that is not timed: what both sides should give."""


@dataclass(frozen=True)
class Settings:
    """How long, by how many threads; ``quick``: one round of the smallest, which shows that it works and how long not."""

    seconds: float = 30
    threads: int = 2
    quick: bool = False

    @property
    def rounds(self) -> int:
        """The fewest."""
        return 1 if self.quick else FEWEST

    @property
    def budget(self) -> float:
        """Seconds of a line."""
        return 0 if self.quick else self.seconds


@dataclass(frozen=True)
class Task:
    """What a peer is asked; as :class:`benchmarks.peers.serving.Task`, arrays as they are."""

    peer: str
    work: str
    network: str
    classes: Sequence[int]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)


class PeerFailed(Exception):
    """The peer's own words."""


class Peer:
    """A peer's process, ready to run; ``runs`` are the names of what it can do, ``versions`` those of its packages."""

    def __init__(self, task: Task, settings: Settings) -> None:
        self._folder = tempfile.TemporaryDirectory()
        arrays = Path(self._folder.name) / "arrays.npz"
        np.savez(arrays, **dict[str, Any](task.arrays))
        asked = {k: v for k, v in vars(task).items() if k not in ("peer", "arrays")}
        asked |= {"threads": settings.threads, "quick": settings.quick, "arrays": str(arrays), "classes": list(task.classes)}
        command = [python(task.peer), "-m", f"benchmarks.peers.{task.peer}", json.dumps(asked)]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": str(settings.threads)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes)  # type: ignore[call-overload]
        try:
            started = self._answer()
        except PeerFailed:
            self.close()
            raise
        self.runs: list[str] = started["runs"]
        self.versions: dict[str, str] = started["versions"]

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()

    def time(self, run: str) -> float:
        """Seconds of one run."""
        return float(self._ask("run", run)["seconds"])

    def values(self, run: str) -> Array:
        """What a run gives."""
        path = Path(self._folder.name) / "values.npy"
        self._ask("save", run, str(path))
        return np.asarray(np.load(path))

    def megabytes(self, command: str) -> float:
        """Resident memory: ``reset`` now, ``memory`` at its peak since."""
        return float(self._ask(command)["megabytes"])

    def _ask(self, *command: str) -> dict[str, Any]:
        self._process.stdin.write("\t".join(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        """The next line.

        Raises:
            PeerFailed: It says so, or is gone.
        """
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": f"exit code {self._process.wait()}"}
        if "error" in answer:
            raise PeerFailed(answer["error"])
        return answer


def contest(
    head: Record, ours: Mapping[str, Callable[[], object]], tasks: Sequence[Task], settings: Settings,
    expected: Mapping[str, Callable[[Array], float]] | None = None,
) -> Record:  # fmt: skip
    """A measured line.

    Args:
        head: What it is about; ``unit`` and ``judged`` name contestants, ``units`` those that have another unit.
        ours: Contestants in this process, the unit among them.
        tasks: Of the peers; one that fails is noted, and the others go on.
        settings: How long.
        expected: Run of a peer → its values → how far ours are from them.
    """
    timers: dict[str, Timed] = {name: timed(run) for name, run in ours.items()}
    record = head | {"failed": {}, "versions": {}, "deviation": {}}
    with ExitStack() as stack:
        for task in tasks:
            try:
                peer = Peer(task, settings)
                stack.callback(peer.close)
                distances = _distances(peer, expected or {})
                timers |= {run: _of(peer, run) for run in peer.runs if run != REFERENCE and peer.time(run)}
            except PeerFailed as error:
                record["failed"] |= {task.peer: str(error)}
            else:
                record["versions"] |= peer.versions
                record["deviation"] |= distances
        times = rotate(timers, settings.budget, settings.rounds)
    units = dict.fromkeys(timers, head["unit"]) | {run: unit for run, unit in head.get("units", {}).items() if run in timers}
    compared = {name: unit for name, unit in units.items() if name != unit}
    return record | {
        "rounds": times.rounds,
        "load": round(os.getloadavg()[0], 1),
        "seconds": {name: times.typical(name) for name in timers},
        "ratio": {name: times.ratio(name, unit) for name, unit in compared.items()},
        "fastest": {name: times.best_ratio(name, unit) for name, unit in compared.items()},
        "ours": list(ours),
        "settings": asdict(settings),
    }


def _distances(peer: Peer, expected: Mapping[str, Callable[[Array], float]]) -> dict[str, float]:
    """Ours from each run that computes the same; where there is a reference, the peer's from that, too."""
    values = {run: peer.values(run) for run in peer.runs if run in expected}
    found = {run: expected[run](theirs) for run, theirs in values.items()}
    if REFERENCE in values:
        found |= {f"{run} from {REFERENCE}": apart(a, values[REFERENCE]) for run, a in values.items() if run != REFERENCE}
    return found


def _of(peer: Peer, run: str) -> Timed:
    return lambda: peer.time(run)


def apart(ours: Array, theirs: Array) -> float:
    """‖ours − theirs‖ / ‖theirs‖."""
    return float(np.linalg.norm((ours - theirs).astype(np.float64)) / np.linalg.norm(theirs.astype(np.float64)))
