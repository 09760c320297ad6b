"""Methods that are one graph: gradients, LRP, AttnLRP and Grad-CAM, as multiples of one plain forward of the same batch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import explainsvc
from benchmarks.contest import REFERENCE, Array, Record, Settings, Task, apart, contest
from benchmarks.forwards import added, classes_of, plain_session, session_of_explain
from benchmarks.networks import items, network

Spec = dict[str, Any]
BOUNDS = {"low": -6.0, "high": 6.0}
"""Of the inputs, which are normal noise."""

GRADIENTS = "Gradients"
RELEVANCE = "Relevance: LRP and AttnLRP"
CAMS = "Grad-CAM"

LEGEND = """\
**forward**: one `InferenceSession.run` of the exported model; the unit. **graph**: one run of our compiled graph, in the session
that `explain` uses, seed given: forward pass, explanation and output. **explain**: the whole `model.explain(…, target=[…])`:
checks, target, session from the cache, result; this is what the target judges. Building and the first run are not timed. captum
and pytorch-grad-cam run the torchvision module in torch as their documentation does; zennit its `Gradient` with its composite and
canonizer, hooks set up outside the timing. captum's LRP has other rules: only its time compares. Deviation: ‖ours − peer's‖ /
‖peer's‖ in float32, where kinks of ReLU and max-pool move gradients of deep networks: beside it, how far ours and the peer's are
from the gradient in float64.
"""


def gradients(quick: bool) -> Iterator[Spec]:
    """Networks by their target; BERT's classifier reads one token."""
    of = {2.2: ("resnet18", "resnet50", "vgg16"),
          2.4: ("densenet121", "mobilenet_v2", "efficientnet_b0", "inception_v3"),
          2.05: ("bert_base", "vit_b_16"), 1.75: ("bert_4_layers",)}  # fmt: skip
    if quick:
        of = {2.2: ("resnet18",), 1.75: ("bert_4_layers",)}
    for target, names in of.items():
        for name, batch in itertools.product(names, (1,) if quick else (1, 8)):
            yield {"work": "gradient", "network": name, "batch": batch, "target": target, "peers": ["captum"]}


def relevance(quick: bool) -> Iterator[Spec]:
    """Composites on VGG-16 and ResNet-50, attention on BERT."""
    targets: Mapping[str, Mapping[str, Sequence[float]]] = {
        "lrp_epsilon_plus_flat": {"vgg16": (3.0, 3.0), "resnet50": (3.0, 3.2)},
        "lrp_epsilon_gamma_box": {"vgg16": (3.3, 3.3), "resnet50": (4.5, 4.5)},
        "lrp_epsilon_alpha2_beta1_flat": {"vgg16": (4.4, 4.4), "resnet50": (5.0, 5.0)},
    }
    if quick:
        targets = {work: {"resnet18": (limit["resnet50"][0],)} for work, limit in targets.items()}
    for work, by_network in targets.items():
        for name, limits in by_network.items():
            peers = ["zennit", "captum"] if work == "lrp_epsilon_plus_flat" else ["zennit"]
            for batch, limit in zip((1, 8), limits, strict=False):
                yield {"work": work, "network": name, "batch": batch, "target": limit, "peers": peers}
    name = "bert_4_layers" if quick else "bert_base"
    for batch in (1,) if quick else (1, 8):
        yield {"work": "attn_lrp", "network": name, "batch": batch, "target": 2.15, "peers": ["lxt"]}


def cams(quick: bool) -> Iterator[Spec]:
    """One forward, and a backward pass of the last block."""
    for batch, limit in ((1, 1.15),) if quick else ((1, 1.15), (8, 1.05)):
        name = "resnet18" if quick else "resnet50"
        yield {"work": "grad_cam", "network": name, "batch": batch, "target": limit, "peers": ["captum", "grad_cam"]}


def measure(spec: Spec, settings: Settings) -> Record:
    """One line."""
    work, name = spec["work"], spec["network"]
    path, x = network(name), items(name, spec["batch"])
    plain = plain_session(path)
    classes, model = classes_of(plain, x), explainsvc.load(path)
    parameters: Mapping[str, Any] = BOUNDS if work == "lrp_epsilon_gamma_box" else {}
    values = model.explain({"x": x}, work, target=classes, **parameters).values["x"]
    graph = session_of_explain()
    (seed,), (relevance,) = added(graph, plain)
    feeds = {"x": x, seed: np.eye(plain.run({"x": x[:1]})["y"].shape[1], dtype=np.float32)[classes]}
    ours = {
        "forward": lambda: plain.run({"x": x}, ["y"]),
        "graph": lambda: graph.run(feeds, [relevance, "y"]),
        "explain": lambda: model.explain({"x": x}, work, target=classes, **parameters),
    }
    tasks = [
        Task(peer, "lrp" if (peer, work[:3]) == ("captum", "lrp") else work, name, classes, parameters) for peer in spec["peers"]
    ]
    head = {**spec, "unit": "forward", "judged": "explain"}
    return contest(head, ours, tasks, settings, _comparable(work, values))


def _comparable(work: str, ours: Array) -> Mapping[str, Callable[[Array], float]]:
    """Runs of peers that compute the same."""
    if work == "grad_cam":
        return {
            "captum": lambda theirs: apart(ours[:, :1], theirs),
            "pytorch-grad-cam": lambda theirs: _scaled_apart(ours, theirs),
        }
    same = "zennit" if work.startswith("lrp") else "lxt" if work == "attn_lrp" else "captum"
    return {run: lambda theirs: apart(ours, theirs) for run in (same, REFERENCE)}


def _scaled_apart(ours: Array, theirs: Array) -> float:
    """Of maps that the peer stretches over 0…1, before it lays them over the image."""
    low, high = (f(ours[:, :1], axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    return apart((ours[:, :1] - low) / (high - low), theirs)
