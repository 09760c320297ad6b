"""explainsvc: gradient- and rule-based explanations of any ONNX model, and proof that they depend on what it learned."""

from __future__ import annotations

from explainsvc import errors, quiet  # noqa: F401  # before anything imports onnxruntime
from explainsvc.attribution import Attribution, versions
from explainsvc.cards import Card
from explainsvc.checks import CHECKS
from explainsvc.dry_run import DryRun, NodeRule
from explainsvc.graph.limits import Limits
from explainsvc.ledger import Account, Ledger
from explainsvc.loading import load
from explainsvc.methods import METHODS
from explainsvc.model import CompiledExplanation, Model

__all__ = [
    "Account", "Attribution", "Card", "CompiledExplanation", "DryRun", "Ledger", "Limits", "Model", "NodeRule", "__version__",
    "checks", "errors", "load", "methods",
]  # fmt: skip
__version__ = versions()["explainsvc"]


def methods() -> dict[str, Card]:
    """Name → card of every attribution method."""
    return {name: method.card for name, method in sorted(METHODS.items())}


def checks() -> dict[str, Card]:
    """Name → card of every check."""
    return {name: check.card for name, check in sorted(CHECKS.items())}
