"""Operators that have no derivative rule of their own, but a body of simpler ones: Attention, RotaryEmbedding and others."""

from __future__ import annotations

from explainsvc.autograd.functions import expand_functions

__all__ = ["expand_functions"]
