"""The table of vjp rules: how a gradient flows back through one operator.

A rule is one function per operand: ``f(n, g)`` emits the gradient of operand ``i`` from the node ``n`` and the
gradient ``g`` of its result. Operators with several results give one ``g`` per result, None where no gradient came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.view import NodeView

Vjp = Callable[..., Term | None]
"""``(n, *g) -> gradient of one operand``; None means that it is zero everywhere."""

JointVjp = Callable[..., Mapping[int, Term | None]]
"""``(n, *g) -> operand -> gradient`` for all operands in ``n.asked`` at once."""

ControlVjp = Callable[..., Iterable[tuple[ir.Value, Term]]]
"""``(n, wanted, rulebook, *g) -> (value, gradient)`` pairs, for operators with subgraphs.

``wanted``: the operands and captured values whose gradient is asked for. ``rulebook``: holds inside the subgraphs too.
"""

VARIADIC = -1
_VJPS: dict[tuple[str, str], dict[int, Vjp]] = {}
_JOINT: dict[tuple[str, str], JointVjp] = {}
_CONTROL: dict[tuple[str, str], ControlVjp] = {}
_STOPS: set[tuple[str, str]] = set()


def vjp(op_type: str, *operands: int, domain: str = "") -> Callable[[Vjp], Vjp]:
    """Decorator: ``f(n, *g)`` is the vjp of these ``operands`` (0 when none is given) of ``op_type``."""

    def register(function: Vjp) -> Vjp:
        for operand in operands or (0,):
            _VJPS.setdefault((domain, op_type), {})[operand] = function
        return function

    return register


def vjp_each(op_type: str, domain: str = "") -> Callable[[Vjp], Vjp]:
    """Decorator: ``f(n, i, *g)`` is the vjp of operand ``i``, for operators that treat all operands alike."""

    def register(function: Vjp) -> Vjp:
        _VJPS.setdefault((domain, op_type), {})[VARIADIC] = function
        return function

    return register


def vjp_all(op_type: str, domain: str = "") -> Callable[[JointVjp], JointVjp]:
    """Decorator: ``f(n, *g)`` gives the gradients of all operands in ``n.asked``, where they share costly work."""

    def register(function: JointVjp) -> JointVjp:
        _JOINT[domain, op_type] = function
        return function

    return register


def control_vjp(op_type: str, domain: str = "") -> Callable[[ControlVjp], ControlVjp]:
    """Decorator: the rule of an operator whose subgraphs read values of the graph around it."""

    def register(function: ControlVjp) -> ControlVjp:
        _CONTROL[domain, op_type] = function
        return function

    return register


def define(op_type: str, *functions: Vjp, domain: str = "") -> None:
    """One-line form: ``functions[i]`` is the vjp of operand ``i``."""
    for operand, function in enumerate(functions):
        vjp(op_type, operand, domain=domain)(function)


def stops(op_types: Iterable[str], domain: str = "") -> None:
    """Operators whose derivative is zero almost everywhere, or whose results are not numbers: the walk ends there."""
    _STOPS.update((domain, op_type) for op_type in op_types)


def _key(n: NodeView) -> tuple[str, str]:
    return ("" if n.node.domain == "ai.onnx" else n.node.domain, n.op_type)


def is_stop(n: NodeView) -> bool:
    """Whether no gradient passes this operator, by definition."""
    return _key(n) in _STOPS


def control_vjp_of(n: NodeView) -> ControlVjp | None:
    """The rule of an operator with subgraphs, if this is one."""
    return _CONTROL.get(_key(n))


def has_vjp(n: NodeView, operand: int) -> bool:
    """Whether the table has a rule for this operand of this node."""
    rules = _VJPS.get(_key(n), {})
    return operand in rules or VARIADIC in rules or _key(n) in _JOINT


def apply_vjp(n: NodeView, operand: int, *g: Term | None) -> Term | None:
    """The gradient of ``operand``: emits the rule's nodes. KeyError when the table has none."""
    if (joint := _JOINT.get(_key(n))) is not None:
        return joint(replace(n, asked=(operand,)), *g).get(operand)
    rules = _VJPS[_key(n)]
    return rules[operand](n, *g) if operand in rules else rules[VARIADIC](n, operand, *g)


def apply_vjps(n: NodeView, *g: Term | None) -> dict[int, Term | None]:
    """The gradients of all operands in ``n.asked``. KeyError when the table has no rule for one."""
    if (joint := _JOINT.get(_key(n))) is not None:
        return dict(joint(n, *g))
    return {i: apply_vjp(n, i, *g) for i in n.asked}


def known_operators() -> dict[str, str]:
    """Operator → "vjp", "control" or "stop": which table has it."""
    tables = {"vjp": (*_VJPS, *_JOINT), "control": _CONTROL, "stop": _STOPS}
    return {f"{domain}::{name}" if domain else name: kind for kind, keys in tables.items() for domain, name in keys}
