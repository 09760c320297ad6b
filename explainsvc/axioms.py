"""Axioms of attribution: what each of them says, and in what manner the values of a method satisfy it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Axiom = Literal["completeness", "conservation", "dummy", "symmetry", "linearity", "implementation_invariance"]
Manner = Literal["exact", "residual", "sampling"]
Claims = Mapping[Axiom, Manner]
"""The axioms that a method satisfies with its default parameters, each in its manner. What is not there is not claimed."""

AXIOMS: Mapping[Axiom, str] = {
    "completeness": "The values of the features sum to S(x) − S(x′), with several baselines x′ to the mean over them "
    "(Sundararajan et al. 2017, arXiv:1703.01365, section 3; efficiency in Shapley 1953).",
    "conservation": "Every node hands on the relevance that it received, and what is lost there can be told "
    "(Bach et al. 2015, doi:10.1371/journal.pone.0130140, equation 2).",
    "dummy": "A feature on which S does not depend gets 0 "
    "(Sundararajan et al. 2017, section 3.1; the null player of Shapley 1953).",
    "symmetry": "Two features get the same where exchanging them changes S nowhere and they are equal in x, and in every x′ "
    "(Sundararajan et al. 2017, section 4.1; Shapley 1953).",
    "linearity": "The values of a S₁ + b S₂ are a times those of S₁ and b times those of S₂, for the same seed "
    "(Sundararajan et al. 2017, section 3.1; additivity in Shapley 1953).",
    "implementation_invariance": "Two graphs that compute the same function get the same values "
    "(Sundararajan et al. 2017, section 2.2). Of methods with gradients: where the function has one.",
}
MANNERS: Mapping[Manner, str] = {
    "exact": "to rounding, unless a caveat of the result says otherwise",
    "residual": "up to what the result's residual says",
    "sampling": "up to a sampling error that falls as samples grow",
}


def exactly(*axioms: Axiom) -> dict[Axiom, Manner]:
    """Satisfied to rounding."""
    return dict.fromkeys(axioms, "exact")


def up_to_residual(*axioms: Axiom) -> dict[Axiom, Manner]:
    """Satisfied up to the residual that every result reports."""
    return dict.fromkeys(axioms, "residual")


def up_to_sampling(*axioms: Axiom) -> dict[Axiom, Manner]:
    """Satisfied up to an error of sampling."""
    return dict.fromkeys(axioms, "sampling")


SHAPLEY: Claims = exactly("completeness", "dummy", "symmetry", "linearity", "implementation_invariance")
"""Of exact Shapley values: the four that determine them; the last since they are of the game, however S is computed."""
