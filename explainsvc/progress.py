"""Progress bars on stderr, for work that reports (done, total, what), and perhaps the seconds that it will still take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from tqdm import tqdm

from explainsvc.method import silent

KNOWN = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}, {postfix} left]"
"""Of work that knows better than a mean over what is done how long it will still take."""


class Advance(Protocol):
    """Moves a bar."""

    def __call__(self, done: int, total: int, what: str, remaining: float | None = None) -> None:
        """To ``done`` of ``total``; ``remaining`` in seconds where it is known."""


@contextmanager
def bar() -> Iterator[Advance]:
    """One bar, drawn at the first report and only on a terminal; elsewhere it is ``silent``. Quick work draws none."""
    if not sys.stderr.isatty():
        yield silent
        return
    with tqdm(total=0, leave=False, delay=0.5, dynamic_ncols=True) as line:

        def advance(done: int, total: int, what: str, remaining: float | None = None) -> None:
            line.total = total
            line.set_description_str(what, refresh=False)
            if remaining is not None:
                line.bar_format = KNOWN
                line.set_postfix_str(tqdm.format_interval(remaining), refresh=False)
            line.update(done - line.n)

        yield advance
