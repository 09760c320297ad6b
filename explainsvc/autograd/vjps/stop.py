"""Pointwise operators that no gradient passes: zero derivative almost everywhere, or a result that is no number.

Only what is truly one of the two stands here. An operator without a derivative rule (a tree ensemble, say) is refused
with advice instead, because a zero gradient would be a silent wrong answer to the question that was asked.
"""

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import stops, vjp
from explainsvc.autograd.view import NodeView

STEPS = "Floor Ceil Sign Hardmax"
COMPARISONS = "Equal Greater Less GreaterOrEqual LessOrEqual And Or Not Xor IsNaN IsInf"
BITS = "BitShift BitwiseAnd BitwiseOr BitwiseXor BitwiseNot"

stops(f"{STEPS} {COMPARISONS} {BITS}".split())
stops(["Binarizer", "LabelEncoder", "OneHotEncoder", "CategoryMapper", "DictVectorizer"], domain="ai.onnx.ml")

STRAIGHT_THROUGH = "explainsvc.straight_through"
"""Marks, in a node's metadata, the Round of a quantiser that gradients pass."""


@vjp("Round")
def _round(n: NodeView, g: Term) -> Term | None:
    """Zero almost everywhere; of a marked quantiser the straight-through estimate (Bengio et al. 2013, arXiv:1308.3432)."""
    return g if STRAIGHT_THROUGH in n.node.metadata_props else None
