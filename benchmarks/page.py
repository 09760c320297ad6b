"""``RESULTS.md``, made of the lines of JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from benchmarks.contest import Record
from benchmarks.groups import GROUPS
from benchmarks.results import table

BY_HAND = "<!-- From here on not by `make bench`. -->"
CONTEST = ("work", "network", "batch", "unit", "ours", "peers", "target", "met", "deviation", "rounds")
VALUES = ("work", "network", "batch", "ours", "peers", "target", "met")
INTRODUCTION = """\
Written by `make bench` from `results.jsonl`, a line of JSON each. Figures are multiples of the unit, medians over the rounds of
the ratio within a round; in brackets fastest over fastest; then the median in milliseconds. All contestants of a line take turns,
A B C A B C, by the same number of threads, the peers each in a process and an environment of its own, ours in the process of the
line. Targets judge the figure in bold.
"""


def page(records: Sequence[Record], before: str) -> str:
    """The page of these lines, in order; what ``before`` has from BY_HAND on stays."""
    _, marker, by_hand = before.partition(BY_HAND)
    parts = ["# Results", INTRODUCTION, *_sections(records)]
    return "\n\n".join(part.strip() for part in [*parts, marker + by_hand] if part.strip()) + "\n"


def _sections(records: Sequence[Record]) -> Iterator[str]:
    for name, lines in groupby(records, lambda record: record["group"]):
        yield f"## {GROUPS[name].title}"
        for machine, own in groupby(lines, lambda record: record["machine"]):
            measured = list(own)
            yield machine + _versions(measured)
            yield from _tables(measured)
        yield GROUPS[name].legend


def _versions(records: Sequence[Record]) -> str:
    """Of the peers."""
    found = {f"{name} {version}" for record in records for name, version in record.get("versions", {}).items()}
    return f"; peers: {', '.join(sorted(found))}" if found else ""


def _tables(records: Sequence[Record]) -> Iterator[str]:
    curves = [r for r in records if r.get("kind") == "curve" and "points" in r]
    values = [r for r in records if "values" in r]
    contests = [r for r in records if "ratio" in r]
    if contests:
        yield table(CONTEST, map(_contest, contests))
    if values:
        yield table(VALUES, map(_values, values))
    for record in curves:
        points = record["points"]
        header = [record["work"], *points[0]["values"]]
        yield table(header, ([str(p["at"]), *(_number(v) for v in p["values"].values())] for p in points))
    yield from _troubles(records)


def _troubles(records: Sequence[Record]) -> Iterator[str]:
    """What could not be measured, in the words of what failed."""
    words = [f"{name_of(r)}: {peer}: {error}" for r in records for peer, error in r.get("failed", {}).items()]
    words += [f"{name_of(r)}: the measurement ended with exit code {r['crashed']}" for r in records if "crashed" in r]
    if words:
        yield "Not measured:\n\n" + "\n".join(f"- {line}" for line in words)


def name_of(record: Record) -> str:
    """Which line it is."""
    asked = [record["work"], record.get("network", ""), f"batch {record['batch']}" if "batch" in record else ""]
    return ", ".join(filter(None, asked))


def figure(record: Record) -> float:
    """What the target judges."""
    found = record["ratio"] if "ratio" in record else record["values"]
    return float(found[record["judged"]])


def _verdict(record: Record) -> list[str]:
    """The target, and whether it is met."""
    if "target" not in record:
        return ["", ""]
    return [f"≤ {record['target']:g}", "yes" if figure(record) <= record["target"] else "no"]


def _contest(record: Record) -> list[str]:
    cells = {name: _cell(record, name) for name in record["ratio"]}
    ours = "<br>".join(cell for name, cell in cells.items() if name in record["ours"])
    theirs = "<br>".join(cell for name, cell in cells.items() if name not in record["ours"])
    unit = f"{record['unit']} {_milliseconds(record, record['unit'])}"
    apart = ", ".join(f"{name} {value:.0e}" for name, value in record["deviation"].items())
    return [*_asked(record), unit, ours, theirs, *_verdict(record), apart, str(record["rounds"])]


def _cell(record: Record, name: str) -> str:
    times = f" × {record['units'][name]}" if name in record.get("units", {}) else ""
    text = f"{name} {record['ratio'][name]:.2f} ({record['fastest'][name]:.2f}){times}, {_milliseconds(record, name)}"
    return f"**{text}**" if name == record["judged"] else text


def _milliseconds(record: Record, name: str) -> str:
    return f"{_number(1e3 * record['seconds'][name])} ms"


def _values(record: Record) -> list[str]:
    def cell(name: str) -> str:
        text = f"{name}: {_number(record['values'][name])} {record['kind']}"
        return f"**{text}**" if name == record.get("judged") else text

    ours = [cell(name) for name in record["values"] if name in record["ours"]]
    theirs = [cell(name) for name in record["values"] if name not in record["ours"]]
    return [*_asked(record), "<br>".join(ours), "<br>".join(theirs), *_verdict(record)]


def _asked(record: Record) -> list[str]:
    return [f"`{record['work']}`", record["network"], str(record["batch"])]


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def told(record: Record) -> str:
    """A line for whoever watches."""
    if "crashed" in record:
        return f"{name_of(record)}: exit code {record['crashed']}"
    if "points" in record:
        return f"{record['work']}: {len(record['points'])} points"
    judged = record.get("judged", record["ours"][0])
    found = record.get("ratio") or record["values"]
    others = ", ".join(f"{name} {_number(value)}" for name, value in found.items() if name != judged)
    return f"{name_of(record)}: {judged} {_number(found[judged])} ({others}) target {record.get('target', '–')}"
