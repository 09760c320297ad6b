"""Networks in torch with random weights and calm statistics, and their ONNX exports."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import onnx
import torch
import torchvision

from tests.models import Array

SIZE = 64
"""Pixels: the ResNets end in [512 or 2048, 2, 2]."""
EXPORTS: dict[str, dict[str, Any]] = {
    "dynamo": {},
    "dynamo opset 17": {"opset_version": 17},
    "torchscript": {"dynamo": False},
    "torchscript opset 17": {"dynamo": False, "opset_version": 17},
}


def resnet(name: str) -> torch.nn.Module:
    """A torchvision ResNet in evaluation mode; BatchNorm statistics keep the activations near one."""
    torch.manual_seed(0)
    network: torch.nn.Module = getattr(torchvision.models, name)(weights=None)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.0)
            module.bias.data.normal_(0, 0.1)
    return network.eval()


def vgg() -> torch.nn.Module:
    """Three convolutions with pooling, two dense layers: a small VGG with positive and negative biases."""
    torch.manual_seed(1)
    layers: list[torch.nn.Module] = []
    for inputs, outputs in ((3, 8), (8, 12), (12, 16)):
        layers += [torch.nn.Conv2d(inputs, outputs, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    network = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(64, 20), torch.nn.ReLU(), torch.nn.Linear(20, 5))
    return network.eval()


def signed() -> torch.nn.Module:
    """Strides, dilation, groups, a transposed convolution, average pooling, activations and biases of both signs."""
    torch.manual_seed(2)
    nn = torch.nn
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.LeakyReLU(0.3),
        nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=4), nn.ReLU(),
        nn.ConvTranspose2d(12, 6, 3, stride=2, padding=1, groups=2), nn.LeakyReLU(0.3),
        nn.AvgPool2d(3), nn.Flatten(), nn.Linear(6 * 25, 20), nn.ReLU(), nn.Linear(20, 5),
    )  # fmt: skip
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            assert module.bias is not None
            module.bias.data.normal_(0, 0.3)
    return network.eval()


def exported(network: torch.nn.Module, size: int, options: dict[str, Any]) -> onnx.ModelProto:
    """x [N, 3, size, size] → y, by either exporter of torch."""
    x = torch.zeros(2, 3, size, size)
    names: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"], "verbose": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both exporters warn about themselves
        if options.get("dynamo", True):
            program = torch.onnx.export(network, (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), **names, **options)
            assert program is not None
            return program.model_proto
        file = io.BytesIO()
        torch.onnx.export(network, (x,), file, dynamic_axes={"x": {0: "N"}, "y": {0: "N"}}, **names, **options)
    return onnx.ModelProto.FromString(file.getvalue())


def distance(found: Array, expected: Array) -> float:
    """‖found − expected‖ / ‖expected‖."""
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert a.shape == b.shape
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
