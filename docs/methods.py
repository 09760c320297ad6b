"""Write docs/methods.md: the card of every method, from the registry; ``--check`` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from tables import cell, table, written  # noqa: E402

from explainsvc.axioms import AXIOMS, MANNERS  # noqa: E402
from explainsvc.cards import HEADINGS, Card, ParameterCard, plain  # noqa: E402
from explainsvc.method import Method  # noqa: E402
from explainsvc.methods import METHODS  # noqa: E402
from explainsvc.texts import claims  # noqa: E402

PAGE = ROOT / "docs" / "methods.md"
HEAD = """# Methods

Written by `make docs` from the cards of the program; not edited by hand. `explainsvc methods NAME` prints the same.

S is the explained scalar, x the input, x′ a baseline. Every method returns signed, unscaled values of the input's shape.
"""
AXIOMS_HEAD = """## Axioms

Claimed with default parameters, and held by tests on random networks. An empty cell is no claim; tests keep networks on which
some of those axioms fail.
"""
FAMILIES = {
    "graph": "One explained graph: can be compiled to an ONNX file, and be the base of `smoothgrad` and its kin.",
    "sampling": "Many gradients: needs a differentiable path.",
    "perturbation": "Forwards only: any model, trees included.",
    "control": "Controls: explain nothing, and say so.",
}


def parameter_row(p: ParameterCard) -> tuple[str, str, str, str, str]:
    """Name, type, default, range, meaning."""
    default = "none" if p.default is None else f"`{json.dumps(plain(p.default))}`"
    return f"`{p.name}`", p.type, default, p.range or "any", p.description


def card_text(card: Card) -> str:
    """One method's section."""
    lines = [f"### {card.name}", "", card.summary, ""]
    lines += [f"- *{heading}*: {cell(getattr(card, heading.lower()))}" for heading in HEADINGS]
    lines += [f"- *Axioms*: {claims(card.axioms) or 'none claimed'}"]
    if card.parameters:
        lines += ["", table(("parameter", "type", "default", "range", "meaning"), map(parameter_row, card.parameters))]
    return "\n".join(lines)


def family_text(family: str, methods: list[Method]) -> str:
    """A family's section: what it has in common, then its methods by name."""
    return "\n\n".join([f"## {FAMILIES[family]}", *(card_text(m.card) for m in methods)])


def axioms_text() -> str:
    """What the axioms are, and which method claims which: a row a method that claims one."""
    defined = [f"- *{axiom}*: {text}" for axiom, text in AXIOMS.items()]
    manners = [f"- *{manner}*: {text}." for manner, text in MANNERS.items()]
    claiming = (m.card for m in METHODS.values() if m.card.axioms)
    rows = ((f"`{card.name}`", *(card.axioms.get(axiom, "") for axiom in AXIOMS)) for card in claiming)
    head = ("method", *(axiom.replace("_", " ") for axiom in AXIOMS))
    return "\n".join([AXIOMS_HEAD, *defined, "", "An axiom is satisfied", "", *manners, "", table(head, rows)])


def page() -> str:
    """The whole page."""
    by_family = {f: [m for m in METHODS.values() if m.family == f] for f in FAMILIES}
    return "\n".join(
        [HEAD, axioms_text(), "", "\n\n".join(family_text(f, methods) for f, methods in by_family.items() if methods), ""]
    )


def main(arguments: list[str]) -> int:
    """Write docs/methods.md, or with ``--check`` return 1 when it is not what the registry says."""
    return written(PAGE, page(), arguments, "docs/methods.md is not what the registry says.")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
