"""``python -m benchmarks [GROUP…]``: measures, prints each line as it comes, keeps it as JSON, and writes ``RESULTS.md``.

Every line is measured in a process of its own: what an allocator keeps must not press on the next one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks import page, results
from benchmarks.contest import Record, Settings
from benchmarks.environments import ROOT
from benchmarks.groups import GROUPS

LINES, PAGE = Path(__file__).parent / "results.jsonl", Path(__file__).parent / "RESULTS.md"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"default: all of {', '.join(GROUPS)}")
    parser.add_argument("--only", default="", help="lines whose work or network has this in its name")
    parser.add_argument("--seconds", type=float, default=30, help="a line; three rounds at least; default: 30")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="of onnxruntime and of torch; default: one a core"
    )
    parser.add_argument("--quick", action="store_true", help="one round of the smallest, printed and not kept: does it work?")
    args = parser.parse_args()
    if unknown := set(args.groups) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    return args


def main() -> int:
    """Measures what the command line asks for; lines of other groups stay as they were. 1 where a line could not be measured."""
    args = arguments()
    settings, failed = Settings(args.seconds, args.threads, args.quick), False
    for group in args.groups or list(GROUPS):
        machine, found = results.machine(args.threads), []
        print(f"## {GROUPS[group].title}", flush=True)
        for spec in GROUPS[group].specs(args.quick):
            if args.only in f"{spec['work']} {spec.get('network', '')}":
                record = one(group, spec, settings)
                failed |= "crashed" in record
                found.append({"group": group, **record, "machine": machine})
                print(json.dumps(found[-1]) if args.quick else page.told(found[-1]), flush=True)
        if not args.quick:
            keep(group, found, replace=not args.only)
    return int(failed)


def one(group: str, spec: Record, settings: Settings) -> Record:
    """A line, by a process of its own; ``crashed`` where it ends otherwise."""
    command = [sys.executable, "-m", "benchmarks.groups", group, json.dumps(spec), json.dumps(vars(settings))]
    environment = os.environ | {"EXPLAINSVC_THREADS": str(settings.threads)}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {**spec, "crashed": done.returncode}
    record: Record = json.loads(done.stdout.splitlines()[-1])
    return record


def keep(group: str, found: list[Record], replace: bool) -> None:
    """Writes the lines beside what is there, and the page anew."""
    before = [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.exists() else []
    lines = merged(before, group, found, replace)
    LINES.write_text("".join(json.dumps(record) + "\n" for record in lines))
    PAGE.write_text(page.page(lines, PAGE.read_text()))


def merged(before: list[Record], group: str, found: list[Record], replace: bool) -> list[Record]:
    """All lines in the order of the groups: the new ones in place of the group's (``replace``), or of those of the same name."""
    names = {page.name_of(record) for record in found}
    kept = [r for r in before if r["group"] != group or not (replace or page.name_of(r) in names)]
    return sorted([*kept, *found], key=lambda record: list(GROUPS).index(record["group"]))


if __name__ == "__main__":
    sys.exit(main())
