"""The networks that are measured: torchvision's, random weights, exported once into ``.cache/``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray

CACHE = Path(__file__).parent.parent / ".cache" / "benchmarks"
SIDE = 224
CLASSES = 1000

_MAKERS: dict[str, Callable[[], torch.nn.Module]] = {
    "resnet18": torchvision.models.resnet18,
    "resnet50": torchvision.models.resnet50,
    "vgg16": torchvision.models.vgg16,
}
NAMES = tuple(_MAKERS)


@dataclass(frozen=True)
class Network:
    """One network, as torch has it and as ONNX file."""

    name: str
    module: torch.nn.Module
    onnx_path: Path


def network(name: str) -> Network:
    """The network under ``name``; its weights are those of its exported file, on every call."""
    torch.manual_seed(0)
    module = _MAKERS[name]().eval()
    _calm(module)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    path = CACHE / f"{name}-torch{torch.__version__.split('+')[0]}.onnx"
    if not path.exists():
        _export(module, path)
    return Network(name, module, path)


def images(batch: int, seed: int = 0) -> NDArray[np.float32]:
    """Normal noise [batch, 3, 224, 224]: timings do not depend on the picture."""
    return np.random.default_rng(seed).standard_normal((batch, 3, SIDE, SIDE)).astype(np.float32)


def _calm(module: torch.nn.Module) -> None:
    """Gives BatchNorm the statistics of noise: with the initial ones activations grow block by block, to 1e9 and more."""
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.momentum = None  # the plain average of all batches seen
        norm.train()
    with torch.no_grad():
        module(torch.from_numpy(images(8, seed=1)))
    module.eval()


def _export(module: torch.nn.Module, path: Path) -> None:
    """By torch's exporter, batch open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shapes: Any = {"x": {0: torch.export.Dim("batch")}}
    example = torch.from_numpy(images(2))
    unfinished = path.with_suffix(".part")
    torch.onnx.export(
        module,
        (example,),
        unfinished,
        input_names=["x"],
        output_names=["y"],
        dynamo=True,
        dynamic_shapes=(shapes["x"],),
        external_data=False,
        verbose=False,
    )
    unfinished.rename(path)
