"""``explainsvc data-randomization``: two models of the user's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from explainsvc import cli
from tests import models
from tests.models import numbers


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A model, the same with other weights, one of another architecture, and inputs."""
    one, other = models.mlp(), models.mlp()
    for tensor in other.graph.initializer:
        values = np.frombuffer(tensor.raw_data, np.float32)
        tensor.raw_data = np.random.default_rng(0).permutation(values).tobytes()
    for name, proto in (("true", one), ("permuted", other), ("cnn", models.cnn())):
        (tmp_path / f"{name}.onnx").write_bytes(proto.SerializeToString())
    np.savez(tmp_path / "x.npz", x=numbers(40, 6))
    return tmp_path


def run(files: Path, permuted: str, *more: str) -> int:
    """The command's exit code."""
    paths = [str(files / name) for name in ("true.onnx", f"{permuted}.onnx")]
    given = ["--inputs", str(files / "x.npz"), "--methods", "gradient", "--out", str(files / "report")]
    return cli.main(["data-randomization", *paths, *given, *more])


def test_two_models_are_compared(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Report and page are written; the verdict is the exit code where that was asked for."""
    one = ["-p", "data_randomization.similarities=spearman"]
    assert run(files, "true", *one, "--fail-on", "insensitive") == 3
    assert "wrote" in capsys.readouterr().out
    assert run(files, "permuted", *one, "--fail-on", "insensitive", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((files / "report" / "report.json").read_text())
    rows = [row for row in printed["rows"] if row["method"] == "gradient"]
    assert [row["measure"] for row in rows] == ["spearman", "spearman"]
    assert (rows[0]["mean"], rows[1]["mean"] < 0.9) == (1.0, True)
    assert "data_randomization" in (files / "report" / "report.html").read_text()


def test_models_of_two_architectures_are_no_pair(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said as one paragraph, with what differs."""
    assert run(files, "cnn") == 1
    assert "not of one architecture" in capsys.readouterr().err
