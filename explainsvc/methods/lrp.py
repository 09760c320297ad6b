"""lrp: Relevance by a rulebook of your own: which rule at which node, written as data.

Computes: The first row of `rulebook` that matches a node gives its rule; then sums by shares, activations and routing pass.
Output: Signed, the input's shape; in units of S where the rulebook's output is value, else as that says.
Needs: Convolutions, dense layers, sums, pooling, activations and routing operators between input and target; BatchNorm folds.
Cost: That of its rules: one forward and one backward pass and more.
Properties: Conserved through residual Adds, AveragePool and Concat; `residual` reports what was absorbed.
Limits: `residual` compares with S, which a rulebook with output one or with gradient rows does not claim.
Source: Montavon et al. 2019, LNCS 11700, section 10.3 (different rules at different layers).
Differs: As zennit's LayerMapComposite, NameMapComposite and SpecialFirstLayerMapComposite, as data that is checked row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from explainsvc.cards import param
from explainsvc.methods._lrp import BiasParams, lrp_method
from explainsvc.rules.rulebook_file import read_rulebook


@dataclass(frozen=True)
class Params(BiasParams):
    """The rulebook, and the treatment of biases where a row does not say."""

    rulebook: Any = param(
        "lrp_epsilon_plus", "table", "rows, or an object with rows, output and preset; JSON or TOML text; or a preset's name"
    )


METHOD = lrp_method("lrp", __doc__, Params, lambda p: read_rulebook(p.rulebook), own=True)
