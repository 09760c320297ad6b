"""input: A control that looks only at the input: the input itself.

Computes: The input x, as floats.
Output: Signed as the input is, the input's shape, in its units.
Needs: Inputs of numbers.
Cost: None; the model is not run.
Properties: Independent of model, target and seed.
Limits: Not an explanation. It shows how much of a map that multiplies by the input, as input_x_gradient does, is only the input.
Source: Adebayo et al. 2018, arXiv:1810.03292, its discussion of input ⊙ gradient: the product looks like the input.
Differs: No difference: it is the factor x of input ⊙ gradient by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from explainsvc.autograd.shapes import Array
from explainsvc.cards import read_card
from explainsvc.errors import MethodNotApplicable
from explainsvc.features import result_type
from explainsvc.method import Method, Request, Result


@dataclass(frozen=True)
class Params:
    """None."""


def run(request: Request, p: Params) -> Result:
    """Every wanted input as floats."""
    return Result({name: _as_map(name, request.feeds[name]) for name in request.wanted})


def _as_map(name: str, x: Array) -> Array:
    if x.dtype.kind not in "fiub":
        raise MethodNotApplicable(
            f"it holds {x.dtype}, which are no numbers", where=f'method input, input "{name}"', expected="an input of numbers",
            to_do="Leave it out by inputs=[…], or use random or constant",
        )  # fmt: skip
    return x.astype(result_type(x))


METHOD = Method(
    read_card("input", __doc__, Params),
    Params,
    run=run,
    caveats=("a control: the input itself, not an explanation",),
    family="control",
)
