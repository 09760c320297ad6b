"""Models that other people exported: which become torch modules, and which are refused, by which operator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import explainsvc
from explainsvc.errors import NotTrainable
from explainsvc.training.conversion import trainable
from tests.test_corpus import FOLDERS, GOOD, case

pytestmark = pytest.mark.skipif(not FOLDERS, reason="the shared corpus is not beside this checkout")
REFUSED = {
    "coffee-rf-sklearn": "TreeEnsembleClassifier",
    "iris-rf-sklearn": "TreeEnsembleClassifier",
    "lightgbm-pipeline": "TreeEnsembleClassifier",
    "mnist-logreg-sklearn": "LinearClassifier",
    "silero-vad-v5": "If",
    "titanic-pipeline-sklearn": "LinearClassifier",
}
"""Model → the operator that is to blame. All others convert."""
SLOW = {"silero-vad-v5", "fastestdet-torch", "squeezenet10-fp16-caffe2", "speechcommands-squeezenet-torch", "magika-v3_3-tf"}
NEURAL = [p for p in GOOD if p.name not in REFUSED]


def over(paths: list[Path]) -> pytest.MarkDecorator:
    """One test a folder; the slow ones are left out of quick runs."""
    marks = {p: pytest.mark.exhaustive if p.name in SLOW else () for p in paths}
    return pytest.mark.parametrize("folder", [pytest.param(p, id=p.name, marks=mark) for p, mark in marks.items()])


@over(NEURAL)
def test_neural_models_convert_and_match(folder: Path) -> None:
    """The module's outputs for the recorded inputs are onnxruntime's within 1e-4 of the largest (half precision: 3e-2)."""
    feeds, expected = case(folder)
    found = trainable(explainsvc.load(folder / "model.onnx"))
    half = any(a.dtype == np.float16 for a in feeds.values())
    given = {name: torch.from_numpy(a.astype(np.float32) if a.dtype == np.float16 else a) for name, a in feeds.items()}
    with torch.no_grad():
        computed = found(given)
    assert expected
    for name, array in expected.items():
        tolerance = (3e-2 if half else 1e-4) * float(np.abs(array).max())
        np.testing.assert_allclose(computed[name].numpy(), array, rtol=0, atol=tolerance)


@over([p for p in GOOD if p.name in REFUSED])
def test_others_are_refused_by_their_operator(folder: Path) -> None:
    """What has no weights that a gradient could change is refused, and the operator is named."""
    with pytest.raises(NotTrainable, match=REFUSED[folder.name]) as caught:
        trainable(explainsvc.load(folder / "model.onnx"))
    assert caught.value.details["operator"] == REFUSED[folder.name]
