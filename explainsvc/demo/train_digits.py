"""Train the demo's model: a small CNN on scikit-learn's bundled 8x8 digits, exported to ONNX.

Run ``python -m explainsvc.demo.train_digits`` (extra ``dev``: torch, scikit-learn). It writes ``digits.onnx``
(the weights) and ``digits.npz`` (held-out images and labels) beside this file; both are committed, so that the
demo itself needs neither torch nor scikit-learn. Seeded; one CPU thread, so that a rerun gives the same numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

HERE = Path(__file__).parent
SEED = 0
EPOCHS = 60
BATCH = 64
LEARNING_RATE = 1e-2
OPSET = 17
EXAMPLES_PER_CLASS = 4
REQUIRED_ACCURACY = 0.97


def network() -> nn.Sequential:
    """Three convolutions (the first with BatchNorm), a max-pool, an average and a linear layer: 1x8x8 → 10 logits."""
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(1, 16, 3, padding=1),
        "norm1": nn.BatchNorm2d(16),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(16, 32, 3, padding=1),
        "relu2": nn.ReLU(),
        "pool": nn.MaxPool2d(2),
        "conv3": nn.Conv2d(32, 64, 3, padding=1),
        "relu3": nn.ReLU(),
        "average": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "linear": nn.Linear(64, 10),
    }
    return nn.Sequential(OrderedDict(layers))


def split() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Train and test images in [0, 1], [n, 1, 8, 8], and their labels; a quarter is held out, by class."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    parts = train_test_split(images, labels, test_size=0.25, random_state=SEED, stratify=labels)
    train_x, test_x, train_y, test_y = (torch.from_numpy(part) for part in parts)
    return train_x, test_x, train_y, test_y


def train(images: Tensor, labels: Tensor) -> nn.Sequential:
    """Adam with weight decay and a one-cycle learning rate; images are shifted by up to one pixel."""
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    batches = -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, EPOCHS * batches)
    for _ in range(EPOCHS):
        for chosen in torch.split(torch.randperm(len(images)), BATCH):
            shift = torch.randint(-1, 2, (2,)).tolist()
            logits = model(torch.roll(images[chosen], shift, dims=(2, 3)))
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(logits, labels[chosen])
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            schedule.step()
    return model.eval()


def accuracy(model: nn.Sequential, images: Tensor, labels: Tensor) -> float:
    """Share of images whose largest logit is the label's."""
    with torch.no_grad():
        return float((model(images).argmax(1) == labels).float().mean())


def export(model: nn.Sequential, test_accuracy: float) -> None:
    """Write the ONNX model: free batch size, BatchNormalization as a node of its own (users' files have it)."""
    path = HERE / "digits.onnx"
    torch.onnx.export(
        model,
        (torch.zeros(2, 1, 8, 8),),
        path,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=OPSET,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        dynamo=False,
    )
    proto = onnx.load(path)
    facts = {
        "data": "scikit-learn load_digits (UCI ML hand-written digits), 8x8, scaled to [0, 1]",
        "task": "classification into the digits 0-9; the output is logits",
        "test_accuracy": f"{test_accuracy:.4f}",
        "trained_by": "explainsvc/demo/train_digits.py",
        "license": "Apache-2.0",
    }
    proto.doc_string = "A small CNN on 8x8 hand-written digits; the demo model of explainsvc."
    onnx.helper.set_model_props(proto, facts)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def examples(labels: Tensor) -> Tensor:
    """Indices of the first few images of each class: 0 to 9, then 0 to 9 again, so that any start is varied."""
    return torch.stack([torch.nonzero(labels == digit)[:EXAMPLES_PER_CLASS, 0] for digit in range(10)], 1).flatten()


def main() -> None:
    """Train, check the accuracy, and write both files."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    train_x, test_x, train_y, test_y = split()
    model = train(train_x, train_y)
    score = accuracy(model, test_x, test_y)
    if score < REQUIRED_ACCURACY:
        raise SystemExit(f"test accuracy {score:.4f} is below {REQUIRED_ACCURACY}: nothing was written")
    export(model, score)
    chosen = examples(test_y)
    np.savez_compressed(HERE / "digits.npz", image=test_x[chosen].numpy(), label=test_y[chosen].numpy())
    print(f"test accuracy {score:.4f} on {len(test_x)} held-out images; wrote digits.onnx and digits.npz in {HERE}")


if __name__ == "__main__":
    main()
