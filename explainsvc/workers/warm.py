"""Everything that a worker will ever import, before the sandbox closes the files."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from PIL import Image

import explainsvc
from explainsvc.attribution import versions
from explainsvc.checks.facts import machine

APART = (
    "cli",
    "client",
    "audit_client",
    "explanation_client",
    "upload_client",
    "commands",
    "connecting",
    "audit_commands",
    "demo",
    "doctor",
    "engines",
    "forkserver",
    "given",
    "jobs",
    "server_options",
    "service",
    "training",
    "worker",
)
"""What no worker needs: the command line, the server itself, and what wants torch."""
LATE = {
    "google.protobuf.descriptor_pb2": (),
    "skimage.segmentation": ("felzenszwalb", "slic"),
    "skimage.transform": ("resize",),
}
"""Imported inside functions, ours or those of protobuf; scikit-image loads them when the attribute is asked for."""


def warm_up() -> None:
    """Import all of explainsvc, and what it imports late; read what it reads about the machine."""
    for found in pkgutil.walk_packages(explainsvc.__path__, "explainsvc.", onerror=_raised):
        if found.name.split(".")[1] not in APART:
            import_module(found.name)
    for name, attributes in LATE.items():
        module = import_module(name)
        for attribute in attributes:
            getattr(module, attribute)
    Image.init()
    machine()
    versions()


def _raised(name: str) -> None:
    raise ImportError(name)
