"""What is explained: S = ⟨seed, value⟩ per item, a linear functional of one output (or of any named value)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.errors import TargetOutOfRange

Target = int | Sequence[int] | Mapping[str, Any] | None
"""See ``surface.md``: an int, one int per item, {"output", "index" | "seed" | "against"}, or None for the arg-max."""


@dataclass(frozen=True)
class ResolvedTarget:
    """The target in force.

    Attributes:
        output: Name of the value that is explained.
        seed: Weights of its elements, float, same shape: S = Σ seed ⊙ value, per item.
        index: Per item the index (without the batch axis) that the seed picks; None for a general seed.
        description: In words.
    """

    output: str
    seed: Array
    index: tuple[tuple[int, ...], ...] | None
    description: str

    def of_items(self, items: slice) -> ResolvedTarget:
        """The target of some of the items, where each picks an element."""
        assert self.index is not None, "a general seed is of no item"
        index = self.index[items]
        return ResolvedTarget(self.output, self.seed[items], index, f"{self.output}[{_words(index)}]")

    def value(self, output: Array, batched: bool) -> Array:
        """S, float64: one number per item, shape [batch] ([1] where the model has no batch axis).

        Elements that the seed does not pick do not count, not even infinite ones (masked logits), for 0·∞ is NaN.
        """
        product = np.zeros(self.seed.shape)
        np.multiply(self.seed, output, out=product, where=self.seed != 0, dtype=np.float64)
        return np.asarray(product.reshape(len(product), -1).sum(axis=1) if batched else product.sum().reshape(1))


def is_explicit(target: Target) -> bool:
    """Whether a target can be read without the explained value's numbers: all but the arg-max can."""
    return target.get("index", target.get("seed")) is not None if isinstance(target, Mapping) else target is not None


def is_largest(target: Target) -> bool:
    """Whether the arg-max is explained, alone."""
    return target is None or (isinstance(target, Mapping) and all(target.get(k) is None for k in ("index", "seed", "against")))


def largest_of(output: str) -> ResolvedTarget:
    """The arg-max of an output that is not known yet."""
    return ResolvedTarget(output, np.zeros(1), None, f"arg-max of {output}")


def resolve_target(target: Target, default_output: str, value_of: Callable[[str], Array], batched: bool) -> ResolvedTarget:
    """Reads a target against the value it names.

    Args:
        target: As the user gave it.
        default_output: Used where the target names none.
        value_of: Name → array for this request's inputs; raises TargetOutOfRange for unknown names.
        batched: Whether axis 0 of the value counts items.

    Raises:
        TargetOutOfRange: Unknown output, index outside, wrong number of indices, seed of another shape.
    """
    spec = dict(target) if isinstance(target, Mapping) else {"index": target}
    unknown = set(spec) - {"output", "index", "against", "seed"}
    if unknown:
        raise _bad(f"a target has no field {sorted(unknown)}", "output, index, against, seed")
    output = str(spec.get("output") or default_output)
    value = value_of(output)
    batched = batched and value.ndim > 0
    if value.dtype.kind != "f":
        raise _bad(f'output "{output}" holds {value.dtype}', "a float output", output)
    if spec.get("seed") is not None:
        return _seeded(output, value, spec["seed"])
    plus = _indices(spec.get("index"), output, value, batched)
    seed = _one_hot(value, plus, batched)
    if spec.get("against") is None:
        return ResolvedTarget(output, seed, plus, f"{output}[{_words(plus)}]")
    minus = _indices(spec["against"], output, value, batched)
    difference = seed - _one_hot(value, minus, batched)
    return ResolvedTarget(output, difference, None, f"{output}[{_words(plus)}] − {output}[{_words(minus)}]")


