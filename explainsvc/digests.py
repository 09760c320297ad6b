"""The sha256 of files that differ in some tensors: computed from the first on that is another one than in the last file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import takewhile
from threading import Lock
from typing import TYPE_CHECKING

from explainsvc.autograd.shapes import Array
from explainsvc.graph.spans import Spans, raw

if TYPE_CHECKING:
    from hashlib import _Hash


class Digests:
    """Of one serialized model with other numbers in some initializers.

    From step to step of a cascade the tensors that were drawn before, or are not drawn yet, are the same arrays. A file has the
    output side first (:func:`explainsvc.graph.filing.output_side_first`): what a cascade from there on changes next, lies near
    the end as soon as most of the bytes are random.

    Args:
        data: The model, serialized.
        spans: Where its tensors lie.
    """

    def __init__(self, data: bytes, spans: Spans) -> None:
        self._data, self._spans = memoryview(data), spans
        self._names = sorted(spans, key=lambda name: spans[name].start)
        self._last: list[Array | None] = []
        self._states = [hashlib.sha256()]
        self._lock = Lock()

    def of(self, arrays: Mapping[str, Array]) -> str:
        """In hexadecimal digits.

        Args:
            arrays: Tensor → its numbers, C-contiguous, of as many bytes; nobody writes into them from now on.
        """
        with self._lock:
            given = [arrays.get(name) for name in self._names]
            same = sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], zip(given, self._last, strict=False)))
            del self._states[same + 1 :]
            for name, array in zip(self._names[same:], given[same:], strict=True):
                self._states.append(self._beyond(name, array))
            self._last = given
            found = self._states[-1].copy()
            found.update(self._data[self._end(len(self._names)) :])
            return found.hexdigest()

    def _beyond(self, name: str, array: Array | None) -> _Hash:
        """What is hashed by the end of a tensor."""
        found, span = self._states[-1].copy(), self._spans[name]
        found.update(self._data[self._end(len(self._states) - 1) : span.start])
        found.update(self._data[span] if array is None else raw(array))
        return found

    def _end(self, count: int) -> int:
        """Where the first tensors end."""
        return self._spans[self._names[count - 1]].stop if count else 0
