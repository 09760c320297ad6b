"""What each command does; ``cli`` says how it is spelled."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from explainsvc import arguments, engines, images, texts
from explainsvc.arguments import UsageError
from explainsvc.attribution import Attribution
from explainsvc.cards import Card
from explainsvc.engines import Audit, Engine, Question
from explainsvc.images import Preprocessing
from explainsvc.progress import bar
from explainsvc.report import render
from explainsvc.service import config, server

Command = Callable[[argparse.Namespace], int]
DONE, VERDICT = 0, 3


def demo(options: argparse.Namespace) -> int:
    """The demo, on a server of its own."""
    from explainsvc.demo.run import run  # here, so that other commands start faster

    return run(options.out, model=options.model, image=options.image, preprocessing=preprocessing(options))


def inspect(options: argparse.Namespace) -> int:
    """Facts of a model: text, or with --json ``ModelInfo.to_json()``."""
    with engines.opened(options.model, options.server) as engine:
        info = engine.inspect()
    _say(options, info, texts.inspection(info) + (f"\n\n{texts.nodes(info)}" if options.nodes else ""))
    return DONE


def explain(options: argparse.Namespace) -> int:
    """One explanation, to a file and to stdout; with --dry-run the rules of its backward pass instead."""
    write = _writer(options.out)
    question = _question(options)
    if options.dry_run:
        return _dry_run(options, question)
    if options.inputs is None:
        raise UsageError("--inputs is required; only --dry-run goes without")
    with engines.opened(options.model, options.server) as engine, bar() as progress:
        given = _given(engine, options)
        attribution = engine.explain(given.feeds, question, options.seed, progress)
    written = write(options.out, attribution, given) if write is not None else []
    _say(options, attribution.to_json(), texts.explanation(attribution, written))
    return DONE


def _dry_run(options: argparse.Namespace, question: Question) -> int:
    """Every node on the way and its rule; nothing is computed."""
    if options.server is not None:
        raise UsageError("--dry-run is made on this machine; leave --server away")
    rows = [dataclasses.asdict(row) for row in engines.dry_run(options.model, question)]
    _say(options, {"method": question.method, "nodes": rows}, texts.node_rules(rows))
    return DONE


def compile_(options: argparse.Namespace) -> int:
    """The explained graph, saved."""
    out, question = _place(options.out), _question(options)
    with engines.opened(options.model, options.server) as engine:
        data = engine.compile(question)
    out.write_bytes(data)
    print(f"wrote {options.out} ({len(data):,} bytes): set explain.seed, read explain.<input>")
    return DONE


def audit(options: argparse.Namespace) -> int:
    """report.json and report.html; exit code 3 for a verdict named by --fail-on."""
    cards = {**engines.methods(options.server), **engines.checks(options.server)}
    question = Audit(
        methods=options.methods,
        checks=options.checks,
        target=options.target,
        labels=None if options.labels is None else arguments.read_array(options.labels),
        seed=options.seed,
        parameters=arguments.by_name(cards, options.parameters),
    )
    feeds = arguments.read_inputs(options.inputs)
    folder = _folder(options.out)
    with engines.opened(options.model, options.server) as engine, bar() as progress:
        report = engine.audit(feeds, question, progress)
    for name in ("report.json", "report.html"):
        report.save(folder / name)
    _say(options, report.to_json(), texts.verdicts(report, [folder / "report.html", folder / "report.json"]))
    return VERDICT if set(options.fail_on) & set(report.verdicts.values()) else DONE


def methods(options: argparse.Namespace) -> int:
    """The cards of the methods, here or of the server."""
    return _cards(options, engines.methods(options.server))


def checks(options: argparse.Namespace) -> int:
    """The cards of the checks, here or of the server."""
    return _cards(options, engines.checks(options.server))


def serve(options: argparse.Namespace) -> int:
    """The server, until it is told to stop."""
    return server.run(config.configured(options))


def _cards(options: argparse.Namespace, cards: Mapping[str, Card]) -> int:
    _say(options, {name: card.to_json() for name, card in cards.items()}, texts.cards(cards.values()))
    return DONE


def _say(options: argparse.Namespace, document: Mapping[str, Any], text: str) -> None:
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


def _question(options: argparse.Namespace) -> Question:
    card = engines.methods(options.server).get(options.method) if options.parameters else None
    parameters = arguments.typed(card, options.parameters)
    return Question(options.method, options.target, options.wanted, parameters, options.straight_through)


def preprocessing(options: argparse.Namespace) -> Preprocessing:
    """What the pixel options say."""
    return Preprocessing(options.scale, options.mean, options.std, options.bgr, options.layout, options.channels, options.size)


@dataclass(frozen=True)
class Given:
    """What ``--inputs`` holds: the tensors, and per input and item the picture to draw beneath the map."""

    feeds: Mapping[str, npt.NDArray[Any]]
    pictures: Mapping[str, Sequence[npt.NDArray[Any]]]
    layout: images.Layout | None = None


def _given(engine: Engine, options: argparse.Namespace) -> Given:
    if not images.is_image(options.inputs):
        feeds = arguments.read_inputs(options.inputs)
        return Given(feeds, {name: list(values) for name, values in feeds.items() if values.ndim > 0})
    inputs = engine.inputs()
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs)
        raise UsageError(f"{options.inputs}: an image fills one input, the model has {names}; give an .npz with all")
    tensor = inputs[0]
    picture = images.preprocess(options.inputs, tensor.shape, tensor.dtype, preprocessing(options))
    return Given({tensor.name: picture.tensor}, {tensor.name: [picture.rgb]}, picture.layout)


Writer = Callable[[str, Attribution, Given], list[Path]]


def _writer(out: str | None) -> Writer | None:
    """By the file's suffix, so that a misspelt one is known before the work."""
    if out is None:
        return None
    writers: dict[str, Writer] = {".npz": _write_npz, ".png": _write_png}
    if Path(out).suffix not in writers:
        raise UsageError(f"--out {out}: expected a name that ends in .npz (values) or .png (heat map)")
    _place(out)
    return writers[Path(out).suffix]


def _place(out: str) -> Path:
    """The file to write, once it is known that its folder exists."""
    if not Path(out).parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {Path(out).parent}; make it first")
    return Path(out)


def _write_npz(out: str, attribution: Attribution, _: Given) -> list[Path]:
    np.savez(out, **attribution.values)  # type: ignore[arg-type]  # numpy types its own keyword `allow_pickle` only
    return [Path(out)]


def _write_png(out: str, attribution: Attribution, given: Given) -> list[Path]:
    """``F.png``; with several inputs or items ``F-INPUT-ITEM.png``."""
    maps = list(_maps(attribution))
    paths = []
    for name, item, values in maps:
        path = Path(out) if len(maps) == 1 else Path(out).with_stem(f"{Path(out).stem}-{name}-{item}".replace("/", "_"))
        title = f"{attribution.method} of {attribution.target.description}"
        image = given.pictures[name][item]
        path.write_bytes(render.heatmap_png(values, image=image, title=title, layout=given.layout))
        paths.append(path)
    return paths


def _maps(attribution: Attribution) -> Iterator[tuple[str, int, npt.NDArray[Any]]]:
    """(input, item, values) of everything with height and width."""
    flat = [name for name, values in attribution.values.items() if values.ndim not in (3, 4)]
    if flat:
        raise UsageError(f"--out .png draws values with height and width; {', '.join(flat)} has none, write an .npz")
    for name, values in attribution.values.items():
        for item, one in enumerate(values):
            yield name, item, one


def _folder(out: str) -> Path:
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
