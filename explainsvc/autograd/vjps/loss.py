"""NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss, classes on axis 1.

The loss of one position with the label t is −w_t x_t, 0 where t is ``ignore_index``. "mean" divides the sum of losses
by the sum W of their weights, so that the gradient of a weight has a second part through W.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.emit import Term
from explainsvc.autograd.registry import define
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.norm import per_channel
from explainsvc.autograd.vjps.pointwise import total_of

CLASS_AXIS = 1


def _labels(n: NodeView) -> Term:
    """The labels as int64."""
    labels = n.input(1)
    return labels if labels.dtype == ir.DataType.INT64 else n.emit.cast(labels, ir.DataType.INT64)


def _counted(n: NodeView) -> Term:
    """1 where the label counts, 0 where it is to be ignored."""
    dtype = n.x.dtype or n.emit.float_type
    ignored = n.attr("ignore_index")
    if ignored is None:
        one = ir.tensor(np.ones(1, dtype.numpy()))
        return n.emit.op("ConstantOfShape", n.emit.shape(n.input(1)), dtype=dtype, shape=n.input(1).shape, value=one)
    return 1.0 - n.emit.mask(_labels(n).equals(ignored), n.x)


def _weights(n: NodeView) -> Term:
    """The weight of every position."""
    counted = _counted(n)
    if not n.has(2):
        return counted
    known = n.emit.op("Mul", _labels(n), n.emit.cast(counted, ir.DataType.INT64))
    return counted * n.emit.op("Gather", n.input(2), known, shape=n.input(1).shape, axis=0)


def _one_hot(n: NodeView) -> Term:
    """1 at the class of the label, on a new axis 1; in float32 first, because onnxruntime has no OneHot in double."""
    classes = n.emit.op("Gather", n.emit.shape(n.x), n.emit.ints([CLASS_AXIS]), shape=(1,), axis=0)
    values = n.emit.constant([0, 1], np.float32)
    hot = n.emit.op("OneHot", _labels(n), classes, values, dtype=values.dtype, shape=n.x.shape, axis=CLASS_AXIS)
    return n.emit.mask(hot, n.x).like(n.x) if n.x.dtype not in (None, ir.DataType.FLOAT) else hot.like(n.x)


def _per_class(n: NodeView, term: Term) -> Term:
    """A term of the labels' shape, against all classes."""
    return n.emit.op("Unsqueeze", term, n.emit.ints([CLASS_AXIS]))


def _is_mean(n: NodeView) -> bool:
    return bool(n.attr("reduction", "mean") == "mean")


def _share(n: NodeView, g: Term) -> Term:
    """The gradient of one weighted loss: that of the result, by W where that is a mean."""
    if not _is_mean(n):
        return g
    return g / n.emit.op("ReduceSum", _weights(n), shape=(), keepdims=0)


def _of_scores(n: NodeView, g: Term) -> Term:
    """∂/∂x = −w at the label."""
    return -(_one_hot(n) * _per_class(n, _share(n, g) * _weights(n)))


def _of_weights(n: NodeView, g: Term, scores: Term) -> Term:
    """∂/∂w_t = −Σ x_t, for a mean −Σ (x_t + loss) / W."""
    own = scores + n.y if _is_mean(n) else scores
    return -per_channel(n.x, _one_hot(n) * own * _per_class(n, _share(n, g) * _counted(n)))


define("NegativeLogLikelihoodLoss", _of_scores, lambda *_: None, lambda n, g: _of_weights(n, g, n.x))


def _cross_entropy(n: NodeView, g: Term | None, g_log: Term | None = None) -> Term | None:
    """Through the logarithm of the softmax, which may be a result of its own."""
    total = total_of([None if g is None else _of_scores(n, g), g_log])
    if total is None:
        return None
    softmax = n.emit.op("Softmax", n.x, shape=n.x.shape, axis=CLASS_AXIS)
    return total - softmax * n.emit.sum(total, [CLASS_AXIS])


def _cross_entropy_weights(n: NodeView, g: Term | None, _log: Term | None = None) -> Term | None:
    log = n.emit.op("LogSoftmax", n.x, shape=n.x.shape, axis=CLASS_AXIS)
    return None if g is None else _of_weights(n, g, log)


define("SoftmaxCrossEntropyLoss", _cross_entropy, lambda *_: None, _cross_entropy_weights)
