"""constant: A control that says nothing: the same number everywhere.

Computes: One number for every element.
Output: The input's shape; no unit.
Needs: Nothing.
Cost: None; the model is not run.
Properties: Independent of model, target, input and seed. Every ranking of it is a matter of how ties are broken.
Limits: Not an explanation. It shows what a check or a measure reports for a map without contrast.
Source: No paper: the limit case of every measure that ranks elements, such as those of Samek et al. 2017, arXiv:1509.06321.
Differs: No difference; there is one constant map up to its value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explainsvc.cards import param, read_card
from explainsvc.features import result_type
from explainsvc.method import Method, Request, Result


@dataclass(frozen=True)
class Params:
    """The number."""

    value: float = param(1.0, "float", "what every element is")


def run(request: Request, p: Params) -> Result:
    """The same number for every wanted input."""
    feeds = {name: request.feeds[name] for name in request.wanted}
    return Result({name: np.full(x.shape, p.value, result_type(x)) for name, x in feeds.items()})


METHOD = Method(
    read_card("constant", __doc__, Params),
    Params,
    run=run,
    caveats=("a control: one number everywhere, not an explanation",),
    family="control",
)
