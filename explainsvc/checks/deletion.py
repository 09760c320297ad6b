"""deletion: How fast does the class's probability vanish when the most relevant pixels are deleted first?

Computes: The pixels are replaced by the baseline in the order of the map, largest value first; the probability of the
    explained class after each step, and the area below that curve (AUC). The same in a random order beside.
Output: Rows (method, order, step, measure): ``output`` by the share deleted; ``auc`` (low is good) and ``gain_over_random``,
    how much lower it is than the random order's. The note says what is read: the probability, or S where there is none.
Needs: Nothing of the model; five inputs or more for a verdict.
Cost: 2 × steps forwards per input and method; methods with the same target share the random order.
Properties: A uniform map gains exactly nothing. The probability is read after the Softmax also where a logit was explained.
Limits: Inputs with parts deleted lie off the data; a map that finds adversarial pixels first does well too.
Source: Petsiuk et al. 2018, arXiv:1806.07421, the deletion metric; verdict against the paired random order: ours.
Differs: Twenty steps by default, where RISE's code deletes as many pixels a step as the image is wide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from explainsvc.cards import param, read_card
from explainsvc.check import Check, Subject, Work
from explainsvc.checks import _causal
from explainsvc.checks._features import WINDOW
from explainsvc.checks._flipping import TIES
from explainsvc.checks._substitutes import SUBSTITUTES
from explainsvc.checks.rows import Row

NAME = "deletion"


@dataclass(frozen=True)
class Params:
    """The steps, and what takes the place."""

    steps: int = param(20, "int", "steps of equal size", low=1)
    window: Any = param((), "ints", WINDOW)
    baseline: Any = param("zero", "value", SUBSTITUTES)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The curve of one method after the other."""
    return _causal.rows(NAME, subject, p, inserting=False)


CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=_causal.judge,
    rule="Pass: the 95 % interval of the AUC that the map's order saves against the random order of the same input (paired) lies "
    f"above 0; fail: it lies at 0 or below; inconclusive: neither, or fewer than 5 inputs. {TIES}",
    family="faithfulness",
    axis="share of the features deleted",
    main="output",
    work=lambda _model, p: Work(explanations=0, forwards=p.steps),
)
