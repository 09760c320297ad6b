"""Quantus on given maps, and by its own cascade with randomised weights that are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import quantus
import torch

from benchmarks.peers.architectures import module
from benchmarks.peers.serving import Array, Run, Task, serve

RAW = {"abs": False, "normalise": False, "disable_warnings": True, "display_progressbar": False}
BATCH = 64
"""Quantus's default."""
LOGITS = {"softmax": False, "channel_first": True, "device": "cpu", "batch_size": BATCH}


class Drawn:
    """A layer whose ``reset_parameters``, by which Quantus randomises it, takes numbers that are given."""

    drawn: Mapping[str, torch.Tensor]

    def reset_parameters(self) -> None:
        """Those of the other side's randomised model."""
        with torch.no_grad():
            for name, numbers in self.drawn.items():
                getattr(self, name).copy_(numbers)


class DrawnConv(Drawn, torch.nn.Conv2d):
    """A convolution of this kind."""


class DrawnLinear(Drawn, torch.nn.Linear):
    """A dense layer of this kind."""


KINDS: Mapping[type, type] = {torch.nn.Conv2d: DrawnConv, torch.nn.Linear: DrawnLinear}


def gradient(model: torch.nn.Module, inputs: Array, targets: Array, **_: Any) -> Array:
    """∂S/∂x of a batch."""
    x = torch.tensor(np.asarray(inputs), dtype=torch.float32, requires_grad=True)
    model(x)[torch.arange(len(x)), torch.tensor(np.asarray(targets))].sum().backward()
    return np.asarray(x.grad)


def mprt(task: Task) -> Mapping[str, Run]:
    """Rank correlations [item, step]: of the maps' sizes where ``abs``; and (steps + 1) gradients by themselves."""
    network, classes = module(task.network), np.array(task.classes)
    for name, layer in network.named_modules():
        if type(layer) in KINDS:
            layer.__class__ = KINDS[type(layer)]
            layer.drawn = {k: torch.from_numpy(task.given[f"{name}.{k}"]) for k, _ in layer.named_parameters()}
    metric = quantus.MPRT(layer_order="top_down", similarity_func=quantus.correlation_spearman, **(RAW | {"abs": True}))
    steps = sum(isinstance(layer, Drawn) for layer in network.modules())

    def run() -> Array:
        found = metric(model=network, x_batch=task.x, y_batch=classes, a_batch=None, explain_func=gradient, **LOGITS)
        return np.array(list(found.values())).T

    def gradients() -> Array:
        for _ in range(steps + 1):
            found = gradient(network, task.x, classes)
        return found

    return {"quantus": run, "its gradients": gradients}


def pixel_flipping(task: Task) -> Mapping[str, Run]:
    """The output after each step from the largest value on, [item, step]; of patches where ``patch`` is above 1."""
    network, x = module(task.network), torch.from_numpy(task.x)
    steps, patch = task.parameters["steps"], task.parameters["patch"]
    asked = {"model": network, "x_batch": task.x, "y_batch": np.array(task.classes), "a_batch": task.given["maps"]}
    if patch == 1:
        pixels = quantus.PixelFlipping(features_in_step=task.x[0].size // steps, perturb_baseline=0.0, **RAW)
        return {"quantus": lambda: np.array(pixels(**asked, **LOGITS)), "its forwards": _forwards(network, x, steps)}
    regions = quantus.RegionPerturbation(patch_size=patch, regions_evaluation=steps, order="morf", perturb_baseline=0.0, **RAW)

    def outputs() -> Array:
        with torch.no_grad():
            start = network(x)[torch.arange(len(x)), torch.tensor(task.classes)].numpy()
        return np.asarray(start[:, None] - np.array(regions(**asked, **LOGITS)))

    return {"quantus": outputs, "its forwards": _forwards(network, x, steps)}


def _forwards(network: torch.nn.Module, x: torch.Tensor, steps: int) -> Run:
    """As many as the steps, in Quantus's batches."""
    batches = torch.split(x, BATCH)

    def run() -> None:
        with torch.no_grad():
            for _ in range(steps):
                for batch in batches:
                    network(batch)

    return run


if __name__ == "__main__":
    serve({"mprt": mprt, "pixel_flipping": pixel_flipping}, "quantus")
