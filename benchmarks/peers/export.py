"""``python -m benchmarks.peers.export NAME…``: a network as ONNX, ``x`` → ``y``, batch open, and its weights beside it."""

from __future__ import annotations

import sys

import torch

from benchmarks.networks import CACHE, items
from benchmarks.peers.architectures import initialised


def export(name: str) -> None:
    """By torch's exporter; the file is there when it is whole."""
    CACHE.mkdir(parents=True, exist_ok=True)
    made, unfinished = initialised(name), CACHE / f"{name}.part"
    torch.save(made.state_dict(), CACHE / f"{name}.pt")
    torch.onnx.export(
        made, (torch.from_numpy(items(name, 2)),), unfinished, input_names=["x"], output_names=["y"], dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},), external_data=False, verbose=False,
    )  # fmt: skip
    unfinished.rename(CACHE / f"{name}.onnx")


if __name__ == "__main__":
    for asked in sys.argv[1:]:
        export(asked)
