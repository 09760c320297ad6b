"""The README is true: its examples run and its tables are the registries'."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from explainsvc.demo.server import running_server
from tests.house.repository import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^## (From Python|Over gRPC)\n+```python\n(.*?)```", README, re.MULTILINE | re.DOTALL))
ADDRESS = "localhost:50551"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with the demo's files where the examples expect them."""
    (tmp_path / "explainsvc").mkdir()
    (tmp_path / "explainsvc" / "demo").symlink_to(ROOT / "explainsvc" / "demo")
    return tmp_path


def run(code: str, folder: Path) -> str:
    """What the code prints, run by a Python of its own in this folder."""
    # -P: the folder's own `explainsvc` holds data only and must not hide the package
    command = [sys.executable, "-P", "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_example(folder: Path) -> None:
    """The Python example runs as it stands and writes what it says."""
    assert "(4, 1, 8, 8)" in run(BLOCKS["From Python"], folder)
    assert (folder / "explained.onnx").stat().st_size > 0
    assert (folder / "report.html").stat().st_size > 0


def test_grpc_example(folder: Path) -> None:
    """The gRPC example runs as it stands against a server, but for the port."""
    assert ADDRESS in BLOCKS["Over gRPC"]
    with running_server() as address:
        assert run(BLOCKS["Over gRPC"].replace(ADDRESS, address), folder).count("[") > 8


def test_links_lead_somewhere() -> None:
    """Every file that the pages name is there."""
    pages = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text())]
    assert not [(page, link) for page, link in links if not (ROOT / link).exists()]


@pytest.mark.exhaustive  # make check asks the same
@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.py")), ids=lambda page: page.name)
def test_generated_pages_are_current(page: Path) -> None:
    """They say what registries, settings, case rows and protos say; ``make check`` and ``make docs`` know each of them."""
    done = subprocess.run([sys.executable, page, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [line.endswith("--check") for line in makefile.splitlines() if f"docs/{page.name}" in line] == [True, False]
