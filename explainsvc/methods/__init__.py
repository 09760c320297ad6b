"""The attribution methods, one file each; ``METHODS`` is the registry."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from explainsvc.errors import UnknownMethod, Violation
from explainsvc.method import Method


def _collect() -> dict[str, Method]:
    modules = [import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__) if not m.name.startswith("_")]
    found: list[Method] = [module.METHOD for module in modules]
    return {method.card.name: method for method in found}


METHODS: dict[str, Method] = _collect()


def find_method(name: str, where: str = "method") -> Method:
    """The method called ``name``; ``where`` tells which field of the request named it.

    Raises:
        UnknownMethod: There is none; lists those that there are.
    """
    if name not in METHODS:
        known = Violation(where, f"is {name!r}; known: {', '.join(sorted(METHODS))}")
        raise UnknownMethod(f'no method is called "{name}"', violations=[known], to_do="`explainsvc methods` lists them")
    return METHODS[name]
