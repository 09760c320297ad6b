"""The store: content-addressed, atomic, one server at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from explainsvc import store
from explainsvc.errors import AuditNotFound, ExplainsvcError, ModelNotFound
from explainsvc.store import MODEL_FILE, Store, StoredAudit, opened

DIGEST = "ab" * 32
AUDIT = StoredAudit("cd" * 16, store.RUNNING, DIGEST, 1.0)


def put(kept: Store, data: bytes = b"model", name: str = "m") -> store.StoredModel:
    """Store some bytes under DIGEST."""
    with kept.incoming() as folder:
        (folder / "files" / MODEL_FILE).write_bytes(data)
        return kept.keep(folder, DIGEST, name)


def test_a_model_comes_back(tmp_path: Path) -> None:
    """What was kept is there in the next server's life, with its bytes; nothing is left in between."""
    with opened(tmp_path) as kept:
        model = put(kept)
    with opened(tmp_path) as kept:
        assert kept.model(DIGEST) == model
        assert kept.models("", 10) == [model]
        assert (kept.folder(DIGEST) / MODEL_FILE).read_bytes() == b"model"
    assert list((tmp_path / "incoming").iterdir()) == []


def test_the_first_of_equal_models_stays(tmp_path: Path) -> None:
    """Uploading a model again changes nothing."""
    with opened(tmp_path) as kept:
        assert put(kept, name="first") == put(kept, name="second")


def test_deleted_is_gone(tmp_path: Path) -> None:
    """A deleted model is not found, and can be stored again."""
    with opened(tmp_path) as kept:
        put(kept)
        kept.delete(DIGEST)
        with pytest.raises(ModelNotFound):
            kept.folder(DIGEST)
        assert put(kept, name="again").name == "again"


@pytest.mark.parametrize("name", ["", "..", "../models", "AB" * 32, "ab" * 31, "ab/" * 20])
def test_names_are_no_paths(tmp_path: Path, name: str) -> None:
    """Only digests and ids lead anywhere."""
    with opened(tmp_path) as kept:
        with pytest.raises(ModelNotFound):
            kept.folder(name)
        with pytest.raises(AuditNotFound):
            kept.audit(name)


def test_one_server_at_a_time(tmp_path: Path) -> None:
    """A store in use is refused, and free again afterwards."""
    with opened(tmp_path), pytest.raises(ExplainsvcError, match="another server"), opened(tmp_path):
        pass
    with opened(tmp_path):
        pass


def test_an_audit_cut_off_is_aborted(tmp_path: Path) -> None:
    """An audit that ran when the server died says so; a finished one keeps its report."""
    with opened(tmp_path) as kept:
        kept.save_audit(AUDIT)
        kept.save_audit(StoredAudit("ef" * 16, store.SUCCEEDED, DIGEST, 1.0, 2.0), b'{"rows": []}')
    with opened(tmp_path) as kept:
        aborted = kept.audit(AUDIT.audit_id)
        assert (aborted.state, aborted.error) == (store.ABORTED, store.STOPPED)
        assert json.loads(kept.report("ef" * 16)) == {"rows": []}
        with pytest.raises(AuditNotFound, match="aborted"):
            kept.report(AUDIT.audit_id)


WRITER = """
import sys, itertools
from pathlib import Path
from explainsvc.store import MODEL_FILE, StoredAudit, opened
with opened(Path(sys.argv[1])) as kept:
    for number in itertools.count():
        with kept.incoming() as folder:
            (folder / "files" / MODEL_FILE).write_bytes(str(number).encode() * 100_000)
            kept.keep(folder, f"{number:064x}", "m")
        report = b'{"report": "' + b"x" * 100_000 + b'"}'
        kept.save_audit(StoredAudit(f"{number:032x}", "succeeded", "", 0.0, 1.0), report)
        print(number, flush=True)
"""


def test_kill_leaves_nothing_torn(tmp_path: Path) -> None:
    """Killed at any moment while it writes, a server leaves whole models and audits only, and all it promised."""
    python_path = os.pathsep.join(path for path in sys.path if path)
    for milliseconds in (150, 220, 310):
        root = tmp_path / str(milliseconds)
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, root], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": python_path}
        )
        with writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(milliseconds / 1000)
            writer.send_signal(signal.SIGKILL)
            promised = int(writer.stdout.read().split()[-1])
        with opened(root) as kept:
            models = kept.models("", 10**6)
            assert len(models) > promised
            for model in models:
                data = (kept.folder(model.digest) / MODEL_FILE).read_bytes()
                assert data == str(int(model.digest, 16)).encode() * 100_000
            for number in range(promised + 1):
                assert json.loads(kept.report(f"{number:032x}"))["report"] == "x" * 100_000
