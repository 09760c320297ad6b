"""Write the tables of README.md from the registries of methods and checks; ``--check`` only compares."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import explainsvc
from explainsvc.cards import Card

README = Path(__file__).resolve().parent.parent / "README.md"


def cell(text: str) -> str:
    """One line of text that a Markdown table can hold."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)


def methods(cards: Mapping[str, Card]) -> str:
    """Name, what it computes, cost, source."""
    rows = ((f"`{card.name}`", card.summary, card.cost, card.source) for card in cards.values())
    return table(("method", "computes", "cost", "source"), rows)


def checks(cards: Mapping[str, Card]) -> str:
    """Name, what it asks, source."""
    rows = ((f"`{card.name}`", card.summary, card.source) for card in cards.values())
    return table(("check", "asks", "source"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "methods": lambda: methods(explainsvc.methods()),
    "checks": lambda: checks(explainsvc.checks()),
}


def filled(text: str) -> str:
    """The page with every table between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->`` written anew."""
    for name, write in TABLES.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"README.md has no {begin} … {end}")
        text = pattern.sub(f"{begin}\n{write()}\n{end}".replace("\\", r"\\"), text)
    return text


def main(arguments: list[str]) -> int:
    """Write README.md, or with ``--check`` return 1 when it is not what the registries say."""
    wanted = filled(README.read_text(encoding="utf-8"))
    return written(README, wanted, arguments, "The tables of README.md are not those of the registries.")


def written(page: Path, wanted: str, arguments: Sequence[str], complaint: str) -> int:
    """Write a generated page, or with ``--check`` complain and return 1 where it is another."""
    if "--check" not in arguments:
        page.write_text(wanted, encoding="utf-8")
        return 0
    same = page.is_file() and page.read_text(encoding="utf-8") == wanted
    if not same:
        print(f"{complaint} Run `make docs`.", file=sys.stderr)
    return int(not same)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
