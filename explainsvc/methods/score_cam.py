"""score_cam: A layer's channels, weighed by what the model says of the input seen through each of them.

Computes: L = (Σ_k α_k A_k)⁺ with α = softmax over k of S(x ⊙ H_k), H_k = A_k upsampled to the input and scaled to [0, 1] by its
    own minimum and maximum; the map is upsampled linearly to the input's positions.
Output: Non-negative (signed with relu=false), the input's shape, the same value in every channel.
Needs: A value with channels and positions that lies over the input; by default the last one before global pooling or
    flattening. Of a transformer over patches: what its last attention reads (the last block's norm1), class token left out.
    Inputs where 0 means nothing. No gradient.
Cost: One forward per channel of the layer and item, stacked in batches: 1000 for SqueezeNet, 2048 for ResNet-50.
Properties: Free of gradients; class-discriminative.
Limits: As coarse as the layer. The softmax makes the map depend on the scale of S: one channel may get all of the weight.
    Masked inputs may lie off the data distribution.
Source: Wang et al. 2020, arXiv:1910.01279, section 3; target before the final Softmax.
Differs: S(baseline) is not subtracted from the scores, the softmax cancels it. A channel that is constant has no H_k and gets
    no weight; pytorch-grad-cam scores it with an empty mask. Upsampling is between the centres of positions, where
    pytorch-grad-cam aligns corners for H_k only. Several explained inputs are masked together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.method import Method, Request, Result
from explainsvc.methods._cam import Layer, MapParams, told
from explainsvc.methods._cam_arrays import activation, combined, in_front, laid_over, laid_over_inputs, read_layer, requires_layer
from explainsvc.variations import per_variation, split_array, target_values


@dataclass(frozen=True)
class Params(MapParams):
    """The layer, the ReLU, and how many masked inputs run at once."""

    batch_size: int = param(32, "int", "items per run", low=1)


def run(request: Request, p: Params) -> Result:
    """Scores the input through every channel."""
    layer = read_layer(request, p.layer, "score_cam")
    a = in_front(request, layer, activation(request, layer))
    alpha = softmax(scores(request, layer, a, p.batch_size), ~constant(a))
    return told(request, laid_over_inputs(request, layer, combined(alpha, a, p.relu)), layer)


def scores(request: Request, layer: Layer, a: Array, batch_size: int) -> Array:
    """S(x ⊙ H_k) of every item and channel, [N, C]."""

    def masked() -> Iterator[dict[str, Array]]:
        for k in range(a.shape[1]):
            masks = {n: scaled(laid_over(request, layer, a[:, k], n), request.has_items(n)) for n in request.wanted}
            yield {n: (request.feeds[n] * mask).astype(request.feeds[n].dtype) for n, mask in masks.items()}

    found = []
    for k, score in enumerate(per_variation(request, masked(), target_values, split_array, batch_size)):
        found.append(score)
        request.progress(k + 1, a.shape[1], "score_cam")
    return np.stack(found, axis=1)


def scaled(mask: Array, items: bool) -> Array:
    """(M − min M) / (max M − min M) per item, the normalisation s(·); 0 where M is constant."""
    axes = tuple(range(1, mask.ndim)) if items else None
    low, span = mask.min(axis=axes, keepdims=True), np.ptp(mask, axis=axes, keepdims=True)
    return np.asarray((mask - low) / np.where(span > 0, span, 1.0))


def constant(a: Array) -> Array:
    """Which channels are the same everywhere, bool [N, C]."""
    return np.asarray(np.ptp(a.reshape(*a.shape[:2], -1), axis=2) == 0)


def softmax(values: Array, counted: Array) -> Array:
    """Over the counted channels of every item; 0 for the others. Both [N, C]."""
    top = np.max(values, axis=1, keepdims=True, where=counted, initial=-np.inf)
    raised = np.exp(values - np.where(np.isfinite(top), top, 0.0), where=counted, out=np.zeros_like(values))
    total = raised.sum(axis=1, keepdims=True)
    return np.asarray(raised / np.where(total > 0, total, 1.0))


METHOD = Method(read_card("score_cam", __doc__, Params), Params, run=run, requires=requires_layer("score_cam"), from_logit=True)
