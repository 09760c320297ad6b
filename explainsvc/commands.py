"""What each command does; ``cli`` says how it is spelled."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from explainsvc import arguments, doctor, engines, loading, texts
from explainsvc.arguments import UsageError
from explainsvc.cards import Card
from explainsvc.client import Client
from explainsvc.codec.questions import Question
from explainsvc.drawings import Answers, Wishes
from explainsvc.errors import UnknownMethod
from explainsvc.given import given_to, preprocessing
from explainsvc.progress import bar
from explainsvc.randomisation import Draws, count_steps, steps_of
from explainsvc.service import config, security, server
from explainsvc.weights import replace_weights

Command = Callable[[argparse.Namespace], int]
DONE, DIFFERENT, VERDICT = 0, 1, 3


def demo(options: argparse.Namespace) -> int:
    """The demo, on a server of its own."""
    from explainsvc.demo.run import run  # here, so that other commands start faster

    return run(options.out, model=options.model, image=options.image, preprocessing=preprocessing(options))


def inspect(options: argparse.Namespace) -> int:
    """Facts of a model: text, or with --json ``ModelInfo.to_json()``."""
    with engines.opened(options.model, options.server) as engine:
        info = engine.inspect()
    say(options, info, texts.inspection(info) + (f"\n\n{texts.nodes(info)}" if options.nodes else ""))
    return DONE


def keep_preprocessing(options: argparse.Namespace) -> int:
    """A profile, kept with a model on a server."""
    if options.server is None:
        raise UsageError("only a server keeps it: add --server HOST:PORT")
    with Client(options.server) as client:
        digest = client.upload(options.model)
        client.set_preprocessing(digest, None if options.forget else preprocessing(options))
        kept = client.preprocessing(digest)
    print(f"{digest}: {'nothing is kept' if kept is None else kept}")
    return DONE


def explain(options: argparse.Namespace) -> int:
    """One explanation, or one by each of several methods, to a file and to stdout."""
    write, wishes = _writer(options.out), _wishes(options)
    questions = _questions(options)
    if options.dry_run:
        return _dry_run(options, questions)
    if options.inputs is None:
        raise UsageError("--inputs is required; only --dry-run goes without")
    with engines.opened(options.model, options.server) as engine, bar() as progress:
        given = given_to(engine, options)
        attributions = [engine.explain(given.feeds, question, options.seed, progress) for question in questions]
    written = write(options.out, Answers(attributions, given, wishes)) if write is not None else []
    documents = [attribution.to_json() for attribution in attributions]
    say(options, documents[0] if len(documents) == 1 else {"attributions": documents}, texts.explanations(attributions, written))
    return DONE


def _dry_run(options: argparse.Namespace, questions: Sequence[Question]) -> int:
    """Every node on the way and its rule, by each of several methods; nothing is computed."""
    with engines.opened(options.model, options.server) as engine:
        documents = [engine.dry_run(question).to_json() for question in questions]
    text = "\n\n".join(f"{document['method']}\n{texts.node_rules(document['nodes'])}" for document in documents)
    say(options, documents[0] if len(documents) == 1 else {"dry_runs": documents}, text)
    return DONE


def ledger(options: argparse.Namespace) -> int:
    """The books of one explanation, to a file and to stdout."""
    out = None if options.out is None else _place(options.out, ".json")
    question = _question(options, options.method)
    with engines.opened(options.model, options.server) as engine:
        books = engine.ledger(given_to(engine, options).feeds, question)
    if out is not None:
        out.write_text(as_json(books.to_json()) + "\n", encoding="utf-8")
    say(options, books.to_json(), texts.ledger(books, [] if out is None else [out]))
    return DONE


def compile_(options: argparse.Namespace) -> int:
    """The explained graph, saved."""
    out, question = _place(options.out), _question(options, options.method)
    with engines.opened(options.model, options.server) as engine:
        data = engine.compile(question)
    out.write_bytes(data)
    print(f"wrote {options.out} ({len(data):,} bytes): set explain.seed, read explain.<input>")
    return DONE


def methods(options: argparse.Namespace) -> int:
    """The cards of the methods, here or of the server."""
    return _cards(options, engines.methods(options.server))


def checks(options: argparse.Namespace) -> int:
    """The cards of the checks, here or of the server."""
    return _cards(options, engines.checks(options.server))


def serve(options: argparse.Namespace) -> int:
    """The server, until it is told to stop; ready once the doctor finds nothing wrong."""
    settings = config.configured(options)
    return server.run(settings, partial(_ailments, settings) if settings.self_check else server.proved)


def _ailments(settings: config.Config) -> list[str]:
    """What the doctor finds wrong."""
    return [finding.name for finding in doctor.examine(settings) if not finding.works]


def configuration(options: argparse.Namespace) -> int:
    """The settings that `serve` would have, and where each comes from."""
    found = config.effective(options)
    security.check(found.config)
    settings = found.to_json()
    rows = ((name, json.dumps(one["value"], ensure_ascii=False), one["from"]) for name, one in settings.items())
    say(options, {"settings": settings}, texts.table(rows))
    return DONE


def _cards(options: argparse.Namespace, cards: Mapping[str, Card]) -> int:
    unknown = [name for name in options.names if name not in cards]
    if unknown:
        raise UnknownMethod(f'nothing here is called "{unknown[0]}"', expected=f"one of {', '.join(sorted(cards))}")
    chosen = {name: cards[name] for name in options.names or cards}
    text = "\n\n".join(map(texts.card, chosen.values())) if options.names else texts.cards(chosen.values())
    say(options, {name: card.to_json() for name, card in chosen.items()}, text)
    return DONE


def say(options: argparse.Namespace, document: Mapping[str, Any], text: str) -> None:
    """The text, or the document where JSON is asked for."""
    print(as_json(document) if options.json else text)


def as_json(document: Mapping[str, Any]) -> str:
    """One line; JSON has no NaN and no infinity, they become null."""
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(document), ensure_ascii=False)


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list():
            return [_finite(item) for item in value]
    return value


def _question(options: argparse.Namespace, method: str) -> Question:
    card = engines.methods(options.server).get(method) if options.parameters else None
    return _asked(options, method, arguments.typed(card, options.parameters))


def _asked(options: argparse.Namespace, method: str, parameters: Mapping[str, Any]) -> Question:
    return Question(method, options.target, options.wanted, parameters, options.straight_through)


def _questions(options: argparse.Namespace) -> list[Question]:
    """One question a method; of several, names and parameters are checked before the first of them runs."""
    methods = list(dict.fromkeys(options.method))
    if len(methods) < 2:
        return [_question(options, method) for method in methods]
    cards = engines.methods(options.server)
    parameters = arguments.by_name(cards, options.parameters)
    for name in (*methods, *parameters):
        if name not in cards:
            raise UsageError(f"no method is called {name!r}; `explainsvc methods` lists them")
        if name not in methods:
            raise UsageError(f"-p {name}.…: {name} is not among the methods asked ({', '.join(methods)})")
    return [_asked(options, method, parameters.get(method, {})) for method in methods]


def randomise(options: argparse.Namespace) -> int:
    """The models of a parameter randomisation as ONNX files, and the list of their digests."""
    draws = Draws(options.order, options.distribution, options.seed, options.statistics, options.blocks)
    model = loading.load(options.model)
    last, folder = count_steps(model, draws) - 1, folder_of(options.out)
    if options.steps is not None and options.steps > last:
        raise UsageError(f"--steps {options.steps}: the last step is {last}")
    lines = []
    for step in steps_of(model, draws):
        if options.steps in (None, step.number):
            data = replace_weights(model, step.weights).proto.SerializeToString()
            path = folder / f"step-{step.number:03}.onnx"
            path.write_bytes(data)
            lines.append((hashlib.sha256(data).hexdigest(), path.name, step.name or "untouched"))
    (folder / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for digest, name, _ in lines), encoding="utf-8")
    print(*("  ".join(line) for line in lines), sep="\n")
    return DONE


Writer = Callable[[str, Answers], list[Path]]


def _writer(out: str | None) -> Writer | None:
    """By the file's suffix, so that a misspelt one is known before the work."""
    if out is None:
        return None
    writers: dict[str, Writer] = {".npz": _write_npz, ".png": _write_png}
    if Path(out).suffix not in writers:
        raise UsageError(f"--out {out}: expected a name that ends in .npz (values) or .png (heat map)")
    _place(out)
    return writers[Path(out).suffix]


