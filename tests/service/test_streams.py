"""ExplainStream and ExplainBatch: what is told on the way is true, and what comes last is what Explain returns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from explainsvc import errors
from explainsvc.attribution import Attribution
from explainsvc.client import Client
from explainsvc.codec.questions import Question
from explainsvc.errors import ExplainsvcError
from explainsvc.explanation_client import Asked
from explainsvc.method import Estimate
from explainsvc.service.items import as_they_end
from tests.service import models
from tests.service.test_loopback import assert_equal

X = models.image(1)
BACKGROUND = np.random.default_rng(7).normal(size=(5, 1, 6, 6)).astype(np.float32)
ESTIMATED: dict[str, dict[str, Any]] = {
    "smoothgrad": {"samples": 12},
    "expected_gradients": {"samples": 12, "background": BACKGROUND},
    "sampling_shap": {"samples": 12, "feature_mask": np.arange(36).reshape(1, 6, 6) // 9},
    "rise": {"samples": 12, "grid": 3},
}


@pytest.mark.parametrize("method", ESTIMATED)
def test_estimates(client: Client, digest: str, method: str) -> None:
    """After k samples the estimate is the result of k samples; the last is the result; the errors are std / √k of the samples."""
    parameters, heard = ESTIMATED[method], list[Estimate]()
    asked = Asked(digest, Question(method, 1, None, parameters), X, seed=3)
    result = client.explanations.stream(asked, on_estimate=heard.append, interval=0)
    assert_equal(client.explain(digest, X, method, 1, seed=3, parameters=parameters), result)
    step = heard[1].samples - heard[0].samples
    assert [one.samples for one in heard] == list(range(2 * step, 12 + step, step))
    np.testing.assert_array_equal(heard[-1].values["x"], result.values["x"])
    at = heard[2]
    fewer = client.explain(digest, X, method, 1, seed=3, parameters=parameters | {"samples": at.samples})
    np.testing.assert_allclose(at.values["x"], fewer.values["x"], rtol=1e-5, atol=1e-6)
    first = client.explain(digest, X, method, 1, seed=3, parameters=parameters | {"samples": 2 * step})
    drawn = drawn_since(heard, step)
    assert drawn.shape[0] == len(heard) - 1
    assert first.values["x"].shape == drawn.shape[1:]
    np.testing.assert_allclose(heard[-1].standard_errors["x"], errors_of(heard, drawn, step), rtol=2e-2, atol=1e-4)


def drawn_since(heard: list[Estimate], step: int) -> np.ndarray:
    """The samples behind the first two, from the means: k m_k − (k − 1) m_{k−1}."""
    means = np.stack([one.values["x"].astype(np.float64) for one in heard])
    counts = np.array([one.samples // step for one in heard]).reshape(-1, *[1] * (means.ndim - 1))
    return np.asarray(counts[1:] * means[1:] - counts[:-1] * means[:-1])


def errors_of(heard: list[Estimate], drawn: np.ndarray, step: int) -> np.ndarray:
    """std / √k, of all samples: the first two have mean m and standard error e, so they are m ± e (up to order)."""
    mean, error = heard[0].values["x"], heard[0].standard_errors["x"]
    samples = np.concatenate([np.stack([mean + error, mean - error]), drawn])
    assert len(samples) == heard[-1].samples // step
    return np.asarray(samples.std(axis=0, ddof=1) / np.sqrt(len(samples)))


def test_progress_alone(client: Client, digest: str) -> None:
    """A method that is no mean of samples tells how far it is, up to the end, and estimates nothing."""
    told, heard = list[tuple[int, int, str]](), list[Estimate]()
    asked = Asked(digest, Question("lime", 1, None, {"samples": 40, "feature_mask": "element"}), X)
    result = client.explanations.stream(asked, progress=lambda *s: told.append(s), on_estimate=heard.append, interval=0)
    assert_equal(client.explain(digest, X, "lime", 1, parameters={"samples": 40, "feature_mask": "element"}), result)
    assert told[0] == (1, 40, "lime")
    assert told[-1] == (40, 40, "lime")
    assert not heard


def test_the_interval_is_kept(client: Client, digest: str) -> None:
    """With an interval longer than the work there is a first and a last progress, and no estimate."""
    told, heard = list[tuple[int, int, str]](), list[Estimate]()
    asked = Asked(digest, Question("smoothgrad", 1, None, {"samples": 50}), X)
    client.explanations.stream(asked, progress=lambda *s: told.append(s), on_estimate=heard.append, interval=60)
    assert [done for done, _, _ in told] == [1, 50]
    assert not heard


def test_a_batch(client: Client, digest: str) -> None:
    """Every item has its own outcome, a bad one the error of Explain, word for word; a slow one holds nobody up."""
    loop = client.upload(models.loop())
    slow = Asked(loop, Question("occlusion", 0, ["x"], {"window": 4}), models.rounds(300_000))
    asked = {"slow": slow, "bad": Asked(digest, Question("gradiant"), X), "gone": Asked("0" * 64, Question("gradient"), X)}
    asked |= {f"{seed}": Asked(digest, Question("random"), X, seed=seed) for seed in range(6)}
    found = dict[str, Attribution | ExplainsvcError]()
    for name, outcome in client.explanations.batch(asked):
        found[name] = outcome
    assert found.keys() == asked.keys()
    assert next(iter(found)) != "slow"  # though it was sent first
    for seed in range(6):
        one = found[f"{seed}"]
        assert isinstance(one, Attribution)
        assert_equal(client.explain(digest, X, "random", seed=seed), one)
    with pytest.raises(errors.UnknownMethod) as error:
        client.explain(digest, X, "gradiant")
    assert str(found["bad"]) == str(error.value)
    assert isinstance(found["gone"], errors.ModelNotFound)


def test_no_more_at_once_than_allowed() -> None:
    """At most so many requests are worked on, and one more is read; closing the iterator cancels all of them."""
    read, running, most, cancelled = 0, 0, 0, 0

    async def requests() -> AsyncIterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    async def work(number: int) -> int:
        nonlocal running, most, cancelled
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(0.001 if number < 9 else 60)
        except asyncio.CancelledError:
            cancelled += 1
            raise
        finally:
            running -= 1
        return number

    async def main() -> None:
        outcomes: Any = as_they_end(requests(), work, 3)
        found = [await anext(outcomes) for _ in range(8)]
        assert sorted(found) == list(range(1, 9))
        await asyncio.sleep(0.01)
        await outcomes.aclose()

    asyncio.run(main())
    assert most == 3
    assert read <= 8 + 3 + 1
    assert running == 0


def test_timings(client: Client) -> None:
    """Queue, load and compute add up to what the caller waited, or less; a model that a worker knows is not loaded again."""
    digest = client.upload(models.labelled())
    inputs = {"x": np.ones((2, 4), np.float32), "word": np.array(["a", "b"], dtype=object)}
    for _ in range(4):  # both workers have seen it then
        start = perf_counter()
        timings = client.explain(digest, inputs, inputs_wanted=["x"]).timings
        waited = 1000 * (perf_counter() - start)
        assert min(timings.values()) >= 0
        assert timings["compute"] > 0
        assert sum(timings.values()) <= waited
    assert timings["load"] < 1
