"""zennit: its composites with its canonizers, as in its documentation; hooks are set up once, as in a loop over images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from zennit.attribution import Gradient
from zennit.composites import EpsilonAlpha2Beta1Flat, EpsilonGammaBox, EpsilonPlus, EpsilonPlusFlat
from zennit.torchvision import ResNetCanonizer, VGGCanonizer

from benchmarks.peers.architectures import module
from benchmarks.peers.serving import Run, Task, serve

COMPOSITES: Mapping[str, Callable[..., Any]] = {
    "lrp_epsilon_plus": EpsilonPlus,
    "lrp_epsilon_plus_flat": EpsilonPlusFlat,
    "lrp_epsilon_gamma_box": EpsilonGammaBox,
    "lrp_epsilon_alpha2_beta1_flat": EpsilonAlpha2Beta1Flat,
}


def relevance(task: Task) -> Mapping[str, Run]:
    """By the composite that is called as the work; bounds of the input as in its parameters."""
    network, x = module(task.network), torch.from_numpy(task.x).requires_grad_()
    canonizer = ResNetCanonizer() if task.network.startswith("resnet") else VGGCanonizer()
    bounds = {name: torch.full_like(x, value) for name, value in task.parameters.items() if name in ("low", "high")}
    with torch.no_grad():
        chosen = torch.nn.functional.one_hot(torch.tensor(task.classes), network(x).shape[1])
    attributor = Gradient(model=network, composite=COMPOSITES[task.work](canonizers=[canonizer], **bounds))
    attributor.__enter__()
    return {"zennit": lambda: attributor(x, lambda output: output * chosen)[1].detach().numpy()}


if __name__ == "__main__":
    serve(dict.fromkeys(COMPOSITES, relevance), "zennit")
