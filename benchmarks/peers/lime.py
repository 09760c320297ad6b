"""lime's LimeImageExplainer on given superpixels and samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from lime.lime_image import LimeImageExplainer

from benchmarks.peers.forwards import forward
from benchmarks.peers.serving import Array, Run, Task, serve


class Replayed(np.random.RandomState):
    """A generator that gives out the samples which the other side draws."""

    def __init__(self, draws: Array) -> None:
        super().__init__(0)
        self._draws = draws

    def randint(self, *_: Any, **__: Any) -> Any:
        """What LimeImageExplainer draws its samples by."""
        return self._draws.reshape(-1)


def lime(task: Task) -> Mapping[str, Run]:
    """Coefficients of the features, spread over their elements; hidden superpixels are 0."""
    f, z, mask, (chosen,) = forward(task), task.given["present"].astype(np.int64), task.given["mask"], task.classes
    channels = len(task.x[0])
    colours = np.moveaxis(np.repeat(task.x[0], 3 // channels, axis=0), 0, 2).astype(float)  # it takes pictures of three colours
    explainer = LimeImageExplainer(random_state=Replayed(z))

    def classify(images: Array) -> Array:
        return f(np.moveaxis(np.asarray(images), 3, 1)[:, :channels].astype(np.float32))

    def run() -> Array:
        found = explainer.explain_instance(
            colours, classify, labels=(chosen,), top_labels=None, hide_color=0, num_samples=len(z), random_seed=0,
            batch_size=int(task.parameters["batch"]), segmentation_fn=lambda _: mask[0],
        )  # fmt: skip
        weights = dict(found.local_exp[chosen])
        return np.array([weights[j] for j in range(z.shape[1])])[mask][None]

    return {"lime": run}


if __name__ == "__main__":
    serve({"lime": lime}, "lime", "onnxruntime")
