"""The options of the command line that name a server and what it wants of its callers."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from explainsvc.arguments import UsageError
from explainsvc.connecting import Connection

TOKEN = "EXPLAINSVC_TOKEN"  # noqa: S105  (a variable's name)
"""Holds the token where no file does: what is on the command line can be read by everybody on the machine."""


FILES = {
    "ca": "over TLS, by these authorities",
    "certificate": "the client's own, for mutual TLS; with --key",
    "key": "private key of --certificate",
}
"""Files that a connection may take."""


def add_server(parser: argparse.ArgumentParser) -> None:
    """The options that name a server and what it wants of its callers."""
    group = parser.add_argument_group("a running server")
    group.add_argument("--server", metavar="HOST:PORT", help="ask this running server instead of computing here")
    group.add_argument("--tls", action="store_true", help="over TLS, by the authorities that the system trusts")
    for name, words in FILES.items():  # the names of commands' own options, such as --key of verify, are not taken
        group.add_argument(f"--{name}", dest=f"server_{name}", type=Path, metavar="PEM", help=words)
    group.add_argument("--token-file", type=Path, metavar="FILE", help=f"holds the token to send; or the variable {TOKEN} does")


def server(options: argparse.Namespace) -> Connection | None:
    """The server that they name, if any."""
    files = {name: getattr(options, f"server_{name}") for name in FILES}
    given = [name for name, value in {"tls": options.tls, **files, "token_file": options.token_file}.items() if value]
    if not options.server:
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} goes with --server HOST:PORT")
        return None
    token = os.environ.get(TOKEN, "") if options.token_file is None else options.token_file.read_text(encoding="utf-8")
    pem = {name: path.read_bytes() for name, path in files.items() if path is not None}
    return Connection(options.server, options.tls, **pem, token=token.strip())
