"""Random perturbations I of the input: windows that go to a baseline, or normal noise (Yeh et al. 2019, arXiv:1901.09392)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.checks._features import item_shape
from explainsvc.checks._substitutes import Substitute, by_item, substitutes
from explainsvc.errors import MethodNotApplicable
from explainsvc.method import Request
from explainsvc.methods import occlusion
from explainsvc.weights import seed_sequence

SQUARE, GAUSSIAN = "square", "gaussian"
KINDS = (SQUARE, GAUSSIAN)
Window = tuple[slice, ...]
"""Of [item, *item shape]."""


class Settings(Protocol):
    """What draws them."""

    @property
    def window(self) -> Sequence[int]:
        """Size of a square per axis."""

    @property
    def baseline(self) -> Any:
        """What a square becomes."""

    @property
    def noise(self) -> float:
        """Standard deviation relative to the range of the item."""


@dataclass(frozen=True)
class Perturbations:
    """The same draws for all items and methods.

    Attributes:
        others: Explained input → the untouched input and its baseline, both by item.
        places: Per sample the input and the window that goes to the baseline; empty for noise.
        sigma: Explained input → standard deviation of the noise per item, of shape [item, 1, …].
        samples: Their number.
        seed: Of the noise: each sample is drawn when it is needed, the same every time.
    """

    others: Mapping[str, Substitute]
    places: tuple[tuple[str, Window], ...]
    sigma: Mapping[str, Array]
    samples: int
    seed: int

    def of(self, items: slice) -> Perturbations:
        """The same for some of the items."""
        others = {name: other.of(items) for name, other in self.others.items()}
        return replace(self, others=others, sigma={name: sigma[items] for name, sigma in self.sigma.items()})

    def changes(self, k: int) -> Iterator[tuple[str, Window, Array]]:
        """I of sample ``k``: input, window, and I inside it, float64 [item, …]; 0 elsewhere."""
        if self.places:
            name, window = self.places[k]
            yield name, window, self._distance(name, window)
            return
        rng = np.random.default_rng(seed_sequence(self.seed, f"infidelity/noise/{k}"))
        for name, sigma in self.sigma.items():
            yield name, (slice(None),), sigma * rng.standard_normal(self.others[name].x.shape[1:])

    def product(self, k: int, values: Mapping[str, Array]) -> Array:
        """Iᵀφ of sample ``k`` per item."""
        return _total(change * values[name][window] for name, window, change in self.changes(k))

    def contribution(self, k: int, values: Mapping[str, Array]) -> Array:
        """Iᵀ(φ/(x − x′)) of sample ``k`` per item: the sum over a window; for noise, elements at the baseline count as 0."""
        if self.places:
            name, window = self.places[k]
            return _total([values[name][window]])
        return _total(self._shares(name, change) * values[name] for name, _, change in self.changes(k))

    def _shares(self, name: str, change: Array) -> Array:
        """I/(x − x′)."""
        distance = self._distance(name, (slice(None),))
        return np.divide(change, distance, out=np.zeros(change.shape), where=distance != 0)

    def _distance(self, name: str, window: Window) -> Array:
        """x − x′."""
        other = self.others[name].other
        assert other is not None
        return np.asarray(self.others[name].x[window].astype(np.float64) - other[window])

    def variations(self, request: Request) -> Iterator[dict[str, Array]]:
        """The untouched inputs, then x − I for every sample; ``request`` is that of the same items."""
        yield {}
        for k in range(self.samples):
            yield {name: self._moved(request, name, window, change) for name, window, change in self.changes(k)}

    def _moved(self, request: Request, name: str, window: Window, change: Array) -> Array:
        moved = self.others[name].x.copy()
        moved[window] = moved[window] - change
        return moved.reshape(request.feeds[name].shape)


def _total(products: Iterable[Array]) -> Array:
    """Σ per item over all inputs."""
    return np.asarray(np.sum([a.reshape(len(a), -1).sum(axis=1) for a in products], axis=0))


def perturbations(request: Request, kind: str, samples: int, p: Settings) -> Perturbations:
    """Draws them.

    Raises:
        InvalidParameter: The window or the baseline does not fit.
        MethodNotApplicable: An explained input is shared by all items, or noise is asked of integers.
    """
    others = substitutes(p.baseline, request, fixed=True)
    if kind == GAUSSIAN and any(other.x.dtype.kind != "f" for other in others.values()):
        raise MethodNotApplicable("integers have no normal noise", expected="float inputs", to_do="Set perturbation=square")
    shapes = {name: item_shape(request, name) for name in request.wanted}
    places = _places(request, shapes, samples, p) if kind == SQUARE else ()
    sigma = {name: p.noise * _range(by_item(request, name)) for name in request.wanted}
    return Perturbations(others, places, sigma, samples, request.seed)


def _places(request: Request, shapes: Mapping[str, tuple[int, ...]], samples: int, p: Settings) -> tuple[tuple[str, Window], ...]:
    """Inputs in proportion to their size, the corner of the window uniformly."""
    rng = np.random.default_rng(seed_sequence(request.seed, "infidelity/windows"))
    elements = np.array([max(1, int(np.prod(shape))) for shape in shapes.values()], float)
    names = list(shapes)
    chosen = [names[i] for i in rng.choice(len(names), samples, p=elements / elements.sum())]
    sizes = {name: occlusion.sizes(shape, occlusion.Params(window=tuple(p.window)))[0] for name, shape in shapes.items()}
    return tuple((name, _window(shapes[name], sizes[name], rng)) for name in chosen)


def _window(shape: tuple[int, ...], size: tuple[int, ...], rng: np.random.Generator) -> Window:
    starts = [int(rng.integers(0, n - w + 1)) for n, w in zip(shape, size, strict=True)]
    return (slice(None), *(slice(start, start + w) for start, w in zip(starts, size, strict=True)))


def _range(x: Array) -> Array:
    """Largest minus smallest value of each item."""
    axes = tuple(range(1, x.ndim))
    return np.asarray(x.max(axis=axes, keepdims=True).astype(np.float64) - x.min(axis=axes, keepdims=True))
