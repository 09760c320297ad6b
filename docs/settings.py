"""Write the table of settings in docs/operations.md from the schema; ``--check`` only compares."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from tables import written  # noqa: E402

from explainsvc.service.config import FIELDS, Config  # noqa: E402

PAGE = ROOT / "docs" / "operations.md"
BEGIN, END = "<!-- settings:begin -->", "<!-- settings:end -->"
OF_THE_MACHINE = {
    "store": "`~/.local/share/explainsvc`", "worker_memory_bytes": "the machine's memory",
    "worker_rss_bytes": "a third of the machine's memory",
}  # fmt: skip


def default(one: dataclasses.Field[Any]) -> str:
    """What a setting is when nobody sets it, as the file would have it."""
    if one.name in OF_THE_MACHINE:
        return OF_THE_MACHINE[one.name]
    value = getattr(Config(), one.name)
    match value:
        case None | "":
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case tuple():
            return ", ".join(f"`{item}`" for item in value)
    return f"`{value}`"


def table() -> str:
    """A line a setting: name, default, meaning and what it may be."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for one in FIELDS.values():
        minimum, choices = one.metadata.get("minimum"), one.metadata.get("choices", ())
        allowed = f"; one of {', '.join(choices)}" if choices else f"; at least {minimum}" if minimum else ""
        lines.append(f"| `{one.name}` | {default(one)} | {one.metadata['text']}{allowed} |")
    return "\n".join(lines)


def filled(text: str) -> str:
    """The page with its table written anew."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{PAGE.name} has no {BEGIN} … {END}")
    return pattern.sub(lambda _: f"{BEGIN}\n{table()}\n{END}", text)


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` return 1 when it is not what the schema says."""
    wanted = filled(PAGE.read_text(encoding="utf-8"))
    return written(PAGE, wanted, arguments, "The table of docs/operations.md is not that of the schema.")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
