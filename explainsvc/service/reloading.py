"""Files that may change while the server runs: certificates, keys, principals."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

LOG = logging.getLogger(__name__)
T = TypeVar("T")
Stamp = tuple[tuple[int, int, int], ...]


class Reloading(Generic[T]):
    """What some files say, read anew once they have changed; while they cannot be read, what they said before stays in force.

    A certificate and its key are two files: between the two writes they do not fit, which is why a failure is no end.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], T]) -> None:
        """Reads at once, so that a server does not start with what it cannot read."""
        self._paths, self._read = tuple(paths), read
        self._stamp = self._now()
        self._value = read()

    def current(self) -> T:
        """The latest that could be read; costs a `stat` a file."""
        stamp = self._now()
        if stamp != self._stamp:
            self._stamp = stamp
            self._try()
        return self._value

    def _try(self) -> None:
        names = ", ".join(path.name for path in self._paths)
        try:
            self._value = self._read()
            LOG.info("read %s anew", names)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with the new files, the old ones are good
            LOG.error("%s cannot be read, what was read before stays in force: %s", names, error)

    def _now(self) -> Stamp:
        return tuple(map(_stamp, self._paths))


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        stat = os.stat(path)  # at every call; a path's own way is three times as long
    except OSError:
        return (0, 0, 0)
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
