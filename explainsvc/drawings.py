"""Which pictures an explanation becomes: one for each item and input, the columns of an item's tables together in one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from explainsvc.arguments import UsageError
from explainsvc.attribution import Attribution
from explainsvc.images import Layout
from explainsvc.inputs import widened
from explainsvc.report import render
from explainsvc.report.colors import Mode
from explainsvc.report.kinds import Kind, kind_of

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Given:
    """What ``--inputs`` holds: the tensors, and per input and item the picture to draw beneath the map."""

    feeds: Mapping[str, Array]
    pictures: Mapping[str, Sequence[Array]]
    layout: Layout | None = None


@dataclass(frozen=True)
class Wishes:
    """What the options say about pictures.

    The kind, the text of every token (item after item), the columns' names; the colours and where the strongest one stands;
    ``bare``: without the input.
    """

    kind: Kind | None = None
    tokens: Sequence[str] | None = None
    names: Sequence[str] | None = None
    mode: Mode | None = None
    percentile: float | None = None
    bare: bool = False


@dataclass(frozen=True)
class Drawing:
    """One picture: its input and item ("all" where the input is shared by the items), what it shows, and how."""

    input: str
    item: int | str
    kind: Kind
    maps: Mapping[str, Array]
    x: Array | None
    title: str
    layout: Layout | None = None
    tokens: Sequence[str] | None = None
    names: Sequence[str] | None = None
    mode: Mode | None = None
    percentile: float | None = None

    @property
    def label(self) -> str:
        """What tells its file from those of the other pictures."""
        return f"{self.input}-{self.item}" if self.input else str(self.item)

    def png(self) -> bytes:
        """The picture."""
        return render.attributions_png(
            self.maps, kind=self.kind, x=self.x, layout=self.layout, tokens=self.tokens, names=self.names, title=self.title,
            mode=self.mode, percentile=self.percentile,
        )  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """One question's attributions by one or several methods, and what they were computed from."""

    attributions: Sequence[Attribution]
    given: Given
    wishes: Wishes = field(default_factory=Wishes)

    def drawings(self) -> list[Drawing]:
        """The pictures.

        Raises:
            UsageError: Token strings or names that no picture takes, or that do not fit the number of items.
            InvalidInput: Values with more axes than can be drawn.
        """
        found = [drawing for name in self.attributions[0].values for drawing in self._of(name)]
        for option, given, kind in (("--tokens", self.wishes.tokens, "tokens"), ("--names", self.wishes.names, "bars")):
            if given is not None and all(drawing.kind != kind for drawing in found):
                raise UsageError(f"{option}: nothing here is drawn as {kind}; --render {kind} draws it so")
        wishes = self.wishes
        coloured = [replace(one, mode=wishes.mode, percentile=wishes.percentile) for one in self._with_tables(found)]
        return [replace(one, x=None) for one in coloured] if wishes.bare else coloured

    @property
    def count(self) -> int:
        """Number of items."""
        return len(self.attributions[0].output_value)

    def _of(self, name: str) -> Iterator[Drawing]:
        """The pictures of one input, or of a value inside the model."""
        values = [self._items(one.values[name]) for one in self.attributions]
        shared = len(values[0]) != self.count
        own = self._items(widened(self.given.feeds[name])) if name in self.given.feeds else None
        for index, first in enumerate(values[0]):
            words = self._words(index, first.shape)
            x = self._ids(index, first.shape) if own is None else own[index]
            tokens = words is not None or (own is None and x is not None)
            named = self.wishes.names is not None
            kind = self.wishes.kind or kind_of(first.shape, "f" if x is None else x.dtype.kind, tokens, named)
            yield Drawing(
                name,
                "all" if shared and self.count > 1 else index,
                kind,
                {self._called(one): each[index] for one, each in zip(self.attributions, values, strict=True)},
                self._beneath(name, index, kind, x, own is not None, shared),
                self._title(index, shared),
                self.given.layout if kind in ("series", "volume") or first.ndim == 3 else None,
                words if kind == "tokens" else None,
            )

    def _items(self, array: Array) -> list[Array]:
        """The items along axis 0; the whole array where that axis does not count items."""
        return list(array) if array.ndim and len(array) == self.count else [array]

    def _beneath(self, name: str, index: int, kind: Kind, x: Array | None, is_input: bool, shared: bool) -> Array | None:
        """The item itself; under an image the decoded picture, and beside an inner value the ids if it is a strip."""
        if kind == "image" and is_input and not shared:
            return self.given.pictures[name][index]
        return x if is_input or kind == "tokens" else None

    def _words(self, index: int, shape: Sequence[int]) -> list[str] | None:
        """This item's part of the token strings, where an axis of the values is as long."""
        given = self.wishes.tokens
        if given is None:
            return None
        length, rest = divmod(len(given), self.count)
        if rest:
            raise UsageError(f"--tokens: {len(given)} lines for {self.count} items; give all items' tokens one after the other")
        fits = len(shape) in (1, 2) and length in shape
        return list(given[index * length : (index + 1) * length]) if fits or self.wishes.kind == "tokens" else None

    def _ids(self, index: int, shape: Sequence[int]) -> Array | None:
        """The ids that the positions of an inner value [T, E] come from: the first integer input of T positions."""
        for feed in self.given.feeds.values():
            if len(shape) == 2 and feed.dtype.kind in "iu" and feed.ndim == 2 and feed.shape == (self.count, shape[0]):
                return np.asarray(feed[index])
        return None

    def _called(self, attribution: Attribution) -> str:
        """The method's name, with what it explains where the methods explain different things."""
        targets = {one.target.description for one in self.attributions}
        return attribution.method if len(targets) == 1 else f"{attribution.method} of {attribution.target.description}"

    def _title(self, index: int, shared: bool) -> str:
        first = self.attributions[0]
        what = f"{first.method} of {first.target.description}" if len(self.attributions) == 1 else first.target.description
        if len({one.target.description for one in self.attributions}) > 1:
            what = f"{len(self.attributions)} methods"
        return what if self.count == 1 or shared else f"{what}, item {index}"

    def _with_tables(self, found: Sequence[Drawing]) -> list[Drawing]:
        """The columns of all of an item's tables in one picture, at the place of the first."""
        tables: dict[int | str, list[Drawing]] = {}
        for drawing in found:
            if drawing.kind == "bars":
                tables.setdefault(drawing.item, []).append(drawing)
        joined = {item: self._table(item, parts) for item, parts in tables.items()}
        places = {id(parts[0]): joined[item] for item, parts in tables.items()}
        return [places.get(id(one), one) for one in found if one.kind != "bars" or id(one) in places]

    def _table(self, item: int | str, parts: Sequence[Drawing]) -> Drawing:
        first = parts[0]
        maps = {method: np.concatenate([part.maps[method].reshape(-1) for part in parts]) for method in first.maps}
        names = [name for part in parts for name in _columns(part)]
        known = [part.x for part in parts if part.x is not None]
        x = np.array([value for part in known for value in part.reshape(-1).tolist()], object)
        return Drawing(
            first.input if len(parts) == 1 else "",
            item,
            "bars",
            maps,
            x if len(known) == len(parts) else None,
            first.title,
            names=names if self.wishes.names is None else self.wishes.names,
        )


def _columns(part: Drawing) -> list[str]:
    """``input[index]`` of every element; the input's name alone where it holds one."""
    shape = next(iter(part.maps.values())).shape
    if int(np.prod(shape)) == 1:
        return [part.input]
    return [f"{part.input}[{', '.join(map(str, index))}]" for index in np.ndindex(shape)]
