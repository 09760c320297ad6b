"""The part of a graph that exchanged weights do not reach: computed once per input, then fed.

In a cascade from the output on, the layers near the input keep their weights for most of the steps. What they compute in an
explained graph (activations, and what the backward pass makes of them alone) is the same at each of these steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from threading import Lock

import onnxruntime as ort

from explainsvc.autograd.shapes import Array
from explainsvc.errors import ModelUnsupported
from explainsvc.graph.borders import FED, border, has_bodies
from explainsvc.lanes import alone
from explainsvc.runtime import Feeds, Session
from explainsvc.templates import Arrays, Template, Values

KEPT_BYTES = 3 * 2**27
"""Values that a graph keeps for the inputs of a walk: 13 photographs through ResNet-18 take 0.3 GB. Later inputs go through the
whole graph.

Each graph has room of its own, so that what is kept does not depend on which other methods were asked before.
"""


@dataclass
class Shelf:
    """What is left of a graph's memory for kept values, and which inputs were the last."""

    left: int = KEPT_BYTES
    lock: Lock = field(default_factory=Lock, repr=False)
    last: tuple[Feeds, bytes] = field(default=({}, b""), repr=False)

    def known(self, feeds: Feeds) -> bytes:
        """The digest of inputs; that of the last is not computed again for the very same arrays, which nobody writes into."""
        arrays, key = self.last
        if arrays.keys() != feeds.keys() or any(arrays[name] is not feeds[name] for name in feeds):
            key = _digest(feeds.values())
            self.last = feeds, key
        return key


@dataclass(frozen=True)
class Prefix:
    """A graph, and the values of it that are kept.

    Attributes:
        template: The graph without the numbers that may change.
        inputs: Those that stay the same from step to step.
        values: Kept values, with their types.
        session: Computes the values, by the untouched weights.
        shelf: Where they are put.
        kept: Digest of the inputs → the values; None where there was no room.
    """

    template: Template
    inputs: frozenset[str]
    values: Values
    session: Session
    shelf: Shelf
    kept: dict[bytes, dict[str, ort.OrtValue] | None] = field(default_factory=dict)

    def of(self, feeds: Feeds) -> dict[str, ort.OrtValue] | None:
        """The values for these inputs; None where there is no room for them."""
        own = {name: feeds[name] for name in self.session.inputs}
        with self.shelf.lock:
            key = self.shelf.known(own)
            if key not in self.kept:
                self.kept[key] = self._shelved(own)
            return self.kept[key]

    def _shelved(self, feeds: Feeds) -> dict[str, ort.OrtValue] | None:
        if self.shelf.left <= 0:
            return None
        found = self.session.keep(feeds)
        size = sum(value.tensor_size_in_bytes() for value in found.values())
        if size > self.shelf.left:
            return None
        self.shelf.left -= size
        return found

    def continued(self, changed: Collection[str], arrays: Arrays, whole: Callable[[], Session]) -> Session | None:
        """A session that starts from the kept values, for other numbers in these tensors; None where it would be whole."""
        graph = self.template.model.graph
        fed = border(graph, self.inputs, self.template.touched(changed))
        if not fed or not fed <= self.values.keys():
            return None
        outputs = tuple(value.name for value in graph.output)
        moving = [name for name in outputs if name not in fed]
        if not moving:
            return None
        first = self.session
        start = cache(partial(_part, self.template, moving, {name: self.values[name] for name in fed}, arrays))
        return Continued(first.ort, first.graph_bytes, first.inputs, outputs, prefix=self, fed=fed, start=start, whole=whole)


def _digest(arrays: Iterable[Array]) -> bytes:
    found = hashlib.sha256()
    for array in arrays:
        found.update(repr((array.shape, array.dtype)).encode())
        found.update(array.data if array.flags.c_contiguous else array.tobytes())
    return found.digest()


def _part(template: Template, outputs: list[str], fed: Values, arrays: Arrays) -> Session | None:
    """None where onnxruntime takes the whole graph only."""
    with suppress(ModelUnsupported):
        return template.part(outputs, fed, arrays)
    return None


def prefix_of(
    template: Template, inputs: Collection[str], changing: Sequence[Collection[str]], arrays: Arrays, shelf: Shelf
) -> Prefix | None:
    """What is to be kept of a graph; None where that is nothing, or where the graph cannot be cut.

    Args:
        template: The graph without the numbers that may change.
        inputs: The inputs that stay the same from step to step.
        changing: Learned tensors whose numbers change, per step.
        arrays: The learned tensors, untouched.
        shelf: For the values.
    """
    graph = template.model.graph
    names = frozenset().union(*(border(graph, inputs, template.touched(changed)) for changed in changing))
    if not names or has_bodies(graph):
        return None
    with alone():
        session = _part(template, sorted(names), {}, arrays)
    values = {} if session is None else template.known(session)
    if session is None or not names <= values.keys():
        return None
    return Prefix(template, frozenset(inputs), values, session, shelf)


@dataclass(frozen=True)
class Continued(Session):
    """A graph's session that starts from kept values where there are some.

    ``ort`` and ``inputs`` are those of the prefix. The other two are made when they are needed: of large models each takes as
    long as a run.

    Attributes:
        prefix: Has the kept values.
        fed: Those that it starts from.
        start: Makes the session of the part from there on; None where onnxruntime does not take it.
        whole: Makes that of the whole graph.
    """

    prefix: Prefix = field(kw_only=True)
    fed: frozenset[str] = field(kw_only=True)
    start: Callable[[], Session | None] = field(kw_only=True)
    whole: Callable[[], Session] = field(kw_only=True)

    def run(self, feeds: Feeds, names: Sequence[str] | None = None) -> dict[str, Array]:
        """As the whole graph's session."""
        kept = self.prefix.of(feeds)
        rest = None if kept is None else self.start()
        if kept is None or rest is None:
            return self.whole().run(feeds, names)
        values = {**feeds, **{name: kept[name] for name in self.fed}, **{name + FED: kept[name] for name in self.fed}}
        wanted = self.outputs if names is None else names
        found = rest.run({name: values[name] for name in rest.inputs}, [n for n in wanted if n not in self.fed])
        return {name: kept[name].numpy() if name in self.fed else found[name] for name in wanted}
