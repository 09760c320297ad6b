"""A Python for each peer, made once in the user's cache folder: torch in one for all, each peer and what it needs in its own."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
TORCH = "torch"
"""The environment that exports the networks, and that the others see."""
REQUIREMENTS: Mapping[str, Sequence[str]] = {
    TORCH: ("torch", "torchvision", "transformers", "onnx", "onnxscript"),
    "captum": ("captum", "scikit-learn"),
    "grad_cam": ("grad-cam",),
    "lime": ("lime", "onnxruntime"),
    "lxt": ("lxt==2.1", "transformers==4.52.4"),
    "quantus": ("quantus==0.6.0",),
    "shap": ("shap", "onnxruntime"),
    "zennit": ("zennit",),
}
"""Versions are those of constraints.txt, but for environments that name their own: lxt.efficient is for an older transformers."""


def python(name: str) -> Path:
    """The interpreter of an environment, which is made where it is missing: minutes for torch, once.

    Args:
        name: One of REQUIREMENTS.
    """
    home = _cache() / f"bench{sys.version_info.major}.{sys.version_info.minor}-{name}"
    binary = home / "bin" / "python"
    if not (home / "ready").exists():
        print(f"making the environment of {name} in {home}", file=sys.stderr, flush=True)
        venv.create(home, with_pip=True, clear=True)
        if name != TORCH:
            (_packages(home) / "torch.pth").write_text(f"{_packages(python(TORCH).parents[1])}\n")
        wanted = REQUIREMENTS[name]
        pinned = () if "==" in "".join(wanted) else ("--constraint", str(ROOT / "constraints.txt"))
        options = ("--quiet", "--disable-pip-version-check", *pinned)
        subprocess.run([str(binary), "-m", "pip", "install", *options, *wanted], check=True)
        (home / "ready").touch()
    return binary


def _packages(home: Path) -> Path:
    return home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def _cache() -> Path:
    """XDG base directory specification, or EXPLAINSVC_PEERS: as the tests' peers."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("EXPLAINSVC_PEERS") or Path(cache) / "explainsvc-peers")
