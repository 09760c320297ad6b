"""Write docs/operators.md: what happens to every operator, and which of its attributes are tested; ``--check`` only compares."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from tables import table, written  # noqa: E402

from explainsvc.autograd import Emitter, NodeView, known_operators  # noqa: E402
from explainsvc.autograd.bodies import BODIES  # noqa: E402
from explainsvc.autograd.functions import has_body  # noqa: E402
from explainsvc.autograd.survey import rule_name  # noqa: E402
from explainsvc.explained import Builder  # noqa: E402
from explainsvc.graph.passes.adapters import old_operators  # noqa: E402
from explainsvc.graph.passes.quantised import quantised_operators  # noqa: E402
from explainsvc.method import Method  # noqa: E402
from explainsvc.methods import METHODS  # noqa: E402
from tests.autograd.collected import IN_MODELS, case_rows  # noqa: E402
from tests.autograd.harness import Case  # noqa: E402

PAGE = ROOT / "docs" / "operators.md"
HEAD = """# Operators

Written by `make docs` from the tables of the program and the case rows of `tests/autograd`; not edited by hand.

An operator is of ONNX's own domain unless a domain stands before it. *Opsets* are the versions in which ONNX changed its
definition; models older than the working opset are converted first. An attribute is *tested* when a case row sets it to
something other than its default; all others of the newest definition are *untested*. Operators that onnxruntime adds have
no definition in ONNX: of these only tested attributes are listed.
"""
DERIVED = """## Operators with a derivative
"""
RULES = """## Rules by method

Which rule an operator gets; *vjp* is its derivative. At a product of two activations every LRP preset refuses; attn_lrp and
cp_lrp have rules for it. A Clip is a rectifier where its lower bound is 0. Operators without a line have their derivative, or
are refused, everywhere.
"""
PRESETS = """## LRP presets

Where they differ: at layers with weights. `explainsvc explain … --method lrp -p rulebook=@FILE --dry-run` tells it for a model.
"""
STOPS = """## Operators where the gradient ends

Their derivative is zero almost everywhere, or their result is no number.
"""
BODY = """## Operators expanded into a body

A pass replaces them by simpler operators, which have derivatives and rules of their own, where their operands' types and
ranks allow it.
"""
REWRITTEN = """## Operators that other passes rewrite

Quantised operators by their real twin, which saturates but does not round; experimental operators of old exporters in words
of ONNX.
"""


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with ``--check`` return 1 when it is not what the tables and rows say."""
    return written(PAGE, page(), arguments, "docs/operators.md is not what the tables and case rows say.")


def page() -> str:
    """The whole page."""
    known, rows = known_operators(), case_rows()
    columns = rule_columns(sorted(name for name, kind in known.items() if kind != "stop"))
    derived = [
        (
            f"`{name}`",
            opsets(name),
            known[name],
            *attributes(name, rows.get(name, [])),
        )
        for name in sorted(name for name, kind in known.items() if kind != "stop")
    ]
    stopping = [(f"`{name}`", opsets(name)) for name in sorted(name for name, kind in known.items() if kind == "stop")]
    expanded = [(f"`{name}`", opsets(name), *attributes(name, rows.get(name, []))) for name in bodies(known)]
    rewritten = [(f"`{name}`", "dequantize") for name in quantised_operators()]
    rewritten += [(f"`{name}`", "adapt_old_operators") for name in old_operators()]
    ruled, presets = ruled_and_presets(columns)
    parts = [
        HEAD, DERIVED, table(("operator", "opsets", "derivative", "tested", "untested"), derived),
        RULES, table(("operator", *ruled), lines(ruled)),
        PRESETS, table(("operator", *presets), lines(presets)),
        STOPS, table(("operator", "opsets"), stopping),
        BODY, table(("operator", "opsets", "tested", "untested"), expanded),
        REWRITTEN, table(("operator", "pass"), rewritten),
    ]  # fmt: skip
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


@cache
def _schemas() -> dict[str, list[onnx.defs.OpSchema]]:
    """Operator → its definitions, oldest first."""
    found: dict[str, list[onnx.defs.OpSchema]] = {}
    for schema in sorted(onnx.defs.get_all_schemas_with_history(), key=lambda s: s.since_version):
        found.setdefault(f"{schema.domain}::{schema.name}" if schema.domain else schema.name, []).append(schema)
    return found


