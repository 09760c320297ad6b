"""The game of features: what the target is worth when only some of them are present."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.baselines import baselines
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.features import Partition
from explainsvc.method import Request
from explainsvc.variations import per_variation, split_array, target_values


@dataclass(frozen=True)
class Game:
    """v(T) = mean over the rows of background data of S(x with every feature outside T taken from the row).

    Attributes:
        request: What is explained.
        features: The players.
        rows: Background data; each row gives every explained input, in that input's shape.
        batch_size: Items per onnxruntime run.
    """

    request: Request
    features: Partition
    rows: Sequence[Mapping[str, Array]]
    batch_size: int

    def values(self, coalitions: Iterator[Array]) -> Iterator[Array]:
        """v of every coalition (bool [M]), in order: float64 [items]. Coalitions are drawn as they are needed."""
        count, feeds = len(self.rows), self.request.feeds

        def mixtures() -> Iterator[dict[str, Array]]:
            for present in coalitions:
                for row in self.rows:
                    yield self.features.mixed(feeds, row, present)

        scores = per_variation(self.request, mixtures(), target_values, split_array, self.batch_size)
        while len(group := list(islice(scores, count))) == count:
            yield group[0] if count == 1 else np.mean(group, axis=0)  # a mean of one costs more than a small model's forward

    @property
    def nobody(self) -> Array:
        """The coalition of no feature."""
        return np.zeros(self.features.count, bool)

    @property
    def everybody(self) -> Array:
        """The coalition of all features."""
        return np.ones(self.features.count, bool)


def background_rows(background: Any, baseline: Any, request: Request) -> list[dict[str, Array]]:
    """The rows of background data that stand for absent features.

    Args:
        background: None: the one row that ``baseline`` gives. Else an array [rows, *item shape] (one explained input), or
            {input: such an array}, all with the same number of rows. Every item is held against every row.
        baseline: See :func:`explainsvc.baselines.baselines`.
        request: Its ``feeds`` and ``wanted``.

    Raises:
        InvalidParameter: Wrong names or shapes, or different numbers of rows.
    """
    if background is None:
        return [baselines(baseline, request.feeds, request.wanted)]
    data = background_data(background, request)
    count = len(next(iter(data.values())))
    return [{n: np.array(np.broadcast_to(rows[k], request.feeds[n].shape)) for n, rows in data.items()} for k in range(count)]


def background_data(background: Any, request: Request) -> dict[str, Array]:
    """Background data as one array [rows, *item shape] per explained input, in that input's type.

    Raises:
        InvalidParameter: None given, wrong names or shapes, or different numbers of rows.
    """
    if background is None:
        raise _bad("is missing: the method needs data like those the model was made for")
    given = background if isinstance(background, Mapping) else {request.wanted[0]: background}
    if set(given) != set(request.wanted):
        raise _bad(f"is for {sorted(given)}, expected rows for every explained input: {', '.join(request.wanted)}")
    arrays = {n: _rows(np.asarray(rows), request, n).astype(request.feeds[n].dtype, copy=False) for n, rows in given.items()}
    counts = {name: len(rows) for name, rows in arrays.items()}
    if len(set(counts.values())) != 1:
        raise _bad(f"has different numbers of rows: {counts}")
    return arrays


def _rows(rows: Array, request: Request, name: str) -> Array:
    item = request.item_shape(name)
    if rows.shape == item:
        rows = rows[None]
    if rows.shape[1:] != item or len(rows) == 0:
        raise _bad(f'for "{name}" has shape {list(rows.shape)}, expected [rows, {", ".join(str(n) for n in item)}]')
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise _bad(f'for "{name}" has values that are not finite')
    return rows


def _bad(description: str) -> InvalidParameter:
    return InvalidParameter("the background data are not valid", violations=[Violation("parameters.background", description)])
