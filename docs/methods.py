"""Write docs/methods.md: the card of every method, from the registry; ``--check`` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from tables import cell, table  # noqa: E402

from explainsvc.cards import Card, ParameterCard, plain  # noqa: E402
from explainsvc.method import Method  # noqa: E402
from explainsvc.methods import METHODS  # noqa: E402

PAGE = ROOT / "docs" / "methods.md"
HEAD = """# Methods

Written by `make docs` from the cards of the program; not edited by hand. `explainsvc methods` prints the same.

S is the explained scalar, x the input, x′ a baseline. Every method returns signed, unscaled values of the input's shape.
"""
FAMILIES = {
    "graph": "One explained graph: can be compiled to an ONNX file, and be the base of `smoothgrad` and its kin.",
    "sampling": "Many gradients: needs a differentiable path.",
    "perturbation": "Forwards only: any model, trees included.",
    "control": "Controls: explain nothing, and say so.",
}
SECTIONS = ("computes", "output", "needs", "cost", "properties", "limits", "source", "differs")


def parameter_row(p: ParameterCard) -> tuple[str, str, str, str, str]:
    """Name, type, default, range, meaning."""
    default = "none" if p.default is None else f"`{json.dumps(plain(p.default))}`"
    return f"`{p.name}`", p.type, default, p.range or "any", p.description


def card_text(card: Card) -> str:
    """One method's section."""
    lines = [f"### {card.name}", "", card.summary, ""]
    lines += [f"- *{name.capitalize()}*: {cell(getattr(card, name))}" for name in SECTIONS]
    if card.parameters:
        lines += ["", table(("parameter", "type", "default", "range", "meaning"), map(parameter_row, card.parameters))]
    return "\n".join(lines)


def family_text(family: str, methods: list[Method]) -> str:
    """A family's section: what it has in common, then its methods by name."""
    return "\n\n".join([f"## {FAMILIES[family]}", *(card_text(m.card) for m in methods)])


def page() -> str:
    """The whole page."""
    by_family = {f: [m for m in METHODS.values() if m.family == f] for f in FAMILIES}
    return "\n".join([HEAD, "\n\n".join(family_text(f, methods) for f, methods in by_family.items() if methods), ""])


def main(arguments: list[str]) -> int:
    """Write docs/methods.md, or with ``--check`` return 1 when it is not what the registry says."""
    wanted = page()
    if "--check" not in arguments:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted
    if not same:
        print("docs/methods.md is not what the registry says. Run `make docs`.", file=sys.stderr)
    return int(not same)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
