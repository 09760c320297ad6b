"""The audit report as one self-contained page, in plain words first and numbers after."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from explainsvc.checks.rows import MODEL, Row
from explainsvc.errors import InvalidInput
from explainsvc.report import page as p
from explainsvc.report import render
from explainsvc.report.figures import breakable, charts, interval, map_table, number
from explainsvc.report.kinds import kind_of
from explainsvc.report.page import Html, code, esc, join, section, tag, text
from explainsvc.report.report import Report

GOOD, BAD = frozenset({"sensitive", "pass"}), frozenset({"insensitive", "fail"})
MOST_MAPS = 4
MEANING = {
    "sensitive": "Its maps change when the model's weights are replaced by random numbers: they depend on the weights. "
    "This is necessary for a faithful explanation, not sufficient.",
    "insensitive": "By at least one similarity its maps stay much the same although the weights were replaced by random "
    "numbers: do not take them as evidence of what this model has learned. A method that multiplies by the input "
    "(integrated gradients, LRP) keeps the input's zeros under any weights: compare |map| with the signed map.",
    "inconclusive": "These inputs do not decide it: the interval reaches across the limit, or the maps have no rank "
    "correlation. Run the check on more inputs.",
    "pass": "The property holds on these inputs.",
    "fail": "The property does not hold on these inputs.",
}
OF_MODEL = {
    "pass": "The model has learned something that an explanation could show.",
    "fail": "The model is no better, or looks no different, than one whose weights were drawn at random: what a method shows of "
    "it is no evidence of something learned.",
    "inconclusive": "Whether the model has learned anything is not decided.",
}
"""Of the verdict on the model itself."""
CONTROL_MEANING = (
    "Never looks at the model, and is not judged: random shows the similarity of unrelated maps, sobel that of maps "
    "which only show the input. A method that stays as high as sobel is no more than an edge detector."
)


def render_report(report: Report) -> str:
    """The whole page."""
    model = report.header.get("model", {})
    name = model.get("name") or f"model {str(model.get('digest', ''))[:12]}"
    return p.page(
        f"Audit of {name}",
        text(f"Audit of {name}", "h1"),
        _summary(report),
        section("Verdicts", verdict_table(report), _rules(report)),
        _figures(report),
        _maps(report),
        section("The model", _model(report.header)),
        section("The inputs", _inputs(report.header)),
        section("The methods", _methods(report.header)),
        section("Every number", _rows(report.rows)),
        section("Compute it again", _replay(report.header)),
    )


def badge(verdict: str) -> Html:
    """A verdict as a coloured word."""
    kind = "good" if verdict in GOOD else "bad" if verdict in BAD else "open" if verdict == "inconclusive" else ""
    return text(verdict, "span", class_=f"badge {kind}")


def plain_words(verdicts: Mapping[tuple[str, str], str], controls: Sequence[str] = ()) -> str:
    """One sentence per outcome: which methods. Controls are not judged."""
    several = len({check for _, check in verdicts}) > 1
    judged: dict[str, list[str]] = {}
    for (method, check), verdict in verdicts.items():
        if method not in controls:
            judged.setdefault(verdict, []).append(f"{method} ({check})" if several else method)
    if not judged:
        return "No method was judged."
    return " ".join(f"{verdict.capitalize()}: {', '.join(names)}." for verdict, names in judged.items())


def _summary(report: Report) -> Html:
    controls = report.header.get("controls", [])
    equality = report.header.get("equality", {})
    several = len({check for _, check in report.verdicts}) > 1
    parts = [verdict_matrix(report) if several else text(plain_words(report.verdicts, controls), class_="lead")]
    refused = report.header.get("refused", {})
    parts += [
        tag("p", Html(badge(word) + esc(f" {OF_MODEL[word]} {report.reasons.get((name, check), '')}")), class_="rule")
        for (name, check), word in report.verdicts.items()
        if name == MODEL and word in OF_MODEL
    ]
    parts += [tag("p", Html(code(method) + esc(f" could not be run: {reason}"))) for method, reason in refused.items()]
    if equality:
        error, count = number(equality.get("max_error")), equality.get("n", "?")
        words = f"The explained graph computes what the model computes: largest deviation {error} over {count} inputs"
        parts.append(text(f"{words} ({equality['rule']})." if equality.get("rule") else f"{words}."))
    if report.header.get("target"):
        parts.append(tag("p", Html(esc("Explained: ") + code(report.header["target"]))))
    return join(parts)


def verdict_matrix(report: Report) -> Html:
    """Methods by checks, a coloured word each: what an audit of several checks found, at a glance."""
    methods, checks = (list(dict.fromkeys(names)) for names in zip(*report.verdicts, strict=True))
    heads = [tag("th", Html("")), *(tag("th", breakable(name)) for name in checks)]
    rows = [
        tag("tr", join([tag("th", code(m), scope="row"), *(tag("td", _cell(report.verdicts.get((m, c)))) for c in checks)]))
        for m in methods
    ]
    return tag("div", tag("table", join([tag("tr", join(heads)), *rows])), class_="wide matrix")


def _cell(verdict: str | None) -> Html:
    return esc("–") if verdict is None else badge(verdict)


def verdict_table(report: Report) -> Html:
    """Each method's verdict with the numbers behind it, then what the words mean."""
    controls = report.header.get("controls", [])
    rows = [
        (
            code(method),
            code(check),
            badge("control" if method in controls else verdict),
            esc(_why(report, method, check)),
        )
        for (method, check), verdict in report.verdicts.items()
    ]
    words = dict.fromkeys(v for (method, _), v in report.verdicts.items() if method not in (*controls, MODEL))
    meaning = {word: esc(MEANING[word]) for word in words if word in MEANING}
    if controls:
        meaning["control"] = esc(CONTROL_MEANING)
    table = tag("div", p.table(["method", "check", "verdict", "numbers"], rows), class_="stack")
    return Html(table + p.facts(meaning))


