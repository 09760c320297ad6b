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

from dataclasses import dataclass
from typing import Any

from explainsvc.cards import param, read_card
from explainsvc.checks._causal import Causal, check_of
from explainsvc.checks._substitutes import SUBSTITUTES

NAME = "insertion"


@dataclass(frozen=True)
class Params(Causal):
    """The steps, and what the walk starts from."""

    baseline: Any = param("blur", "value", SUBSTITUTES)


CHECK = check_of(read_card(NAME, __doc__, Params), Params, inserting=True)
