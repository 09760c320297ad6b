"""Pointwise operators that no gradient passes: zero derivative almost everywhere, or a result that is no number.

Only what is truly one of the two stands here. An operator without a derivative rule (a tree ensemble, say) is refused
with advice instead, because a zero gradient would be a silent wrong answer to the question that was asked.
"""

from explainsvc.autograd.registry import stops

STEPS = "Floor Ceil Round Sign Hardmax"
COMPARISONS = "Equal Greater Less GreaterOrEqual LessOrEqual And Or Not Xor IsNaN IsInf"
BITS = "BitShift BitwiseAnd BitwiseOr BitwiseXor BitwiseNot"

stops(f"{STEPS} {COMPARISONS} {BITS}".split())
stops(["Binarizer", "LabelEncoder", "OneHotEncoder", "CategoryMapper", "DictVectorizer"], domain="ai.onnx.ml")
