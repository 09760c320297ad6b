"""pattern_attribution: How much every element of the signal contributes to the target.

Computes: The backward pass of S with w ⊙ a in place of every neuron's weight w, a its pattern; ReLUs and pooling by their vjp.
Output: Signed, the input's shape, in units of S.
Needs: Background data like those the model was trained on; a chain of Conv, Gemm, MatMul, ReLU, pooling and routing.
Cost: One forward and two backward passes per `batch_size` rows of data to fit, one forward and one backward pass to explain.
Properties: Σ_i w_i a_i = 1 at every neuron that has a pattern: dense layers conserve what their active neurons receive.
Limits: As good as the data; neurons that the data never make positive pass nothing (a caveat counts them).
Source: Kindermans, Schütt, Alber, Müller, Erhan, Kim, Dähne 2018, arXiv:1705.05598, equations 5, 7 and 9, section 4.
Differs: Fitted at every call on the data given; no joint training of patterns. Sums of two activations are refused.
"""

from __future__ import annotations

from functools import partial

from explainsvc.cards import read_card
from explainsvc.method import Method, Request, Result
from explainsvc.methods._patterns import Params, explain_by_patterns, require_layers


def run(request: Request, p: Params) -> Result:
    """w ⊙ a in place of w."""
    return explain_by_patterns("pattern_attribution", lambda layer: layer.w * layer.a, request, p)


METHOD = Method(
    read_card("pattern_attribution", __doc__, Params), Params, run=run, from_logit=True, family="sampling",
    requires=partial(require_layers, "pattern_attribution"),
)  # fmt: skip
