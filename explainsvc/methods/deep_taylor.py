"""deep_taylor: Relevance by Taylor expansion of every neuron of a ReLU network at a root of its own.

Computes: z⁺ without bias where a ReLU takes a layer's result, w² where none does, z^B at the first layer given bounds.
Output: The input's shape, in units of S; sums to S⁺ less what silent neurons absorb.
Needs: ReLU as the only activation (a network with another one is refused); bounds `low` and `high` are optional.
Cost: Two forward passes and one backward pass.
Properties: Non-negative for a single target without residual sums; zero where S < 0, since the output is rectified first.
Limits: w² sends relevance to silent neurons too, which lose it (`residual`). Insensitive to upper layers on deep networks.
Source: Montavon, Lapuschkin, Binder, Samek, Müller 2017, arXiv:1512.02479; layers by their ReLU as in iNNvestigate's DeepTaylor.
Differs: A ReLU behind sums, pooling and routing counts as the layer's; iNNvestigate looks at the layer's own activation only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from explainsvc.cards import param
from explainsvc.methods._lrp import HIGH, LOW, lrp_method
from explainsvc.rules.lrp_presets import deep_taylor


@dataclass(frozen=True)
class Params:
    """Bounds of the input."""

    low: Any = param(None, "value", LOW, beside=("high",))
    high: Any = param(None, "value", HIGH, beside=("low",))

    @property
    def counted(self) -> bool:
        """Biases never count."""
        return False


METHOD = lrp_method("deep_taylor", __doc__, Params, lambda p: deep_taylor(p.low, p.high))
