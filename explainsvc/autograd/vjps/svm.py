"""Support vector machines: y = Σ αᵢ K(x, vᵢ) + ρ, the kernel of every support vector weighed (onnxruntime's layout)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from explainsvc.autograd.emit import Term
from explainsvc.autograd.pullback import pullback
from explainsvc.autograd.registry import vjp_all
from explainsvc.autograd.shapes import Array
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.ml import ML
from explainsvc.autograd.vjps.pointwise import apply
from explainsvc.errors import NotDifferentiable


@vjp_all("SVMRegressor", domain=ML)
def _regressor(n: NodeView, g: Term) -> Mapping[int, Term | None]:
    """One-class machines answer ±1, of which nothing flows back."""
    return {} if n.attr("one_class", 0) else pullback(n, _regression, g)


def _regression(n: NodeView, x: Term) -> Term:
    return _kernels(n, x, n.attr("n_supports", 0)) @ _numbers(n, "coefficients").reshape(-1, 1) + float(n.attr("rho")[0])


@vjp_all("SVMClassifier", domain=ML)
def _classifier(n: NodeView, _label: Term | None, g: Term | None = None) -> Mapping[int, Term | None]:
    """The scores, result 1; the label, result 0, is a choice and no quantity."""
    return {} if g is None else pullback(n, _scores, g)


def _scores(n: NodeView, x: Term) -> Term:
    """One score a class (linear), one a pair of classes, or two that two classes share."""
    if not any(n.attr("vectors_per_class", ())):
        return _transformed(n, _linear(n, x))
    classes = len(n.attr("vectors_per_class"))
    rho = _numbers(n, "rho")[: classes * (classes - 1) // 2]
    pairs = _kernels(n, x, sum(n.attr("vectors_per_class"))) @ _pair_weights(n).T + rho
    if n.attr("prob_a"):
        return _transformed(n, _probabilities(n, pairs))
    return _transformed(n, pairs) if classes > 2 else _both_sides(n, pairs)


def _linear(n: NodeView, x: Term) -> Term:
    classes = len(n.attr("classlabels_ints") or n.attr("classlabels_strings"))
    return _rows(x) @ _numbers(n, "coefficients").reshape(classes, -1).T + float(n.attr("rho")[0])


def _pair_weights(n: NodeView) -> Array:
    """[pairs, vectors]: the coefficients of the vectors of both classes of a pair, 0 for all others."""
    counts = n.attr("vectors_per_class")
    coefficients = _numbers(n, "coefficients").reshape(len(counts) - 1, -1)
    edges = np.concatenate([[0], np.cumsum(counts)])
    pairs = list(combinations(range(len(counts)), 2))
    weights = np.zeros((len(pairs), edges[-1]), coefficients.dtype)
    for row, (i, j) in zip(weights, pairs, strict=True):
        row[edges[i] : edges[i + 1]] = coefficients[j - 1, edges[i] : edges[i + 1]]
        row[edges[j] : edges[j + 1]] = coefficients[i, edges[j] : edges[j + 1]]
    return weights


def _probabilities(n: NodeView, pairs: Term) -> Term:
    """Platt's 1/(1 + exp(a s + b)) for every pair, coupled as Wu et al. 2004, equation 21.

    onnxruntime solves that equation to 0.5 % by iteration; here it is solved exactly, by Cramer's rule.
    """
    pairwise = apply("Sigmoid", -(pairs * _numbers(n, "prob_a") + _numbers(n, "prob_b")))
    classes = len(n.attr("vectors_per_class"))
    r = n.emit.reshape(pairwise @ _signs(classes) + _below(classes), [-1, classes, classes])
    bordered = _bordered(r, classes)
    last, column = np.eye(classes + 1)[-1], np.eye(classes + 1)[:classes, None]
    replaced = n.emit.op("Unsqueeze", bordered, n.emit.ints([1])) * _f32(1 - column) + _f32(last[None, :, None] * column)
    return n.emit.op("Det", replaced) / n.emit.op("Unsqueeze", n.emit.op("Det", bordered), n.emit.ints([1]))


def _signs(classes: int) -> Array:
    """[pairs, classes²]: +1 where the probability of a pair stands, −1 where its rest does."""
    signs = np.zeros((classes * (classes - 1) // 2, classes, classes))
    for row, (i, j) in zip(signs, combinations(range(classes), 2), strict=True):
        row[i, j], row[j, i] = 1, -1
    return _f32(signs.reshape(len(signs), -1))


def _below(classes: int) -> Array:
    return _f32(np.tril(np.ones((classes, classes)), -1).reshape(-1))


def _bordered(r: Term, classes: int) -> Term:
    """The matrix Q of Wu et al. 2004 with a border of ones, for the probabilities to add up to 1."""
    emit = r.emit
    q = emit.sum(r * r, [1]) * _f32(np.eye(classes)) - r * emit.op("Transpose", r, perm=[0, 2, 1])
    border = np.zeros((classes + 1, classes + 1))
    border[-1, :-1] = border[:-1, -1] = 1
    return emit.op("Pad", q, emit.ints([0, 0, 0, 0, 1, 1])) + _f32(border)


def _f32(array: Array) -> Array:
    return array.astype(np.float32)


def _both_sides(n: NodeView, pairs: Term) -> Term:
    """Two scores of two classes, from the one of their pair. The softmax of one number onnxruntime leaves out."""
    transform = n.attr("post_transform", "NONE")
    if transform not in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"):
        raise _refused(n, f"post_transform {transform} has no derivative rule")
    second = apply("Sigmoid", pairs) if transform == "LOGISTIC" else pairs
    return n.emit.op("Concat", -second if transform == "NONE" else 1 - second, second, axis=1, shape=(None, 2))


def _transformed(n: NodeView, scores: Term) -> Term:
    transform = n.attr("post_transform", "NONE")
    if transform == "LOGISTIC":
        return apply("Sigmoid", scores)
    if transform in ("SOFTMAX", "SOFTMAX_ZERO"):
        return n.emit.op("Softmax", scores, axis=-1, shape=scores.shape)
    if transform == "NONE":
        return scores
    raise _refused(n, f"post_transform {transform} has no derivative rule")


def _refused(n: NodeView, what: str) -> NotDifferentiable:
    return NotDifferentiable(what, where=n.where(), to_do="Use a perturbation method such as occlusion")


# Kernels ----------------------------------------------------------------------------------------------------------


def _numbers(n: NodeView, name: str) -> Array:
    return np.asarray(n.attr(name), np.float32)


def _rows(x: Term) -> Term:
    """[batch, features] in float32, which these operators compute in."""
    emit = x.emit
    rows = x if x.dtype == emit.float_type else emit.cast(x, emit.float_type)
    return emit.op("Unsqueeze", rows, emit.ints([0])) if x.rank == 1 else rows


def _kernels(n: NodeView, x: Term, count: int) -> Term:
    """K(x, v) of every row and support vector; without vectors, ``count`` = 0, the row itself."""
    if count == 0:
        return _rows(x)
    vectors, kind = _numbers(n, "support_vectors").reshape(count, -1), n.attr("kernel_type", "LINEAR")
    gamma, coef0, degree = (n.attr("kernel_params") or (0.0, 0.0, 0.0))[:3]
    if kind == "RBF":
        apart = n.emit.op("Unsqueeze", _rows(x), n.emit.ints([1])) - vectors[None]
        return apply("Exp", n.emit.sum(apart * apart, [2], keepdims=False) * -gamma)
    inner = _rows(x) @ vectors.T
    if kind == "LINEAR":
        return inner
    inner = inner * gamma + coef0
    return apply("Tanh", inner) if kind == "SIGMOID" else inner ** float(degree)
