"""Progress bars on stderr, for work that reports (done, total, what)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[int, int, str], None]


@contextmanager
def bar() -> Iterator[Progress]:
    """One bar, drawn at the first report and only on a terminal; quick work draws none."""
    with tqdm(total=0, leave=False, disable=None, delay=0.5, dynamic_ncols=True) as line:

        def advance(done: int, total: int, what: str) -> None:
            line.total = total
            line.set_description_str(what, refresh=False)
            line.update(done - line.n)

        yield advance
