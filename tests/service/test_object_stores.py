"""Models in S3 and in Google Cloud Storage: emulators that others wrote, in environments of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from explainsvc.client import Client
from explainsvc.errors import StoreCorrupt
from explainsvc.store import MODEL_FILE, SERVER, opened
from tests.service import models
from tests.service.processes import server_process
from tests.service.stores import listed, put, torn

pytestmark = [pytest.mark.exhaustive, pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")]  # gcsfs does
CREDENTIALS = "test"


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def install(pip: Sequence[str | Path], package: str, *options: str) -> None:
    """By a pip; the test is skipped where that cannot be done."""
    command = [*pip, "install", "-q", package, *options]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip(f"{package} cannot be installed here")


@contextmanager
def in_force(settings: Mapping[str, str]) -> Iterator[pytest.MonkeyPatch]:
    """Variables of the environment, for a while."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield patch


@contextmanager
def emulator(folder: Path, package: str, *command: str) -> Iterator[None]:
    """A program of a package, installed into an environment of its own, while it listens on the last of its arguments."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install([folder / "bin" / "pip"], package)
    with subprocess.Popen(
        [folder / "bin" / command[0], *command[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as one:
        try:
            until = time.monotonic() + 60
            while not _answers(int(command[-1])):
                assert time.monotonic() < until
                time.sleep(0.1)
            yield
        finally:
            one.kill()


@contextmanager
def s3(folder: Path) -> Iterator[str]:
    """A bucket of moto's S3 server, for obstore."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    program = ("moto_server", "-H", "127.0.0.1", "-p", str(port))
    settings = {"AWS_ENDPOINT": address, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    settings |= {"AWS_ACCESS_KEY_ID": CREDENTIALS, "AWS_SECRET_ACCESS_KEY": CREDENTIALS}
    with emulator(folder, "moto[server]", *program), in_force(settings):
        request = urllib.request.Request(f"{address}/bucket", method="PUT")  # noqa: S310  # our own server
        urllib.request.urlopen(request).close()  # noqa: S310  # as above
        yield "s3://bucket"


@contextmanager
def gcs(folder: Path) -> Iterator[str]:
    """A bucket of gcp-storage-emulator, for gcsfs: obstore writes by an interface (XML) that no emulator from an index has."""
    port = free_port()
    program = ("gcp-storage-emulator", "start", "--in-memory", "--default-bucket", "bucket", "--host", "127.0.0.1")
    settings = {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "FSSPEC_GS_TOKEN": "anon"}
    settings |= {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}  # else it would ask Google what kind of bucket this is
    library = str(folder / "gcsfs")
    install([sys.executable, "-m", "pip"], "gcsfs", "--target", library)
    with emulator(folder, "gcp-storage-emulator", *program, "--port", str(port)), in_force(settings) as patch:
        patch.setitem(fsspec.config.conf, "gs", {"token": "anon"})  # here fsspec has read its variables already
        patch.setattr(sys, "path", [*sys.path, library])  # behind what is there; server_process hands it on
        yield "gs://bucket"


@pytest.fixture(scope="module", params=[s3, gcs], ids=["s3", "gcs"])
def bucket(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty one."""
    with request.param(tmp_path_factory.mktemp("emulator")) as url:
        yield url


def test_a_store_elsewhere(bucket: str, tmp_path: Path) -> None:
    """Models come back from a bucket, without a local copy too; rotten and missing bytes are noticed; deleted is gone."""
    url = f"{bucket}/some/prefix"
    large = os.urandom(20_000_000)
    with opened(tmp_path, url) as kept:
        digests = [put(kept, large), put(kept, b"small"), put(kept, b"deleted")]
        kept.models.delete(digests.pop(), SERVER)
    with opened(tmp_path, url) as kept:
        assert set(listed(kept)) == set(digests) == kept.models.objects.digests()
        for digest in digests:
            kept.models.objects.local.remove(digest)  # type: ignore[attr-defined]  # it is a RemoteObjects
        assert torn(kept) == []
        assert (kept.models.folder(digests[0], SERVER) / MODEL_FILE).read_bytes() == large
        kept.models.objects.local.remove(digests[1])  # type: ignore[attr-defined]  # as above
        key = f"{kept.models.objects.prefix}/models/{digests[1]}/files/{MODEL_FILE}"  # type: ignore[attr-defined]  # as above
        for change in (lambda files: files.pipe_file(key, b"smell"), lambda files: files.rm_file(key)):
            change(kept.models.objects.files)  # type: ignore[attr-defined]  # as above
            with pytest.raises(StoreCorrupt):
                kept.models.folder(digests[1], SERVER)
        put(kept, b"small")
        assert torn(kept) == []


def test_a_server_with_a_bucket_is_killed(bucket: str, tmp_path: Path) -> None:
    """What a server with a bucket has answered is there after ``kill -9``, also for one whose copies are lost."""
    url = f"{bucket}/killed"
    with server_process(tmp_path, "--objects", url) as (server, address), Client(address) as client:
        digest = client.upload(models.cnn())
        os.kill(server.pid, signal.SIGKILL)
    for copy in (tmp_path / "cache" / "models").iterdir():
        copy.rename(tmp_path / copy.name)
    with server_process(tmp_path, "--objects", url) as (_, address), Client(address) as client:
        assert client.predict(digest, models.image())["y"].shape == (2, 3)
        client.delete(digest)
        assert client.list_models() == []
