"""What lies beside a message: wire format, shared memory, and cancellations."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainpb.v1.explanation_service_pb2 import ExplainRequest, ExplainResponse
from explainpb.v1.tensor_pb2 import Tensor
from explainpb.worker.v1.worker_pb2 import Job, Reply
from explainsvc import frames
from explainsvc.codec.beside import explained, field, values_of, whole_job, whole_reply
from explainsvc.codec.results import fill_facts, to_attribution
from explainsvc.errors import InvalidInput
from explainsvc.frames import NUMBER
from explainsvc.stopping import Stopped
from explainsvc.windows import LEAST, WINDOW_BYTES, shared, windows
from explainsvc.workers.inbox import Inbox
from tests.service import models

ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.arange(6, dtype=">f8").reshape(2, 3),
    np.arange(24, dtype=np.float16).reshape(2, 3, 4).transpose(2, 0, 1)[::2],
    np.array(1.5, np.float32),
    np.zeros((0, 3), np.float32),
    np.array([True, False]),
    np.array(["a", "ü"], dtype=object),
    np.ones((3, LEAST), np.float32),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{list(a.shape)}")
def test_values_behind_an_attribution_are_values_in_it(array: Any) -> None:
    """The response and the reply that are put together of two parts are the messages that protobuf makes of the whole."""
    found = explainsvc.load(models.cnn()).explain(models.image())
    attribution = replace(found, values={"x": array, "a longer name": array})
    whole = ExplainResponse(attribution=to_attribution(attribution))
    facts, values = ExplainResponse(), values_of(attribution.values)
    fill_facts(facts.attribution, attribution)
    assert ExplainResponse.FromString(explained(facts, values).data) == whole
    assert whole_reply(Reply(explained=facts), values) == Reply(explained=whole)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 2**14 - 1, 2**14, 2**21])
def test_a_field_of_any_length_is_read_by_protobuf(size: int) -> None:
    """Lengths around each further byte."""
    data = bytes(size)
    assert Tensor.FromString(b"".join(field(Tensor.DATA_FIELD_NUMBER, data[: size // 2], data[size // 2 :]))).data == data


def test_an_array_that_cannot_be_sent_is_refused_by_its_name() -> None:
    """As it is where the values lie in the message."""
    with pytest.raises(InvalidInput, match=r'values\["x"\]'):
        values_of({"x": np.ones(1, complex)})


def test_a_request_beside_its_job_is_in_it_afterwards() -> None:
    """Whatever kind of work it is."""
    request = ExplainRequest(model_digest="a", method="gradient", seed=7)
    assert whole_job(Job(model_folder="f", explain=ExplainRequest()), request.SerializeToString()).explain == request


@pytest.mark.parametrize("size", [1, LEAST - 1, LEAST, WINDOW_BYTES, WINDOW_BYTES + 1])
def test_a_window_takes_what_fits_and_the_pipe_the_rest(size: int) -> None:
    """In several parts; either half is written without touching the other."""
    there, back = windows(shared())
    data = np.random.default_rng(size).bytes(size)
    assert back.put([memoryview(bytes(LEAST))])
    parts = frames.framed(Job(number=1), data[: size // 3], data[size // 3 :], window=there)
    in_window = LEAST <= size <= WINDOW_BYTES
    assert sum(map(len, parts)) == len(frames.framed(Job(number=1))[0]) + (0 if in_window else size)
    if in_window:
        assert there.take(size) == data
        assert len(there.take(2**40)) == WINDOW_BYTES  # no more than there is, whatever the other side says
    assert back.take(LEAST) == bytes(LEAST)


def test_nobody_can_cut_off_shared_memory() -> None:
    """A worker that shortens it, or makes it longer, is refused: the server would end where it reads there."""
    memory = shared()
    for size in (0, 4 * WINDOW_BYTES):
        with pytest.raises(PermissionError):
            os.ftruncate(memory, size)
    os.close(memory)


def test_a_cancellation_may_be_heard_before_its_job() -> None:
    """They come by different pipes: the job is stopped all the same, and the one after it is not."""
    jobs, cancellations = os.pipe(), os.pipe()
    inbox = Inbox.of(jobs[0], windows(shared())[0], cancellations[0])
    os.write(cancellations[1], NUMBER.pack(7))
    while inbox.cancelled != 7:
        pass
    for number in (7, 8):
        frames.write(jobs[1], Job(number=number))
    stops = {}
    for _ in range(2):
        received = inbox.next()
        assert received is not None
        stops[received[0].number] = received[1]
    with pytest.raises(Stopped):
        stops[7].check()
    stops[8].check()
    for pipe in (jobs[1], cancellations[1]):
        os.close(pipe)
    assert inbox.next() is None
