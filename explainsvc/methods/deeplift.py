"""deeplift: What each input element's difference from a baseline contributes to the target's, by the rescale rule.

Computes: m Δx, Δx = x − x′; m by the chain rule from multipliers Δy/Δx at functions of one value, W at linear layers.
Output: Signed, the input's shape, in units of S; sums to S(x) − S(x′) up to the reported residual.
Needs: A baseline x′ that means "absent"; known operators on the way: no recurrent layers, no control flow, no sorting.
Cost: Two forward passes and one backward pass in one graph, two plain forwards for the residual.
Properties: Completeness; no saturation: an input whose derivative vanishes still has its difference; x = x′ gives zeros.
Limits: Depends on the baseline. A condition that changes between x and x′ contributes to nobody: see `residual`.
Source: Shrikumar, Greenside, Kundaje 2017, arXiv:1704.02685, equations 1 to 3, sections 3.5.1 and 3.5.2.
Differs: Products, quotients, softmax, normalisations, maxima too have complete multipliers (Lundberg & Lee 2017 for products).
"""

from __future__ import annotations

from explainsvc.methods._deeplift import deeplift_method
from explainsvc.rules.deeplift_rulebook import deeplift_rulebook

METHOD = deeplift_method("deeplift", __doc__, deeplift_rulebook)
