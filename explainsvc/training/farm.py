"""Independent jobs, such as retrainings: in processes of this machine, or on a Ray cluster; nothing is lost with one that dies.

A job is a picklable value, its function one of a module; both run it in the same way, so that results do not depend on where.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Protocol, TypeVar

from explainsvc.errors import ExtraMissing, WorkerCrashed

J = TypeVar("J")
R = TypeVar("R")


class Farm(Protocol):
    """Where jobs run."""

    def results(self, function: Callable[[J], R], jobs: Sequence[J]) -> Iterator[tuple[int, R]]:
        """Each job's number and result, as they are finished; closing the iterator cancels what has not begun.

        Args:
            function: Of a module, so that another process finds it by its name.
            jobs: Picklable.

        Raises:
            WorkerCrashed: A job's process died, and died again each time that it was started anew.
            Exception: What the function raised; jobs that have not begun are not done then.
        """


@dataclass(frozen=True)
class Processes:
    """Processes of this machine, each started afresh: what a fork would copy (threads, locks) is not there.

    Attributes:
        count: How many at a time.
        restarts: How often processes may die before the jobs are given up.
    """

    count: int = field(default_factory=lambda: os.cpu_count() or 1)
    restarts: int = 3

    def results(self, function: Callable[[J], R], jobs: Sequence[J]) -> Iterator[tuple[int, R]]:
        """See :class:`Farm`. Where a process dies, all jobs that are under way begin anew."""
        left, deaths = dict(enumerate(jobs)), 0
        while left:
            try:
                for number, result in self._finished(function, left):
                    del left[number]
                    yield number, result
            except BrokenProcessPool as error:
                deaths += 1
                if deaths > self.restarts:
                    raise _lost(len(left), deaths) from error

    def _finished(self, function: Callable[[J], R], jobs: dict[int, J]) -> Iterator[tuple[int, R]]:
        pool = ProcessPoolExecutor(min(self.count, len(jobs)), multiprocessing.get_context("spawn"))
        try:
            numbers = {pool.submit(function, job): number for number, job in jobs.items()}
            for future in as_completed(numbers):
                yield numbers[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Ray:
    """A Ray cluster (https://docs.ray.io): the one that this process is connected to, or else that of ``address``.

    Attributes:
        address: As ``ray.init`` takes it: "auto", "ray://host:port"; None: ``RAY_ADDRESS``, else a cluster of this machine alone.
        restarts: How often a job whose process died is started anew.
    """

    address: str | None = None
    restarts: int = 3

    def results(self, function: Callable[[J], R], jobs: Sequence[J]) -> Iterator[tuple[int, R]]:
        """See :class:`Farm`. Each job takes one processor; Ray starts one anew whose process or machine is lost.

        Raises:
            ExtraMissing: Ray is not installed.
        """
        ray = self._connected()
        task = ray.remote(num_cpus=1, max_retries=self.restarts)(function)
        numbers = {task.remote(job): number for number, job in enumerate(jobs)}
        try:
            while numbers:
                (done,), _ = ray.wait(list(numbers), num_returns=1)
                number = numbers.pop(done)
                yield number, self._got(ray, done, len(numbers) + 1)
        finally:
            for reference in numbers:
                with suppress(Exception):  # the cluster may be gone
                    ray.cancel(reference, force=True)

    def _connected(self) -> Any:
        if find_spec("ray") is None:
            raise ExtraMissing("jobs on a cluster need ray", where="training", to_do="pip install 'explainsvc[ray]'")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to third parties unasked
        import ray

        if not ray.is_initialized():
            ray.init(self.address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        return ray

    def _got(self, ray: Any, reference: Any, left: int) -> Any:
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError) as error:
            raise _lost(left, self.restarts + 1) from error


def _lost(left: int, deaths: int) -> WorkerCrashed:
    return WorkerCrashed(
        f"processes that computed {left} jobs died {deaths} times",
        where="training",
        to_do="Look for what kills them, such as a lack of memory; results that were finished are kept",
    )
