"""Per-item losses as a function of one vector of chosen parameters, and their gradients item by item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidParameter
from explainsvc.training.data import Data, Task, labels_like
from explainsvc.training.losses import batches
from explainsvc.training.trainable import Tensors, Trainable

Layers = Literal["all"] | int | Sequence[str]
"""``all`` parameters, those of the last so many layers, or those with these names of the module."""
PerItem = Literal["vmap", "loop"]
"""How gradients of single items are computed: several at once by ``torch.func.vmap``, or one after the other."""
ROUNDING = 1e-3
"""Of the largest gradient, by which vectorised gradients may differ from those of single items."""


@dataclass(frozen=True)
class Objective:
    """L(z, θ): an item's loss by the chosen parameters θ, written as one vector; all other tensors stay as they are.

    Attributes:
        trainable: Not changed, its module in eval mode.
        task: The loss.
        output: The output that is held against the labels.
        names: Of the chosen parameters, in the order in which θ has them.
        state: Name of the module → its tensor: all of them.
        like: The output for one item, [1, …]: its shape and type are what labels are brought to.
    """

    trainable: Trainable = field(repr=False)
    task: Task
    output: str
    names: tuple[str, ...]
    state: Mapping[str, Tensor] = field(repr=False)
    like: Tensor = field(repr=False)

    @cached_property
    def theta(self) -> Tensor:
        """The chosen parameters as they are, [parameter]."""
        return torch.cat([self.state[name].flatten() for name in self.names])

    def losses(self, theta: Tensor, feeds: Tensors, labels: Tensor) -> Tensor:
        """L(z, θ) of every item, [item]."""
        shapes = [self.state[name].shape for name in self.names]
        parts = zip(self.names, shapes, torch.split(theta, [shape.numel() for shape in shapes]), strict=True)
        tensors = {**self.state, **{name: part.view(shape) for name, shape, part in parts}}
        found = functional_call(self.trainable.module, tensors, tuple(feeds[name] for name in self.trainable.inputs))
        outputs = dict(zip(self.trainable.outputs, (found,) if isinstance(found, Tensor) else found, strict=True))
        return self.task.loss(outputs[self.output], labels)

    def items(self, data: Data, items: slice | Array) -> tuple[Tensors, Tensor]:
        """Inputs and labels of some of the items, labels as the loss takes them."""
        labels = data.labels[items]
        return data.feeds(items), labels_like(labels, self.like.expand(len(labels), *self.like.shape[1:]), self.task)

    def at(self, weights: Mapping[str, Array]) -> Objective:
        """The same function around other numbers: initializer → array, those that :meth:`Trainable.weights` gives."""
        own = {initializer: name for name, initializer in self.trainable.tensors.items()}
        given = {own[name]: torch.as_tensor(array).to(self.state[own[name]]) for name, array in weights.items()}
        return replace(self, state={**self.state, **given})


def objective(trainable: Trainable, data: Data, task: Task, layers: Layers = "all", output: str = "") -> Objective:
    """The loss of the model as a function of the chosen parameters; the module must be in eval mode while it is used.

    Raises:
        InvalidParameter: No such parameter or number of layers.
    """
    output = output or trainable.outputs[0]
    names = chosen(trainable, layers)
    state = {name: tensor.detach() for name, tensor in trainable.module.state_dict(keep_vars=True).items()}
    with torch.no_grad():
        like = trainable(data.feeds(slice(0, 1)))[output]
    return Objective(trainable, task, output, names, state, like)


def chosen(trainable: Trainable, layers: Layers) -> tuple[str, ...]:
    """The names of the chosen parameters in the module.

    A layer is a node of the graph with the parameters that it is the first to read; layers lie in the order of the nodes.

    Raises:
        InvalidParameter: A name that no parameter has, no name at all, or more layers than there are.
    """
    learned = dict(trainable.module.named_parameters())
    if layers == "all":
        return tuple(learned)
    if isinstance(layers, int):
        return _last(trainable, list(learned), layers)
    unknown = [name for name in layers if name not in learned]
    if unknown or isinstance(layers, str) or not layers:
        raise InvalidParameter(f"no parameters are called {layers}", where="layers", expected=f"some of {', '.join(learned)}")
    return tuple(name for name in learned if name in set(layers))


def _last(trainable: Trainable, learned: Sequence[str], count: int) -> tuple[str, ...]:
    reader: dict[str, int] = {}
    for number, node in enumerate(trainable.graph.graph.node):
        for name in node.input:
            reader.setdefault(name, number)
    # what only a subgraph reads is read by no node here: it counts as before all others
    places = {name: reader.get(trainable.tensors[name], -1) for name in learned}
    layers = sorted(set(places.values()))
    if not 1 <= count <= len(layers):
        raise InvalidParameter(f"the last {count} layers", where="layers", expected=f"1 … {len(layers)}, or all")
    return tuple(name for name in learned if places[name] in layers[-count:])


def per_item_gradients(function: Objective, feeds: Tensors, labels: Tensor, how: PerItem) -> Tensor:
    """∇θ L(z, θ) of every item, [item, parameter]."""

    def of_one(theta: Tensor, feeds: Tensors, label: Tensor) -> Tensor:
        one = {name: values.unsqueeze(0) for name, values in feeds.items()}
        return function.losses(theta, one, label.unsqueeze(0)).sum()

    if how == "vmap":
        found: Tensor = vmap(grad(of_one), in_dims=(None, 0, 0))(function.theta, dict(feeds), labels)
        return found
    theta = function.theta.clone().requires_grad_()
    rows = []
    for item in range(len(labels)):
        loss = of_one(theta, {name: values[item] for name, values in feeds.items()}, labels[item])
        rows.append(torch.autograd.grad(loss, theta)[0])
    return torch.stack(rows)


def how_per_item(function: Objective, data: Data) -> PerItem:
    """``vmap`` where the module can be vectorised and its first two items then have the gradients that they have alone.

    Modules cannot that look at a tensor's numbers for their shapes or their course, or have functions of their own for autograd.
    """
    feeds, labels = function.items(data, slice(0, 2))
    alone = per_item_gradients(function, feeds, labels, "loop")
    try:
        together = per_item_gradients(function, feeds, labels, "vmap")
    except (RuntimeError, ValueError, TypeError):
        return "loop"
    scale = float(alone.abs().max())
    return "vmap" if bool((together - alone).abs().max() <= ROUNDING * scale) else "loop"


def gradients(function: Objective, data: Data, how: PerItem, batch: int) -> Iterator[Tensor]:
    """∇θ L(z, θ) batch by batch, float64 [item, parameter]."""
    for items in batches(data, batch):
        yield per_item_gradients(function, *function.items(data, items), how).double()
