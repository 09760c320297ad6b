"""A worker's jobs, and the cancellations of them, which come by a pipe of their own: a thread hears them during a job."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field

from explainpb.worker.v1.worker_pb2 import Job
from explainsvc import frames
from explainsvc.codec.beside import whole_job
from explainsvc.frames import NUMBER
from explainsvc.stopping import Stop
from explainsvc.windows import Window


@dataclass(eq=False)
class Inbox:
    """What stops each job until it is done; ``cancelled`` is the latest job that was, for that may be heard before the job."""

    jobs: int
    window: Window
    stops: dict[int, Stop] = field(default_factory=dict)
    cancelled: int = 0

    @classmethod
    def of(cls, jobs: int, window: Window, cancellations: int) -> Inbox:
        """One that hears cancellations from now on; both are pipes, the window is that of the jobs."""
        inbox = cls(jobs, window)
        threading.Thread(target=inbox._hear, args=(cancellations,), name="cancellations", daemon=True).start()
        return inbox

    def next(self) -> tuple[Job, Stop] | None:
        """The next job, and what tells whether it is cancelled; waits for one. None when there will be no other."""
        read = frames.read(self.jobs, Job, self.window)
        if read is None:
            return None
        job, request = read
        stop = self.stops[job.number] = Stop()
        if job.number <= self.cancelled:
            stop.ask()
        return whole_job(job, request), stop

    def done(self, job: Job) -> None:
        """A cancellation of this job comes too late now."""
        self.stops.pop(job.number, None)

    def _hear(self, pipe: int) -> None:
        while number := os.read(pipe, NUMBER.size):
            (self.cancelled,) = NUMBER.unpack(number)
            stop = self.stops.get(self.cancelled)
            if stop is not None:
                stop.ask()
