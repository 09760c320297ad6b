"""``python -m tests.parity.quantus_record``: what Quantus says of the cases in ``quantus_cases``, into quantus.json beside this.

Quantus is not installed with the tests: it brings a second build of OpenCV over the one that is there, and takes as long to
import as a tenth of the tests to run. To record anew, put it and cachetools into a folder of their own, without dependencies:
``pip install --no-deps --target FOLDER quantus==0.6.0 cachetools``, and set PYTHONPATH to it.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import quantus
import torch
from onnx import numpy_helper
from quantus.functions.perturb_func import baseline_replacement_by_shift, noisy_linear_imputation, perturb_batch
from quantus.helpers.model.pytorch_model import PyTorchModel

import explainsvc
from explainsvc.randomisation import randomised
from tests.models import Array
from tests.parity import quantus_cases as cases
from tests.parity.quantus_networks import Drawn, linear, network, unpadded

RECORD = Path(__file__).with_name("quantus.json")
RAW = {"abs": False, "normalise": False, "disable_warnings": True}
LOGITS = {"softmax": False, "channel_first": True, "device": "cpu"}


# Explanations ---------------------------------------------------------------------------------------------------------


def gradient(model: torch.nn.Module, inputs: Array, targets: Array, **_: Any) -> Array:
    """∂S/∂x by torch autograd."""
    x = torch.tensor(np.asarray(inputs), dtype=torch.float32, requires_grad=True)
    model(x)[torch.arange(len(x)), torch.tensor(np.asarray(targets))].sum().backward()
    return np.asarray(x.grad)


def product(model: torch.nn.Module, inputs: Array, targets: Array, **_: Any) -> Array:
    """x ⊙ ∂S/∂x."""
    return np.asarray(inputs) * gradient(model, inputs, targets)


def uniform(model: torch.nn.Module, inputs: Array, targets: Array, **_: Any) -> Array:
    """Maps without contrast; Quantus refuses a batch whose elements are all equal, so that each has its own number."""
    return np.full(np.shape(inputs), 0.5, np.float32) * (1 + np.arange(len(inputs)).reshape(-1, 1, 1, 1))


# Cases ----------------------------------------------------------------------------------------------------------------


def classes_of(model: torch.nn.Module, x: Array) -> Array:
    """The arg-max."""
    return np.asarray(model(torch.tensor(x)).argmax(1))


def asked(metric: Any, model: torch.nn.Module, explain: Callable[..., Array] | None = None, **more: Any) -> Any:
    """A metric's answer on the inputs, for the arg-max."""
    x = cases.inputs()
    return metric(model=model, x_batch=x, y_batch=classes_of(model, x), explain_func=explain, **(LOGITS | more))