def _why(report: Report, method: str, check: str) -> str:
    """The check's own sentence, or the similarity at the last step of its rows."""
    reason = report.reasons.get((method, check), "")
    own = [row for row in report.rows if (row.method, row.check) == (method, check)]
    if reason or not own:
        return reason
    last = max(own, key=lambda row: row.step)
    return f"{last.measure} after {last.unit}: {number(last.mean)} [{number(last.low)}, {number(last.high)}]"


def _rules(report: Report) -> Html:
    checks = report.header.get("checks", {})
    return join(
        tag("p", Html(tag("b", esc(f"Rule of {name}: ")) + esc(check["rule"])), class_="rule")
        for name, check in checks.items()
        if check.get("rule")
    )


def _figures(report: Report) -> Html:
    if not report.rows:
        return Html("")
    return section("What the checks found", charts(report.rows, report.header.get("controls", []), report.header.get("checks")))


def _maps(report: Report) -> Html:
    """A table of heat maps where the inputs are pictures, else one figure an input; nothing where they cannot be drawn."""
    if not report.maps:
        return Html("")
    count = min(MOST_MAPS, *(len(values) for values in report.maps.values()))
    try:
        if report.images is not None and kind_of(report.images.shape[1:], report.images.dtype.kind) == "image":
            body = map_table([_grid_row(report.maps, report.images, index) for index in range(count)])
        else:
            body = join(_figure(report, index) for index in range(count))
    except InvalidInput as error:
        body = text(f"No pictures: {error}", class_="quiet")
    return section("The maps", body)


def _figure(report: Report, index: int) -> Html:
    """One input's maps by all methods."""
    maps = {name: values[index] for name, values in report.maps.items()}
    x = None if report.images is None else report.images[index]
    return tag("figure", p.picture(render.attributions_png(maps, x=x, title=f"input {index}"), ", ".join(maps)))


def _grid_row(maps: Mapping[str, Any], images: Any, index: int) -> render.GridRow:
    return render.GridRow(f"input {index}", images[index], {name: values[index] for name, values in maps.items()})


