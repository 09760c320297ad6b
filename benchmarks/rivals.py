"""The peers, each as its own documentation uses it, on the torchvision module itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from captum.attr import Saliency
from numpy.typing import NDArray
from zennit.attribution import Gradient
from zennit.composites import EpsilonPlus, EpsilonPlusFlat
from zennit.torchvision import ResNetCanonizer, VGGCanonizer

from benchmarks.networks import Network

Explain = Callable[[], NDArray[np.float32]]


def rival(network: Network, method: str, images: NDArray[np.float32], classes: Sequence[int]) -> tuple[str, Explain]:
    """The peer's name and its explanation of ``images`` for one class an image, ready to run again and again."""
    if method == "gradient":
        return "captum", _saliency(network.module, images, classes)
    return "zennit", _composite(network, _COMPOSITES[method], images, classes)


_COMPOSITES: Mapping[str, Callable[..., Any]] = {
    "lrp_epsilon_plus": EpsilonPlus,
    "lrp_epsilon_plus_flat": EpsilonPlusFlat,
}


def _saliency(module: torch.nn.Module, images: NDArray[np.float32], classes: Sequence[int]) -> Explain:
    saliency, target = Saliency(module), torch.tensor(list(classes))
    x = torch.from_numpy(images).requires_grad_()

    def run() -> NDArray[np.float32]:
        result: NDArray[np.float32] = saliency.attribute(x, target=target, abs=False).detach().numpy()
        return result

    return run


def _composite(network: Network, composite: Callable[..., Any], images: NDArray[np.float32], classes: Sequence[int]) -> Explain:
    """Hooks and canonizers are set up once, outside the timing, as in a loop over images."""
    canonizer = ResNetCanonizer() if network.name.startswith("resnet") else VGGCanonizer()
    attributor = Gradient(model=network.module, composite=composite(canonizers=[canonizer]))
    attributor.__enter__()
    x, chosen = torch.from_numpy(images), torch.nn.functional.one_hot(torch.tensor(list(classes)), 1000)

    def run() -> NDArray[np.float32]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's backward hooks warn that the input needs no gradient
            _, relevance = attributor(x, lambda output: output * chosen)
        result: NDArray[np.float32] = relevance.detach().numpy()
        return result

    return run
