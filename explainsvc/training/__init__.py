"""Evidence that needs training: the extra ``train``, the only room that imports torch.

Importing this package imports no torch; most of its files do. Who wants one of them asks :func:`need_torch` first.
"""

from __future__ import annotations

from importlib.util import find_spec

from explainsvc.errors import ExtraMissing

NEEDED = ("torch", "onnx2torch")


def need_torch(what: str) -> None:
    """Refuses where the extra is not installed.

    Raises:
        ExtraMissing: Says how to install it.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ExtraMissing(
            f"{what} needs {' and '.join(missing)}",
            where="training",
            to_do="pip install 'explainsvc[train]'; the workers of a server have none: ask the library or the command line",
        )
