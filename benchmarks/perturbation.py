"""Perturbation methods against the same number of plain forwards in the batch in which onnxruntime is fastest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from benchmarks.contest import Array, Record, Settings, Task, apart, contest
from benchmarks.forwards import best_batch, classes_of, explained, forwards, plain_session
from benchmarks.networks import SHAPES, items, network

Spec = dict[str, Any]
TITLE = "Perturbation"
GRID = 7
"""Cells a side of the features: 49 squares."""
WINDOWS = {"mnist_cnn": (4, 2), "resnet18": (32, 16), "vgg16": (32, 32)}
"""Side and stride that end at the border: 169, 169 and 49 positions."""
LEGEND = """\
**forwards**: as many plain forwards as the method asks of the model, of inputs made beforehand, in the batch in which onnxruntime
is fastest. `explain` as it comes (batches of 32), and with that batch. One item; 49 square features, or a window that slides over
169 positions. captum as it comes (one perturbation a forward), and in the fastest batch (tuned); shap and lime are given
onnxruntime's forwards in the fastest batch, and lime our samples. Deviations where both sides compute the same: kernel_shap with
9 features asks for all coalitions; captum fits LIME otherwise, and draws coalitions for itself. Nobody beside us has RISE.

The last line is occlusion of a large image where recomputing only what the window touches would pay: the target is half of all
forwards.
"""


def specs(quick: bool) -> Iterator[Spec]:
    """Methods by network; fewer samples on the large one."""
    samples = {"mnist_cnn": 50 if quick else 1000, "resnet18": 200}
    for name in ("mnist_cnn",) if quick else ("mnist_cnn", "resnet18"):
        yield _spec("occlusion", name, ["captum"])
        yield _spec("feature_ablation", name, ["captum"])
        yield _spec("rise", name, [], samples=samples[name])
        yield _spec("lime", name, ["captum", "lime"], samples=samples[name])
        yield _spec("kernel_shap, 49 features", name, ["captum", "shap"], samples=max(samples[name], 98))
        yield _spec("kernel_shap, 9 features", name, ["shap"], samples=2**9 - 2, grid=3)
    if not quick:
        yield _spec("occlusion", "vgg16", ["captum"]) | {"target": 0.5}


def _spec(work: str, name: str, peers: list[str], **more: Any) -> Spec:
    return {"work": work, "network": name, "batch": 1, "target": 1.15, "peers": peers, **more}


def measure(spec: Spec, settings: Settings) -> Record:
    """One line."""
    name, work = spec["network"], spec["work"].partition(",")[0]
    path, x, mask = network(name), items(name, 1), features(name, spec.get("grid", GRID))
    plain = plain_session(path)
    classes, size = classes_of(plain, x), 16 if settings.quick else best_batch(plain, x)
    window, stride = WINDOWS[name]
    places = ((SHAPES[name][1] - window) // stride + 1) ** 2
    samples: int = spec.get("samples", 0)
    asked: Mapping[str, tuple[dict[str, Any], int]] = {
        "occlusion": ({"window": (window,), "stride": (stride,)}, places + 1),
        "feature_ablation": ({"feature_mask": mask}, GRID**2 + 1),
        "rise": ({"samples": samples}, samples),
        "lime": ({"samples": samples, "feature_mask": mask}, samples),
        "kernel_shap": ({"samples": samples, "feature_mask": mask}, samples + 2),
    }
    parameters, count = asked[work]
    as_it_comes, values = explained(path, x, work, classes, **parameters)
    tuned, _ = explained(path, x, work, classes, **parameters, batch_size=size)
    ours: dict[str, Callable[[], object]] = {
        "forwards": forwards(plain, x, count, size), "explain": as_it_comes, f"explain, batches of {size}": tuned,
    }  # fmt: skip
    given = {"window": window, "stride": stride, "samples": samples, "batch": size}
    arrays = {"mask": np.broadcast_to(mask, SHAPES[name]), "present": presence(samples, int(mask.max()) + 1)}
    head = {**spec, "unit": "forwards", "judged": "explain", "forwards": count}
    tasks = [Task(peer, work, name, classes, given, arrays) for peer in spec["peers"]]
    return contest(head, ours, tasks, settings, _comparable(spec, values))


def _comparable(spec: Spec, ours: Array) -> Mapping[str, Callable[[Array], float]]:
    """Runs of peers that compute the same."""
    if spec["work"] in ("occlusion", "feature_ablation"):
        return {run: lambda theirs: apart(ours, theirs) for run in ("captum", "captum, tuned")}
    if spec["work"] == "lime":
        return {"lime": lambda theirs: apart(ours, theirs)}
    return {"shap": lambda theirs: apart(ours, theirs)} if spec.get("grid") == 3 else {}


def features(name: str, grid: int) -> Array:
    """Squares (or nearly) of pixels, int64 [1, side, side]."""
    side = SHAPES[name][1]
    cell = np.arange(side) * grid // side
    return (grid * cell[:, None] + cell)[None]


def presence(samples: int, features: int) -> Array:
    """The samples of the method ``lime`` for seed 0: a fair coin per feature, all present in the first."""
    z = np.random.default_rng(0).integers(0, 2, (features, samples), dtype=np.uint8).astype(bool).T
    z[:1] = True
    return z
