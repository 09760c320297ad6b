"""insertion: How fast does the class's probability appear when the most relevant pixels are put back first?

Computes: From the baseline (a blurred picture) on, the pixels of the input are put back in the order of the map, largest value
    first; the probability of the explained class after each step, and the area below that curve (AUC). The same in a
    random order beside.
Output: Rows (method, order, step, measure): ``output`` by the share put back; ``auc`` (high is good) and ``gain_over_random``,
    how much higher it is than the random order's. The note says what is read: the probability, or S where there is none.
Needs: Nothing of the model; pictures for the baseline blur, other inputs need another; five inputs or more for a verdict.
Cost: 2 × steps forwards per input and method; methods with the same target share the random order.
Properties: A uniform map gains exactly nothing. The probability is read after the Softmax also where a logit was explained.
Limits: A blurred picture still shows large shapes; what is found depends on the baseline.
Source: Petsiuk et al. 2018, arXiv:1806.07421, the insertion metric; verdict against the paired random order: ours.
Differs: The blur is the service's (Gaussian, σ = 10 pixels); RISE's code has an 11 × 11 kernel with σ = 5. Twenty steps by
    default, where RISE's code puts back as many pixels a step as the image is wide.
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

NAME = "insertion"


@dataclass(frozen=True)
class Params:
    """The steps, and what the walk starts from."""

    steps: int = param(20, "int", "steps of equal size", low=1)
    window: Any = param((), "ints", WINDOW)
    baseline: Any = param("blur", "value", SUBSTITUTES)


def run(subject: Subject, p: Params) -> Iterator[Row]:
    """The curve of one method after the other."""
    return _causal.rows(NAME, subject, p, inserting=True)


CHECK = Check(
    read_card(NAME, __doc__, Params),
    Params,
    run=run,
    judge=_causal.judge,
    rule="Pass: the 95 % interval of the AUC that the map's order gains over the random order of the same input (paired) lies "
    f"above 0; fail: it lies at 0 or below; inconclusive: neither, or fewer than 5 inputs. {TIES}",
    family="faithfulness",
    axis="share of the features put back",
    main="output",
    work=lambda _model, p: Work(explanations=0, forwards=p.steps),
)
