"""What the code imports is what pyproject.toml says: the environment of a user holds nothing else."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests.house.repository import PACKAGE, ROOT, modules

OWN = {"explainsvc", "explainpb"}
BY_HAND = {PACKAGE / "demo" / "train_digits.py"}
"""Run in the dev environment only; nothing imports it."""


def imported(path: Path) -> Iterator[str]:
    """The absolute names that a module imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def normal(name: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    """The distributions that an installation with these extras asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [line for extra in extras for line in project["optional-dependencies"][extra]]
    return {normal(re.split(r"[\[<>=!~ ;]", line)[0]) for line in lines}


def test_imports_are_declared() -> None:
    """Everything that the package imports comes from a declared dependency or an extra."""
    roots = {name.partition(".")[0] for path in set(modules()) - BY_HAND for name in imported(path)}
    providers = metadata.packages_distributions()
    foreign = roots - OWN - sys.stdlib_module_names
    extras = declared("gcs", "jwt", "otel", "ray", "s3", "sign", "train")
    undeclared = {root for root in foreign if not extras & {normal(d) for d in providers.get(root, [])}}
    assert not undeclared


@pytest.mark.parametrize(("folder", "entry"), [("methods", "METHOD"), ("checks", "CHECK")])
def test_methods_and_checks_stand_alone(folder: str, entry: str) -> None:
    """No file that holds a method or a check imports another such file; what they share lies in helpers."""
    entries = {path for path in (PACKAGE / folder).glob("*.py") if entry in assigned(path)}
    names = {f"explainsvc.{folder}.{path.stem}" for path in entries}
    assert names
    for path in entries:
        prefixes = {name.rpartition(".")[0] for name in imported(path)} | set(imported(path))
        assert not prefixes & names, path.name


def assigned(path: Path) -> set[str]:
    """The names that a module assigns at its top."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    targets = [t for node in nodes if isinstance(node, ast.Assign) for t in node.targets]
    targets += [node.target for node in nodes if isinstance(node, ast.AnnAssign)]
    return {target.id for target in targets if isinstance(target, ast.Name)}
