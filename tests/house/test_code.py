"""House rules that no linter holds."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.repository import PACKAGE, ROOT, modules

LONGEST = 300


def name(path: Path) -> str:
    """The path as a test's name."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", modules(), ids=name)
def test_files_are_short(path: Path) -> None:
    """A file is one concept: at most 300 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("path", modules(), ids=name)
def test_public_names_have_docstrings(path: Path) -> None:
    """A module and every public function, class and method says what it is."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = [] if ast.get_docstring(tree) else ["the module"]
    silent += [node.name for node in public(tree) if not ast.get_docstring(node)]
    assert not silent


def public(tree: ast.Module | ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """The public functions, classes and methods of a module or class, overloads aside."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    shown = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    shown = [node for node in shown if "overload" not in {getattr(d, "id", "") for d in node.decorator_list}]
    return shown + [inner for node in shown if isinstance(node, ast.ClassDef) for inner in public(node)]


def test_every_folder_is_a_package() -> None:
    """A folder of modules without __init__.py would be missing from the wheel."""
    folders = {path.parent for path in modules()}
    assert not [name(folder) for folder in folders if not (folder / "__init__.py").is_file()]


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=name)
def test_tests_state_one_rule(path: Path) -> None:
    """Every test says in one sentence what must hold."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tests = [node for node in public(tree) if node.name.startswith("test_")]
    assert not [node.name for node in tests if not (ast.get_docstring(node) or "").rstrip().endswith((".", "?"))]


def test_package_is_typed() -> None:
    """The marker that tells type checkers to read the annotations is there."""
    assert (PACKAGE / "py.typed").is_file()