def _model(header: Mapping[str, Any]) -> Html:
    model = header.get("model", {})
    operators = ", ".join(f"{op} ×{count}" for op, count in model.get("operators", {}).items())
    size = model.get("size_bytes")
    entries = {
        "name": esc(model.get("name") or ""),
        "sha256": code(model.get("digest", "unknown")),
        "producer": esc(model.get("producer", "")),
        "opsets": esc(", ".join(f"{domain or 'ai.onnx'} {v}" for domain, v in model.get("opsets", {}).items())),
        "operators": esc(operators),
        "size": esc("" if size is None else f"{size:,} bytes, {model.get('parameters', 0):,} parameters"),
        "inputs": join((_tensor(each) for each in model.get("inputs", [])), "<br>"),
        "outputs": join((_tensor(each) for each in model.get("outputs", [])), "<br>"),
        "licence": esc(model.get("license", "")),
        "caveats": join((esc(words) for words in model.get("caveats", [])), "<br>"),
    }
    return Html(p.facts(entries) + _passes(model.get("passes", [])))


def _passes(passes: Sequence[Mapping[str, Any]]) -> Html:
    applied = [each for each in passes if each.get("applied")]
    if not applied:
        return Html("")
    rows = [(code(each["name"]), esc(number(each.get("error"))), esc(each.get("note", ""))) for each in applied]
    words = "Before explaining, the graph was rewritten; each step was run against the untouched model on probe inputs."
    return Html(text(words) + p.table(["pass over the graph", "largest relative deviation", "note"], rows, frozenset({1})))


def _tensor(info: Mapping[str, Any]) -> Html:
    shape = ", ".join("?" if size is None else str(size) for size in info.get("shape") or ["…"])
    return Html(code(info.get("name", "")) + esc(f" {info.get('dtype', '')} [{shape}]"))


def _inputs(header: Mapping[str, Any]) -> Html:
    rows = [
        (code(name), esc(f"{info.get('dtype', '')} {info.get('shape', '')}"), code(info.get("digest", "")))
        for name, info in header.get("inputs", {}).items()
    ]
    return p.table(["input", "type", "sha256"], rows)


def _methods(header: Mapping[str, Any]) -> Html:
    rows = [
        (
            code(name),
            p.parameters(info.get("parameters", {})),
            code(info.get("seed", "")),
            esc("" if info.get("max_residual") is None else number(info["max_residual"])),
            join((esc(words) for words in info.get("caveats", [])), "<br>"),
        )
        for name, info in header.get("methods", {}).items()
    ]
    checks = [
        (code(name), p.parameters(info.get("parameters", {})), code(info.get("seed", "")), Html(""), Html(""))
        for name, info in header.get("checks", {}).items()
    ]
    return p.table(["method or check", "parameters", "seed", "largest residual", "caveats"], rows + checks, frozenset({3}))


def _rows(rows: Sequence[Row]) -> Html:
    heads = ["check", "method", "order", "step", "unit", "measure", "mean", "std", "95 % interval", "n", "note"]
    body = [
        (
            code(r.check),
            code(r.method),
            esc(r.order),
            esc(r.step),
            code(r.unit),
            esc(r.measure),
            esc(number(r.mean)),
            esc(number(r.std)),
            esc(interval(r)),
            esc(r.n),
            esc(r.note),
        )
        for r in rows
    ]
    summary = text(f"{len(rows)} rows", "summary")
    return tag("details", Html(summary + p.table(heads, body, frozenset({3, 6, 7, 8, 9}))))


def _replay(header: Mapping[str, Any]) -> Html:
    command = "explainsvc replay report.json MODEL.onnx --inputs INPUTS.npz"
    versions = ", ".join(f"{name} {version}" for name, version in header.get("versions", {}).items())
    words = (
        "The model and the inputs must have the digests above; report.json (written beside this page) holds every "
        "parameter and seed. The command computes every number again and exits 1 on a difference."
    )
    seed = f"Seed of the audit: {json.dumps(header.get('seed'))}. Versions: {versions}."
    return join([text(words), tag("pre", esc(command)), text(seed, class_="quiet")])
