"""Environments of their own for programs that nobody here wrote, made once and kept in the user's cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

SECONDS = 900
"""For the first download and build of a peer; afterwards it is there."""


def folder(name: str) -> Path:
    """The environment of a peer: XDG base directory specification, or EXPLAINSVC_PEERS."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(os.environ.get("EXPLAINSVC_PEERS") or Path(cache) / "explainsvc-peers") / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def run(command: Sequence[str | Path], cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """What a program prints; a program that cannot be got here skips the test with its own words."""
    env = os.environ | (environment or {})
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=SECONDS)
    if done.returncode != 0:
        pytest.skip(f"{Path(command[0]).name} could not set the peer up here: {done.stderr.strip()[-300:]}")
    return done.stdout


def go(module: str, version: str) -> Path:
    """A Go program, built from the module's source."""
    tool = shutil.which("go")
    if tool is None:
        pytest.skip("there is no Go here")
    name = module.rpartition("/")[2]
    home = folder(f"{name}-{version}")
    if not (home / name).exists():
        run([tool, "install", f"{module}@{version}"], home, {"GOBIN": str(home)})
    return home / name


def node(*packages: str) -> Path:
    """A folder with these packages, for scripts that Node runs."""
    tool = shutil.which("npm")
    if tool is None or shutil.which("node") is None:
        pytest.skip("there is no Node here")
    home = folder("node-" + "-".join(package.replace("/", "-").replace("@", "") for package in packages))
    if not (home / "node_modules").exists():
        run([tool, "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(home), *packages], home)
    return home


def python(name: str, *requirements: str) -> Path:
    """A Python with these packages and nothing of ours."""
    home = folder(f"python{sys.version_info.major}.{sys.version_info.minor}-{name}")
    binary = home / "bin" / "python"
    if not (home / "ready").exists():
        venv.create(home, with_pip=True, clear=True)
        run([binary, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements], home)
        (home / "ready").touch()
    return binary
