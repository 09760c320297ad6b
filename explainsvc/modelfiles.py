"""The files of a model on disk, as they are uploaded: the model and the external data beside it."""

from __future__ import annotations

import os

from explainsvc.graph import load


def read_files(path: str | os.PathLike[str]) -> tuple[bytes, dict[str, bytes]]:
    """The bytes of the model, and of its external-data files by name.

    Raises:
        ModelMalformed: There is no file, or it is not ONNX.
        ExternalDataForbidden: A file is missing or outside the model's folder.
    """
    data, proto, folder = load._read(path)
    assert folder is not None  # it is a path
    return data, {name: load._beside(folder, name) for name in load._locations(proto)}
