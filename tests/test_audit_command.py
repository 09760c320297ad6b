"""`explainsvc audit` killed and run again: the report of a run that nothing happened to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from explainsvc import cli
from explainsvc.audit_commands import JOURNAL
from explainsvc.journals import contents
from tests.service import models

CODE = """import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests in the background has it ignored (POSIX shells)
from explainsvc.cli import main
sys.exit(main(sys.argv[1:]))"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An audit of seconds, most of them in its second check, where each method takes some tenths; into the folder ``report``."""
    monkeypatch.setenv("EXPLAINSVC_THREADS", "1")
    (tmp_path / "cnn.onnx").write_bytes(models.cnn())
    np.savez(tmp_path / "in.npz", **models.image(32))
    checks = ["--checks", "parameter_randomization,max_sensitivity,complexity", "-p", "max_sensitivity.samples=60"]
    inputs = ["--inputs", str(tmp_path / "in.npz"), "--methods", "integrated_gradients,smoothgrad,vargrad,smoothgrad_squared"]
    return ["audit", str(tmp_path / "cnn.onnx"), *inputs, *checks, "--out", str(tmp_path / "report")]


def ended_after(parts: int, command: Sequence[str], folder: Path, number: signal.Signals) -> int:
    """The exit code of a process that gets a signal once its journal has this many parts more than it found."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    found = finished(folder)
    with subprocess.Popen([sys.executable, "-c", CODE, *command], stderr=subprocess.PIPE, env=environment) as process:
        while finished(folder) < found + parts:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        return process.wait(timeout=60)


def finished(folder: Path) -> int:
    """Parts in the journal."""
    return len(contents((folder / JOURNAL).read_bytes()).finished) if (folder / JOURNAL).is_file() else 0


def document(folder: Path) -> str:
    """report.json, once its journal is gone."""
    assert not (folder / JOURNAL).exists()
    return (folder / "report.json").read_text()


def test_run_again_after_a_kill(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After ``kill -9`` and after Ctrl-C the same command says how many rows it has and ends in the same report."""
    folder, other = tmp_path / "report", tmp_path / "other"
    assert ended_after(4, command, folder, signal.SIGKILL) == -signal.SIGKILL
    assert ended_after(1, command, folder, signal.SIGINT) == cli.INTERRUPTED
    rows = contents((folder / JOURNAL).read_bytes()).rows()
    assert rows > 4
    assert cli.main(command) == 0
    assert capsys.readouterr().err == f"resumed: {rows} rows of {folder / JOURNAL}\n"
    assert cli.main([*command[:-1], str(other)]) == 0
    assert capsys.readouterr().err == ""
    assert document(folder) == document(other)


def test_another_question_needs_to_be_asked_afresh(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The journal of another seed is refused in one paragraph; ``--fresh`` forgets it."""
    folder = tmp_path / "report"
    ended_after(2, command, folder, signal.SIGKILL)
    assert cli.main([*command, "--seed", "1"]) == 1
    assert "with other seed" in capsys.readouterr().err
    assert cli.main([*command, "--seed", "1", "--fresh"]) == 0
    assert "resumed" not in capsys.readouterr().err
    assert json.loads(document(folder))["header"]["seed"] == 1
