"""The networks of ``quantus_cases`` in torch, which is what Quantus asks; their layers can be randomised by given numbers."""

from __future__ import annotations

from collections import OrderedDict

import torch

from tests.models import Array
from tests.parity import quantus_cases as cases


class Drawn:
    """A layer whose ``reset_parameters``, by which Quantus randomises it, takes numbers that are given."""

    drawn: tuple[Array, Array] | None = None
    weight: torch.Tensor
    bias: torch.Tensor

    def reset_parameters(self) -> None:
        """Numbers of our randomised model."""
        if self.drawn is not None:
            with torch.no_grad():
                self.weight.copy_(torch.tensor(self.drawn[0]))
                self.bias.copy_(torch.tensor(self.drawn[1]))


class DrawnConv(Drawn, torch.nn.Conv2d):
    """A convolution of this kind."""


class DrawnLinear(Drawn, torch.nn.Linear):
    """A dense layer of this kind."""


def network(classes: int = cases.CLASSES, given: bool = False) -> torch.nn.Module:
    """The torch twin; ``given``: of layers that are randomised by given numbers."""
    conv, linear = (DrawnConv, DrawnLinear) if given else (torch.nn.Conv2d, torch.nn.Linear)
    layers: list[tuple[str, torch.nn.Module]] = []
    for name, channels in (("conv1", 1), ("conv2", 3), ("conv3", 3)):
        layers += [(name, conv(channels, 3, 3, padding=1)), (f"relu_{name}", torch.nn.ReLU())]
    return _filled([*layers, ("flat", torch.nn.Flatten()), ("head", linear(300, classes))], cases.tensors(classes))


def linear() -> torch.nn.Module:
    """The torch twin of the linear model."""
    layers = [("flat", torch.nn.Flatten()), ("head", torch.nn.Linear(100, cases.CLASSES, bias=False))]
    return _filled(layers, {"head.weight": cases.line()})


def unpadded() -> torch.nn.Module:
    """The torch twin of the one without padding."""
    layers = [("conv1", torch.nn.Conv2d(1, 3, 3)), ("relu", torch.nn.ReLU()), ("flat", torch.nn.Flatten()),
              ("head", torch.nn.Linear(192, cases.CLASSES))]  # fmt: skip
    return _filled(layers, cases.unpadded_tensors())


def _filled(layers: list[tuple[str, torch.nn.Module]], tensors: dict[str, Array]) -> torch.nn.Module:
    found = torch.nn.Sequential(OrderedDict(layers))
    found.load_state_dict({name: torch.tensor(array) for name, array in tensors.items()})
    return found.eval()
