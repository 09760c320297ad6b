"""If, Scan and Loop: the backward pass of a subgraph is a subgraph, which computes the forward values that it needs again.

If: the same condition chooses between the backward passes of the branches. Scan and Loop: the steps in reverse order;
the states from which the steps started are recorded first (:mod:`explainsvc.autograd.steps`, ``scanning``, ``looping``).
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from explainsvc.autograd.backward import Rulebook
from explainsvc.autograd.emit import Emitter, Term
from explainsvc.autograd.looping import reversed_loop
from explainsvc.autograd.registry import control_vjp
from explainsvc.autograd.scanning import reversed_scan
from explainsvc.autograd.steps import Pairs
from explainsvc.autograd.subgraphs import close, differentiated, opened
from explainsvc.autograd.view import NodeView

Found = dict[ir.Value, Term]


@control_vjp("If")
def _(n: NodeView, wanted: Sequence[ir.Value], rulebook: Rulebook, *g: Term | None) -> Pairs:
    branches = {name: _branch(n, name, wanted, rulebook, g) for name in ("then_branch", "else_branch")}
    reached = [v for v in wanted if any(v in found for _, found in branches.values())]
    if not reached:
        return []
    for inner, found in branches.values():
        close(inner, [found[v] if v in found else inner.zeros_like(inner.term(v)) for v in reached])
    graphs = {name: inner.graph for name, (inner, _) in branches.items()}
    results = n.emit.append("If", [n.x.value], len(reached), "", graphs)
    return [(v, n.emit.term(r).like(n.emit.term(v))) for v, r in zip(reached, results, strict=True)]


def _branch(
    n: NodeView, name: str, wanted: Sequence[ir.Value], rulebook: Rulebook, g: Sequence[Term | None]
) -> tuple[Emitter, Found]:
    """One branch, not yet closed, and the gradients that it gives."""
    inner, branch = opened(n.emit, name), n.node.attributes[name].as_graph()
    seeds = [(v, inner.term(t.value)) for v, t in zip(branch.outputs, g, strict=True) if t is not None]
    return inner, differentiated(inner, branch, {}, seeds, wanted, rulebook)


control_vjp("Scan")(reversed_scan)
control_vjp("Loop")(reversed_loop)
