"""ablation_cam: A layer's channels, weighed by how much the target falls when each of them is switched off.

Computes: L = (Σ_k w_k A_k)⁺ with w_k = (S − S_k) / |S|, S_k the target with channel k of the layer set to 0 at all positions;
    upsampled linearly to the input's positions.
Output: Non-negative (signed with relu=false), the input's shape, the same value in every channel.
Needs: A value with channels and positions that lies over the input; by default the last one before global pooling or
    flattening. Of a transformer over patches: what its last attention reads (the last block's norm1), where a channel is
    ablated in the class token too. No gradient.
Cost: A forward from the layer on per channel of it and item, stacked in batches: 512 for SqueezeNet, 2048 for ResNet-50.
Properties: Free of gradients, so free of their saturation; class-discriminative.
Limits: As coarse as the layer. Channels that stand in for one another all get a small weight.
Source: Desai, Ramaswamy 2020, WACV, doi:10.1109/WACV45572.2020.9093360, equations 3 and 4; target before the final Softmax.
Differs: Divided by |S| where the paper has S: a negative S would turn evidence for the target into evidence against it. Where S
    is 0 the drops are not divided, and a caveat says so. pytorch-grad-cam sets a channel of a layer without a ReLU far below
    its minimum instead of to 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import find_value, forward_graph, prefix_in
from explainsvc.method import Method, Request, Result
from explainsvc.methods._cam import Layer, MapParams, told
from explainsvc.methods._cam_arrays import activation, combined, in_front, laid_over_inputs, read_layer
from explainsvc.variations import stack_size, target_values

LAYER = "layer"


@dataclass(frozen=True)
class Params(MapParams):
    """The layer, the ReLU, and how many ablated activations run at once."""

    batch_size: int = param(32, "int", "items per run", low=1)


def run(request: Request, p: Params) -> Result:
    """Switches off every channel."""
    layer = read_layer(request, p.layer, "ablation_cam")
    value, whole = activation(request, layer), target_values(request)
    weights = (whole[:, None] - ablated(request, layer, value, p.batch_size)) / np.where(whole == 0, 1.0, np.abs(whole))[:, None]
    heat = combined(weights, in_front(request, layer, value), p.relu)
    result = told(request, laid_over_inputs(request, layer, heat), layer)
    zero = ("S is 0: the drops are not divided by it",) if (whole == 0).any() else ()
    return replace(result, caveats=(*result.caveats, *zero))


def ablated(request: Request, layer: Layer, value: Array, batch_size: int) -> Array:
    """S with each channel of the layer set to 0, [N, C], by the part of the model that comes after the layer."""
    model, target, axis = request.model, request.target, layer.order[1]
    name = prefix_in(model.graph) + LAYER
    key = (model.digest, "ablation_cam", layer.name, target.output)
    session = model.session(key, partial(cut_graph, model.prepared.model, layer.name, target.output, name))
    feeds = {n: a for n, a in model.internal(request.feeds).items() if n in session.inputs}
    size, count, found = stack_size(request, batch_size), value.shape[axis], []
    for start in range(0, count, size):
        group = range(start, min(start + size, count))
        stacked = {n: np.concatenate([a] * len(group)) for n, a in feeds.items()} if size > 1 else feeds
        layers = np.concatenate([without(value, k, axis) for k in group])
        output = model.run(session, {**stacked, name: layers}, [target.output])[target.output]
        seeded = replace(target, seed=np.concatenate([target.seed] * len(group))) if size > 1 else target
        found += np.split(seeded.value(output, request.batched), len(group))
        request.progress(group.stop, count, "ablation_cam")
    return np.stack(found, axis=1)


def without(value: Array, channel: int, axis: int) -> Array:
    """The activation with one channel set to 0."""
    changed = value.copy()
    changed[(slice(None),) * axis + (channel,)] = 0
    return changed


def cut_graph(prepared: ir.Model, layer: str, target: str, name: str) -> ir.Model:
    """The model from a layer on: its value is the input ``name``, the target the only output.

    Raises:
        MethodNotApplicable: The target does not depend on the layer.
    """
    model = forward_graph(prepared, target)
    old = find_value(model.graph, layer)
    new = ir.Value(name=name, shape=old.shape, type=old.type)
    if not old.uses():
        raise MethodNotApplicable(
            f'"{target}" is not computed from "{layer}"', where="parameters.layer", expected="a value before the target",
            to_do="Leave layer out",
        )  # fmt: skip
    old.replace_all_uses_with(new)
    model.graph.inputs.append(new)
    common.RemoveUnusedNodesPass()(model)
    for value in list(model.graph.inputs):
        if not value.uses() and not value.is_graph_output():
            model.graph.inputs.remove(value)
    return model


METHOD = Method(read_card("ablation_cam", __doc__, Params), Params, run=run, from_logit=True)
