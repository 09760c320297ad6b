"""Every method on every model that other people exported: numbers, or a refusal that `inspect` foretold or that says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import ExplainsvcError, InvalidInput
from explainsvc.methods import METHODS
from tests.methods.little import little
from tests.test_corpus import CORPUS, FOLDERS, GOOD, advises, case

pytestmark = [pytest.mark.skipif(not FOLDERS, reason="the shared corpus is not beside this checkout"), pytest.mark.slow]

SLOW = ("squeezenet10-fp16-caffe2", "squeezenet10-fp32-derived")
"""Minutes each. CI runs all methods on a smaller SqueezeNet, and those of ``QUICK`` on these two, held against each other."""
SUBJECTS = [pytest.param(f, id=f.name, marks=pytest.mark.exhaustive if f.name in SLOW else ()) for f in GOOD]


@pytest.mark.parametrize("folder", SUBJECTS)
def test_every_method_that_claims_to_apply_does(folder: Path) -> None:
    """Finite values in the input's shape; all zeros or anything not finite only with a caveat; refusals advise."""
    feeds, _ = case(folder)
    model = explainsvc.load(folder / "model.onnx")
    failures = []
    for name, reason in model.info.methods.items():
        try:
            found = model.explain(feeds, name, **little(name, feeds, model))
        except ExplainsvcError as error:
            advises(error)
            of_these_numbers = isinstance(error, InvalidInput) or "not finite" in error.what
            if not reason and not of_these_numbers:
                failures.append(f"{name}: inspect lists it, explain refuses: {error}")
            continue
        for inp, values in found.values.items():
            doubtful = not np.isfinite(values).all() or not values.any()
            if values.shape != feeds[inp].shape or (doubtful and not found.caveats) or np.isnan(values).any():
                failures.append(f"{name}: {inp} {values.shape}, finite {np.isfinite(values).mean():.2f}, {found.caveats}")
    assert not failures, "\n".join(failures)


DRAWN = frozenset(
    "random smoothgrad smoothgrad_squared vargrad rise lime kernel_shap sampling_shap expected_gradients feature_permutation "
    "meaningful_perturbation constant".split()
)
"""Methods that draw random numbers, and the one whose map has no ranks."""


QUICK = frozenset(
    "gradient guided_backprop deconvnet integrated_gradients lrp_epsilon_plus lrp_gamma deeplift grad_cam fullgrad "
    "occlusion".split()
)
"""One of each kind of backward pass, and one without any."""


@pytest.mark.parametrize(
    "names", [QUICK, pytest.param(METHODS.keys() - DRAWN, marks=pytest.mark.exhaustive)], ids=["quick", "all"]
)
def test_every_deterministic_method_agrees_on_the_twins(names: frozenset[str]) -> None:
    """SqueezeNet in half precision and in float32: the rank correlation of the two maps is at least 0.99."""
    from scipy.stats import spearmanr

    half, single = (CORPUS / f"squeezenet10-{name}" for name in ("fp16-caffe2", "fp32-derived"))
    x = case(half)[0]["data_0"]
    models = {kind: explainsvc.load(f / "model.onnx") for f, kind in ((half, np.float16), (single, np.float32))}
    target = {"output": "pool10_1", "index": (340, 0, 0)}  # the logit of the zebra, so named in both
    low: list[tuple[str, float]] = []
    agreed: list[tuple[str, float]] = []
    for name in names:
        maps = []
        for kind, model in models.items():
            feeds = {"data_0": x.astype(kind)}
            try:
                maps.append(model.explain(feeds, name, target, **little(name, feeds, model)).values["data_0"].ravel())
            except ExplainsvcError:
                break
        if len(maps) == 2:
            found = float(spearmanr(*maps).statistic)
            (agreed if found >= 0.99 else low).append((name, found))
    assert not low
    assert len(agreed) >= min(len(names), 30)


def test_explanations_lie_on_the_object() -> None:
    """Of a drawn shape on noise: these methods put at least a tenth more of their relevance inside than Sobel and random."""
    folder = CORPUS / "shapes-cnn-torch"
    data = np.load(folder / "inputs.npz")
    x, mask = data["in0"].reshape(-1, 1, 64, 64), data["mask"].reshape(-1, 1, 64, 64)
    target = {"output": "24", "index": [int(label) for label in data["label"]]}
    model = explainsvc.load(folder / "model.onnx")

    def inside(method: str) -> float:
        values = np.abs(model.explain({"input": x}, method, target).values["input"].astype(np.float64))
        total = values.sum(axis=(1, 2, 3))
        return float(np.mean((values * mask).sum(axis=(1, 2, 3)) / np.where(total > 0, total, 1)))

    control = max(inside("sobel"), inside("random"))
    for method in ("input_x_gradient", "integrated_gradients", "lrp_epsilon", "lrp_z_plus", "lrp_epsilon_plus", "occlusion"):
        assert inside(method) > control + 0.1, method