def opsets(name: str) -> str:
    """The versions that defined the operator anew."""
    return ", ".join(str(schema.since_version) for schema in _schemas().get(name, [])) or "onnxruntime"


def bodies(known: Mapping[str, str]) -> list[str]:
    """The operators that have a body and no derivative of their own."""
    ours = {f"{domain}::{name}" for domain, name in BODIES}
    return sorted(ours | {name for name in _schemas() if name not in known and has_body(*name.rpartition("::")[::2])})


def attributes(name: str, rows: Iterable[Case]) -> tuple[str, str]:
    """Those that some row sets to something other than the default, and those of the definition that none does."""
    if name in IN_MODELS:
        return f"in models: {IN_MODELS[name]}", ""
    schema = _schemas().get(name, [None])[-1]
    defined = {} if schema is None else schema.attributes
    varied = {key for case in rows for key, value in case.attributes.items() if not _is_default(defined.get(key), value)}
    return ", ".join(sorted(varied)), ", ".join(sorted(defined.keys() - varied))


def _is_default(attribute: Any, value: Any) -> bool:
    if attribute is None or attribute.default_value.type == onnx.AttributeProto.UNDEFINED:
        return False
    default = onnx.helper.get_attribute_value(attribute.default_value)
    default = default.decode() if isinstance(default, bytes) else default
    return bool(np.allclose(default, value)) if isinstance(default, float) else bool(default == value)


def rule_columns(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Methods that treat all operators alike, as one heading → operator → rule."""
    by_cells: dict[tuple[str, ...], list[str]] = {}
    for method in METHODS.values():
        if method.rulebook is not None:
            by_cells.setdefault(tuple(_rule(method, name) for name in names), []).append(method.card.name)
    return {", ".join(methods): dict(zip(names, cells, strict=True)) for cells, methods in by_cells.items()}


def ruled_and_presets(columns: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """The columns of all methods, the LRP presets in one; and those of the presets, at the operators where they differ."""
    presets = {heading: dict(cells) for heading, cells in columns.items() if heading.startswith(("lrp", "excitation"))}
    first = next(iter(presets.values()))
    differing = {name for name in first if len({cells[name] for cells in presets.values()}) > 1}
    common = {name: "by preset" if name in differing else rule for name, rule in first.items()}
    others = {heading: dict(cells) for heading, cells in columns.items() if heading not in presets}
    treated = {n for cells in (*others.values(), common) for n, rule in cells.items() if rule not in ("vjp", "refused")}
    ruled = {**others, "LRP presets": common}
    return (
        {heading: {n: rule for n, rule in cells.items() if n in treated} for heading, cells in ruled.items()},
        {heading: {n: rule for n, rule in cells.items() if n in differing} for heading, cells in presets.items()},
    )


def lines(columns: Mapping[str, Mapping[str, str]]) -> list[tuple[str, ...]]:
    """One line an operator."""
    return [(f"`{name}`", *(cells[name] for cells in columns.values())) for name in next(iter(columns.values()))]


def _rule(method: Method, name: str) -> str:
    """The rule of an operator, at the first layer and behind another one."""
    first, later = (_rule_at(method, name, behind) for behind in (False, True))
    return first if first == later else f"{first} at the first layer, else {later}"


def _rule_at(method: Method, name: str, behind: bool) -> str:
    """The rule in a graph of this operator alone, or behind a dense layer; its second operand is a constant 0."""
    domain, _, op_type = name.rpartition("::")
    x, zero = ir.Value(name="x"), ir.Value(name="zero", const_value=ir.tensor(np.zeros((), np.float32), name="zero"))
    dense = [ir.node("MatMul", [x, zero])] if behind else []
    node = ir.node(op_type, [dense[0].outputs[0] if behind else x, zero], domain=domain)
    graph = ir.Graph([x], node.outputs, nodes=[*dense, node], initializers=[zero], opset_imports={"": 21})
    emit = Emitter(graph)
    y = emit.term(node.outputs[0])
    assert method.rulebook is not None
    rule = method.rulebook(Builder(emit, y, y, {"x": emit.term(x)}), method.params())(NodeView(node, emit, (0,)))
    return "vjp" if rule is None else "refused" if rule_name(rule) in ("refuse", "uncovered") else rule_name(rule)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
