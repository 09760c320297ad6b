"""Independent jobs in processes and on Ray."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from explainsvc.errors import ExtraMissing, InvalidParameter, WorkerCrashed
from explainsvc.training.farm import Farm, Processes, Ray


@dataclass(frozen=True)
class Job:
    """A number to be squared; what has to happen on the way, and where it is noted."""

    number: int
    folder: Path
    deaths: int = 0


def squared(job: Job) -> int:
    """The square, after as many deaths as the job wants; below zero an error."""
    note = job.folder / f"{job.number}-{os.getpid()}"
    note.touch()
    if len(list(job.folder.glob(f"{job.number}-*"))) <= job.deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    if job.number < 0:
        raise InvalidParameter("is below zero")
    return job.number**2


@pytest.fixture(scope="module")
def cluster() -> Iterator[Ray]:
    """One of this machine, with two processors."""
    ray: Any = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield Ray()
    ray.shutdown()


@pytest.fixture(params=["processes", "ray"])
def farm(request: pytest.FixtureRequest) -> Farm:
    """Both, by turns."""
    found: Farm = Processes(2) if request.param == "processes" else request.getfixturevalue("cluster")
    return found


def test_every_job_gets_its_own_result(farm: Farm, tmp_path: Path) -> None:
    """In whatever order they are finished."""
    jobs = [Job(number, tmp_path) for number in range(5)]
    assert dict(farm.results(squared, jobs)) == {number: number**2 for number in range(5)}


def test_a_killed_process_loses_nothing(farm: Farm, tmp_path: Path) -> None:
    """Its job is done anew; each result comes once."""
    jobs = [Job(number, tmp_path, deaths=number == 1) for number in range(4)]
    found = list(farm.results(squared, jobs))
    assert sorted(found) == [(number, number**2) for number in range(4)]
    assert len(list(tmp_path.glob("1-*"))) == 2


def test_a_job_that_always_dies_is_given_up(farm: Farm, tmp_path: Path) -> None:
    """What was finished before stays with the caller."""
    results = replace(farm, restarts=1).results(squared, [Job(2, tmp_path), Job(3, tmp_path, deaths=99)])  # type: ignore[type-var]
    with pytest.raises(WorkerCrashed, match="died 2 times"):
        list(results)
    assert len(list(tmp_path.glob("3-*"))) == 2


def test_the_error_of_a_job_is_raised_as_it_is(farm: Farm, tmp_path: Path) -> None:
    """Typed, with its fields."""
    with pytest.raises(InvalidParameter) as caught:
        list(farm.results(squared, [Job(-1, tmp_path)]))
    assert caught.value.what == "is below zero"


def test_no_jobs(farm: Farm) -> None:
    """No results."""
    assert list(farm.results(squared, [])) == []


def test_without_ray_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typed error."""
    monkeypatch.setattr("explainsvc.training.farm.find_spec", lambda _name: None)
    with pytest.raises(ExtraMissing, match=r"explainsvc\[ray\]"):
        list(Ray().results(squared, [Job(1, tmp_path)]))
