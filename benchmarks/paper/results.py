"""``RESULTS.md`` and its figures, out of the reports; nothing in it is typed by hand but the sentences between the numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import onnx

from benchmarks.paper import claims, draws, figures, prose, strokes, tables, untrained
from benchmarks.paper.audits import MPRT, Case
from benchmarks.paper.claims import Pair
from benchmarks.results import machine, table
from explainsvc.checks.rows import MODEL
from explainsvc.report.report import Report

HERE = Path(__file__).parent
SIMILARITIES = ("spearman_abs", "spearman")
Reports = Mapping[str, tuple[Case, Report]]


def write(found: Reports, control: Path | None, folder: Path) -> None:
    """The page and the figures beside it; what takes minutes is kept in the folder."""
    (HERE / "figures").mkdir(exist_ok=True)
    pairs = {model: pair for model in ("cnn", "mlp", "squeezenet") if (pair := _pair(found, model)) is not None}
    text = "\n\n".join(part.strip() for part in (*_head(found, pairs, control, folder), *_models(found)))
    (HERE / "RESULTS.md").write_text(text + "\n", encoding="utf-8")


def _pair(found: Reports, model: str) -> Pair | None:
    names = [f"{model}-{order}" for order in ("cascading", "independent")]
    return Pair(*(found[name][1] for name in names)) if all(name in found for name in names) else None


def _head(found: Reports, pairs: Mapping[str, Pair], control: Path | None, folder: Path) -> Iterator[str]:
    yield prose.TITLE
    yield machine(1)
    yield prose.SETTING
    yield "## What agrees with the paper, and what does not"
    yield table(["the paper says", "model", "method", "seen here", ""], claims.judged(pairs))
    yield prose.READING
    yield "## Where the input is not zero"
    yield prose.STROKES.format(zeros=", ".join(_zeros(found)))
    yield table(
        ["model", "method", "|map|, all pixels".replace("|", "\\|"), "|map|, strokes only".replace("|", "\\|")], _strokes(found)
    )
    yield "## What the draw decides"
    yield prose.DRAWS
    yield table(draws.HEADER, _kept(folder / "draws.json", lambda: draws.lines(found["cnn-cascading"][0])))
    yield "## An untrained model"
    yield prose.UNTRAINED
    yield table(untrained.HEADER, _kept(folder / "untrained.json", lambda: _untrained(found, control)))


def _kept(path: Path, make: Callable[[], Iterable[list[str]]]) -> list[list[str]]:
    """The lines of a table, from its file where there is one."""
    if not path.is_file():
        path.write_text(json.dumps(list(make())))
    return list(json.loads(path.read_text()))


def _zeros(found: Reports) -> Iterator[str]:
    case, _ = found["cnn-cascading"]
    yield f"{strokes.share_of_zeros(case):.0%}"


def _strokes(found: Reports) -> Iterator[list[str]]:
    for model in ("cnn", "mlp"):
        case, report = found[f"{model}-cascading"]
        for method in (*claims.PRODUCTS, "gradient"):
            s = strokes.within(case, method)
            everywhere = tables.cell(tables.walk(report, method, "spearman_abs")[-1])
            yield [model, f"`{method}`", everywhere, f"{s.mean:.2f} [{s.low:.2f}, {s.high:.2f}]"]


def _untrained(found: Reports, control: Path | None) -> Iterator[list[str]]:
    yield from untrained.lines(found["cnn-cascading"][0], None)
    yield from untrained.lines(found["mlp-cascading"][0], control)


def _models(found: Reports) -> Iterator[str]:
    for model, words in prose.MODELS.items():
        own = {name: pair for name, pair in found.items() if name.startswith(f"{model}-")}
        if own:
            yield f"## {words.title}"
            case, report = next(iter(own.values()))
            yield "\n".join(tables.facts(report, [*words.facts, *_right(case, report)]))
            yield from _figures(model, own)
            for name, (_, each) in own.items():
                yield from _tables(name, each)


def _right(case: Case, report: Report) -> Iterator[str]:
    if case.labels is not None:
        properties = {entry.key: entry.value for entry in onnx.load(case.path).metadata_props}
        yield f"accuracy {float(properties['held_out_accuracy']):.1%} of 2,000 held-out digits"
        accuracy = tables.walk(report, MODEL, "accuracy")[0].mean
        yield f"explained is the arg-max; it is the label's class for {accuracy:.1%} of the {len(case.labels)} inputs"


def _figures(model: str, own: Reports) -> Iterator[str]:
    for name, (_, report) in own.items():
        for similarity in SIMILARITIES:
            path = HERE / "figures" / f"{name}-{similarity}.svg"
            figures.curves(report, similarity, path)
            yield f"![{name}, {similarity}](figures/{path.name})"
    case, report = own[f"{model}-cascading"]
    path = HERE / "figures" / f"{model}-maps.png"
    figures.maps(case, report, prose.MODELS[model].shown, path)
    yield f"One input under cascading randomisation (rows), each map with its own scale:\n\n![maps](figures/{path.name})"


def _tables(name: str, report: Report) -> Sequence[str]:
    words = {"spearman_abs": "Spearman of |map|", "spearman": "Spearman of the signed map"}
    parts = [f"### {name}", tables.of_the_model(report)]
    for similarity in SIMILARITIES:
        parts += [f"{words[similarity]}, mean over the inputs [95 % interval]:", tables.by_step(report, similarity)]
    digest = report.header["checks"][MPRT]["models"][-1]["sha256"]
    return [*parts, tables.at_the_end(report), f"The model with all units random: sha256 `{digest}`."]
