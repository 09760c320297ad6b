"""shap's KernelExplainer over superpixels, its model a function of which are present, as in its documentation of images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import shap

from benchmarks.peers.forwards import forward
from benchmarks.peers.serving import Array, Run, Task, serve


def kernel_shap(task: Task) -> Mapping[str, Run]:
    """φ of each feature of the mask, spread over its elements; absent ones are 0."""
    f, mask, (chosen,) = forward(task), task.given["mask"], task.classes
    count, size = int(mask.max()) + 1, int(task.parameters["batch"])

    def values(present: Array) -> Array:
        parts = [present[k : k + size] for k in range(0, len(present), size)]
        return np.concatenate([f(part.astype(np.float32)[:, mask] * task.x)[:, chosen] for part in parts])

    explainer = shap.KernelExplainer(values, np.zeros((1, count)))
    samples = task.parameters["samples"]
    return {
        "shap": lambda: explainer.shap_values(np.ones((1, count)), nsamples=samples, l1_reg=False, silent=True)[0][mask][None]
    }


if __name__ == "__main__":
    serve({"kernel_shap": kernel_shap}, "shap", "onnxruntime")
