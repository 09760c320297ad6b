"""One schema of settings, four places, the strongest wins; and what does not go together does not start."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from explainsvc import cli
from explainsvc.errors import InvalidParameter
from explainsvc.service import security, sources
from explainsvc.service.config import FIELDS, Config, Effective, add_options, effective
from explainsvc.service.directory import read_directory
from tests.house.repository import PACKAGE, ROOT

DIGEST = "sha256:" + 64 * "0"


def read(*flags: str, **environment: str) -> Effective:
    """The settings that these flags and variables make."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    return effective(parser.parse_args(flags), environment)


def violations(call: Callable[[], object]) -> dict[str, str]:
    """Field → what is said of it."""
    with pytest.raises(InvalidParameter) as error:
        call()
    return {violation.field: violation.description for violation in error.value.violations}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of settings."""
    path = tmp_path / "explainsvc.toml"
    path.write_text('workers = 3\nqueue = 5\ninsecure = true\nstore = "data"\ngrace_seconds = 1\njwt_algorithms = ["ES256"]\n')
    return path


def test_each_place_wins_over_the_one_before(file: Path) -> None:
    """Defaults, file, environment, flags, in this order; each value knows where it comes from."""
    found = read("--workers", "7", EXPLAINSVC_CONFIG=str(file), EXPLAINSVC_WORKERS="6", EXPLAINSVC_QUEUE="4")
    config, origins = found.config, found.origins
    assert (config.workers, config.queue, config.insecure, config.worker_threads) == (7, 4, True, 0)
    assert (config.store, config.grace_seconds, config.jwt_algorithms) == (file.parent / "data", 1.0, ("ES256",))
    assert (origins["workers"], origins["queue"]) == ("--workers", "EXPLAINSVC_QUEUE")
    assert (origins["store"], origins["worker_threads"]) == (f"file {file}", "default")
    assert read("--config", str(file), EXPLAINSVC_CONFIG="/nowhere").config.queue == 5
    assert read("--insecure", EXPLAINSVC_QUEUE="").config == Config(insecure=True)


def test_what_is_unknown_or_unreadable_is_named_with_the_nearest_name(file: Path) -> None:
    """Misspelt keys and variables, wrong types, values out of range: all at once."""
    file.write_text('wrokers = 1\nqueue = true\nworkers = 0\nreflection = "maybe"\njwt_algorithms = ["none", "ES256"]\n')
    found = violations(lambda: read("--config", str(file), EXPLAINSVC_WORKER="1", EXPLAINSVC_GRACE_SECONDS="nan"))
    assert found["wrokers"].endswith("did you mean workers?")
    assert found["EXPLAINSVC_WORKER"].endswith("did you mean EXPLAINSVC_WORKERS?")
    assert "expected at least 1" in found["workers"]
    assert "expected at least 0" in found["grace_seconds"]
    assert "open, authenticated, off" in found["reflection"]
    assert found.keys() == {
        "wrokers", "EXPLAINSVC_WORKER", "workers", "queue", "grace_seconds", "reflection", "jwt_algorithms"
    }  # fmt: skip


def test_variables_of_the_library_and_of_kubernetes_are_no_settings() -> None:
    """Those that the library reads, and links that a Service called explainsvc makes, are known; their like are not."""
    known = dict.fromkeys(sources.LIBRARY, "1") | {"EXPLAINSVC_SERVICE_HOST": "10.0.0.1", "EXPLAINSVC_SERVICE_PORT": "50551"}
    known |= {"EXPLAINSVC_PORT": "tcp://10.0.0.1:50551", "EXPLAINSVC_PORT_50551_TCP_PROTO": "tcp"}
    assert read(**known).config == Config()
    assert violations(lambda: read(EXPLAINSVC_PORT="here", EXPLAINSVC_LIMIT_NODE="1")).keys() == {
        "EXPLAINSVC_PORT", "EXPLAINSVC_LIMIT_NODE"
    }  # fmt: skip


def test_every_variable_that_the_package_reads_is_known() -> None:
    """Whoever reads a new EXPLAINSVC_* variable adds it to the schema or to LIBRARY."""
    texts = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    found = {name for text in texts for name in re.findall(r'"(EXPLAINSVC_[A-Z_]*[A-Z])"', text)}
    assert found >= {"EXPLAINSVC_THREADS", "EXPLAINSVC_SESSION_CACHE_BYTES"}
    assert not found - sources.LIBRARY - {sources.PREFIX + name.upper() for name in FIELDS}


def test_the_reference_is_complete() -> None:
    """docs/operations.md has a row for every setting, as the schema says it."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE))
    assert {name for name, one in FIELDS.items() if one.metadata["text"] not in rows.get(name, "")} == set()