def _seeded(output: str, value: Array, given: Any) -> ResolvedTarget:
    try:
        seed = np.asarray(given)
    except ValueError as error:  # rows of different lengths
        raise _bad("the seed is not an array", f"numbers of shape {list(value.shape)}", output) from error
    if seed.shape != value.shape or seed.dtype.kind not in "fiu":
        raise _bad(f"the seed is {seed.dtype}{list(seed.shape)}", f"numbers of shape {list(value.shape)}", output)
    if not np.isfinite(seed).all():
        raise _bad("the seed holds NaN or infinity", "finite numbers", output)
    return ResolvedTarget(output, seed.astype(_seed_type(value)), None, f"⟨seed, {output}⟩")


def _seed_type(value: Array) -> Any:
    return np.float32 if value.dtype == np.float16 else value.dtype


def _indices(index: Any, output: str, value: Array, batched: bool) -> tuple[tuple[int, ...], ...]:
    """One full index (without batch axis) per item."""
    shape = value.shape[1:] if batched else value.shape
    items = len(value) if batched else 1
    if index is None:
        flat = value.reshape(items, -1).argmax(axis=1)
        return tuple(tuple(int(i) for i in np.unravel_index(f, shape)) if shape else () for f in flat)
    per_item = _per_item(index, items, output)
    return tuple(_inside(i, shape, output) for i in per_item)


def _per_item(index: Any, items: int, output: str) -> list[tuple[int, ...]]:
    if isinstance(index, np.ndarray):
        index = index.tolist()
    if isinstance(index, tuple):
        return [_integers(index, output)] * items
    if isinstance(index, list):
        if len(index) != items:
            raise _bad(f"{len(index)} target indices for {items} items", "one index per item, or one for all", output)
        return [_integers(i if isinstance(i, (tuple, list)) else (i,), output) for i in index]
    return [_integers((index,), output)] * items


def _integers(index: Sequence[Any], output: str) -> tuple[int, ...]:
    try:
        return tuple(int(i) if isinstance(i, float) and i == int(i) else operator.index(i) for i in index)
    except (TypeError, ValueError, OverflowError) as error:
        raise _bad(f"{index!r} is not an index", "integers", output) from error


def _inside(index: tuple[int, ...], shape: tuple[int, ...], output: str) -> tuple[int, ...]:
    """A full index: an int picks along the last axis where all axes before it have length 1."""
    if not shape and index in ((0,), ()):
        return ()
    if len(index) == 1 and len(shape) > 1:
        index = _single(index[0], shape, output)
    if len(index) != len(shape):
        raise _bad(
            f"index {index} has {len(index)} positions",
            f"{len(shape)} (shape {list(shape)} without the batch axis)",
            output,
        )
    for i, n in zip(index, shape, strict=True):
        if not -n <= i < n:
            raise _bad(f"index {index} is out of range", f"indices below {list(shape)}", output)
    return tuple(i % n for i, n in zip(index, shape, strict=True))


def _single(index: int, shape: tuple[int, ...], output: str) -> tuple[int, ...]:
    """An int for an output of several axes: the only axis longer than 1 (classifiers that end in [N, C, 1, 1])."""
    long = [axis for axis, n in enumerate(shape) if n > 1] or [len(shape) - 1]
    if len(long) > 1:
        raise _bad(f"one integer does not pick an element of shape {list(shape)}", f"a tuple of {len(shape)} integers", output)
    return tuple(index if axis == long[0] else 0 for axis in range(len(shape)))


def _one_hot(value: Array, indices: tuple[tuple[int, ...], ...], batched: bool) -> Array:
    seed = np.zeros(value.shape, _seed_type(value))
    for item, index in enumerate(indices):
        seed[(item, *index) if batched else index] = 1
    return seed


def _words(indices: tuple[tuple[int, ...], ...]) -> str:
    shown = [",".join(map(str, i)) for i in dict.fromkeys(indices)]
    return " | ".join(shown[:4]) + (" …" if len(shown) > 4 else "")


def _bad(what: str, expected: str, output: str = "") -> TargetOutOfRange:
    return TargetOutOfRange(what, where=f'target, output "{output}"' if output else "target", expected=expected,
                            to_do="`explainsvc inspect` lists outputs and shapes")  # fmt: skip
