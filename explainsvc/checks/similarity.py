"""Similarities of two batches of maps: one number per item, NaN with a reason where it does not exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.checks import pictures
from explainsvc.checks.ranking import CHUNK_ELEMENTS, ranks
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.methods.sobel import spatial_axes


@dataclass(frozen=True)
class Scene:
    """What a similarity knows beside the numbers.

    Attributes:
        item: Shape of one item's map; () where maps of several inputs lie side by side.
        top: Share of the elements that ``topk_intersection`` looks at.
    """

    item: tuple[int, ...] = ()
    top: float = 0.1

    @property
    def axes(self) -> tuple[int, int] | None:
        """Height and width among the axes of an item; None where the maps are no pictures."""
        return spatial_axes(self.item)


Sides = Callable[[Array, Scene], Any]
"""[item, element] → what is compared."""


@dataclass(frozen=True)
class Similarity:
    """Both maps are brought into the form that is compared, the untouched model's only once; then compared.

    Attributes:
        of: ``(maps, scene) -> sides``.
        between: ``(sides, sides) -> float64 [item]``.
        least: Shortest side of a picture that has it; 0: it needs no picture.
    """

    of: Sides
    between: Callable[[Any, Any], Array]
    least: int = 0

    def __call__(self, a: Array, b: Array, scene: Scene | None = None) -> Array:
        """Of two batches of maps [item, element]; NaN where either is constant or not finite."""
        known = scene or Scene()
        return np.asarray(np.where(degenerate(a) | degenerate(b), np.nan, self.between(self.of(a, known), self.of(b, known))))

    def exists(self, scene: Scene) -> bool:
        """Whether maps of this shape have it at all."""
        return self.least == 0 or (scene.axes is not None and min(scene.item[axis] for axis in scene.axes) >= self.least)


def degenerate(maps: Array) -> Array:
    """Items whose map is constant, or not finite: nothing to compare."""
    with np.errstate(invalid="ignore"):
        return np.asarray(~(np.ptp(maps, axis=1) > 0) | ~np.isfinite(maps).all(axis=1))


# Correlations -----------------------------------------------------------------------------------------------------


def correlation(a: Array, b: Array) -> Array:
    """Pearson's correlation per item; NaN where either is constant or not finite."""
    rows = max(1, CHUNK_ELEMENTS // max(1, a.shape[1]))
    parts = [_correlation(a[i : i + rows], b[i : i + rows]) for i in range(0, len(a), rows)]
    return np.concatenate(parts) if parts else np.empty(0)


def _correlation(a: Array, b: Array) -> Array:
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        # asked of the values themselves: the mean of equal floats may differ from them in the last digit
        exists = (np.ptp(a, axis=1) > 0) & (np.ptp(b, axis=1) > 0)
        x -= x.mean(axis=1, keepdims=True)
        y -= y.mean(axis=1, keepdims=True)
        if not a.dtype == b.dtype == np.float32:
            # a scalar product of each would overflow where maps reach 1e155; their own scale does not change the quotient
            x, y = _by_largest(x), _by_largest(y)
        scale = np.sqrt(np.einsum("ij,ij->i", x, x) * np.einsum("ij,ij->i", y, y))
        products = np.einsum("ij,ij->i", x, y)
    return np.asarray(np.divide(products, scale, out=np.full(len(x), np.nan), where=exists & (scale > 0)))


def _by_largest(maps: Array) -> Array:
    """Each item divided by its largest magnitude; an item of zeros stays."""
    largest = np.abs(maps).max(axis=1, initial=0, keepdims=True)
    return np.asarray(maps / np.where(largest > 0, largest, 1))


def spearman(a: Array, b: Array) -> Array:
    """Rank correlation per item, ties at their mean rank; NaN where a map is constant or not finite."""
    return SIMILARITIES["spearman"](a, b)


def spearman_abs(a: Array, b: Array) -> Array:
    """Rank correlation of the magnitudes."""
    return SIMILARITIES["spearman_abs"](a, b)


RANKED = {"spearman_abs": spearman_abs, "spearman": spearman}
"""What maps of any shape have."""


# Others -----------------------------------------------------------------------------------------------------------


def _signs(maps: Array, _scene: Scene) -> Array:
    return np.asarray(np.sign(np.nan_to_num(maps)).astype(np.int8))


def _sign_agreement(a: Array, b: Array) -> Array:
    """Of the elements that are not zero in both maps, the share whose sign is the same; of unrelated maps one half."""
    counted = ((a != 0) | (b != 0)).sum(axis=1)
    same = ((a == b) & (a != 0)).sum(axis=1)
    return np.asarray(np.divide(same, counted, out=np.full(len(a), np.nan), where=counted > 0))


def _top(maps: Array, scene: Scene) -> Array:
    """Membership of the k elements of largest magnitude; those tied at the k-th place share what is left equally."""
    size = np.abs(np.nan_to_num(maps))
    k = max(1, round(scene.top * maps.shape[1]))
    limit = np.partition(size, -k, axis=1)[:, -k, None]
    above, tied = size > limit, size == limit
    rest = (k - above.sum(axis=1, keepdims=True)) / tied.sum(axis=1, keepdims=True)
    return np.asarray(np.where(above, 1, np.where(tied, rest, 0)), np.float32)


def _overlap(a: Array, b: Array) -> Array:
    """Of unrelated maps the share k/n."""
    return np.asarray(np.minimum(a, b).sum(axis=1, dtype=np.float64) / a.sum(axis=1, dtype=np.float64))


def _pictures(maps: Array, scene: Scene) -> Array:
    """|map| as [item, channel, height, width], its largest element 1."""
    assert scene.axes is not None
    size = np.abs(np.nan_to_num(maps)).reshape(len(maps), *scene.item)
    rest = [axis + 1 for axis in range(len(scene.item)) if axis not in scene.axes]
    rows, columns = (axis + 1 for axis in scene.axes)
    planes = size.transpose(0, *rest, rows, columns).reshape(len(maps), -1, size.shape[rows], size.shape[columns])
    largest = planes.max(axis=(1, 2, 3), initial=0, keepdims=True)
    return np.asarray(planes / np.where(largest > 0, largest, 1))


def _windows(maps: Array, scene: Scene) -> pictures.Windows:
    return pictures.windows(_pictures(maps, scene))


def _oriented(maps: Array, scene: Scene) -> Array:
    return ranks(pictures.hog(_pictures(maps, scene)))


SIMILARITIES: dict[str, Similarity] = {
    "spearman_abs": Similarity(lambda maps, _: ranks(np.abs(maps)), correlation),
    "spearman": Similarity(lambda maps, _: ranks(maps), correlation),
    "pearson": Similarity(lambda maps, _: maps, correlation),
    "ssim": Similarity(_windows, pictures.ssim, pictures.WINDOW),
    "hog": Similarity(_oriented, correlation, pictures.LEAST),
    "sign_agreement": Similarity(_signs, _sign_agreement),
    "topk_intersection": Similarity(_top, _overlap),
}
JUDGED = ("spearman_abs", "spearman")
"""A verdict is by these: of unrelated maps they are zero, so that one half means the same for every model and map."""
ALL = "all"


def chosen(names: str, scene: Scene, field: str = "parameters.similarities") -> Mapping[str, Similarity]:
    """The similarities under names separated by commas; "all" are those that maps of this shape have.

    Raises:
        InvalidParameter: No similarity has this name.
    """
    if names == ALL:
        return {name: s for name, s in SIMILARITIES.items() if s.exists(scene)}
    asked = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in asked if name not in SIMILARITIES]
    if unknown or not asked:
        wrong = f"is {', '.join(unknown)!r}" if unknown else "is empty"
        words = f'{wrong}, expected "{ALL}" or some of {", ".join(SIMILARITIES)}, separated by commas'
        raise InvalidParameter("there is no such similarity", violations=[Violation(field, words)])
    return {name: SIMILARITIES[name] for name in dict.fromkeys(asked)}


