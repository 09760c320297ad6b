"""Small trainable models: torch modules, and the ONNX graphs that compute the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import torch
from torch.nn import functional as F

from explainsvc.training.data import Data, Task
from explainsvc.training.trainable import Trainable
from tests.models import Array, build


def cross_entropy(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Per item."""
    return F.cross_entropy(outputs, labels, reduction="none")


def binary_cross_entropy(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of logits, per item."""
    return F.binary_cross_entropy_with_logits(outputs, labels, reduction="none").flatten(1).mean(dim=1)


def squared_error(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Per item."""
    return F.mse_loss(outputs, labels, reduction="none").flatten(1).mean(dim=1)


CLASSES = Task("cross_entropy", cross_entropy)
BINARY = Task("bce", binary_cross_entropy, "binary")
NUMBERS = Task("mse", squared_error, "numbers")


class Perceptron(torch.nn.Module):
    """Dense → normalisation → Relu → dropout → dense."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first = torch.nn.Linear(inputs, hidden)
        self.norm = torch.nn.BatchNorm1d(hidden)
        self.dropout = torch.nn.Dropout(0.1)
        self.head = torch.nn.Linear(hidden, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.head(self.dropout(torch.relu(self.norm(self.first(x.flatten(1))))))


PERCEPTRON = {
    "first.weight": "w1", "first.bias": "b1", "norm.weight": "scale", "norm.bias": "shift", "norm.running_mean": "mean",
    "norm.running_var": "var", "head.weight": "w2", "head.bias": "b2",
}  # fmt: skip


def perceptron(inputs: int = 6, hidden: int = 16, outputs: int = 3, seed: int = 0) -> Trainable:
    """x [N, inputs] → y [N, outputs], with weights of its own."""
    graph = f"""g (float[N, {inputs}] x) => (float[N, {outputs}] y) {{
      [first] h = Gemm <transB = 1> (x, w1, b1)
      [norm] n = BatchNormalization (h, scale, shift, mean, var)
      [relu] r = Relu (n)
      [head] y = Gemm <transB = 1> (r, w2, b2)
    }}"""
    with seeded(seed):
        return made(graph, Perceptron(inputs, hidden, outputs), PERCEPTRON)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch draws by this seed, and goes on afterwards as if nothing had been drawn."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        yield


class Convolutional(torch.nn.Module):
    """Convolution → Relu → dense."""

    def __init__(self, channels: int, side: int, outputs: int) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, 6, 3, padding=1)
        self.head = torch.nn.Linear(6 * side * side, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.head(torch.relu(self.conv(x)).flatten(1))


def convolutional(channels: int = 1, side: int = 8, outputs: int = 10) -> Trainable:
    """x [N, channels, side, side] → y [N, outputs], with weights of its own."""
    graph = f"""g (float[N, {channels}, {side}, {side}] x) => (float[N, {outputs}] y) {{
      [conv] c = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
      [relu] r = Relu (c)
      [flat] f = Flatten (r)
      [head] y = Gemm <transB = 1> (f, w2, b2)
    }}"""
    tensors = {"conv.weight": "w1", "conv.bias": "b1", "head.weight": "w2", "head.bias": "b2"}
    with seeded(0):
        return made(graph, Convolutional(channels, side, outputs), tensors)


def made(graph: str, module: torch.nn.Module, tensors: dict[str, str]) -> Trainable:
    """With the graph's initializers as the module's tensors are now."""
    state = module.state_dict()
    arrays = {name: state[own].numpy().copy() for own, name in tensors.items()}
    return Trainable(build(graph, arrays), module, ("x",), ("y",), tensors)


def blobs(count: int = 120, seed: int = 0) -> Data:
    """Three classes around three centres, [count, 6]."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centres = np.random.default_rng(99).normal(size=(3, 6)) * 2
    return Data({"x": (centres[labels] + rng.normal(size=(count, 6))).astype(np.float32)}, labels)


def bits(trainable: Trainable) -> dict[str, bytes]:
    """Every learned tensor's bytes."""
    return {name: array.tobytes() for name, array in trainable.weights().items()}


def initializers(proto: onnx.ModelProto) -> dict[str, Array]:
    """By name."""
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
