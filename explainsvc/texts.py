"""Results as text for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from explainsvc.attribution import Attribution
from explainsvc.axioms import Claims
from explainsvc.cards import HEADINGS, Card
from explainsvc.checks.replay import ABSOLUTE, RELATIVE, Replay
from explainsvc.ledger import Account, Ledger
from explainsvc.report.report import Report

MOST_DIFFERENCES = 40
Rows = Iterable[Sequence[str]]


def table(rows: Rows) -> str:
    """Columns as wide as their widest cell; the last one runs free."""
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in cells), strict=True)]
    return "\n".join("  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in cells)


def inspection(info: Mapping[str, Any]) -> str:
    """``ModelInfo.to_json()`` for people."""
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in info["opsets"].items())
    made = f"{info['producer'] or 'unknown producer'}, ir {info['ir_version']}, opset {opsets}"
    operators = sorted(info["operators"].items(), key=lambda item: -item[1])
    rows = [
        ("model", info["digest"]),
        ("made by", made),
        ("size", f"{info['size_bytes']:,} bytes, {info['parameters']:,} float parameters"),
        *((f"input {tensor['name']}", _tensor(tensor)) for tensor in info["inputs"]),
        *((f"output {tensor['name']}", _tensor(tensor)) for tensor in info["outputs"]),
        ("operators", ", ".join(f"{name} {count}" for name, count in operators)),
        *((f"pass {one['name']}", _pass(one)) for one in info["passes"] if one["applied"]),
        *((f"gradient to {name}", reason or "yes") for name, reason in info["differentiable"].items()),
        ("parameter units", f"{len(info['units'])}, output side first: {_ends(info['units'])}"),
        *_cost(info["cost"]),
        *(
            (f"method {name}", _fit(reason, info["alternatives"].get(name, ())))
            for name, reason in sorted(info["methods"].items())
        ),
        *(("caveat", caveat) for caveat in info["caveats"]),
    ]
    return table(rows)


def _ends(names: Sequence[str], shown: int = 6) -> str:
    """The first names and the last ones of a long list."""
    if len(names) <= shown:
        return ", ".join(names)
    return ", ".join([*names[: shown // 2], "…", *names[-(shown // 2) :]])


def _fit(reason: str, alternatives: Sequence[str]) -> str:
    if not reason:
        return "applies"
    return f"{reason}; what applies: {', '.join(alternatives)}" if alternatives else reason


def _cost(cost: Mapping[str, Any]) -> Rows:
    """The lines of one forward's cost."""
    lengths = ", ".join(f"{axis} = {length}" for axis, length in cost["assumed"].items())
    without = f"; without {len(cost['uncounted'])} nodes of unknown shapes" if cost["uncounted"] else ""
    unsized = f"; without {cost['unsized']} results of unknown shape" if cost["unsized"] else ""
    return [
        ("one forward", f"{cost['flops'] / 1e9:,.3g} GFLOPs (multiply-adds × 2){f' at {lengths}' if lengths else ''}{without}"),
        ("weights", f"{cost['weight_bytes']:,} bytes"),
        ("activations", f"{cost['activation_bytes']:,} bytes together, {cost['peak_bytes']:,} at once{unsized}"),
    ]


def nodes(info: Mapping[str, Any]) -> str:
    """The nodes of ``ModelInfo.to_json()`` for people: a line each, then the rules that differ from the vjp."""
    head = ("node", "operator", "results", "becomes", "FLOPs", "vjp", "rules")
    return table([head, *(_node(node) for node in info["nodes"])])


