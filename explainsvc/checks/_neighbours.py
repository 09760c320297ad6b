"""Neighbours of the inputs: small uniform noise, and pictures moved by pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.check import Explained, Subject
from explainsvc.checks import maps
from explainsvc.errors import MethodNotApplicable
from explainsvc.methods.sobel import spatial_axes
from explainsvc.weights import seed_sequence

RADIUS = "largest change of an element, relative to the range of the input's values"
SHIFTS = range(-14, 14)
"""Pixels: 28 translations (Montavon et al. 2018)."""


def noisy(subject: Subject, e: Explained, radius: float, samples: int) -> Iterator[dict[str, Array]]:
    """x̃ = x + u, u uniform in [−r, r] per element: the same draws for all methods that explain the same inputs.

    Raises:
        MethodNotApplicable: An explained input holds integers.
    """
    require_floats(subject, e)
    sizes = {name: radius * float(np.ptp(subject.feeds[name].astype(np.float64))) for name in e.wanted}
    for k in range(samples):
        rng = np.random.default_rng(seed_sequence(subject.seed, f"neighbours/{k}"))
        yield {**subject.feeds, **{name: _moved(subject.feeds[name], size, rng) for name, size in sizes.items()}}


def _moved(x: Array, size: float, rng: np.random.Generator) -> Array:
    return np.asarray((x + size * rng.uniform(-1, 1, x.shape)).astype(x.dtype))


def require_floats(subject: Subject, e: Explained) -> None:
    """Raise MethodNotApplicable for an explained input of integers: rounded noise is no small change of a token."""
    for name in e.wanted:
        if subject.feeds[name].dtype.kind != "f":
            raise MethodNotApplicable("has no small changes", where=f'input "{name}"', expected="an input of float numbers")


def translated(subject: Subject, e: Explained) -> Iterator[tuple[int, dict[str, Array]]]:
    """All pictures moved along their last spatial axis by −14 … 13 pixels, their edge repeated.

    Raises:
        MethodNotApplicable: An explained input is no picture.
    """
    request = maps.request_of(subject, e)
    axes = {name: _columns(name, request.item_shape(name)) + int(request.has_items(name)) for name in e.wanted}
    for pixels in SHIFTS:
        moved = {name: _shifted(subject.feeds[name], axis, pixels) for name, axis in axes.items()}
        yield pixels, {**subject.feeds, **moved}


def _columns(name: str, item: tuple[int, ...]) -> int:
    axes = spatial_axes(item)
    if axes is None:
        raise MethodNotApplicable(
            f"has items of shape {list(item)}", where=f'input "{name}"', expected="pictures, to be translated",
            to_do="Leave translations out",
        )  # fmt: skip
    return axes[1]


def _shifted(x: Array, axis: int, pixels: int) -> Array:
    places = np.clip(np.arange(x.shape[axis]) - pixels, 0, x.shape[axis] - 1)
    return np.take(x, places, axis)


def flat_inputs(e: Explained, feeds: dict[str, Array], items: int) -> Array:
    """The explained inputs as [item, element], float64; one that all items share is repeated."""
    rows = [feeds[name].astype(np.float64).reshape(items if len(feeds[name]) == items else 1, -1) for name in e.wanted]
    return np.concatenate([np.broadcast_to(row, (items, row.shape[1])) for row in rows], axis=1)
