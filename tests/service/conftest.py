from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import explainsvc
from explainsvc.client import Client
from explainsvc.model import Model
from explainsvc.service.config import Config
from explainsvc.service.server import background
from tests.service import models


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with two workers, shared by the tests that leave it as they found it."""
    store = tmp_path_factory.mktemp("store")
    with background(Config(address="127.0.0.1:0", store=store, workers=2, spare_workers=0, worker_threads=1)) as address:
        yield address


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[Client]:
    """A client of the shared server."""
    with Client(address) as client:
        yield client


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Servers of a test's own, with settings of its own; their store is in ``tmp_path / "store"``."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(**settings: object) -> Client:
            config = Config(address="127.0.0.1:0", store=tmp_path / "store", worker_threads=1, **{"spare_workers": 0} | settings)
            return stack.enter_context(Client(stack.enter_context(background(config))))

        yield start


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """The library in this process sums in the same order as the workers do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPLAINSVC_THREADS", "1")
        yield


@pytest.fixture(scope="session")
def cnn_bytes() -> bytes:
    """A small convolutional net."""
    return models.cnn()


@pytest.fixture(scope="session")
def cnn(cnn_bytes: bytes, _one_thread: None) -> Model:
    """The net, loaded here."""
    return explainsvc.load(cnn_bytes)


@pytest.fixture(scope="session")
def digest(client: Client, cnn_bytes: bytes) -> str:
    """The net, on the shared server."""
    return client.upload(cnn_bytes)
