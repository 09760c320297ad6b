"""What the repository's files may not contain, and what they must agree on."""

from __future__ import annotations

import itertools
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from tests.house.repository import ROOT, files

CHECKOUT = shutil.which("git") is not None and (ROOT / ".git").exists()
pytestmark = pytest.mark.skipif(not CHECKOUT, reason="the list of files comes from git")

# Written in two parts, so that this file does not find itself.
REGISTRIES = ("pypi" + ".org", "python" + "hosted", "index" + "-url", "find" + "-links", "download" + ".pytorch.org")
PLACES = ("/" + "work/", "/" + "root/", "/" + "home/", "/" + "Users/")
BINARY = frozenset({".onnx", ".npz", ".npy", ".png", ".jpg", ".pb", ".binpb"})
LARGEST = 1_000_000


def texts() -> list[tuple[Path, str]]:
    """Every committed text file with its text."""
    return [(path, path.read_text(encoding="utf-8")) for path in files() if path.suffix not in BINARY]


@pytest.mark.parametrize("forbidden", [*REGISTRIES, *PLACES])
def test_no_addresses_of_registries_or_machines(forbidden: str) -> None:
    """Where packages come from and where the checkout lies is every machine's own affair."""
    assert not [path.relative_to(ROOT).as_posix() for path, text in texts() if forbidden in text]


def test_files_are_small() -> None:
    """Nothing large is committed: models and pictures are made, not stored."""
    assert not [path.relative_to(ROOT).as_posix() for path in files() if path.stat().st_size > LARGEST]


def test_constraints_are_exact_versions() -> None:
    """Every line pins one distribution to one version, once, and names no address."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert not [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)]
    names = [_normal(line.partition("==")[0]) for line in lines]
    assert len(names) == len(set(names))


def test_every_dependency_is_pinned() -> None:
    """What pyproject.toml asks for has its version in constraints.txt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    names = {_normal(re.split(r"[\[<>=!~ ;]", line)[0]) for line in wanted} - {"explainsvc"}
    pinned = {_normal(line.partition("==")[0]) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert not names - pinned


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_make_targets_set_themselves_up() -> None:
    """Every target that the README names exists in the Makefile and leads to an environment stamp."""
    makefile = (ROOT / "Makefile").read_text()
    rules = dict(re.findall(r"^([a-z]+):([^=\n#]*)", makefile, re.MULTILINE))
    named = set(re.findall(r"make ([a-z]+)`", (ROOT / "README.md").read_text())) | {"demo", "serve"}
    assert not named - rules.keys()
    assert not [name for name in named - {"upgrade"} if not _sets_up(name, rules)]


def _sets_up(target: str, rules: dict[str, str]) -> bool:
    needs = rules.get(target, "").split()
    return any(need.startswith(".venv/") or _sets_up(need, rules) for need in needs)
