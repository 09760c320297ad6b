"""pattern_net: What of the input the network recognised, layer by layer along directions learnt from data.

Computes: The backward pass of S with the pattern a of every neuron in place of its weight w; ReLUs and pooling by their vjp.
Output: Signed, the input's shape, in units of the input: an estimate of the signal.
Needs: Background data like those the model was trained on; a chain of Conv, Gemm, MatMul, ReLU, pooling and routing.
Cost: One forward and two backward passes per `batch_size` rows of data to fit, one forward and one backward pass to explain.
Properties: For a linear model equal to the activation pattern cov[x, y] / var[y]; distractors of the input are left out.
Limits: As good as the data; neurons that the data never make positive pass nothing (a caveat counts them).
Source: Kindermans, Schütt, Alber, Müller, Erhan, Kim, Dähne 2018, arXiv:1705.05598, equations 5 and 7, section 4.
Differs: Fitted at every call on the data given; no joint training of patterns. Sums of two activations are refused.
"""

from __future__ import annotations

from functools import partial

from explainsvc.cards import read_card
from explainsvc.method import Method, Request, Result
from explainsvc.methods._patterns import Params, explain_by_patterns, require_layers


def run(request: Request, p: Params) -> Result:
    """a in place of w."""
    return explain_by_patterns("pattern_net", lambda layer: layer.a, request, p)


METHOD = Method(
    read_card("pattern_net", __doc__, Params), Params, run=run, from_logit=True, family="sampling",
    requires=partial(require_layers, "pattern_net"),
)  # fmt: skip
