from __future__ import annotations

from collections.abc import Iterator

import pytest

from explainsvc.client import Client
from explainsvc.service.config import Config
from explainsvc.service.server import Listening, in_thread
from tests.service import models


@pytest.fixture(scope="session")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """A server for all peers."""
    store = tmp_path_factory.mktemp("store")
    with in_thread(Config(address="127.0.0.1:0", http_address="127.0.0.1:0", store=store, workers=2, worker_threads=1)) as both:
        yield both


@pytest.fixture(scope="session")
def address(listening: Listening) -> str:
    """Its gRPC port."""
    return listening.grpc


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[Client]:
    """Our own client."""
    with Client(address) as client:
        yield client


@pytest.fixture(scope="session")
def digest(client: Client) -> str:
    """A small convolutional net, on the server."""
    return client.upload(models.cnn())
