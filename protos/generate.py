"""Generate ``protos/explainpb`` from ``protos/explainsvc`` and ``protos/inference``; ``--check`` only compares.

The proto package is ``explainsvc.v1``, which would make Python modules ``explainsvc.v1.*_pb2`` and so collide with
the library.  The generated modules therefore live in ``explainpb.v1``; only their import lines are rewritten, the
descriptors keep the names of the API.  Those of the Open Inference Protocol live in ``explainpb.inference``.
"""

from __future__ import annotations

import re
import sys
import tempfile
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "explainpb"
SOURCES = {"explainsvc": "explainpb", "inference": "explainpb.inference"}
"""Folder of protos → where its modules live."""
IMPORT = re.compile(rf"^(from|import) ({'|'.join(SOURCES)})(?=[. ])", re.MULTILINE)
HEADER = '"""Generated from ``protos`` by ``make protos``; not edited by hand."""\n'


def compiled(outs: list[str]) -> None:
    """Run protoc on all our files; ``google/rpc`` is that of googleapis-common-protos."""
    from google.rpc import status_pb2  # here, so that `--help` and imports work without the dev environment
    from grpc_tools import protoc

    protos = [path.relative_to(ROOT).as_posix() for source in SOURCES for path in sorted((ROOT / source).rglob("*.proto"))]
    well_known = resources.files("grpc_tools") / "_proto"
    common = Path(status_pb2.__file__).parents[2]
    if not protos or protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", f"-I{common}", *outs, *protos]) != 0:
        raise SystemExit(f"protoc refused {', '.join(protos) or f'{ROOT}: no .proto file there'}")


def generated(out: Path) -> dict[str, str]:
    """Every file of the generated package: path inside ``explainpb`` → text."""
    compiled([f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")])
    files = {_place(path.relative_to(out)): path.read_text() for path in out.rglob("*.py*")}
    folders = {folder for name in files for folder in Path(name).parents}
    inits = {(folder / "__init__.py").as_posix(): HEADER for folder in folders}
    return {name: IMPORT.sub(_moved, text) for name, text in files.items()} | inits | {"py.typed": ""}


def _place(path: Path) -> str:
    """Inside ``explainpb``, of a module as protoc wrote it."""
    source, *rest = path.parts
    return "/".join([*SOURCES[source].split(".")[1:], *rest])


def _moved(line: re.Match[str]) -> str:
    """The beginning of an import line, from where the module lives."""
    return f"{line[1]} {SOURCES[line[2]]}"


def committed() -> dict[str, str]:
    """What lies in the generated package now, compiled caches aside."""
    paths = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in paths}


def write(files: dict[str, str]) -> None:
    """Make the generated package hold exactly ``files``."""
    for name in committed().keys() - files.keys():
        (PACKAGE / name).unlink()
    for name, text in files.items():
        (PACKAGE / name).parent.mkdir(parents=True, exist_ok=True)
        (PACKAGE / name).write_text(text)


def main(arguments: list[str]) -> int:
    """Write the package, or with ``--check`` name the files that differ and return 1."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = generated(Path(folder))
    if "--check" not in arguments:
        write(wanted)
        return 0
    present = committed()
    different = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if different:
        names = ", ".join(different)
        print(f"protos/explainpb differs from the protos ({names}). Run `make protos`.", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
