"""How far our gradients of an exported architecture are from torch autograd in float64."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import onnx
import torch
import transformers

import explainsvc
from tests.models import Array, numbers
from tests.parity.architectures import Architecture
from tests.parity.gates import Gated, gates
from tests.parity.networks import distance

LIMIT = 1e-4
"""Relative to the norm of an item's gradient; rounding of float32 in these networks comes to 1e-7 … 1e-5."""
ITEMS = 3
ROUNDING = 1e-6
"""Relative size of the perturbations among which the other side of a kink is looked for: a few roundings of float32."""
DRAWS = 12

# Exports --------------------------------------------------------------------------------------------------------------


def by_dynamo(architecture: Architecture, opset: int) -> onnx.ModelProto:
    """By the current exporter."""
    names = list(architecture.feeds(ITEMS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both exporters warn about themselves
        exported = torch.onnx.export(
            program(architecture), input_names=names, output_names=["y"], opset_version=opset, verbose=False
        )
    assert exported is not None
    return exported.model_proto


@cache
def program(architecture: Architecture) -> torch.export.ExportedProgram:
    """What torch.export makes of it, the same for all opsets."""
    feeds = architecture.feeds(ITEMS)
    open_axes = tuple(dict.fromkeys(architecture.axes[name], torch.export.Dim.DYNAMIC) for name in feeds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(architecture.network(), tensors(feeds), dynamic_shapes=(open_axes,))


def by_torchscript(architecture: Architecture, opset: int) -> onnx.ModelProto:
    """By the older exporter, which traces; it knows attention as one operator from opset 14 on."""
    feeds, file, network = architecture.feeds(ITEMS), io.BytesIO(), architecture.network()
    for module in network.modules():
        if opset < 14 and isinstance(module, transformers.PreTrainedModel):
            module.set_attn_implementation("eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, tensors(feeds), file, dynamic_axes=architecture.axes | {"y": {0: "N"}}, input_names=list(feeds),
            output_names=["y"], opset_version=opset, verbose=False, dynamo=False,
        )  # fmt: skip
    return onnx.ModelProto.FromString(file.getvalue())


EXPORTERS: dict[str, Callable[[Architecture, int], onnx.ModelProto]] = {"dynamo": by_dynamo, "torchscript": by_torchscript}


# torch ----------------------------------------------------------------------------------------------------------------


def tensors(feeds: Mapping[str, Array], dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    """Float arrays as ``dtype``, others as they are."""
    return tuple(torch.tensor(a, dtype=dtype if a.dtype.kind == "f" else None) for a in feeds.values())


@dataclass(frozen=True)
class Truth:
    """What torch says in float64: outputs, the random seed that weighs them, ∂⟨seed, y⟩/∂x of every float input."""

    network: torch.nn.Module
    feeds: dict[str, Array]
    outputs: Array
    seed: Array
    gradients: dict[str, Array]

    @cached_property
    def nearby(self) -> list[dict[str, Array]]:
        """The gradients at points within rounding of the inputs, where some kinks open the other side."""
        rng = np.random.default_rng(0)
        return [truth(self.network, {n: _moved(a, rng) for n, a in self.feeds.items()}).gradients for _ in range(DRAWS)]


def _moved(array: Array, rng: np.random.Generator) -> Array:
    return array * (1 + ROUNDING * rng.standard_normal(array.shape)) if array.dtype.kind == "f" else array


def truth(network: torch.nn.Module, feeds: dict[str, Array]) -> Truth:
    """torch autograd on a network in float64."""
    x = tensors(feeds, torch.float64)
    wanted = {name: t.requires_grad_() for name, t in zip(feeds, x, strict=True) if t.is_floating_point()}
    y = network(*x)
    seed = numbers(*y.shape, seed=9)
    found = torch.autograd.grad(y, list(wanted.values()), torch.tensor(seed, dtype=torch.float64))
    gradients = {name: g.numpy() for name, g in zip(wanted, found, strict=True)}
    return Truth(network, feeds, y.detach().numpy(), seed, gradients)


def truth_of(architecture: Architecture, items: int = ITEMS) -> Truth:
    """torch's answers for so many items of an architecture."""
    return truth(architecture.network().double(), architecture.feeds(items))


# Ours -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agreement:
    """Relative distances from torch.

    Attributes:
        outputs: Of the worst item.
        gradients: Of the worst item and input.
        kinks: Of those items that are off by more than the limit at their own point: how far they are from torch's
            gradient there, where ``gradients`` counts the nearest one within rounding of that point, or with our gates.
    """

    outputs: float
    gradients: float
    kinks: tuple[float, ...] = ()


def agreement(model: explainsvc.Model, expected: Truth, smooth: bool, one_by_one: bool = False) -> Agreement:
    """Predictions and gradients of a model against torch's.

    Args:
        model: An export of the network that gave the truth.
        expected: What torch says.
        smooth: Whether the network has no kinks, so that nothing but its own point counts.
        one_by_one: Whether the items are explained one at a time.
    """
    items = len(expected.outputs)
    groups = [slice(i, i + 1) for i in range(items)] if one_by_one else [slice(None)]
    outputs, gradients = [], []
    for group in groups:
        feeds = {name: a[group] for name, a in expected.feeds.items()}
        outputs.append(model.predict(feeds)["y"])
        gradients.append(model.explain(feeds, target={"seed": expected.seed[group]}).values)
    found = {name: np.concatenate([part[name] for part in gradients]) for name in gradients[0]}
    assert found.keys() == expected.gradients.keys()
    errors = nearest = _errors(found, expected.gradients)
    for near in expected.nearby if not smooth and max(errors) > LIMIT else ():
        nearest = [min(pair) for pair in zip(nearest, _errors(found, near), strict=True)]
    if not smooth and max(nearest) > LIMIT and not one_by_one:
        nearest = [min(pair) for pair in zip(nearest, _errors(found, _at_our_gates(model, expected)), strict=True)]
    kinks = tuple(error for error, near in zip(errors, nearest, strict=True) if error > LIMIT >= near)
    return Agreement(max(_each(np.concatenate(outputs), expected.outputs)), max(nearest), kinks)


def _at_our_gates(model: explainsvc.Model, expected: Truth) -> dict[str, Array]:
    """torch's gradients where its ReLUs open as ours do."""
    with Gated(gates(model, expected.feeds, expected.seed)):
        return truth(expected.network, expected.feeds).gradients


def _errors(found: Mapping[str, Array], expected: Mapping[str, Array]) -> list[float]:
    """Of every item its worst input."""
    columns = [_each(found[name], expected[name]) for name in expected]
    return [max(row) for row in zip(*columns, strict=True)]


def _each(found: Any, expected: Any) -> list[float]:
    return [distance(a, b) for a, b in zip(found, expected, strict=True)]
