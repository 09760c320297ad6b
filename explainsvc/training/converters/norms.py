"""Normalisations whose scale and shift are operands."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from explainsvc.training.converters.operator import Call, Given, Tensor, operand_form, operator, single_result

_EPSILON = 1e-5


@operand_form("BatchNormalization")
def batch_normalization(call: Call, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """Of the batch while training, of what was measured otherwise (Ioffe & Szegedy 2015, algorithms 1 and 2).

    Training moves mean and variance as torch does, by 1 − ONNX's momentum and with the unbiased variance of the batch.
    A node with ``training_mode`` normalises by the batch at all times.
    """
    single_result(call)
    momentum, epsilon = 1 - call.get("momentum", 0.9), call.get("epsilon", _EPSILON)
    if call.get("training_mode", 0) and not call.training:
        return F.batch_norm(x, None, None, scale, shift, training=True, eps=epsilon)
    return F.batch_norm(x, mean, var, scale, shift, call.training, momentum, epsilon)


@operand_form("InstanceNormalization")
def instance_normalization(call: Call, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Over the spatial axes of every channel of every item."""
    return F.instance_norm(x, weight=scale, bias=shift, eps=call.get("epsilon", _EPSILON))


@operand_form("LayerNormalization")
def layer_normalization(call: Call, x: Tensor, scale: Tensor, shift: Given = None) -> Tensor:
    """Over all axes from ``axis`` on (Ba et al. 2016, eq. 3); scale and shift are broadcast."""
    single_result(call)
    shape = x.shape[call.get("axis", -1) :]
    normal = F.layer_norm(x, shape, eps=call.get("epsilon", _EPSILON)) * scale
    return normal if shift is None else normal + shift


@operator("GroupNormalization", since=21)
def group_normalization(call: Call, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Over groups of channels (Wu & He 2018, eq. 7); scale and shift are one per channel."""
    return F.group_norm(x, call.get("num_groups"), scale, shift, call.get("epsilon", _EPSILON))


@operator("RMSNormalization", since=23)
def rms_normalization(call: Call, x: Tensor, scale: Tensor) -> Tensor:
    """x / √(mean x² + ε) over all axes from ``axis`` on (Zhang & Sennrich 2019, eq. 4)."""
    axes = tuple(range(call.get("axis", -1) % x.dim(), x.dim()))
    return x * torch.rsqrt(x.square().mean(axes, keepdim=True) + call.get("epsilon", _EPSILON)) * scale


@operator("LpNormalization", since=1)
def lp_normalization(call: Call, x: Tensor) -> Tensor:
    """x / ‖x‖_p along an axis; zero where all is zero."""
    return F.normalize(x, p=call.get("p", 2), dim=call.get("axis", -1), eps=1e-30)


@operator("MeanVarianceNormalization", since=9)
def mean_variance_normalization(call: Call, x: Tensor) -> Tensor:
    """(x − mean) / deviation over the axes, with ONNX's ε = 10⁻⁹ beside the deviation."""
    axes = tuple(call.get("axes", (0, 2, 3)))
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True).sqrt() + 1e-9)
