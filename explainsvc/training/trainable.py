"""An ONNX model as a torch module whose learned tensors are parameters, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx
import torch
from onnx import numpy_helper

from explainsvc.autograd.shapes import Array

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Trainable:
    """A torch module that computes what an ONNX model computes.

    Attributes:
        graph: The model that was converted, in float32 where it was in half precision, and in a current opset; its
            initializers are those that the parameters came from.
        module: Called with the inputs in their order; its ``parameters()`` are the learned tensors, its ``buffers()`` all
            others. In eval mode at first; in train mode a BatchNormalization takes the batch, a Dropout drops.
        inputs: Their names, in the order in which the module takes them.
        outputs: The names of what it returns, in order.
        tensors: Parameter (or a buffer that training changes, such as a running mean) of the module → initializer of the graph.
    """

    graph: onnx.ModelProto = field(repr=False)
    module: torch.nn.Module = field(repr=False)
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, str] = field(repr=False)

    def __call__(self, feeds: Tensors) -> dict[str, torch.Tensor]:
        """Output → its values, with their history for autograd."""
        found = self.module(*(feeds[name] for name in self.inputs))
        return dict(zip(self.outputs, (found,) if isinstance(found, torch.Tensor) else found, strict=True))

    def weights(self) -> dict[str, Array]:
        """Initializer → its numbers as they are now."""
        state = self.module.state_dict(keep_vars=True)
        return {name: state[own].detach().cpu().numpy().copy() for own, name in self.tensors.items()}

    def to_onnx(self) -> onnx.ModelProto:
        """The graph with the numbers as they are now."""
        found = onnx.ModelProto()
        found.CopyFrom(self.graph)
        weights = self.weights()
        for tensor in found.graph.initializer:
            if tensor.name in weights:
                tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
        return found
