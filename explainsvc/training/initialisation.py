"""Where training starts: every learned tensor drawn anew, by a declared distribution and seed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import torch

from explainsvc.autograd.shapes import Array
from explainsvc.errors import NotTrainable
from explainsvc.graph.layers import Parameter, Unit, parameter_units
from explainsvc.graph.passes import Prepared
from explainsvc.training.trainable import Trainable
from explainsvc.weights import reinitialise

UNKNOWN_ROLE = "normal_same_std"
"""The distribution of tensors of which the graph does not tell what they are."""


def initial_numbers(trainable: Trainable, distribution: str, seed: int) -> dict[str, Array]:
    """New numbers for every learned tensor: initializer → array of its shape.

    They are those of :func:`explainsvc.weights.reinitialise`: weights by the distribution, biases zero, normalisations the
    identity. Tensors of no unit are drawn from N(0, σ²) with their own σ: which part they play, the graph does not tell.

    Args:
        trainable: Not changed.
        distribution: One of :data:`explainsvc.weights.DISTRIBUTIONS`.
        seed: Of the draws, which are independent from unit to unit.

    Raises:
        NotTrainable: Nothing in the model learns.
    """
    learned = set(trainable.tensors.values())
    if not learned or not any(True for _ in trainable.module.parameters()):
        raise NotTrainable("the model has no learned numbers", where="training", expected="weights in Conv, Gemm, MatMul, …")
    model = ir.from_proto(trainable.graph)
    source = Prepared(model, (), upcast=False)
    units = parameter_units(model.graph, trainable.graph)
    found = _all(source, units, distribution, seed)
    rest = [Unit(name, "", (Parameter(name, "weight", 1, 1),)) for name in sorted(learned - found.keys())]
    drawn = found | _all(source, rest, UNKNOWN_ROLE, seed)
    return {name: array for name, array in drawn.items() if name in learned}


def _all(source: Prepared, units: tuple[Unit, ...] | list[Unit], distribution: str, seed: int) -> dict[str, Array]:
    return {name: array for unit in units for name, array in reinitialise(source, unit, distribution, seed).items()}


def with_numbers(trainable: Trainable, weights: Mapping[str, Array]) -> Trainable:
    """A copy of the module whose learned tensors hold other numbers; what is given stays as it is."""
    module = copy.deepcopy(trainable.module)
    state = module.state_dict(keep_vars=True)
    with torch.no_grad():
        for own, name in trainable.tensors.items():
            state[own].copy_(torch.as_tensor(np.ascontiguousarray(weights[name])).reshape(state[own].shape))
    return replace(trainable, module=module)
