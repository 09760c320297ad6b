"""The check of the protos finds what it is there for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.repository import ROOT

pytestmark = pytest.mark.skipif(shutil.which("buf", path=str(Path(sys.executable).parent)) is None, reason="no buf here")
CHANGES = {
    "as committed": ("", "", 0, ""),
    "a field of another type": ("string model_digest = 1;", "bytes model_digest = 1;", 1, 'Field "1"'),
    "an rpc that is gone": (r"rpc Predict\(.*;", "", 1, '"Predict"'),
    "a value without its enum's name": ("PICTURE_KIND_IMAGE", "IMAGE", 1, 'prefixed with "PICTURE_KIND_"'),
    "a service of another kind of name": ("service ExplanationService", "service Explainer", 1, "suffixed with"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_check(tmp_path: Path, name: str) -> None:
    """The protos pass; a change that a client would notice, or that breaks a rule of buf, is refused by name."""
    old, new, code, words = CHANGES[name]
    protos = Path(shutil.copytree(ROOT / "protos", tmp_path / "protos", ignore=shutil.ignore_patterns("explainpb")))
    path = protos / "explainsvc" / "v1" / "explanation_service.proto"
    if old:
        text, count = re.subn(old, new, path.read_text())
        assert count
        path.write_text(text)
    found = subprocess.run([sys.executable, str(protos / "lint.py")], capture_output=True, text=True, check=False)
    assert found.returncode == code
    assert words in found.stdout
