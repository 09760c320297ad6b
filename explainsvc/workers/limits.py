"""What the pool and each worker may use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

from explainsvc.sandbox import Mode


@dataclass(frozen=True)
class Limits:
    """What the pool and each worker may use; 0 bytes, seconds of CPU time or threads: no limit, the runtime's own choice.

    Attributes:
        workers: Processes that compute.
        spares: Warm processes that take the place of one that dies.
        queue: Requests that may wait.
        job_seconds: Wall clock of a job, or of one part of an audit.
        cpu_seconds: CPU time of the same, of all threads together.
        start_seconds: For a worker to say that it is ready.
        cancel_seconds: For a cancelled job to end by itself, before its worker is killed.
        memory_bytes: Address space of a worker; not where it drives a GPU.
        rss_bytes: Resident memory above which a worker is replaced after a job.
        cache_bytes: Of the models that a worker keeps, by their size on disk.
        threads: Of a worker.
        sandbox: How much a worker insists on.
        devices: CUDA devices, one worker each, in place of ``workers``; none: those are not told apart.
        gpu_memory_bytes: Of a device that onnxruntime may take.
        strikes: Workers that a model may bring down within ``strike_seconds`` before it is refused.
        strike_seconds: See there.
        quarantine_seconds: How long it is refused.
        batch: Requests that may be computed as one.
        batch_seconds: That a request waits for others although a worker is idle.
        spans: Whether workers tell where the time of their jobs goes.
    """

    workers: int = 2
    spares: int = 0
    queue: int = 64
    job_seconds: float = 600.0
    cpu_seconds: float = 0.0
    start_seconds: float = 120.0
    cancel_seconds: float = 0.5
    memory_bytes: int = 0
    rss_bytes: int = 0
    cache_bytes: int = 2**30
    threads: int = 0
    sandbox: Mode = Mode.BEST_EFFORT
    devices: tuple[str, ...] = ()
    gpu_memory_bytes: int = 0
    strikes: int = 5
    strike_seconds: float = 600.0
    quarantine_seconds: float = 3600.0
    batch: int = 16
    batch_seconds: float = 0.0
    spans: bool = False

    def environment(self, device: str) -> dict[str, str]:
        """The variables of a worker on a device, or on none."""
        variables = {"EXPLAINSVC_THREADS": str(self.threads)}
        if device:
            variables |= {"EXPLAINSVC_DEVICE": device, "EXPLAINSVC_PROVIDERS": "CUDAExecutionProvider,CPUExecutionProvider"}
        if self.gpu_memory_bytes:
            variables["EXPLAINSVC_GPU_MEM_LIMIT"] = str(self.gpu_memory_bytes)
        return variables

    @property
    def places(self) -> tuple[str, ...]:
        """The device of each worker; "" for none."""
        return self.devices or ("",) * self.workers

    @cached_property
    def cpu_budget(self) -> float:
        """Seconds of CPU time that a job may take: by default as many as all cores have in its time."""
        return self.cpu_seconds or self.job_seconds * (os.cpu_count() or 1)
