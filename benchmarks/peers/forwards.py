"""The forward that model-agnostic peers are given: onnxruntime's, in the batch that the task names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime as ort

from benchmarks.networks import network
from benchmarks.peers.serving import Array, Task


def forward(task: Task) -> Callable[[Array], Array]:
    """x [N, *item] → logits [N, classes]."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = task.threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(network(task.network), options, providers=["CPUExecutionProvider"])
    size = int(task.parameters["batch"])

    def run(x: Array) -> Array:
        parts = [session.run(["y"], {"x": x[k : k + size]})[0] for k in range(0, len(x), size)]
        return np.concatenate(parts)

    return run
