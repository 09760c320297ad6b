"""ai.onnx.ml: preprocessing and linear models, whose parameters are attributes.

The definitions are onnxruntime's (rank 1 or 2, features last). Tree ensembles have no rule: they are refused.
"""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.pullback import pullback
from explainsvc.autograd.registry import vjp, vjp_each
from explainsvc.autograd.shapes import Array
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.pointwise import apply
from explainsvc.errors import NotDifferentiable

ML = "ai.onnx.ml"
_SIZES = {"MAX": "ReduceMax", "L1": "ReduceL1", "L2": "ReduceL2"}


def _floats(n: NodeView, name: str, like: Term) -> Array:
    """An attribute as numbers of the type of ``like``."""
    return np.asarray(n.attr(name), (like.dtype or like.emit.float_type).numpy())


def _in_type_of(like: Term, term: Term) -> Term:
    """``term`` in the type of ``like``: these operators take several types and give out float32."""
    dtype = like.dtype or like.emit.float_type
    return term if term.dtype == dtype else term.emit.cast(term, dtype)


@vjp("Scaler", domain=ML)
def _scaler(n: NodeView, g: Term) -> Term:
    """(x − offset) · scale."""
    return _in_type_of(n.x, g * n.emit.constant(_floats(n, "scale", g)))


@vjp("Imputer", domain=ML)
def _imputer(n: NodeView, g: Term) -> Term:
    """Passes where nothing was put in."""
    replaced = n.attr("replaced_value_float", float("nan"))
    imputed = n.x.equals(replaced)
    if np.isnan(replaced):
        imputed = n.emit.op("IsNaN", n.x, dtype=ir.DataType.BOOL, shape=n.x.shape)
    return n.emit.where(imputed, 0.0, g)


@vjp("Normalizer", domain=ML)
def _normalizer(n: NodeView, g: Term) -> Term:
    """x/s with s = Σ|x|, √Σx² or max x (signed, as onnxruntime); rows with s = 0 pass unchanged."""
    x, norm = _in_type_of(g, n.x), n.attr("norm", "MAX")
    share = n.emit.sum(g * n.y, [-1])
    size = n.emit.op(_SIZES[norm], x, n.emit.ints([-1]), shape=share.shape, keepdims=1)
    empty = size.equals(0.0)
    slope = {"MAX": lambda: _largest(x, size), "L1": lambda: apply("Sign", x), "L2": lambda: n.y}[norm]()
    tangent = (g - slope * share) / n.emit.where(empty, 1.0, size)
    return _in_type_of(n.x, n.emit.where(empty, g, tangent))


def _largest(x: Term, size: Term) -> Term:
    """1 at the largest element, shared evenly where several are."""
    chosen = x.emit.mask(x.equals(size), x)
    return chosen / x.emit.sum(chosen, [-1])


@vjp_each("FeatureVectorizer", domain=ML)
def _feature_vectorizer(n: NodeView, i: int, g: Term) -> Term:
    """Columns of all operands, side by side."""
    widths = n.attr("inputdimensions")
    start = sum(widths[:i])
    bounds = (n.emit.ints([edge]) for edge in (start, start + widths[i], -1))
    columns = n.emit.op("Slice", g, *bounds)
    return n.emit.reshape_like(_in_type_of(n.input(i), columns), n.input(i))


@vjp("ArrayFeatureExtractor", domain=ML)
def _array_feature_extractor(n: NodeView, g: Term) -> Term | None:
    """Elements of the last axis."""
    return pullback(n, _extracted, g)[0]


def _extracted(n: NodeView, x: Term, places: Term) -> Term:
    return n.emit.reshape_like(n.emit.op("Gather", x, n.emit.reshape(places, [-1]), axis=-1), n.y)


# Linear models: y = post_transform(x Wᵀ + b) ------------------------------------------------------------------------


@vjp("LinearRegressor", domain=ML)
def _linear_regressor(n: NodeView, g: Term) -> Term:
    """With a single target onnxruntime leaves the post_transform out."""
    targets = n.attr("targets", 1)
    return _linear(n, g if targets == 1 else _before_transform(n, g, n.y), targets)


@vjp("LinearClassifier", domain=ML)
def _linear_classifier(n: NodeView, _label: Term | None, g: Term | None = None) -> Term | None:
    """The scores, result 1; the label, result 0, is a choice and no quantity."""
    rows = len(n.attr("intercepts"))
    if g is None:
        return None
    scores = n.emit.term(n.node.outputs[1])
    return _linear(n, _binary(n, g, scores) if rows == 1 else _before_transform(n, g, scores), rows)


def _binary(n: NodeView, g: Term, scores: Term) -> Term:
    """One row of coefficients for two classes: the scores are (−s, s), of which only LOGISTIC makes (1 − p, p)."""
    emit = n.emit
    first, second = (emit.op("Gather", g, emit.ints([i]), shape=(None, 1), axis=1) for i in (0, 1))
    if n.attr("post_transform", "NONE") == "PROBIT":
        raise NotDifferentiable(
            "PROBIT with one row of coefficients has no derivative rule",
            where=n.where(),
            expected="post_transform NONE, LOGISTIC or SOFTMAX",
            to_do="Use a perturbation method such as occlusion",
        )
    if n.attr("post_transform", "NONE") != "LOGISTIC":
        return second - first
    p = emit.op("Gather", scores, emit.ints([1]), shape=(None, 1), axis=1)
    return (second - first) * (p * (1 - p))


def _before_transform(n: NodeView, g: Term, y: Term) -> Term:
    """The gradient of the linear scores from that of the transformed ones ``y``."""
    transform = n.attr("post_transform", "NONE")
    if transform == "LOGISTIC":
        return g * (y * (1 - y))
    if transform in ("SOFTMAX", "SOFTMAX_ZERO"):
        return y * (g - n.emit.sum(g * y, [-1]))
    if transform == "PROBIT":  # y = Φ⁻¹(s), so that ∂y/∂s = 1/φ(y)
        return g * sqrt(2 * pi) * apply("Exp", y * y * 0.5)
    return g


def _linear(n: NodeView, g: Term, rows: int) -> Term:
    weights = n.emit.constant(_floats(n, "coefficients", g).reshape(rows, -1))
    return n.emit.reshape_like(_in_type_of(n.x, g @ weights), n.x)