def test_config_prints_values_and_origins(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`explainsvc config` says what is in force and why; what an address may hide is not printed."""
    monkeypatch.setenv("EXPLAINSVC_QUEUE", "9")
    url = "https://user:secret@example.org/keys?token=secret"
    flags = ["--jwt-keys-url", url, "--jwt-issuer", "me", "--jwt-audience", "you"]
    assert cli.main(["config", "--json", *flags]) == 0
    printed = capsys.readouterr().out
    settings = json.loads(printed)["settings"]
    assert settings.keys() == FIELDS.keys()
    assert settings["queue"] == {"value": 9, "from": "EXPLAINSVC_QUEUE"}
    assert settings["jwt_keys_url"]["from"] == "--jwt-keys-url"
    assert "secret" not in printed
    assert cli.main(["config", *flags]) == 0
    assert re.search(r"^queue +9 +EXPLAINSVC_QUEUE$", capsys.readouterr().out, re.MULTILINE)
    assert cli.main(["config", "--address", "0.0.0.0:1"]) == 2


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ({"address": "0.0.0.0:1"}, {"insecure"}),
        ({"http_address": "[::]:1"}, {"insecure"}),
        ({"address": "0.0.0.0:1", "principals": Path("p"), "tls_certificate": Path("c"), "tls_key": Path("k")}, set()),
        ({"address": "0.0.0.0:1", "tls_certificate": Path("c"), "tls_key": Path("k")}, {"insecure"}),
        ({"address": "0.0.0.0:1", "insecure": True}, set()),
        ({"address": "[::1]:1", "http_address": "localhost:2"}, set()),
        ({"tls_certificate": Path("c")}, {"tls_key"}),
        ({"tls_client_ca": Path("c")}, {"tls_client_ca"}),
        ({"jwt_keys": Path("k")}, {"jwt_issuer", "jwt_audience"}),
        ({"jwt_keys_url": "http://example.org", "jwt_issuer": "i", "jwt_audience": "a"}, {"jwt_keys_url"}),
    ],
)
def test_what_does_not_go_together(settings: dict[str, object], fields: set[str]) -> None:
    """Beyond this machine only with TLS and authentication, or when asked for; halves of pairs are refused."""
    config = Config(**settings)
    if fields:
        assert violations(lambda: security.check(config)).keys() == fields
    else:
        security.check(config)


def test_a_file_of_principals_is_checked_and_repeats_no_token(tmp_path: Path) -> None:
    """Everything wrong with it is listed; a token in clear is refused, and not printed."""
    path = tmp_path / "principals.toml"
    path.write_text('[[principal]]\nname = "a:b"\nscopes = ["all"]\ntokens = ["hunter2"]\nin_flight = -1\nquota = 3\n')
    found = violations(lambda: read_directory(path))
    assert {field.rpartition(".")[2] for field in found} == {"name", "scopes", "tokens", "in_flight", "quota"}
    assert "hunter2" not in str(found)
    path.write_text(2 * f'[[principal]]\nname = "a"\nscopes = []\ntokens = ["{DIGEST}"]\n')
    assert {field.rpartition(".")[2] for field in violations(lambda: read_directory(path))} == {"name", "tokens"}
