"""Hold the protos against buf's STANDARD rules and against the API of the last release.

``baseline.binpb`` is that API: a ``FileDescriptorSet`` of the public files, as protoc writes it. It is renewed once a release,
in the commit that is tagged, by ``python protos/lint.py --renew``; until then every change must be one that a client of that
release does not notice. buf reads descriptors that protoc made, so that it asks no registry for ``google/rpc``. It comes with
the development tools (buf-bin); where that has no build for a machine, the check says that it was skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from generate import compiled  # noqa: E402

BASELINE = ROOT / "baseline.binpb"
OWN = ("explainsvc", "inference")
"""Not ``google``; buf.yaml says what is left out of the lint, and why."""
PUBLIC = ("explainsvc/v1", "inference")
"""The other package is between the server and its own workers, of one version always."""


def image(folder: Path) -> Path:
    """The descriptors of all files, with comments."""
    path = folder / "image.binpb"
    compiled([f"--descriptor_set_out={path}", "--include_imports", "--include_source_info"])
    return path


def renew() -> None:
    """Make the API as it is now the one that later changes are held against; comments left out."""
    compiled([f"--descriptor_set_out={BASELINE}", "--include_imports"])


def paths(folders: tuple[str, ...]) -> list[str]:
    """Options that restrict buf to these folders."""
    return [option for folder in folders for option in ("--path", folder)]


def main(arguments: list[str]) -> int:
    """Lint and compare, or with ``--renew`` write the baseline."""
    if "--renew" in arguments:
        renew()
        return 0
    buf = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")
    if buf is None:
        print("protos: buf has no build for this machine; lint and breaking changes were not checked.", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = str(image(Path(folder)))
        config = ["--config", str(ROOT / "buf.yaml")]
        lint = subprocess.run([buf, "lint", found, *config, *paths(OWN)], check=False)
        command = [buf, "breaking", found, *config, "--against", str(BASELINE), *paths(PUBLIC)]
        breaking = subprocess.run(command, check=False)
    return int(lint.returncode != 0 or breaking.returncode != 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
