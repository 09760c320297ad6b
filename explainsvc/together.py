"""Requests that differ in their inputs only, explained as one batch, with what each would have got alone.

Only methods that are one graph take part: there the items of a batch go through the same nodes side by side. That a model's
items do not depend on each other is not taken on trust: the first batch of each kind is computed both ways. Batches round
otherwise than single items do (a matrix product chooses its kernel by its size), so equal means within ``TOLERANCE``.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from explainpb.v1.explanation_service_pb2 import ExplainRequest
from explainpb.v1.target_pb2 import Target
from explainsvc.attribution import Attribution, value_caveats
from explainsvc.autograd.shapes import Array
from explainsvc.codec.questions import from_fields
from explainsvc.codec.tensors import from_named
from explainsvc.errors import ExplainsvcError
from explainsvc.memory import remember
from explainsvc.methods import METHODS
from explainsvc.model import Model

TOLERANCE = 1e-5
"""Largest difference of a value between a batch and its items alone, relative to the largest value of the item."""
ALIKE = frozenset({"model_digest", "inputs", "method", "target", "explained_inputs", "seed", "parameters", "straight_through"})
"""Fields that a request may have; one with any other, array parameters for instance, is answered alone."""


def key_of(request: ExplainRequest) -> bytes | None:
    """Equal for requests that may be computed as one batch; None for one that must be alone."""
    method = METHODS.get(request.method or "gradient")
    if method is None or method.program is None or method.run is not None or method.whole_batch:
        return None
    if {field.name for field, _ in request.ListFields()} - ALIKE or not _target_per_item(request.target):
        return None
    rest = ExplainRequest(target=Target(output=request.target.output))
    for name in ("model_digest", "method", "seed", "straight_through"):
        setattr(rest, name, getattr(request, name))
    rest.explained_inputs.extend(request.explained_inputs)
    rest.parameters.CopyFrom(request.parameters)
    shapes = [f"{i.name}:{i.tensor.dtype}:{list(i.tensor.shape)}" for i in request.inputs]
    arg_max = _index(request.target) is None
    return rest.SerializeToString(deterministic=True) + f"{sorted(shapes)}{arg_max}".encode()


def _target_per_item(target: Target) -> bool:
    """Whether the target is an element of each item: not a functional, and no contrast."""
    return target.WhichOneof("kind") != "seed" and target.WhichOneof("contrast") is None


def _index(target: Target) -> str | None:
    """Which field holds the elements; None where they are the largest ones."""
    kind = target.WhichOneof("kind")
    return None if kind == "arg_max" else kind


def together(model: Model, requests: Sequence[ExplainRequest], proven: MutableMapping[object, bool]) -> list[Attribution] | None:
    """The explanations of requests with one ``key_of``; None where they must be computed one by one.

    Args:
        model: That of all of them.
        requests: Two or more.
        proven: By kind of request, whether this model's batches were found to give what their items give alone.
    """
    kind, feeds = key_of(requests[0]), [from_named(request.inputs) for request in requests]
    counts = [_items(one) for one in feeds]
    if model.frozen_batch is not None or not model.stackable or 0 in counts or proven.get(kind) is False:
        return None
    try:
        whole = _explained(model, requests, feeds, counts)
    except ExplainsvcError:  # one of them is at fault, and each shall hear its own
        return None
    parts = None if whole is None else list(_parts(whole, counts))
    if parts is not None and kind not in proven:
        alone = [_alone(model, request, one) for request, one in zip(requests, feeds, strict=True)]
        remember(proven, kind, all(map(_agree, parts, alone)))
        return alone
    return parts


def _items(feeds: dict[str, Array]) -> int:
    """The length of axis 0 of all inputs; 0 where they have no common one."""
    lengths = {len(array) if array.ndim else 0 for array in feeds.values()}
    return lengths.pop() if len(lengths) == 1 else 0


def _explained(
    model: Model, requests: Sequence[ExplainRequest], feeds: Sequence[dict[str, Array]], counts: Sequence[int]
) -> Attribution | None:
    """All of them at once; None where the result does not count their items."""
    question = from_fields(requests[0]) | {"target": _target(requests, counts)}
    merged = {name: np.concatenate([one[name] for one in feeds]) for name in feeds[0]}
    whole = model.explain(merged, seed=requests[0].seed, **question)
    per_item = [*whole.values.values(), whole.target.seed, whole.output_value]
    per_item += [array for array in (whole.baseline_value, whole.residual) if array is not None]
    counted = whole.target.index is not None and all(array.ndim and len(array) == sum(counts) for array in per_item)
    return whole if counted else None


def _target(requests: Sequence[ExplainRequest], counts: Sequence[int]) -> Any:
    """The target of each item, one after the other."""
    index: list[Any] = []
    for request, count in zip(requests, counts, strict=True):
        given = from_fields(request)["target"]
        if isinstance(given, dict):
            given = given.get("index")
        if given is not None:
            index += given if isinstance(given, list) else [given] * count
    return {"output": requests[0].target.output or None, "index": index or None}


def _parts(whole: Attribution, counts: Sequence[int]) -> Iterator[Attribution]:
    """The share of each request."""
    told = set(value_caveats(whole.values))
    caveats = tuple(caveat for caveat in whole.caveats if caveat not in told)
    start = 0
    for count in counts:
        items = slice(start, start := start + count)
        values = {name: array[items] for name, array in whole.values.items()}
        yield replace(
            whole,
            values=values,
            target=whole.target.of_items(items),
            output_value=whole.output_value[items],
            baseline_value=None if whole.baseline_value is None else whole.baseline_value[items],
            residual=None if whole.residual is None else whole.residual[items],
            caveats=(*caveats, *value_caveats(values)),
        )


def _alone(model: Model, request: ExplainRequest, feeds: dict[str, Array]) -> Attribution:
    return model.explain(feeds, seed=request.seed, **from_fields(request))


def _agree(part: Attribution, alone: Attribution) -> bool:
    """Whether a share of a batch is what the request got alone."""
    same = part.target.index == alone.target.index and part.caveats == alone.caveats and part.parameters == alone.parameters
    return same and all(_close(part.values[name], array) for name, array in alone.values.items())


def _close(part: Array, alone: Array) -> bool:
    largest = np.max(np.abs(alone[np.isfinite(alone)]), initial=0.0)
    return np.allclose(part, alone, rtol=0.0, atol=TOLERANCE * largest, equal_nan=True)
