"""Activation maps against pytorch-grad-cam, on a small convolutional network and a small ViT exported from torch.

pytorch-grad-cam scales its maps to [0, 1]; what is compared is the map that it scales, laid over the input by torch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

import explainsvc
from tests.models import Array, numbers
from tests.parity.networks import distance, exported, vgg

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
gradcam = pytest.importorskip("pytorch_grad_cam")

SIZE, CLASS, LOUD = 16, 3, 1e4
"""LOUD multiplies the target where a peer's epsilon would count beside small gradients."""
PEERS = {
    "grad_cam": "GradCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "xgrad_cam": "XGradCAM",
    "hires_cam": "HiResCAM",
    "layer_cam": "LayerCAM",
    "eigen_cam": "EigenCAM",
    "score_cam": "ScoreCAM",
    "ablation_cam": "AblationCAM",
}
EXPORTS: dict[str, dict[str, Any]] = {"dynamo": {}, "torchscript": {"dynamo": False}}


@cache
def network(name: str) -> torch.nn.Module:
    """A plain network with ReLUs, or a transformer of two blocks over 4×4 patches and a class token."""
    if name == "vgg":
        return vgg_over(SIZE)
    torch.manual_seed(0)
    vit = torchvision.models.VisionTransformer(SIZE, 4, 2, 2, 24, 48, num_classes=5)
    torch.nn.init.normal_(vit.heads[0].weight)  # it starts at zero
    return vit.eval()


def vgg_over(size: int) -> torch.nn.Module:
    """The first layers of ``vgg`` with a head for their positions."""
    layers = list(vgg().children())[:8]
    torch.manual_seed(2)
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(16 * (size // 4) ** 2, 5)).eval()


def layer(name: str) -> torch.nn.Module:
    """What pytorch-grad-cam hooks: the last ReLU; ``norm1`` of the last block."""
    net: Any = network(name)
    found: torch.nn.Module = net[7] if name == "vgg" else net.encoder.layers[-1].ln_1
    return found


def grid(tokens: torch.Tensor) -> torch.Tensor:
    """The reshape_transform of pytorch-grad-cam's examples: [N, 1 + 16, C] → [N, C, 4, 4]."""
    return tokens[:, 1:].transpose(1, 2).reshape(len(tokens), -1, 4, 4)


def peer(name: str, method: str, x: Array, loud: float, at: torch.nn.Module | None = None) -> Array:
    """pytorch-grad-cam's map before it is scaled, cut off at 0 and laid over the input, float64 [N, SIZE, SIZE]."""
    kept: list[Array] = []

    class Kept(getattr(gradcam, PEERS[method])):
        """Gives away its map on the way."""

        def get_cam_image(self, *arguments: Any, **options: Any) -> Any:
            """What it computes."""
            kept.append(super().get_cam_image(*arguments, **options))
            return kept[-1]

    reshape: Callable[[torch.Tensor], torch.Tensor] | None = None if name == "vgg" else grid
    with Kept(network(name), [layer(name) if at is None else at], reshape_transform=reshape) as cam:
        cam(torch.tensor(x), [lambda output: loud * output[CLASS]] * len(x))
    heat = torch.tensor(kept[0], dtype=torch.float64)[:, None]
    up = torch.nn.functional.interpolate(heat, (SIZE, SIZE), mode="bilinear", align_corners=False)
    return np.asarray(up[:, 0])


@cache
def model(name: str, export: str) -> explainsvc.Model:
    """The exported network."""
    return explainsvc.load(exported(network(name), SIZE, EXPORTS[export]))


def ours(name: str, export: str, method: str, x: Array, loud: float, **options: Any) -> Array:
    """The signed map of the exported network, one channel."""
    seed = np.zeros((len(x), 5), np.float32)
    seed[:, CLASS] = loud
    signed = {} if method in ("hires_cam", "eigen_cam") else {"relu": False}
    return np.asarray(model(name, export).explain({"x": x}, method, target={"seed": seed}, **signed, **options).values["x"][:, 0])


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.parametrize("name", ["vgg", "vit"])
@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_plus_plus", "xgrad_cam", "hires_cam", "layer_cam"])
def test_maps_of_gradients_are_pytorch_grad_cams(name: str, export: str, method: str) -> None:
    """The same layer by default, the same map; the epsilons of ++ and X-Grad-CAM made negligible by a loud target."""
    x = numbers(2, 3, SIZE, SIZE)
    loud = LOUD if method == "grad_cam_plus_plus" else 1.0
    assert distance(ours(name, export, method, x, loud), peer(name, method, x, loud)) < 1e-4


@pytest.mark.parametrize("name", ["vgg", "vit"])
def test_eigen_cam_is_pytorch_grad_cams_up_to_sign(name: str) -> None:
    """It centres the channels, and takes the sign that the decomposition comes out with."""
    x = numbers(2, 3, SIZE, SIZE)
    found, expected = ours(name, "dynamo", "eigen_cam", x, 1.0, center=True), peer(name, "eigen_cam", x, 1.0)
    for a, b in zip(found, expected, strict=True):
        assert min(distance(a, b), distance(-a, b)) < 1e-4


def test_ablation_cam_is_pytorch_grad_cams() -> None:
    """At a ReLU, where it too sets a channel to 0; it divides by S, we by |S|."""
    x = numbers(2, 3, SIZE, SIZE)
    with torch.no_grad():
        sign = np.sign(network("vgg")(torch.tensor(x))[:, CLASS].numpy())
    expected = peer("vgg", "ablation_cam", x, 1.0) * sign[:, None, None]
    assert distance(ours("vgg", "dynamo", "ablation_cam", x, 1.0), expected) < 1e-3


def test_score_cam_is_pytorch_grad_cams() -> None:
    """At the first convolution: its masks need no upsampling, which pytorch-grad-cam does with corners aligned."""
    x = numbers(2, 3, SIZE, SIZE)
    first = next(n.outputs[0].name for n in model("vgg", "dynamo").graph if n.op_type == "Conv")
    expected = peer("vgg", "score_cam", x, 1.0, network("vgg").get_submodule("0"))
    assert distance(ours("vgg", "dynamo", "score_cam", x, 1.0, layer=first), expected) < 1e-4
