"""What the demo found, as lines for a terminal, as PNG files and as a page."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from explainsvc.demo.subject import Array, Findings
from explainsvc.report import page as p
from explainsvc.report.figures import charts, map_table
from explainsvc.report.html import MEANING, plain_words, verdict_table
from explainsvc.report.page import Html, code, esc, join, section, tag, text
from explainsvc.report.render import GridRow, grid_png, heatmap_png

MOST_CLASSES = 3
WHAT_METHODS_DO = {
    "gradient": "how the output changes when a pixel changes a little",
    "integrated_gradients": "gradients added up on the way from a black image; sums to the change of the output",
    "guided_backprop": "gradients that may only flow back positively through ReLUs",
    "grad_cam": "where in the last feature map the output comes from, enlarged; never negative here",
    "lrp_epsilon_plus": "the output handed back layer by layer in proportion to each neuron's share",
    "input_x_gradient": "each pixel times the gradient there: what a linear model would owe to it",
    "occlusion": "how the output falls when a window of the image is covered",
}


def write(folder: Path, findings: Findings) -> list[Path]:
    """``index.html``, ``report.html``, ``report.json``, ``overview.png`` and one heat map per item and method."""
    maps = folder / "maps"
    maps.mkdir(exist_ok=True)
    files: dict[Path, bytes] = {
        folder / "index.html": _page(findings).encode(),
        folder / "overview.png": grid_png(_grid(findings), title=f"{findings.subject.title}: what speaks for the answer"),
    }
    for item, name in enumerate(findings.subject.names):
        for method in findings.attributions:
            title = f"{method}: {name}, {_explained(findings, item)}"
            png = heatmap_png(findings.values(method, item), image=findings.subject.pictures[item], title=title)
            files[maps / f"{_slug(name)}-{method}.png"] = png
    for path, data in files.items():
        path.write_bytes(data)
    reports = [folder / "report.html", folder / "report.json"]
    for path in reports:
        findings.report.save(path)
    return [*files, *reports]


def predictions(outputs: Array) -> list[str]:
    """Per item the likeliest classes: ``3 (99.1 %), 8 (0.4 %)``."""
    lines = []
    for row in probabilities(outputs):
        best = np.argsort(-row)[:MOST_CLASSES]
        lines.append(", ".join(f"class {index} ({percent(row[index])})" for index in best))
    return lines


def percent(share: float) -> str:
    """One decimal; what rounds to certainty or to nothing is said to be close to it only."""
    if share >= 0.9995:
        return ">99.9%"
    return f"{share:.1%}" if share >= 0.0005 else "<0.1%"


def probabilities(outputs: Array) -> Array:
    """[item, class]: the outputs themselves where they already are probabilities, else their softmax."""
    scores = np.asarray(outputs, np.float64).reshape(len(outputs), -1)
    if (scores >= 0).all() and np.allclose(scores.sum(1), 1.0, atol=1e-3):
        return scores
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def verdict_lines(findings: Findings) -> list[str]:
    """The verdicts in plain words."""
    verdicts = findings.report.verdicts
    lines = [
        "Do the explanations depend on what the model has learned?",
        "(parameter randomisation: weights replaced by random numbers, unit by unit from the output)",
    ]
    for (method, check), verdict in verdicts.items():
        first, *more = findings.report.reasons.get((method, check), "").split("; ")
        lines.append(f"  {method:<22}{verdict:<14}{first}".rstrip())
        lines += [f"{'':<38}{each}" for each in more]
    return lines + [f"  {verdict}: {MEANING[verdict]}" for verdict in dict.fromkeys(verdicts.values())]


def _page(findings: Findings) -> str:
    subject = findings.subject
    return p.page(
        f"explainsvc demo: {subject.title}",
        text(f"{subject.title}, explained", "h1"),
        _introduction(findings),
        section("What the model answers, and why", map_table(_grid(findings)), _methods(findings)),
        section(
            "Can these explanations be trusted?",
            text(plain_words(findings.report.verdicts), class_="lead"),
            text(
                "The check replaces the model's weights by random numbers, one unit after the other. A map that stays "
                "the same shows nothing of what the model has learned (Adebayo et al. 2018)."
            ),
            charts(findings.report.rows, findings.report.header["controls"]),
            verdict_table(findings.report),
        ),
        section("More", _more()),
    )


def _introduction(findings: Findings) -> Html:
    info = findings.info
    count = len(findings.subject.names)
    words = (
        f"A model of {info['parameters']:,} parameters was uploaded to a gRPC server. It differentiated the ONNX graph "
        f"itself, and onnxruntime ran the explaining graphs: {len(findings.attributions)} methods on "
        f"{count} input{'s' * (count > 1)}."
    )
    return join(
        [
            text(words, class_="lead"),
            p.facts({"model": code(findings.subject.model.name), "sha256": code(info["digest"])}),
        ]
    )


def _grid(findings: Findings) -> list[GridRow]:
    return [
        GridRow(
            f"{name}\n{_explained(findings, item)}",
            findings.subject.pictures[item],
            {method: findings.values(method, item) for method in findings.attributions},
        )
        for item, name in enumerate(findings.subject.names)
    ]


def _explained(findings: Findings, item: int) -> str:
    """The answer that is explained: the largest output."""
    return predictions(findings.outputs[item : item + 1])[0].split(", ")[0]


def _methods(findings: Findings) -> Html:
    rows = [
        (code(m), esc(WHAT_METHODS_DO[m]), p.parameters(a.parameters), _sum(a.residual)) for m, a in findings.attributions.items()
    ]
    table = p.table(["method", "what a map shows", "parameters", "largest residual"], rows, frozenset({3}))
    refused = join(text(f"{method} was left out: {why}", class_="quiet") for method, why in findings.refused.items())
    note = (
        "Largest residual: how far a map's sum is from what the method promises, in units of the output; of LRP it is "
        "the share that biases take."
    )
    return Html(table + text(note, class_="quiet") + refused)


def _sum(residual: Array | None) -> Html:
    """How far the map's sum is from what the method promises; empty where it promises nothing."""
    return esc("" if residual is None else f"{float(np.abs(residual).max()):.2g}")


def _more() -> Html:
    links = {
        "report.html": "the whole audit: every number, parameter and seed, and how to compute it again",
        "report.json": "the same for programs",
        "overview.png": "the maps above as one picture",
        "maps/": "each map with its colour bar",
    }
    return tag("ul", join(tag("li", Html(tag("a", esc(name), href=name) + esc(f": {words}"))) for name, words in links.items()))


def _slug(name: str) -> str:
    """A file name that no title can turn into a path."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.") or "item"
