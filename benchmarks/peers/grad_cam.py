"""pytorch-grad-cam, as in its documentation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from benchmarks.peers.architectures import module
from benchmarks.peers.serving import Run, Task, serve


def grad_cam(task: Task) -> Mapping[str, Run]:
    """Over the last block; its maps are scaled to 0…1 each."""
    network = module(task.network).requires_grad_(True)  # it takes gradients of activations, and leaves the input alone
    cam, x = GradCAM(network, [network.layer4[-1]]), torch.from_numpy(task.x)  # type: ignore[index]
    targets = [ClassifierOutputTarget(c) for c in task.classes]
    return {"pytorch-grad-cam": lambda: cam(x, targets)[:, None]}


if __name__ == "__main__":
    serve({"grad_cam": grad_cam}, "grad-cam")
