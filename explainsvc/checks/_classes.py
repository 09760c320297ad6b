"""Other elements of the explained output: another class."""

from __future__ import annotations

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.check import Explained, Subject
from explainsvc.checks import maps
from explainsvc.errors import MethodNotApplicable
from explainsvc.weights import seed_sequence


def _rows(e: Explained, subject: Subject) -> int:
    return len(e.target.seed) if maps.request_of(subject, e).batched else 1


def at_elements(subject: Subject, e: Explained) -> Array:
    """The element of the output that the target picks per item, flat, int [item]: of a combination the one of largest weight."""
    return np.asarray(np.abs(e.target.seed.reshape(_rows(e, subject), -1)).argmax(axis=1))


def other_elements(subject: Subject, e: Explained, chosen: Array) -> Array:
    """Another element per item, uniformly, int [item]: along the last axis, all other positions kept.

    Raises:
        MethodNotApplicable: The output has one element.
    """
    classes = e.target.seed.shape[-1] if e.target.seed.ndim > 1 or len(chosen) == 1 else 1
    elements = e.target.seed.size // len(chosen)
    if classes < 2:
        classes = elements  # classes that end in [N, C, 1, 1]
    if classes < 2:
        raise MethodNotApplicable(
            f'"{e.target.output}" has one element', where="the target", expected="an output of two elements or more"
        )
    rng = np.random.default_rng(seed_sequence(subject.seed, "other class"))
    place = chosen % classes
    return np.asarray(chosen - place + (place + rng.integers(1, classes, len(chosen))) % classes)


def one_hot(e: Explained, chosen: Array) -> Array:
    """The seed that picks one element per item."""
    seed = np.zeros((len(chosen), e.target.seed.size // len(chosen)), e.target.seed.dtype)
    seed[np.arange(len(chosen)), chosen] = 1
    return seed.reshape(e.target.seed.shape)
