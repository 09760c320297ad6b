"""Which operator has which multiplier."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from explainsvc.autograd import NodeView, Rule, Rulebook
from explainsvc.autograd.reference import SHAPE_READERS, Reference
from explainsvc.rules.deeplift import (
    deeplift_linear,
    deeplift_multilinear,
    deeplift_quotient,
    deeplift_reciprocal,
    deeplift_rescale,
    deeplift_root,
    deeplift_where,
    refuse,
)
from explainsvc.rules.deeplift_definitions import deeplift_definition
from explainsvc.rules.deeplift_formulas import definitions
from explainsvc.rules.deeplift_shares import (
    deeplift_extremum,
    deeplift_log_softmax,
    deeplift_log_sum_exp,
    deeplift_max_pool,
    deeplift_reduced_extremum,
    deeplift_softmax,
)

Key = tuple[str, str]
"""Domain ("" for ONNX's own) and operator."""

ELEMENTWISE = frozenset(
    "Relu LeakyRelu PRelu Elu Selu Celu Gelu Sigmoid HardSigmoid Tanh HardSwish Swish Softplus Softsign Mish Clip "
    "ThresholdedRelu Shrink Erf Exp Log Abs Pow Mod Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Floor Ceil Round "
    "Sign".split()
)
"""Functions of one changing operand, element by element; steps among them have differences though no derivative."""
FUSED_ELEMENTWISE = frozenset("Gelu BiasGelu FastGelu QuickGelu".split())
"""Of onnxruntime's domain; the bias is constant."""
ALL = "Add Sub Sum Mean Neg Identity Concat GlobalAveragePool AveragePool Transpose Flatten DepthToSpace SpaceToDepth CastLike"
FIRST = (
    "Split Reshape Squeeze Unsqueeze Slice Gather GatherElements GatherND Expand Tile Cast Dropout Trilu ReduceSum "
    "ReduceMean Resize CumSum Compress ReverseSequence GridSample Col2Im CenterCropPad MaxUnpool DFT"
)
LINEAR: Mapping[str, frozenset[int] | None] = {
    **dict.fromkeys(ALL.split()),
    **dict.fromkeys(FIRST.split(), frozenset({0})),
    **dict.fromkeys(["Pad", "BatchNormalization"], frozenset({0, 2})),
    "TensorScatter": frozenset({0, 1}),
    "DeformConv": frozenset({0, 3}),
    "OneHot": frozenset({2}),
}
"""Operator → the operands in which it is linear together (None: all), the others being the same at x and x′."""
ADDING = frozenset({"ScatterElements", "ScatterND"})
"""Linear in data and updates where they replace or add."""
FACTORS: Mapping[Key, tuple[int, ...]] = {
    ("", "Mul"): (0, 1),
    ("", "MatMul"): (0, 1),
    ("", "Gemm"): (0, 1),
    ("", "Conv"): (0, 1),
    ("", "ConvTranspose"): (0, 1),
    ("", "Einsum"): (),
    ("com.microsoft", "FusedMatMul"): (0, 1),
    ("com.microsoft", "TransposeMatMul"): (0, 1),
}
"""Operator → its factors (none named: all operands); linear in each."""
SPECIAL: Mapping[Key, Callable[[Reference], Rule]] = {
    ("", "Div"): deeplift_quotient,
    ("", "Sqrt"): deeplift_root,
    ("", "Reciprocal"): deeplift_reciprocal,
    ("", "Where"): deeplift_where,
    ("", "Softmax"): deeplift_softmax,
    ("", "LogSoftmax"): deeplift_log_softmax,
    ("", "ReduceLogSumExp"): deeplift_log_sum_exp,
    ("", "Max"): deeplift_extremum,
    ("", "Min"): deeplift_extremum,
    ("", "ReduceMax"): deeplift_reduced_extremum,
    ("", "ReduceMin"): deeplift_reduced_extremum,
    ("", "MaxPool"): deeplift_max_pool,
}


def deeplift_rulebook(reference: Reference) -> Rulebook:
    """The multiplier of every operator; those that have none are refused."""
    linear, rescale = deeplift_linear(reference), deeplift_rescale(reference)
    rules = {key: make(reference) for key, make in SPECIAL.items()}
    rules |= {key: deeplift_multilinear(reference, *factors) for key, factors in FACTORS.items()}
    rules |= {("", name): rescale for name in ELEMENTWISE} | {("com.microsoft", name): rescale for name in FUSED_ELEMENTWISE}

    def rulebook(n: NodeView) -> Rule | None:
        key = key_of(n)
        if key[0] == "" and n.op_type in SHAPE_READERS:
            return None
        if is_linear(n):
            return linear
        return rules.get(key, refuse)

    rules |= {key: deeplift_definition(d, reference, rulebook) for key, d in definitions().items()}
    return rulebook


def key_of(n: NodeView) -> Key:
    """Domain and operator of a node."""
    return "" if n.node.domain == "ai.onnx" else n.node.domain, n.op_type


def is_linear(n: NodeView) -> bool:
    """Whether a node is linear in all operands that lead to the input."""
    domain, name = key_of(n)
    if domain != "":
        return (domain, name) in (("ai.onnx.ml", "FeatureVectorizer"), ("com.microsoft", "UnfoldTensor"))
    if name in ADDING:
        return n.attr("reduction", "none") in ("none", "add") and set(n.asked) <= {0, 2}
    return name in LINEAR and ((data := LINEAR[name]) is None or set(n.asked) <= data)
