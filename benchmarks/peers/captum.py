"""captum, as its documentation uses it, and with the batch that is fastest here (``captum, tuned``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from captum.attr import (
    LRP,
    FeatureAblation,
    IntegratedGradients,
    KernelShap,
    LayerAttribution,
    LayerGradCam,
    Lime,
    NoiseTunnel,
    Occlusion,
    Saliency,
)

from benchmarks.peers.architectures import module
from benchmarks.peers.serving import Run, Task, fastest, serve

Call = Callable[..., torch.Tensor]


def sizes(task: Task, most: int) -> list[int]:
    """Batches that are tried."""
    return [8] if task.quick else [size for size in (1, 2, 4, 8, 16, 32, 64, 128, 256) if size <= most]


def run_of(call: Call, task: Task, **options: Any) -> Run:
    """The call on the task's items and classes."""
    x, target = torch.from_numpy(task.x), torch.tensor(task.classes)
    return lambda: call(x, target=target, **options).detach().numpy()


def gradient(task: Task) -> Mapping[str, Run]:
    """∂S/∂x, and the same in float64."""
    return {"captum": run_of(Saliency(module(task.network)).attribute, task, abs=False), "float64": lambda: _exact(task)}


def _exact(task: Task) -> Any:
    x = torch.from_numpy(task.x).double()
    return Saliency(module(task.network).double()).attribute(x, target=torch.tensor(task.classes), abs=False).detach().numpy()


def lrp(task: Task) -> Mapping[str, Run]:
    """Its LRP with its default rules, which are others than those of a composite: only its time compares."""
    return {"captum": run_of(LRP(module(task.network)).attribute, task)}


def first(task: Task) -> Mapping[str, Run]:
    """The module made and filled, and its first gradient."""

    def run() -> Any:
        return gradient(task)["captum"]()

    return {"captum": run}


def integrated_gradients(task: Task) -> Mapping[str, Run]:
    """Gauss–Legendre, from 0."""
    steps = task.parameters["steps"]
    call = IntegratedGradients(module(task.network)).attribute
    tuned = fastest(lambda size: run_of(call, task, n_steps=steps, internal_batch_size=size), sizes(task, steps))
    return {"captum": run_of(call, task, n_steps=steps), "captum, tuned": tuned}


def smoothgrad(task: Task) -> Mapping[str, Run]:
    """The mean of gradients."""
    tunnel = NoiseTunnel(Saliency(module(task.network))).attribute
    samples = task.parameters["samples"]
    options = {"nt_type": "smoothgrad", "nt_samples": samples, "stdevs": 0.15 * float(task.x.max() - task.x.min()), "abs": False}
    tuned = fastest(lambda size: run_of(tunnel, task, nt_samples_batch_size=size, **options), sizes(task, samples))
    return {"captum": run_of(tunnel, task, **options), "captum, tuned": tuned}


def grad_cam(task: Task) -> Mapping[str, Run]:
    """Over the last block, laid over the image."""
    network = module(task.network)
    cam, side = LayerGradCam(network, network.layer4), task.x.shape[-1]
    return {"captum": run_of(lambda x, **o: LayerAttribution.interpolate(cam.attribute(x, **o), (side, side), "bilinear"),
                             task, relu_attributions=True)}  # fmt: skip


def occlusion(task: Task) -> Mapping[str, Run]:
    """The window goes over all channels at once."""
    call, channels = Occlusion(module(task.network)).attribute, task.x.shape[1]
    window, stride = ((channels, n, n) for n in (task.parameters["window"], task.parameters["stride"]))
    options = {"sliding_window_shapes": window, "strides": stride, "baselines": 0}
    return _plain_and_tuned(call, task, **options)


def feature_ablation(task: Task) -> Mapping[str, Run]:
    """Over the features of the given mask."""
    call = FeatureAblation(module(task.network)).attribute
    return _plain_and_tuned(call, task, feature_mask=_mask(task), baselines=0)


def lime(task: Task) -> Mapping[str, Run]:
    """With its default kernel and lasso."""
    call = Lime(module(task.network)).attribute
    return _plain_and_tuned(call, task, feature_mask=_mask(task), n_samples=task.parameters["samples"])


def kernel_shap(task: Task) -> Mapping[str, Run]:
    """Over the features of the given mask."""
    call = KernelShap(module(task.network)).attribute
    return _plain_and_tuned(call, task, feature_mask=_mask(task), n_samples=task.parameters["samples"])


def _plain_and_tuned(call: Call, task: Task, **options: Any) -> Mapping[str, Run]:
    tuned = fastest(lambda size: run_of(call, task, perturbations_per_eval=size, **options), sizes(task, 256))
    return {"captum": run_of(call, task, **options), "captum, tuned": tuned}


def _mask(task: Task) -> torch.Tensor:
    return torch.from_numpy(task.given["mask"])[None]


TASKS = {f.__name__: f for f in (gradient, lrp, first, integrated_gradients, smoothgrad, grad_cam, occlusion, feature_ablation,
                                 lime, kernel_shap)}  # fmt: skip

if __name__ == "__main__":
    serve(TASKS, "captum")
