"""Small trained models by hand, whose Hessians can be written out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from benchmarks.paper.logistic import Logistic
from explainsvc.training.data import Data
from explainsvc.training.trainable import Trainable


def trainable(layers: Sequence[tuple[str, nn.Module]]) -> Trainable:
    """A chain of layers; of its graph only the nodes that read the parameters matter here, and their order."""
    module = nn.Sequential(OrderedDict(layers))
    tensors = {name: f"W/{name}" for name, _ in module.named_parameters()}
    nodes, values = [], "x"
    for name, layer in layers:
        own = [f"W/{name}.{parameter}" for parameter, _ in layer.named_parameters()]
        nodes.append(helper.make_node("Layer", [values, *own], [name], domain="tests"))
        values = name
    inputs, outputs = ([helper.make_tensor_value_info(n, TensorProto.DOUBLE, None)] for n in ("x", values))
    numbers = [numpy_helper.from_array(p.detach().numpy(), tensors[name]) for name, p in module.named_parameters()]
    graph = helper.make_model(helper.make_graph(nodes, "chain", inputs, outputs, numbers))
    return Trainable(graph, module, ("x",), (values,), tensors)


def perceptron(outputs: int = 3, hidden: int = 4, features: int = 5, seed: int = 0) -> Trainable:
    """Two dense layers with tanh between them, in float64."""
    torch.manual_seed(seed)
    first, last = nn.Linear(features, hidden, dtype=torch.float64), nn.Linear(hidden, outputs, dtype=torch.float64)
    return trainable([("first", first), ("tanh", nn.Tanh()), ("last", last)])


def points(count: int, classes: int = 3, features: int = 5, seed: int = 0) -> Data:
    """Normal features; the class is that of the largest of the first few, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, features))
    return Data({"x": x}, (x[:, :classes] + rng.normal(0, 0.5, (count, classes))).argmax(axis=1))


def fitted(own: Trainable, data: Data, penalty: float) -> Trainable:
    """Mean cross-entropy + penalty/2·‖θ‖² made small by L-BFGS, in place."""
    x, y = torch.from_numpy(data.inputs["x"]), torch.from_numpy(data.labels)
    optimiser = torch.optim.LBFGS(
        own.module.parameters(), max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        squares = sum((p.square().sum() for p in own.module.parameters()), torch.zeros(()))
        loss = nn.functional.cross_entropy(own.module(x), y) + penalty / 2 * squares
        loss.backward()
        return loss

    optimiser.step(closure)
    return own


def dense(model: Logistic) -> Trainable:
    """The regression as a torch module of one layer."""
    return trainable([("dense", model.module())])
