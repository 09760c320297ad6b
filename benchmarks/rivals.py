"""The peers, each as its own documentation uses it, on the torchvision module itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from captum.attr import Saliency
from numpy.typing import NDArray
from zennit.attribution import Gradient
from zennit.composites import EpsilonPlus, EpsilonPlusFlat
from zennit.torchvision import ResNetCanonizer, VGGCanonizer

from benchmarks.networks import CLASSES, Network

Explain = Callable[[], NDArray[np.float32]]


@contextmanager
def rival(network: Network, method: str, images: NDArray[np.float32], classes: Sequence[int]) -> Iterator[tuple[str, Explain]]:
    """The peer's name and its explanation of ``images`` for one class an image, ready to run again and again.

    zennit's hooks and canonizers stay for the length of the context, as in a loop over images.
    """
    x = torch.from_numpy(images).requires_grad_()
    if method == "gradient":
        yield "captum", _saliency(network.module, x, classes)
        return
    canonizer = ResNetCanonizer() if network.name.startswith("resnet") else VGGCanonizer()
    with Gradient(model=network.module, composite=_COMPOSITES[method](canonizers=[canonizer])) as attributor:
        yield "zennit", _relevance(attributor, x, classes)


_COMPOSITES: Mapping[str, Callable[..., Any]] = {
    "lrp_epsilon_plus": EpsilonPlus,
    "lrp_epsilon_plus_flat": EpsilonPlusFlat,
}


def _saliency(module: torch.nn.Module, x: torch.Tensor, classes: Sequence[int]) -> Explain:
    saliency, target = Saliency(module), torch.tensor(list(classes))

    def run() -> NDArray[np.float32]:
        result: NDArray[np.float32] = saliency.attribute(x, target=target, abs=False).detach().numpy()
        return result

    return run


def _relevance(attributor: Gradient, x: torch.Tensor, classes: Sequence[int]) -> Explain:
    chosen = torch.nn.functional.one_hot(torch.tensor(list(classes)), CLASSES)

    def run() -> NDArray[np.float32]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about backward hooks
            _, relevance = attributor(x, lambda output: output * chosen)
        result: NDArray[np.float32] = relevance.detach().numpy()
        return result

    return run
