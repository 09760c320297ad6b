"""Progress bars."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

import pytest

from explainsvc.progress import bar

CODE = """
import time
from explainsvc.progress import bar
with bar() as progress:
    for done in range(1, 9):
        progress(done, 8, "gradient")
        time.sleep(0.15)
"""


def test_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Logs and pipes get no bars."""
    with bar() as progress:
        progress(1, 2, "x")
    assert capsys.readouterr().err == ""


def test_drawn_on_a_terminal() -> None:
    """On a terminal the bar names the work and counts it, on stderr only."""
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, 80))  # a new one is 0 columns wide
    os.set_blocking(reader, False)
    with os.fdopen(reader, "rb", 0) as terminal:
        done = subprocess.run([sys.executable, "-c", CODE], stderr=writer, stdout=subprocess.PIPE, timeout=60, check=True)
        drawn = terminal.read(65536).decode()  # before the last writer goes, which would discard it
        os.close(writer)
    assert done.stdout == b""
    assert "gradient" in drawn
    assert "/8" in drawn
