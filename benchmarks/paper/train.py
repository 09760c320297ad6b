"""The paper's two MNIST networks, trained by torch (extra ``train``) and exported to ONNX.

Layers and initialisation are those of the authors' published training scripts. Different: half of the CNN's and a quarter of
the MLP's widths, so that one core does it in minutes; 8,000 pictures in place of 55,000, and so Adam's step is 1e-3 for eight
epochs where they take 1e-4 for fifty. Seeded; one thread, so that a rerun on the same processor gives the same weights.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from benchmarks.paper.digits import Digits

SEED, EPOCHS, BATCH, RATE = 0, 8, 50, 1e-3
REQUIRED: Mapping[str, float] = {"cnn": 0.97, "mlp": 0.93}
"""Held-out accuracy below which nothing is written."""


def cnn() -> nn.Sequential:
    """Conv 5×5 of 16 and of 32 channels, each with a 2×2 max-pool, a dense layer of 512, ten logits."""
    layers = {
        "hidden1": nn.Conv2d(1, 16, 5, padding=2), "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2),
        "hidden2": nn.Conv2d(16, 32, 5, padding=2), "relu2": nn.ReLU(), "pool2": nn.MaxPool2d(2),
        "flat": nn.Flatten(), "fc1": nn.Linear(7 * 7 * 32, 512), "relu3": nn.ReLU(), "logits": nn.Linear(512, 10),
    }  # fmt: skip
    return _initialised(layers, lambda _fan_in: 0.1, bias=0.1)


def mlp() -> nn.Sequential:
    """Dense layers of 625, 375 and 125 cells, ten logits."""
    widths = (784, 625, 375, 125, 10)
    layers: dict[str, nn.Module] = {"flat": nn.Flatten()}
    for number, (inside, outside) in enumerate(itertools.pairwise(widths), 1):
        last = number == len(widths) - 1
        layers["logits" if last else f"hidden{number}"] = nn.Linear(inside, outside)
        layers |= {} if last else {f"relu{number}": nn.ReLU()}
    return _initialised(layers, lambda fan_in: 2 / fan_in**0.5, bias=0.0)


NETWORKS: Mapping[str, Callable[[], nn.Sequential]] = {"cnn": cnn, "mlp": mlp}


def _initialised(layers: Mapping[str, nn.Module], std: Callable[[int], float], bias: float) -> nn.Sequential:
    """Weights from a normal distribution cut at two standard deviations, biases constant."""
    for layer in layers.values():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            sigma = std(layer.weight[0].numel())
            nn.init.trunc_normal_(layer.weight, std=sigma, a=-2 * sigma, b=2 * sigma)
            nn.init.constant_(layer.bias, bias)
    return nn.Sequential(OrderedDict(layers))


def trained(name: str, digits: Digits) -> nn.Sequential:
    """One of :data:`NETWORKS` after all epochs of cross-entropy."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    model = NETWORKS[name]()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    x, y = torch.from_numpy(digits.x), torch.from_numpy(digits.y)
    for epoch in range(EPOCHS):
        for chosen in torch.split(torch.randperm(len(x)), BATCH):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[chosen]), y[chosen])
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
        print(f"{name}: epoch {epoch + 1}, last loss {loss.item():.4f}", flush=True)
    return model.eval()


def accuracy(model: nn.Sequential, digits: Digits) -> float:
    """Share of pictures whose largest logit is the label's."""
    with torch.no_grad():
        parts = torch.split(torch.from_numpy(digits.x), 500)
        found = torch.cat([model(part).argmax(1) for part in parts])
    return float((found == torch.from_numpy(digits.y)).float().mean())


def export(model: nn.Sequential, path: Path, score: float) -> None:
    """``image`` [batch, 1, 28, 28] → ``logits`` [batch, 10]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    axes = {"image": {0: "batch"}, "logits": {0: "batch"}}
    example: tuple[Tensor, ...] = (torch.zeros(2, 1, 28, 28),)
    torch.onnx.export(
        model, example, path, input_names=["image"], output_names=["logits"], dynamic_axes=axes, opset_version=17, dynamo=False
    )
    proto = onnx.load(path)
    facts = {"data": "MNIST, 8,000 of the 10,000 test pictures", "held_out_accuracy": f"{score:.4f}", "license": "Apache-2.0"}
    onnx.helper.set_model_props(proto, facts)
    onnx.save(proto, path)


def make(name: str, path: Path, train: Digits, held_out: Digits) -> str:
    """Trains and writes the file; its sha256."""
    model = trained(name, train)
    score = accuracy(model, held_out)
    print(f"{name}: {score:.4f} of {len(held_out.x)} held-out pictures", flush=True)
    if score < REQUIRED[name]:
        raise SystemExit(f"{name}: held-out accuracy {score:.4f} is below {REQUIRED[name]}: nothing was written")
    export(model, path, score)
    return hashlib.sha256(path.read_bytes()).hexdigest()