def _place(out: str, suffix: str = "") -> Path:
    """The file to write, once it is known that its folder exists and its name ends as it should."""
    if not out.endswith(suffix):
        raise UsageError(f"--out {out}: expected a name that ends in {suffix}")
    if not Path(out).parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {Path(out).parent}; make it first")
    return Path(out)


def _wishes(options: argparse.Namespace) -> Wishes:
    """What the options say about pictures; without a picture they would go unheard."""
    asked = {"--render": options.render, "--tokens": options.tokens, "--names": options.names}
    unheard = [option for option, value in asked.items() if value is not None]
    if unheard and not (options.out or "").endswith(".png"):
        raise UsageError(f"{', '.join(unheard)}: only a picture is drawn so; give --out F.png")
    tokens, names = (None if path is None else arguments.read_lines(path) for path in (options.tokens, options.names))
    return Wishes(options.render, tokens, names)


def _write_npz(out: str, answers: Answers) -> list[Path]:
    """Input → values; of several methods ``METHOD.INPUT`` → values."""
    several = len(answers.attributions) > 1
    arrays = {
        f"{one.method}.{name}" if several else name: values for one in answers.attributions for name, values in one.values.items()
    }
    np.savez(out, **arrays)  # type: ignore[arg-type]  # numpy types its own keyword `allow_pickle` only
    return [Path(out)]


def _write_png(out: str, answers: Answers) -> list[Path]:
    """``F.png``; with several inputs or items ``F-INPUT-ITEM.png``, tables of several inputs ``F-ITEM.png``."""
    drawings = answers.drawings()
    paths = []
    for drawing in drawings:
        suffix = "" if len(drawings) == 1 else f"-{drawing.label}".replace("/", "_")
        path = Path(out).with_stem(f"{Path(out).stem}{suffix}")
        path.write_bytes(drawing.png())
        paths.append(path)
    return paths


def folder_of(out: str) -> Path:
    """The folder of this name, made where it is missing."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
