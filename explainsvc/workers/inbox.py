"""A worker's jobs as they arrive: read by a thread of their own, so that a cancellation is heard during a job."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import BinaryIO

from explainpb.worker.v1.worker_pb2 import Job
from explainsvc import frames
from explainsvc.stopping import Stop


@dataclass(eq=False)
class Inbox:
    """Jobs that have arrived, and what stops each of them until it is done."""

    arrived: SimpleQueue[Job | None] = field(default_factory=SimpleQueue)
    stops: dict[int, Stop] = field(default_factory=dict)

    @classmethod
    def of(cls, pipe: BinaryIO) -> Inbox:
        """One that reads a pipe from now on."""
        inbox = cls()
        threading.Thread(target=inbox._read, args=(pipe,), name="inbox", daemon=True).start()
        return inbox

    def next(self) -> tuple[Job, Stop] | None:
        """The next job, and what tells whether it is cancelled; waits for one. None when there will be no other."""
        job = self.arrived.get()
        return None if job is None else (job, self.stops[job.number])

    def done(self, job: Job) -> None:
        """A cancellation of this job comes too late now."""
        self.stops.pop(job.number, None)

    def _read(self, pipe: BinaryIO) -> None:
        while (job := frames.read(pipe, Job)) is not None:
            if job.HasField("cancel"):
                self._cancel(job.number)
            else:
                self.stops[job.number] = Stop()
                self.arrived.put(job)
        self.arrived.put(None)

    def _cancel(self, number: int) -> None:
        stop = self.stops.get(number)
        if stop is not None:
            stop.ask()
