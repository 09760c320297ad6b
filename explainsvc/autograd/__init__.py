"""Differentiating ONNX graphs: the walk, the emitter, the table of vjp rules."""

from explainsvc.autograd import vjps as _vjps  # noqa: F401  (fills the table)
from explainsvc.autograd.backward import Rule, Rulebook, backward, gradient_rulebook
from explainsvc.autograd.emit import Emitter, Term
from explainsvc.autograd.registry import known_operators
from explainsvc.autograd.view import NodeView

__all__ = ["Emitter", "NodeView", "Rule", "Rulebook", "Term", "backward", "gradient_rulebook", "known_operators"]
