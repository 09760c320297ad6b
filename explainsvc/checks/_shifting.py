"""A model of shifted inputs: the same function of x + m that the model is of x."""

from __future__ import annotations

from collections.abc import Mapping

from explainsvc.autograd.shapes import Array
from explainsvc.checks._derived import derived
from explainsvc.explained import find_value
from explainsvc.graph.passes.rewrite import Rewriter
from explainsvc.model import Model


def shifted(model: Model, shifts: Mapping[str, Array]) -> Model:
    """The model f₂ with f₂(x + m) = f(x), up to rounding.

    Kindermans et al. 2017, arXiv:1711.00867, section 2.1, correct the first bias, b₂ = b − wᵀm; a Sub(x, m) in front of all that
    reads x is the same for any first operator, padded convolutions included.

    Args:
        model: Not changed.
        shifts: Input → m, of one item's shape (or what broadcasts to it), in the input's type in the prepared graph.
    """
    changed = model.prepared.model.clone()
    write = Rewriter(changed.graph)
    for name, m in shifts.items():
        x = find_value(changed.graph, name)
        uses = list(x.uses())
        first = next(node for node in changed.graph if any(use.node is node for use in uses))
        back = write.before(first, "Sub", [x, write.constant(m, f"{name}_shift")], dtype=x.dtype)
        back.shape = x.shape
        for use in uses:
            use.node.replace_input_with(use.idx, back)
    return derived(model, changed)