def node_rules(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows of a dry run: a line each node, in the order of the graph."""
    return table([("node", "operator", "results", "rule", "parameters"), *map(_node_rule, rows)])


def _node_rule(row: Mapping[str, Any]) -> Sequence[str]:
    parameters = ", ".join(f"{name}={value}" for name, value in row["parameters"].items())
    rule = f"refused: {row['refusal']}" if row["refusal"] else row["rule"]
    return (row["name"], row["operator"], ", ".join(row["results"]), rule, parameters)


def _node(node: Mapping[str, Any]) -> Sequence[str]:
    outputs = node["outputs"]
    flops = "?" if node["flops"] is None else f"{node['flops']:,}"
    results = ", ".join(f"{tensor['name']} {_tensor(tensor)}" for tensor in outputs)
    name = node["name"] or (outputs[0]["name"] if outputs else "")
    return (name, node["operator"], results, _becomes(node), flops, node["vjp"], _rules(node["rules"]))


def _becomes(node: Mapping[str, Any]) -> str:
    """The operators that stand for a node, where that is not itself; those of long bodies are counted."""
    counts = Counter(node["becomes"])
    if list(node["becomes"]) == [node["operator"]]:
        return ""
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items())


def _rules(rules: Mapping[str, str]) -> str:
    """Rule: methods; where all of them leave a node to its vjp, nothing."""
    methods: dict[str, list[str]] = {}
    for method, rule in rules.items():
        methods.setdefault(rule, []).append(method)
    return "; ".join(f"{rule}: {', '.join(names)}" for rule, names in methods.items() if rule not in ("", "vjp"))


def _pass(one: Mapping[str, Any]) -> str:
    error = "error not measured" if one["error"] is None else f"error {one['error']:.1e}"
    return f"{error}: {one['note']}" if one["note"] else error


def _tensor(tensor: Mapping[str, Any]) -> str:
    shape = tensor["shape"]
    axes = "…" if shape is None else ", ".join("?" if size is None else str(size) for size in shape)
    return f"{tensor['dtype']} [{axes}]"


def explanation(attribution: Attribution, written: Sequence[Path] = ()) -> str:
    """What was explained, the sums per item, the range per input."""
    target = ("target", f"{attribution.target.description} (seed {attribution.seed})")
    items = [
        (f"item {item}", f"output {output:.6g}, sum of values {total:.6g}{_beyond(attribution, item)}")
        for item, (output, total) in enumerate(zip(attribution.output_value, _sums(attribution), strict=True))
    ]
    ranges = [
        (name, f"{values.dtype} {list(values.shape)}, from {values.min():.4g} to {values.max():.4g}{_shared(attribution, name)}")
        for name, values in attribution.values.items()
    ]
    caveats = [("caveat", text) for text in attribution.caveats]
    return table([("method", attribution.method), target, *items, *ranges, *caveats, *_files(written)])


def explanations(attributions: Sequence[Attribution], written: Sequence[Path] = ()) -> str:
    """A block a method, and the files at the end."""
    *first, last = attributions
    return "\n\n".join([*(explanation(one) for one in first), explanation(last, written)])


def _sums(attribution: Attribution) -> Sequence[float]:
    """Σ values per item; of a single item it is over everything, of several only over the inputs that they do not share."""
    count = len(attribution.output_value)
    parts = [each for name, each in attribution.values.items() if not _shared(attribution, name)]
    rows = [np.asarray(each, np.float64).reshape(count, -1).sum(1) for each in parts]
    return [float(total) for total in sum(rows, np.zeros(count))]


def _shared(attribution: Attribution, name: str) -> str:
    """The sum of an input that all items share, in words; nothing for one that has a row an item."""
    values, count = attribution.values[name], len(attribution.output_value)
    if count == 1 or (values.ndim and len(values) == count):
        return ""
    return f", sum {values.sum(dtype=np.float64):.6g}, shared by all items"


def _beyond(attribution: Attribution, item: int) -> str:
    """Baseline and residual, where the method has them."""
    given = (("baseline", attribution.baseline_value), ("residual", attribution.residual))
    return "".join(f", {name} {values[item]:.6g}" for name, values in given if values is not None)


def ledger(books: Ledger, written: Sequence[Path] = ()) -> str:
    """What was explained; a line a node, from the target to the inputs; where everything that it started with went."""
    names = ("received", "handed on", "bias", "rest")
    head = ("node", "operator", "rule", *(f"{name:>12}" for name in names), "to")
    got = [(f"at input {name}", _amount(share)) for name, share in books.at_inputs.items()]
    kept = [("biases", _amount(books.bias)), ("rest", _amount(books.rest)), ("rounding", _amount(books.rounding))]
    caveats = [("caveat", text) for text in books.caveats]
    return "\n\n".join([
        table([("method", books.method), ("target", books.target.description)]),
        table([head, *map(_account, books.accounts)]),
        table([("start", _amount(books.start)), *got, *kept, *caveats, *_files(written)]),
    ])  # fmt: skip


def _account(account: Account) -> Sequence[str]:
    """The shares are spelled where there are several; those of a long list at its ends."""
    shares = [f"{name} {share:.5g}" for name, share in account.handed_on.items()]
    sums = (account.received, sum(account.handed_on.values()), account.bias, account.rest)
    to = _ends(shares if len(shares) > 1 else list(account.handed_on))
    return (account.node or ", ".join(account.results), account.operator, account.rule, *map(_amount, sums), to)


def _amount(number: float) -> str:
    return f"{number:>12.5g}"


def verdicts(report: Report, written: Sequence[Path] = ()) -> str:
    """One line for each method and check."""
    lines = [
        (method, check, verdict, report.reasons.get((method, check), "")) for (method, check), verdict in report.verdicts.items()
    ]
    parts = [table(lines)] if lines else []
    return "\n".join([*parts, *(f"{label} {path}" for label, path in _files(written))])


def replay(result: Replay) -> str:
    """How many numbers were compared, and those that differ."""
    how = "bit for bit" if result.exact else f"within {ABSOLUTE} + {RELATIVE:.0%}, as machine or versions are others"
    head = f"{result.compared:,} numbers and verdicts compared, {how}: "
    if not result.differences:
        return head + "all equal"
    shown = [(d.what, f"reported {d.reported}", f"now {d.replayed}") for d in result.differences[:MOST_DIFFERENCES]]
    left = len(result.differences) - len(shown)
    return "\n".join([f"{head}{len(result.differences)} differ", table(shown), *([f"… and {left} more"] if left else [])])


def replay_json(result: Replay) -> dict[str, Any]:
    """The same for a program."""
    return {"exact": result.exact, "compared": result.compared, "differences": [asdict(d) for d in result.differences]}


def cards(listed: Iterable[Card]) -> str:
    """Name and summary, then the parameters with their defaults."""
    blocks = []
    for card in listed:
        rows = [(f"    {p.name}={p.default}", p.type, p.description) for p in card.parameters]
        blocks.append("\n".join([f"{card.name}: {card.summary}", *([table(rows)] if rows else [])]))
    return "\n".join(blocks)


def card(shown: Card) -> str:
    """The whole card: every heading, then the parameters with type, default, range and meaning."""
    rows = [(f"  {heading}", " ".join(getattr(shown, heading.lower()).split())) for heading in HEADINGS]
    rows += [("  Axioms", claims(shown.axioms))] if shown.axioms else []
    parameters = [(f"  {p.name}={p.default}", p.type, p.range, p.description) for p in shown.parameters]
    return "\n".join([f"{shown.name}: {shown.summary}", table(rows), *([table(parameters)] if parameters else [])])


def claims(axioms: Claims) -> str:
    """The axioms of a card in one line."""
    return ", ".join(f"{axiom} ({manner})" for axiom, manner in axioms.items())


def _files(written: Sequence[Path]) -> list[tuple[str, str]]:
    return [("wrote", str(path)) for path in written]
