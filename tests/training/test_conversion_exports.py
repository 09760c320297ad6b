"""Networks of torch, exported to ONNX and converted back: every parameter is there, with the gradient that it has in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import explainsvc
from explainsvc.training.conversion import trainable
from tests.graph.exports import Scaled, exported, seeded
from tests.parity.architectures import ARCHITECTURES
from tests.parity.test_architectures import MORE as MORE_EXPORTS
from tests.parity.test_architectures import ONE_BY_ONE, model
from tests.parity.test_architectures import QUICK as QUICK_EXPORTS


class Recurrent(nn.Module):
    """The last step of a recurrent layer, and a dense layer."""

    def __init__(self, kind: Callable[..., nn.Module], **options: Any) -> None:
        super().__init__()
        self.cell = kind(6, 5, batch_first=True, **options)
        self.head = nn.Linear(10 if options.get("bidirectional") else 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 7, 6] → [N, 3]."""
        return self.head(self.cell(x)[0][:, -1])


def convolutions() -> nn.Module:
    """Conv and BatchNorm, depthwise too, a max pool and a mean over positions."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def up() -> nn.Module:
    """Down and up again, with normalisations of groups and of instances."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.SiLU(), nn.GroupNorm(2, 4), nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.ConvTranspose2d(4, 2, 2, 2), nn.PReLU(2), nn.InstanceNorm2d(2, affine=True),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolutions": (convolutions, (2, 3, 12, 12)),
    "up": (up, (2, 3, 8, 8)),
    "LSTM": (lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True), (2, 7, 6)),
    "GRU": (lambda: Recurrent(nn.GRU), (2, 7, 6)),
    "RNN": (lambda: Recurrent(nn.RNN, nonlinearity="relu"), (2, 7, 6)),
    "block of GPT": (Scaled, (2, 5, 8)),
}
AS_BUILT = {
    "dynamo": False, "opset_version": 17, "training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False,
}  # fmt: skip


@pytest.mark.parametrize(("make", "shape"), NETWORKS.values(), ids=NETWORKS)
def test_parameters_have_the_gradients_of_the_network(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    """Exported as it was built, the network has its parameters again, by their names, and each gets the network's gradient."""
    network = seeded(make())
    x, seed = torch.randn(*shape), torch.Generator().manual_seed(1)
    found = trainable(explainsvc.load(exported(network, x, AS_BUILT)))
    expected, computed = network(x), found({"x": x})["y"]
    weights = torch.randn(expected.shape, generator=seed)
    (expected * weights).sum().backward()
    (computed * weights).sum().backward()
    own = dict(network.named_parameters())
    ours = {found.tensors[name]: p for name, p in found.module.named_parameters()}
    assert own.keys() <= ours.keys()
    assert all("Constant" in name for name in ours.keys() - own.keys())  # ones and zeros of which it makes a GroupNorm
    for name in own:
        limit = 1e-4 * float(own[name].grad.abs().max()) + 1e-6  # some are zero but for rounding
        assert float(torch.sub(ours[name].grad, own[name].grad).abs().max()) <= limit, name


QUICK = {"block of GPT"}
CURRENT = [pytest.param(*row, id=name, marks=() if name in QUICK else pytest.mark.exhaustive) for name, row in NETWORKS.items()]


@pytest.mark.parametrize(("make", "shape"), CURRENT)
def test_current_exporters_graphs_convert(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    """What torch.export writes today computes the same, and most of the network's numbers are parameters."""
    network = seeded(make())
    x = torch.randn(*shape)
    found = trainable(explainsvc.load(exported(network, x, {})))
    computed, expected = found({"x": x})["y"].detach(), network(x).detach()
    assert float((computed - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
    count = sum(p.numel() for p in found.module.parameters())
    assert count >= 0.9 * sum(p.numel() for p in network.parameters())  # a folded BatchNorm has none of its own


def test_a_node_in_training_mode_normalises_by_the_batch() -> None:
    """A network exported while training computes by the batch at all times, in onnxruntime and here."""
    torch.manual_seed(0)
    network, x = convolutions().train(), torch.randn(4, 3, 12, 12)
    options = AS_BUILT | {"training": torch.onnx.TrainingMode.TRAINING}
    found = trainable(explainsvc.load(exported(network, x, options, frozen=True)))
    expected = network.train()(x).detach()
    assert float((found({"x": x})["y"].detach() - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "exporter", "opset"), [*QUICK_EXPORTS, *MORE_EXPORTS], ids=str)
def test_architectures_convert(name: str, exporter: str, opset: int) -> None:
    """Transformers and networks for photographs, as both exporters write them, compute the same as torch modules."""
    loaded = model(name, exporter, opset)
    feeds = ARCHITECTURES[name].feeds(1 if (name, exporter, opset) in ONE_BY_ONE else 2)
    with torch.no_grad():
        computed = trainable(loaded)({key: torch.from_numpy(array) for key, array in feeds.items()})["y"].numpy()
    truth = loaded.predict(feeds)["y"]
    assert np.abs(computed - truth).max() <= 1e-4 * np.abs(truth).max()
