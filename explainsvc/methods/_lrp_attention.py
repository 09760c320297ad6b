"""What LRP for transformers shares: the backward pass by a rulebook of attention, refused where there is nothing for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from explainsvc.autograd import Rulebook, Term
from explainsvc.axioms import up_to_residual
from explainsvc.cards import param, read_card
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import Builder
from explainsvc.method import Method
from explainsvc.methods._lrp import BiasParams
from explainsvc.rules.lrp_attention_rulebooks import differs_from_lrp


@dataclass(frozen=True)
class AttentionParams(BiasParams):
    """ε and the treatment of biases.

    The relevance of a value is a multiple of it all the way down, so that a small ε costs no precision: on small ViTs 1e-9
    is 1e-6 from the limit ε → 0, lrp_epsilon's 1e-6 is 1e-3 from it.
    """

    epsilon: float = param(1e-9, "float", "ε of products, linear layers, LayerNorm and sums, in units of their result", low=0)


Rules = Callable[[float, bool], Rulebook]
"""(ε, whether biases count) → rulebook."""


def attention_method(name: str, docstring: str | None, rules: Rules) -> Method:
    """The method that sends the target's value back by ``rules``."""
    card = read_card(name, docstring, AttentionParams, up_to_residual("conservation"))
    return Method(
        card,
        AttentionParams,
        program=partial(_propagate, name, rules),
        rulebook=partial(_rulebook, rules),
        complete="output",
        from_logit=True,
    )


def _propagate(name: str, rules: Rules, b: Builder, p: AttentionParams) -> Mapping[str, Term]:
    """Relevance starts as S itself: R = seed ⊙ value at the target.

    Raises:
        MethodNotApplicable: Nothing between input and target has a rule of its own here.
    """
    found = b.backward(_rulebook(rules, b, p), seed=b.relevance_of(b.target))  # first: what has no rule at all says so itself
    if not differs_from_lrp(b.path(), b.wanted.values()):
        raise MethodNotApplicable(
            f"{name} has rules for attention, gates and normalisations, and the target depends on the input without any",
            expected="a Softmax, a normalisation, a recurrent layer or a product of two activations between input and target",
            to_do="Use lrp_epsilon, whose rules are the same everywhere else",
        )
    return found


def _rulebook(rules: Rules, _: Builder, p: AttentionParams) -> Rulebook:
    return rules(p.epsilon, p.counted)
