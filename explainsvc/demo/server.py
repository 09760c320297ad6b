"""A real server for the length of a ``with``: its own process, a free loopback port, a throw-away store."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from explainsvc.errors import ExplainsvcError

START_SECONDS = 60.0
STOP_SECONDS = 10.0


@contextmanager
def running_server() -> Iterator[str]:
    """The address of ``explainsvc serve``, ready to answer; stopped and its store deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="explainsvc-demo-") as folder:
        address = f"127.0.0.1:{_free_port()}"
        command = [sys.executable, "-m", "explainsvc.cli", "serve", "--address", address, "--store", f"{folder}/store"]
        command += ["--self-check", "false"]  # of a server for a few seconds nobody asks whether it is ready
        log = Path(folder) / "server.log"
        # S603: the command is this interpreter and constants.
        with log.open("wb") as sink, subprocess.Popen(command, stdout=sink, stderr=sink) as server:  # noqa: S603
            try:
                wait_until_ready(server, address, log)
                yield address
            finally:
                _stop(server)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Until the port accepts a connection; the client itself waits for the service behind it."""
    host, port = address.rsplit(":", 1)
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1.0).close()
            return
        except OSError:
            time.sleep(0.05)
    how = "did not answer in time" if server.returncode is None else f"ended with exit code {server.returncode}"
    raise ExplainsvcError(
        f"the server {how}",
        where=address,
        expected=f"a listening port within {START_SECONDS:.0f} s",
        to_do=f"Its last words: {log.read_text(errors='replace')[-2000:].strip() or 'none'}",
    )


def _stop(server: subprocess.Popen[bytes]) -> None:
    """SIGTERM lets it drain; only a server that ignores it is killed."""
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
