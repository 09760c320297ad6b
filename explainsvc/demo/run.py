"""The demo: start a server, upload a model, explain, check the explanations, and show all of it on a page."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from explainsvc.attribution import Attribution
from explainsvc.client import Client
from explainsvc.demo import show
from explainsvc.demo.server import running_server
from explainsvc.demo.subject import METHODS, MISSING, Findings, Subject, digits, yours
from explainsvc.errors import ExplainsvcError, InvalidParameter
from explainsvc.images import Preprocessing
from explainsvc.progress import bar
from explainsvc.report.report import Report

Say = Callable[[str], None]


def run(
    out_dir: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    image: str | os.PathLike[str] | None = None,
    preprocessing: Preprocessing | None = None,
    say: Say = print,
) -> int:
    """Explain the built-in digits, or ``image`` by ``model``; writes ``index.html`` and PNGs, returns the exit code."""
    if (model is None) != (image is None):
        given = "model" if image is None else "image"
        raise InvalidParameter(f"only --{given} was given", where="demo", expected="both --model and --image, or neither")
    start = time.monotonic()
    with running_server() as address, Client(address) as client:
        say(f"server     {address}, started for this demo")
        findings = _ask(client, model, image, preprocessing, say)
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    written = show.write(folder, findings)
    say("")
    for line in show.verdict_lines(findings):
        say(line)
    say(f"\n{len(written)} files in {time.monotonic() - start:.0f} s. Open {folder / 'index.html'}")
    return 0


def _ask(
    client: Client,
    model: str | os.PathLike[str] | None,
    image: str | os.PathLike[str] | None,
    how: Preprocessing | None,
    say: Say,
) -> Findings:
    """Upload, inspect, predict, explain, audit: each an rpc."""
    path = digits().model if model is None else Path(model)
    digest = client.upload(path)
    info = client.inspect(digest)
    size = f"{info['size_bytes']:,} bytes, {info['parameters']:,} parameters"
    say(f"model      {path.name}, {size}, sha256 {digest[:12]}…")
    subject = digits() if image is None else yours(path, image, info["inputs"], how)
    outputs = next(iter(client.predict(digest, subject.explained).values()))
    for name, words in zip(subject.names, show.predictions(outputs), strict=True):
        say(f"predicted  {name}: {words}")
    attributions, refused = _explain(client, digest, subject, info)
    say(f"explained  {len(subject.names)} × {', '.join(attributions)}")
    for method, reason in refused.items():
        say(f"left out   {method}: {reason}")
    report = _audit(client, digest, subject, attributions)
    return Findings(subject, info, outputs, attributions, refused, report)


def _explain(
    client: Client, digest: str, subject: Subject, info: Mapping[str, Any]
) -> tuple[dict[str, Attribution], dict[str, str]]:
    """Each method that fits the model, on all items at once; the target is each item's largest output."""
    refused = MISSING | {method: info["methods"][method] for method in METHODS if info["methods"].get(method)}
    attributions: dict[str, Attribution] = {}
    with bar() as progress:
        for done, method in enumerate(METHODS):
            progress(done, len(METHODS), method)
            if method not in refused:
                try:
                    attributions[method] = client.explain(
                        digest, subject.explained, method, parameters=subject.parameters.get(method)
                    )
                except ExplainsvcError as error:
                    refused[method] = str(error)
    return attributions, refused


def _audit(client: Client, digest: str, subject: Subject, attributions: Mapping[str, Attribution]) -> Report:
    methods = [method for method in subject.audited_methods if method in attributions]
    with bar() as progress:
        return client.audit(
            digest,
            subject.audited,
            methods=methods,
            checks=["parameter_randomization"],
            progress=progress,
            parameters={method: subject.parameters[method] for method in methods if method in subject.parameters},
        )
