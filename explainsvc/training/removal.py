"""What ROAR removes: estimators of importance, the ranks that they give, and inputs with the top or the bottom replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.checks import maps
from explainsvc.checks._features import Features
from explainsvc.checks._flipping import ranks
from explainsvc.errors import InvalidParameter, MethodNotApplicable, Violation
from explainsvc.method import Method
from explainsvc.methods import find_method
from explainsvc.methods.sobel import spatial_axes
from explainsvc.model import Model
from explainsvc.weights import seed_sequence

REMOVE, KEEP = "roar", "kar"
"""Replace the most important first, or the least important."""
ORDERS, UNITS = (REMOVE, KEEP), ("scalars", "pixels")
RAW = "raw"


@dataclass(frozen=True)
class Estimator:
    """An explanation as an estimate of importance: its signed values, largest first, or their squares."""

    method: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    squared: bool = False

    @property
    def name(self) -> str:
        """As rows and verdicts have it: ``smoothgrad(gradient)²``."""
        raw = f"{self.method}({self.parameters['base']})" if "base" in self.parameters else self.method
        return f"{raw}²" if self.squared else raw


@dataclass(frozen=True)
class Removal:
    """One way to modify a set: which estimator's ranks (by its number), from which end, and which share of the features."""

    estimator: int
    order: str
    share: float

    @property
    def key(self) -> str:
        """As file names have it."""
        return f"{self.estimator}-{self.order}-{self.share:g}"


def estimators(
    bases: Sequence[str], ensembles: Sequence[str] = (RAW, "smoothgrad", "smoothgrad_squared", "vargrad"),
    squared: Sequence[bool] = (False, True), **parameters: Any,
) -> tuple[Estimator, ...]:  # fmt: skip
    """Every base by itself (raw) and in every ensemble, as it is and squared: Hooker et al. 2019, section 3.1 and 4.

    Args:
        bases: Methods, such as gradient, guided_backprop, integrated_gradients.
        ensembles: ``raw`` or methods that take a ``base``.
        squared: False for signed values, True for their squares.
        parameters: Of the ensembles, such as ``samples``.
    """
    found = []
    for base, ensemble, square in product(bases, ensembles, squared):
        raw = ensemble == RAW
        found.append(Estimator(base, squared=square) if raw else Estimator(ensemble, {"base": base, **parameters}, square))
    return tuple(found)


def features_of(name: str, item: tuple[int, ...], unit: str) -> Features:
    """What is replaced together: single scalars of the flattened input (the paper), or pixels with all their channels.

    Raises:
        InvalidParameter: Pixels of what is no picture.
    """
    if unit == "scalars":
        return Features({name: np.arange(int(np.prod(item)))}, int(np.prod(item)))
    axes = spatial_axes(item)
    if axes is None:
        words = f'are asked for, but items of "{name}" are {list(item)}'
        raise InvalidParameter("only pictures have pixels", violations=[Violation("design.unit", words)])
    shape = [size if axis in axes else 1 for axis, size in enumerate(item)]
    count = int(np.prod(shape))
    return Features({name: np.broadcast_to(np.arange(count).reshape(shape), item).reshape(-1).copy()}, count)


def ranks_of(model: Model, estimator: Estimator, inputs: Mapping[str, Array], features: Features, seed: int) -> Array:
    """The place of every feature by importance, 0 the most important; ties in a seeded random order: int32 [item, feature].

    The explained target is the predicted class. A pixel's estimate is the sum over its channels.

    Raises:
        MethodNotApplicable: The map of an item holds NaN or infinity: nothing can be ranked.
        ExplainsvcError: As :meth:`Model.explain`.
    """
    (name,) = features.numbers
    values = _maps(model, estimator, inputs, name, seed).astype(np.float64)
    broken = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if broken.any():
        raise MethodNotApplicable(f"{broken.sum()} of {len(values)} maps hold NaN or infinity", where=f"method {estimator.name}")
    scores = features.sums({name: values**2 if estimator.squared else values})
    rng = np.random.default_rng(seed_sequence(seed, "removal/ties"))
    shuffled = rng.permuted(np.broadcast_to(np.arange(features.count, dtype=np.int32), scores.shape), axis=1)
    return ranks(scores, shuffled)


def _maps(model: Model, estimator: Estimator, inputs: Mapping[str, Array], name: str, seed: int) -> Array:
    """Of all items, in groups where items do not depend on one another; controls' numbers must not repeat by group."""
    method: Method = find_method(estimator.method)
    whole = method.family == "control" or method.whole_batch
    groups = [slice(None)] if whole else maps.groups(model, inputs)
    parts = [
        model.explain(
            {n: a[g] for n, a in inputs.items()}, estimator.method, inputs=[name], seed=seed, **estimator.parameters
        ).values[name]
        for g in groups
    ]
    return np.concatenate(parts)


def channel_means(x: Array) -> Array:
    """The mean of every channel over a set and its pixels, shaped to broadcast; of every feature, where x holds no pictures.

    Hooker et al. 2019, section 3: the value that stands for no information.
    """
    axes = spatial_axes(x.shape[1:])
    over = (0,) if axes is None else (0, *(axis + 1 for axis in axes))
    return np.asarray(x.mean(axis=over, keepdims=True, dtype=np.float64), x.dtype)


def replaced(x: Array, places: Array, numbers: Array, removal: Removal, means: Array) -> Array:
    """The inputs with a share of their features at the channel's mean.

    Args:
        x: [item, …].
        places: Of every feature, as :func:`ranks_of` gives them.
        numbers: The feature of every element of an item, [element].
        removal: From which end, and how many.
        means: As :func:`channel_means` gives them, of the training set.
    """
    features = places.shape[1]
    count = round(removal.share * features)
    gone = places < count if removal.order == REMOVE else places >= features - count
    return np.asarray(np.where(gone[:, numbers].reshape(x.shape), means, x))