def faithfulness() -> dict[str, Any]:
    """Curves and areas."""
    own, x, a = network(), cases.inputs(), cases.maps()
    flipping = quantus.PixelFlipping(features_in_step=cases.STEP, perturb_baseline=0.0, **RAW)
    regions = {
        order: asked(quantus.RegionPerturbation(patch_size=cases.PATCH, regions_evaluation=25, order=order,
                                                perturb_baseline=0.0, **RAW), own, a_batch=a)
        for order in ("morf", "lerf")
    }  # fmt: skip
    road = quantus.ROAD(percentages=list(cases.PERCENTAGES), noise=0.0, **RAW)
    whole = quantus.Infidelity(perturb_patch_sizes=[cases.SIZE], n_perturb_samples=1, perturb_baseline=0.0, **RAW)
    quarters = quantus.Infidelity(perturb_patch_sizes=[cases.SIZE // 2], n_perturb_samples=1, perturb_baseline=0.0, **RAW)
    missing = np.flatnonzero(cases.masks()[3].ravel())
    return {
        "pixel_flipping": asked(flipping, own, a_batch=a),
        "region_perturbation": regions,
        "road": asked(road, own, a_batch=a),
        "imputed": noisy_linear_imputation(x[0], missing, noise=0.0),
        "infidelity_whole": asked(whole, own, a_batch=gradient(own, x, classes_of(own, x))),
        "infidelity_quarters": asked(quarters, own, a_batch=gradient(own, x, classes_of(own, x))),
        "road_of_two_channels": raised(_two_channels),
    }


def _two_channels() -> Any:
    x, a = np.repeat(cases.inputs(), 2, axis=1), np.repeat(cases.maps(), 2, axis=1)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(200, 2))
    metric = quantus.ROAD(percentages=[90], noise=0.0, **RAW)
    return metric(model=model, x_batch=x, y_batch=classes_of(model, x), a_batch=a, **LOGITS)


def raised(call: Callable[[], Any]) -> str:
    """The name of the error, "" for none."""
    try:
        call()
    except Exception as error:  # noqa: BLE001  (what fails is what is recorded)
        return type(error).__name__
    return ""


def robustness() -> dict[str, Any]:
    """Changes of the gradient among given neighbours."""
    own, x = network(), cases.inputs()
    a = gradient(own, x, classes_of(own, x))
    found: dict[str, Any] = {}
    for name, kind in (("max_sensitivity", quantus.MaxSensitivity), ("avg_sensitivity", quantus.AvgSensitivity),
                       ("local_lipschitz", quantus.LocalLipschitzEstimate)):  # fmt: skip
        metric = kind(nr_samples=cases.NEIGHBOURS, perturb_func=_moves(), **RAW)
        found[name] = asked(metric, own, gradient, a_batch=a)
    return found


def _moves() -> Callable[..., Array]:
    """The next neighbour at every call."""
    draws: Iterator[Array] = cases.neighbours()
    return lambda arr, **_: (arr + next(draws).reshape(arr.shape)).astype(np.float32)


def randomisation() -> dict[str, Any]:
    """Parameters by the numbers of our randomised model; by Quantus's own; and another class."""
    numbers = {t.name: numpy_helper.to_array(t) for t in randomised(explainsvc.load(cases.network())).graph.initializer}
    given = network(given=True)
    for name, layer in given.named_children():
        if isinstance(layer, Drawn):
            layer.drawn = numbers[f"{name}.weight"], numbers[f"{name}.bias"]
    metric: dict[str, Any] = {"normalise": False, "disable_warnings": True}
    signed, magnitudes = (asked(quantus.MPRT(abs=size, **metric), given, gradient) for size in (False, True))
    efficient = quantus.EfficientMPRT(**RAW)
    smooth = quantus.SmoothMPRT(nr_samples=5, **RAW)
    *_, (_, own) = PyTorchModel(network(), channel_first=True, softmax=False).get_random_layer_generator()
    return {
        "mprt_spearman": signed,
        "mprt_spearman_abs": magnitudes,
        "mprt_of_constants": raised(lambda: asked(quantus.MPRT(**RAW), given, uniform)),
        "efficient_mprt": asked(efficient, given, gradient, softmax=True),  # it takes an entropy of the outputs too
        "smooth_mprt_original": asked(smooth, given, gradient)["original"],
        "same_shape_apart": float(np.abs(np.asarray(own.conv2.weight.detach() - own.conv3.weight.detach())).max()),
        **_other_class(),
    }


def _other_class() -> dict[str, Any]:
    two, x = network(2), cases.inputs()
    by_ranks = quantus.RandomLogit(num_classes=2, similarity_func=quantus.correlation_spearman, **RAW)
    drawn: dict[int, list[int]] = {}
    for size in (1, cases.ITEMS):
        drawn[size] = []

        def listening(model: torch.nn.Module, inputs: Array, targets: Array, size: int = size, **_: Any) -> Array:
            drawn[size] += [int(t) for t in targets]
            return gradient(model, inputs, targets)

        same = np.zeros(cases.ITEMS, int)
        metric = quantus.RandomLogit(num_classes=cases.CLASSES, **RAW)
        metric(model=network(), x_batch=x, y_batch=same, a_batch=cases.maps(), explain_func=listening, batch_size=size, **LOGITS)
    other = quantus.RandomLogit(num_classes=2, **RAW)
    return {
        "random_logit_spearman": asked(by_ranks, two, gradient),
        "random_logit_ssim": asked(other, two, gradient),
        "random_logit_one_by_one": drawn[1],
        "random_logit_together": drawn[cases.ITEMS],
    }


def axioms() -> dict[str, Any]:
    """Sums, and shifts of the input."""
    line, x = linear(), cases.inputs()
    complete = quantus.Completeness(perturb_baseline=0.0, **RAW)
    shift = quantus.InputInvariance(input_shift=-1, **RAW)
    return {
        "completeness": asked(complete, line, a_batch=product(line, x, classes_of(line, x))),
        "shifted_padded": _shifted(network()),
        "shifted_unpadded": _shifted(unpadded()),
        "unshifted_elements": _unshifted(),
        "input_invariance_gradient": asked(shift, unpadded(), gradient, a_batch=None),
        "input_invariance_product": asked(shift, unpadded(), product, a_batch=None),
    }


def _shifted(model: torch.nn.Module) -> float:
    """Largest deviation of f₂(x − 1) from f(x), relative, where f₂ is the model that Quantus corrects."""
    x = cases.inputs()
    other = PyTorchModel(model, channel_first=True, softmax=False).add_mean_shift_to_first_layer(-1, x[:1].shape)
    with torch.no_grad():
        before, after = model(torch.tensor(x)), other(torch.tensor(x - 1))
    return float((after - before).abs().max() / before.abs().max())


def _unshifted() -> list[int]:
    """Elements of each input that the metric's own shift by −1 leaves where they were."""
    x = cases.inputs()
    moved, places = partial(baseline_replacement_by_shift, input_shift=-1), np.tile(np.arange(x[0].size), (len(x), 1))
    found = perturb_batch(perturb_func=moved, indices=places, indexed_axes=np.arange(3), arr=x)
    return [int(count) for count in (found == x).sum(axis=(1, 2, 3))]


def localization() -> dict[str, Any]:
    """On the maps' magnitudes; and what signs, ties, and pictures without an object do."""
    sizes, objects = np.abs(cases.maps()), cases.masks()
    kinds = {
        "pointing_game": quantus.PointingGame(**RAW),
        "mass_accuracy": quantus.RelevanceMassAccuracy(**RAW),
        "rank_accuracy": quantus.RelevanceRankAccuracy(**RAW),
        "top_k_intersection": quantus.TopKIntersection(k=cases.TOP, **RAW),
        "auc": quantus.AUC(**RAW),
    }
    own, empty = network(), objects.copy()
    empty[0] = False
    found = {name: asked(metric, own, a_batch=sizes.copy(), s_batch=objects) for name, metric in kinds.items()}
    return found | {
        "mass_accuracy_signed": asked(kinds["mass_accuracy"], own, a_batch=cases.maps(), s_batch=objects),
        "pointing_game_uniform": asked(kinds["pointing_game"], own, a_batch=uniform(own, sizes, objects), s_batch=objects),
        "pointing_game_no_object": asked(kinds["pointing_game"], own, a_batch=sizes.copy(), s_batch=empty),
    }


def complexity() -> dict[str, Any]:
    """With the defaults; and what the scale of another map in the batch does."""
    own, a, scaled = network(), cases.maps(), cases.maps()
    scaled[-1] *= 1e6
    default: dict[str, Any] = {"disable_warnings": True}
    return {
        "entropy": asked(quantus.Complexity(**default), own, a_batch=a.copy()),
        "sparseness": asked(quantus.Sparseness(**default), own, a_batch=a.copy()),
        "effective": asked(quantus.EffectiveComplexity(eps=0.05, **default), own, a_batch=a.copy()),
        "effective_raw": asked(quantus.EffectiveComplexity(eps=0.05, normalise=False, **default), own, a_batch=a.copy()),
        "effective_scaled": asked(quantus.EffectiveComplexity(eps=0.05, **default), own, a_batch=scaled),
    }


def plain(value: Any) -> Any:
    """For JSON; NaN is null."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(each) for each in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    number = float(value) if isinstance(value, (int, float, np.number)) else None
    return value if number is None else None if math.isnan(number) else number


def main() -> None:
    """Asks everything, and writes."""
    np.random.seed(0)  # noqa: NPY002  (Quantus draws from the global generator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {f.__name__: plain(f()) for f in (faithfulness, robustness, randomisation, axioms, localization, complexity)}
    head = {"quantus": metadata.version("quantus"), "digest": cases.digest()}
    RECORD.write_text(json.dumps(head | found, indent=1) + "\n")


if __name__ == "__main__":
    main()
