"""What the libraries below do on their own account."""

from __future__ import annotations

import os
import subprocess
import sys


def threads(first: str) -> str:
    """How many threads a process has that imports this and then onnxruntime, but for those of BLAS.

    Its environment is bare: onnxruntime reports nothing either where a variable such as CI tells of a build machine.
    """
    code = f"import os, {first}, onnxruntime; print(len(os.listdir('/proc/self/task')))"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    path = os.pathsep.join(path for path in sys.path if path)
    environment = {**kept, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_onnxruntime_reports_nothing() -> None:
    """Without explainsvc onnxruntime starts a thread that reports to its makers; with it there is none."""
    assert (threads("explainsvc"), threads("onnxruntime")) == ("1", "2")
