"""The networks that are measured: well-known architectures, random weights, exported once into ``.cache/`` by torch's exporter.

Nothing here imports torch: the export runs in the environment that :mod:`benchmarks.environments` makes for it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "benchmarks"
PHOTOGRAPH, DIGIT, TOKENS = (3, 224, 224), (1, 28, 28), (128, 768)
SHAPES: Mapping[str, tuple[int, ...]] = {
    "resnet18": PHOTOGRAPH,
    "resnet18_folded": PHOTOGRAPH,
    "resnet50": PHOTOGRAPH,
    "vgg16": PHOTOGRAPH,
    "densenet121": PHOTOGRAPH,
    "mobilenet_v2": PHOTOGRAPH,
    "efficientnet_b0": PHOTOGRAPH,
    "inception_v3": (3, 299, 299),
    "vit_b_16": PHOTOGRAPH,
    "bert_base": TOKENS,
    "bert_4_layers": TOKENS,
    "mnist_cnn": DIGIT,
}
"""Network → shape of an item. ``resnet18_folded``: BatchNorm folded into the convolutions before the export. ``bert_…``: the
embedded tokens go in, the logits of a classifier come out. ``mnist_cnn``: the one of torch's own MNIST example."""


def network(name: str) -> Path:
    """The ONNX file, ``x`` → ``y``, batch open; exported where it is missing."""
    path = CACHE / f"{name}.onnx"
    if not path.exists():
        from benchmarks.environments import TORCH, python  # the peers import this file, too

        subprocess.run([python(TORCH), "-m", "benchmarks.peers.export", name], cwd=ROOT, check=True)
    return path


def weights(name: str) -> Path:
    """The same network's weights, as torch reads them."""
    return network(name).with_suffix(".pt")


def items(name: str, batch: int, seed: int = 0) -> NDArray[np.float32]:
    """Normal noise [batch, *item]: timings do not depend on the picture."""
    return np.random.default_rng(seed).standard_normal((batch, *SHAPES[name])).astype(np.float32)


def images(batch: int, seed: int = 0) -> NDArray[np.float32]:
    """Normal noise [batch, 3, 224, 224]."""
    return items("resnet50", batch, seed)