@dataclass(frozen=True)
class Reference:
    """The untouched model's maps, ready to be compared with many others."""

    maps: Array
    scene: Scene
    sides: Mapping[str, Any]
    lost: Array

    @classmethod
    def of(cls, maps: Array, scene: Scene, names: str) -> Reference:
        """Maps [item, element] under the similarities that are asked for; see :func:`chosen`."""
        found = chosen(names, scene)
        sides = {name: s.of(maps, scene) if s.exists(scene) else None for name, s in found.items()}
        return cls(maps, scene, sides, degenerate(maps))

    def against(self, maps: Array) -> Iterator[tuple[str, Array, str]]:
        """Name, one number per item, and why some have none, for every similarity."""
        lost = self.lost | degenerate(maps)
        for name, side in self.sides.items():
            similarity = SIMILARITIES[name]
            if side is None:
                least = similarity.least
                yield name, np.full(len(maps), np.nan), f"the maps are no pictures of at least {least} × {least}"
                continue
            values = np.where(lost, np.nan, similarity.between(side, similarity.of(maps, self.scene)))
            yield name, values, missing(values, self.maps, maps)


def missing(values: Array, a: Array, b: Array) -> str:
    """In words, how many items have no similarity and why; "" where all have."""
    lost = np.isnan(values)
    if not lost.any():
        return ""
    broken = lost & ~(np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1))
    reasons = {"a constant map": int(lost.sum() - broken.sum()), "NaN or infinity in a map": int(broken.sum())}
    words = [f"{count} of {len(values)} inputs left out: {reason}" for reason, count in reasons.items() if count]
    return "; ".join(words)
