"""What a faithfulness check changes together: single elements, pixels with all their channels, or patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.errors import MethodNotApplicable
from explainsvc.method import Request
from explainsvc.methods import occlusion

WINDOW = (
    "size per axis of what is changed together; one integer: patches of all channels; 1 per axis: single elements; "
    "empty: pixels of images, single elements else"
)


@dataclass(frozen=True)
class Features:
    """Which feature every element of an item belongs to, the same for all items.

    Attributes:
        numbers: Explained input → feature of each element, int64 [element]; numbered over all inputs.
        count: Number of features, M.
    """

    numbers: dict[str, Array]
    count: int

    def sums(self, values: Mapping[str, Array]) -> Array:
        """Σ of an explanation over the elements of each feature, float64 [item, feature]."""
        numbers = np.concatenate(list(self.numbers.values()))
        flat = np.concatenate([values[n].reshape(-1, len(k)).astype(np.float64) for n, k in self.numbers.items()], axis=1)
        places = numbers + self.count * np.arange(len(flat))[:, None]
        return np.bincount(places.ravel(), flat.ravel(), len(flat) * self.count).reshape(len(flat), self.count)

    def spread(self, per_feature: Array) -> dict[str, Array]:
        """Values [item, feature] for every element: explained input → [item, element]."""
        return {name: per_feature[:, numbers] for name, numbers in self.numbers.items()}


def features_of(request: Request, window: Sequence[int]) -> Features:
    """The features of the explained inputs: the cells of a grid, cut at the far border.

    Args:
        request: Its explained inputs.
        window: See WINDOW; channels are the axis that occlusion takes for them.

    Raises:
        InvalidParameter: The window does not fit an input.
        MethodNotApplicable: An explained input is shared by all items.
    """
    numbers, count = {}, 0
    for name in request.wanted:
        shape = item_shape(request, name)
        numbers[name] = _cells(shape, occlusion.sizes(shape, occlusion.Params(window=tuple(window) or (1,)))[0]) + count
        count += int(numbers[name].max(initial=count - 1)) + 1 - count
    return Features(numbers, count)


def require_items(request: Request) -> None:
    """A check tells items apart: each explained input has one entry per item.

    Raises:
        MethodNotApplicable: An explained input is shared by all items.
    """
    for name in request.wanted:
        item_shape(request, name)


def by_item_count(request: Request) -> int:
    """Items of a request; 1 where the model has no batch axis."""
    return len(request.target.seed) if request.batched else 1


def _cells(shape: tuple[int, ...], window: tuple[int, ...]) -> Array:
    """The number of every element's cell, in the order of the cells."""
    cells = tuple(-(-n // w) for n, w in zip(shape, window, strict=True))
    places = [np.arange(n) // w for n, w in zip(shape, window, strict=True)]
    grid = np.ravel_multi_index(np.meshgrid(*places, indexing="ij"), cells) if shape else np.zeros(1)
    return np.asarray(grid, np.int64).reshape(-1)


def item_shape(request: Request, name: str) -> tuple[int, ...]:
    """The shape of one item of an explained input.

    Raises:
        MethodNotApplicable: The input is shared by all items.
    """
    if request.batched and not request.has_items(name):
        raise MethodNotApplicable(
            f'input "{name}" is shared by all items',
            where="the explained inputs",
            expected="an input with one entry per item along axis 0",
            to_do="Make it a constant of the model (an initializer), or export it with an axis of items",
        )
    return request.item_shape(name)
