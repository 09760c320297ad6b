"""Evidence that needs training: the extra ``train``, the only room that imports torch.

Importing this package imports no torch; most of its files do. Who wants one of them imports it within :func:`needing_torch`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from explainsvc.errors import ExtraMissing

NEEDED = ("torch", "onnx2torch")


@contextmanager
def needing_torch(what: str) -> Iterator[None]:
    """Imports of what wants torch.

    Raises:
        ExtraMissing: The extra is not installed, or out of reach as in a sandboxed worker; says how to get it.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise _missing(what, f"it needs {' and '.join(missing)}")
    try:
        yield
    except ImportError as error:
        raise _missing(what, str(error)) from error


def _missing(what: str, why: str) -> ExtraMissing:
    return ExtraMissing(
        f"{what} cannot run here: {why}",
        where="training",
        to_do="pip install 'explainsvc[train]'; the workers of a server have none: ask the library or the command line",
    )
