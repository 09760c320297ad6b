"""Targets: what ``Model.explain`` takes ↔ ``Target``; resolved targets ↔ ``ResolvedTarget``."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from explainpb.v1 import target_pb2 as pb
from explainsvc.codec.tensors import from_tensor, to_tensor
from explainsvc.errors import TargetOutOfRange
from explainsvc.target import ResolvedTarget

KEYS = frozenset({"output", "index", "against", "seed"})
EXPECTED = 'None, an int, a list of ints, or a dict with "output" and "index", "index" and "against", or "seed"'


def to_target(target: Any) -> pb.Target | None:
    """The message of a target as ``Model.explain`` takes it; what is no target is TargetOutOfRange, as there."""
    if target is None:
        return None
    fields = target if isinstance(target, Mapping) else {"index": target}
    unknown = set(fields) - KEYS
    if unknown:
        raise _no_target(target)
    fields = {key: value for key, value in fields.items() if value is not None}
    message = pb.Target(output=str(fields.get("output", "")))
    if "seed" in fields:
        message.seed.CopyFrom(to_tensor(np.asarray(fields["seed"]), 'target["seed"]'))
    elif "index" in fields:
        _set(message, ("index", "indices"), fields["index"])
    if "against" in fields:
        _set(message, ("against", "against_indices"), fields["against"])
    return message


def _set(message: pb.Target, names: tuple[str, str], index: Any) -> None:
    """One index for all items (int, tuple) or one for each (list, array)."""
    one, each = names
    if isinstance(index, list | np.ndarray) and np.ndim(index) > 0:
        getattr(message, each).CopyFrom(pb.IndexList(items=[_index(item) for item in index]))
    else:
        getattr(message, one).CopyFrom(_index(index))


def _index(index: Any) -> pb.Index:
    """``3`` or ``(0, 3)``."""
    positions = index if isinstance(index, Sequence | np.ndarray) and np.ndim(index) > 0 else (index,)
    try:
        return pb.Index(positions=[_integer(position) for position in positions])
    except (TypeError, ValueError) as error:
        raise _no_target(index) from error


def _integer(position: Any) -> int:
    """3, numpy's 3, or 3.0 as JSON may write it."""
    return int(position) if isinstance(position, float) and position.is_integer() else operator.index(position)


def _no_target(target: Any) -> TargetOutOfRange:
    return TargetOutOfRange(f"{target!r} is no target", where="target", expected=EXPECTED)


def from_target(message: pb.Target) -> Any:
    """What ``Model.explain`` takes."""
    fields: dict[str, Any] = {"output": message.output} if message.output else {}
    if message.HasField("seed"):
        fields["seed"] = from_tensor(message.seed, "target.seed")
    for key, one, each in (("index", "index", "indices"), ("against", "against", "against_indices")):
        if message.HasField(one):
            fields[key] = _position(getattr(message, one))
        elif message.HasField(each):
            fields[key] = [_position(item) for item in getattr(message, each).items]
    return fields["index"] if fields.keys() == {"index"} else fields or None


def _position(index: pb.Index) -> int | tuple[int, ...]:
    return index.positions[0] if len(index.positions) == 1 else tuple(index.positions)


def to_resolved(target: ResolvedTarget) -> pb.ResolvedTarget:
    """The message of a target as it was understood."""
    index = None if target.index is None else pb.IndexList(items=[pb.Index(positions=positions) for positions in target.index])
    return pb.ResolvedTarget(output=target.output, description=target.description, seed=to_tensor(target.seed), index=index)


def from_resolved(message: pb.ResolvedTarget) -> ResolvedTarget:
    """The target as it was understood."""
    index = tuple(tuple(item.positions) for item in message.index.items) if message.HasField("index") else None
    return ResolvedTarget(output=message.output, description=message.description, seed=from_tensor(message.seed), index=index)
