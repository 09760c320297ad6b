"""The sha256 of files that differ in some tensors: computed from the first on that is another one than in the last file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from threading import Lock
from typing import TYPE_CHECKING

from explainsvc.autograd.shapes import Array
from explainsvc.graph.spans import Spans, raw

if TYPE_CHECKING:
    from hashlib import _Hash


@dataclass(frozen=True)
class Line:
    """The way through a file: which numbers stand in its tensors, and what is hashed before the first and by the end of each."""

    given: Sequence[Array | None] = ()
    states: list[_Hash] = field(default_factory=lambda: [hashlib.sha256()])

    def shared(self, given: Sequence[Array | None]) -> int:
        """How many of the first tensors hold the very same arrays; None: the untouched numbers."""
        return sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], zip(given, self.given, strict=False)))


class Digests:
    """Of one serialized model with other numbers in some initializers.

    From step to step of a cascade the tensors that were drawn before, or are not drawn yet, are the same arrays; in every order
    of steps, most are those of the last step or of the untouched model. A file has its large tensors in front
    (:func:`explainsvc.graph.filing.largest_first`).

    Args:
        data: The model, serialized.
        spans: Where its tensors lie.
        untouched: Where the way through the file as it is was put by earlier digests of it, and is put by these.
    """

    def __init__(self, data: bytes, spans: Spans, untouched: list[Line] | None = None) -> None:
        self._data, self._spans = memoryview(data), spans
        self._names = sorted(spans, key=lambda name: spans[name].start)
        self._untouched = [] if untouched is None else untouched
        self._last = Line()
        self._lock = Lock()

    def of(self, arrays: Mapping[str, Array]) -> str:
        """In hexadecimal digits.

        Args:
            arrays: Tensor → its numbers, C-contiguous, of as many bytes; nobody writes into them from now on.
        """
        with self._lock:
            given = [arrays.get(name) for name in self._names]
            self._last = self._line(given)
            if not self._untouched and all(array is None for array in given):
                self._untouched.append(self._last)
            found = self._last.states[-1].copy()
            found.update(self._data[self._end(len(self._names)) :])
            return found.hexdigest()

    def _line(self, given: Sequence[Array | None]) -> Line:
        known = max((self._last, *self._untouched), key=lambda line: line.shared(given))
        same = known.shared(given)
        found = Line(given, known.states[: same + 1])
        for place in range(same, len(given)):
            found.states.append(self._beyond(place, found.states[-1], given[place]))
        return found

    def _beyond(self, place: int, before: _Hash, array: Array | None) -> _Hash:
        """What is hashed by the end of a tensor."""
        found, span = before.copy(), self._spans[self._names[place]]
        found.update(self._data[self._end(place) : span.start])
        found.update(self._data[span] if array is None else raw(array))
        return found

    def _end(self, count: int) -> int:
        """Where the first tensors end."""
        return self._spans[self._names[count - 1]].stop if count else 0
