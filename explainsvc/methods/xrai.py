"""xrai: Which regions of an image the target owes most to: integrated gradients ranked over segments.

Computes: Integrated gradients from a black and a white image, their mean, its maximum over colours; Felzenszwalb segments at
  six scales; greedily the segment whose part not yet covered has the highest mean, until the image is covered.
Output: Signed, the input's shape: every pixel shows the mean of the region it was covered with, alike in all channels.
Needs: A differentiable path of float values from the input to the target; images of at most 4 channels.
Cost: 2 · `steps` forward and backward passes in batches; then seconds an item of segmentation, less with algorithm=fast.
Properties: Connected regions in place of scattered pixels; their order is the heat map's.
Limits: As fine as the segments; the maximum over colours is no sum: the map is not complete.
Source: Kapishnikov, Bolukbasi, Viégas, Terry 2019, arXiv:1906.02825, algorithm 1; constants and `fast` from PAIR's xrai.py.
Differs: Gauss–Legendre integration (PAIR: the mean over end points); the dilation of segments by 5 pixels and the smallest gain
  of 50 pixels hold at 224 × 224 as in PAIR's code and scale with the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.shapes import Array, shape_of
from explainsvc.cards import param, read_card
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import find_value
from explainsvc.method import Method, Request, Result
from explainsvc.methods._path import straight_lines, typed
from explainsvc.methods._segments import SIDE, segments
from explainsvc.methods._spatial import spatial_axes

if TYPE_CHECKING:
    from explainsvc.model import Model

LEAST = 50
"""Pixels that a segment must add at 224 × 224 (PAIR's min_pixel_diff)."""


@dataclass(frozen=True)
class Params:
    """Integration and region growing."""

    steps: int = param(50, "int", "points of the quadrature, for each of the two baselines", low=1, high=10_000)
    algorithm: str = param("full", "str", "rank again after every region, or once (overlaps ignored)", choices=("full", "fast"))
    batch_size: int = param(16, "int", "items per run", low=1)


def run(request: Request, p: Params) -> Result:
    """One heat map per image and item."""
    axes = {name: _image_axes(request.model.graph, name, request.target.output) for name in request.wanted}
    rows = [{n: _extreme(request.feeds[n], extreme) for n in request.wanted} for extreme in (np.min, np.max)]
    found = straight_lines(request, rows, "gauss_legendre", p.steps, p.batch_size, "xrai")
    values = {}
    for name, order in axes.items():
        images, evidence = (np.transpose(a, order).astype(np.float64) for a in (request.feeds[name], found[name]))
        heat = [heat_map(image, e.max(axis=-1), p.algorithm) for image, e in zip(images, evidence, strict=True)]
        repeated = np.broadcast_to(np.stack(heat)[..., None], images.shape)
        values[name] = np.transpose(repeated, np.argsort(order))
    return Result(typed(values, request))


def requires(model: Model, output: str, inputs: Sequence[str]) -> None:
    """Every input is an image."""
    for name in inputs:
        _image_axes(model.graph, name, output)


def _image_axes(graph: ir.Graph, name: str, target: str) -> tuple[int, ...]:
    """The permutation to [N, H, W, C].

    Raises:
        MethodNotApplicable: The input is no image.
    """
    channel, positions = spatial_axes(graph, name, target, "xrai")
    channels = (shape_of(find_value(graph, name)) or ())[channel]
    if len(positions) != 2 or not isinstance(channels, int) or channels > 4:
        raise MethodNotApplicable(
            f'xrai needs images; "{name}" has {channels} channels over {len(positions)} spatial axes',
            where=f'input "{name}"', expected="two spatial axes and at most 4 channels", to_do="Use integrated_gradients",
        )  # fmt: skip
    return (0, *positions, channel)


def _extreme(x: Array, extreme: Callable[[Array], Array]) -> Array:
    """The darkest or lightest value of every item, everywhere: PAIR's black and white."""
    return np.stack([np.full_like(item, extreme(item)) for item in x])


def heat_map(image: Array, evidence: Array, algorithm: str) -> Array:
    """XRAI's map [H, W] of one image [H, W, C] from the evidence [H, W] for the target."""
    masks = segments(image)
    least = max(1, round(LEAST * evidence.size / SIDE**2))
    order = (
        fast_order(evidence.reshape(-1), masks, least) if algorithm == "fast" else full_order(evidence.reshape(-1), masks, least)
    )
    return covered(evidence.reshape(-1), masks, order).reshape(evidence.shape)


def full_order(evidence: Array, masks: Array, least: int) -> Iterator[int]:
    """Segments (rows of bool [n, pixels]), each time the one whose uncovered part has the highest mean (algorithm 1)."""
    uncovered = np.ones(len(evidence), bool)
    counts, sums = masks.sum(axis=1), masks @ evidence
    while (growing := counts >= least).any():
        best = int(np.argmax(np.where(growing, sums / np.maximum(counts, 1), -np.inf)))
        region = np.flatnonzero(masks[best] & uncovered)
        uncovered[region] = False
        counts = counts - masks[:, region].sum(axis=1)
        sums = sums - masks[:, region] @ evidence[region]
        yield best


def fast_order(evidence: Array, masks: Array, least: int) -> Iterator[int]:
    """Segments by their mean over all of their pixels; those that add too little to the ones before are left out."""
    uncovered = np.ones(len(evidence), bool)
    for k in np.argsort(-(masks @ evidence) / masks.sum(axis=1), kind="stable"):
        if (masks[k] & uncovered).sum() >= least:
            uncovered &= ~masks[k]
            yield int(k)


def covered(evidence: Array, masks: Array, order: Iterator[int]) -> Array:
    """Every pixel with the mean evidence of the region that covers it; what no segment covers is a region of its own."""
    heat, uncovered = np.empty_like(evidence), np.ones(len(evidence), bool)
    for k in order:
        region = masks[k] & uncovered
        heat[region] = evidence[region].mean()
        uncovered &= ~region
    if uncovered.any():
        heat[uncovered] = evidence[uncovered].mean()
    return heat


METHOD = Method(read_card("xrai", __doc__, Params), Params, run=run, requires=requires, family="sampling")
