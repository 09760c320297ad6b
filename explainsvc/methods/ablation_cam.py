"""ablation_cam: A layer's channels, weighed by how much the target falls when each of them is switched off.

Computes: L = (Σ_k w_k A_k)⁺ with w_k = (S − S_k) / |S|, S_k the target with channel k of the layer set to 0 at all positions;
    upsampled linearly to the input's positions.
Output: Non-negative (signed with relu=false), the input's shape, the same value in every channel.
Needs: A value with channels and positions that lies over the input; by default the last one before global pooling or
    flattening. Of a transformer over patches: what its last attention reads (the last block's norm1), where a channel is
    ablated in the class token too. No gradient.
Cost: A forward from the layer on per channel of it and item, stacked in batches: 1000 for SqueezeNet, 2048 for ResNet-50.
Properties: Free of gradients, so free of their saturation; class-discriminative.
Limits: As coarse as the layer. Channels that stand in for one another all get a small weight.
Source: Desai, Ramaswamy 2020, WACV, doi:10.1109/WACV45572.2020.9093360, the weight that divides by the score; target before
    the final Softmax.
Differs: Divided by |S| where the paper has S (in place of ‖A_k‖, from which it starts): a negative S would turn evidence for the
    target into evidence against it. Where S is 0 the drops are not divided, and a caveat says so. pytorch-grad-cam sets a
    channel of a layer without a ReLU far below its minimum instead of to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from explainsvc.autograd.backward import nodes_between
from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import find_value
from explainsvc.method import Method, Request, Result
from explainsvc.methods._cam import Layer, MapParams, told
from explainsvc.methods._cam_arrays import activation, combined, in_front, laid_over_inputs, read_layer, requires_layer
from explainsvc.rest import rest_at
from explainsvc.variations import stack_size, target_values

After = Callable[[list[Array]], list[Array]]
"""Values of the layer → S of each, [N]; all in one run."""


@dataclass(frozen=True)
class Params(MapParams):
    """The layer, the ReLU, and how many ablated activations run at once."""

    batch_size: int = param(32, "int", "items per run", low=1)


def run(request: Request, p: Params) -> Result:
    """Switches off every channel."""
    layer = read_layer(request, p.layer, "ablation_cam")
    value, whole = activation(request, layer), target_values(request)
    after = part_after(request, layer)
    drops = whole[:, None] - ablated(request, layer, value, after, p.batch_size)
    weights = drops / np.where(whole == 0, 1.0, np.abs(whole))[:, None]
    heat = combined(weights, in_front(request, layer, value), p.relu)
    result = told(request, laid_over_inputs(request, layer, heat), layer)
    zero = ("S is 0: the drops are not divided by it",) if (whole == 0).any() else ()
    return replace(result, caveats=(*result.caveats, *zero))


def ablated(request: Request, layer: Layer, value: Array, after: After, batch_size: int) -> Array:
    """S with each channel of the layer set to 0, [N, C]."""
    size, axis = stack_size(request, batch_size), layer.order[1]
    count, found = value.shape[axis], []
    for start in range(0, count, size):
        group = range(start, min(start + size, count))
        found += after([without(value, k, axis) for k in group])
        request.progress(group.stop, count, "ablation_cam")
    return np.stack(found, axis=1)


def part_after(request: Request, layer: Layer) -> After:
    """The part of the model that comes after the layer; all other feeds stay as they are.

    Raises:
        MethodNotApplicable: The target does not depend on the layer.
    """
    target = request.target
    _require_before(request, layer)
    rest, feeds = rest_at(request.model, (layer.name,), request.feeds)

    def after(values: list[Array]) -> list[Array]:
        times = len(values)
        stacked = {n: np.concatenate([a] * times) if times > 1 else a for n, a in feeds.items() if n != layer.name}
        output = rest.value_of({**stacked, layer.name: np.concatenate(values)}, target.output)
        seed = np.concatenate([target.seed] * times) if times > 1 else target.seed
        return list(np.split(replace(target, seed=seed).value(output, request.batched), times))

    return after


def _require_before(request: Request, layer: Layer) -> None:
    graph, target = request.model.graph, request.target.output
    if not nodes_between(graph, [layer.value], find_value(graph, target)):
        raise MethodNotApplicable(
            f'"{target}" is not computed from "{layer.name}"', where="parameters.layer", expected="a value before the target",
            to_do="Leave layer out",
        )  # fmt: skip


def without(value: Array, channel: int, axis: int) -> Array:
    """The activation with one channel set to 0."""
    changed = value.copy()
    changed[(slice(None),) * axis + (channel,)] = 0
    return changed


METHOD = Method(
    read_card("ablation_cam", __doc__, Params), Params, run=run, from_logit=True, requires=requires_layer("ablation_cam")
)
