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

from explainsvc.cards import read_card
from explainsvc.checks._causal import Causal, check_of

NAME = "deletion"

CHECK = check_of(read_card(NAME, __doc__, Causal), Causal, inserting=False)
