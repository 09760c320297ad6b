"""How far a changed model's output is from the untouched model's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.checks.similarity import correlation


def hits(output: Array, batched: bool, labels: Array) -> Array | None:
    """1.0 where an item's largest element is the label's, else 0.0, [item]; None for an output of one number."""
    rows = output.reshape(len(output) if batched else 1, -1)
    return (rows.argmax(axis=1) == labels).astype(np.float64) if rows.shape[1] > 1 else None


def output_changes(before: Array, after: Array, batched: bool, labels: Array | None) -> Iterator[tuple[str, Array, str]]:
    """Name, one number per item, and a remark.

    Args:
        before: The untouched model's output.
        after: The changed model's.
        batched: Whether axis 0 counts items.
        labels: True classes, [item], or None.

    Returns:
        ``argmax_agreement`` (1 where the largest element is the same), ``accuracy`` where labels are given, and
        ``output_correlation`` (Pearson over the elements of an item; over the items where an output is one number).
    """
    a, b = (v.reshape(len(v) if batched else 1, -1) for v in (before, after))
    if a.shape[1] == 1:
        yield "output_correlation", correlation(a.T, b.T), "over the items: the output is one number"
        return
    yield "argmax_agreement", (a.argmax(axis=1) == b.argmax(axis=1)).astype(np.float64), ""
    right = None if labels is None else hits(after, batched, labels)
    if right is not None:
        yield "accuracy", right, ""
    yield "output_correlation", correlation(a, b), ""
