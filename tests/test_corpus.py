"""Models that other people exported: in the shared folder beside the checkout, where there is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import ExplainsvcError, ModelMalformed, ModelUnsupported
from tests.models import Array

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
FOLDERS = sorted(p for p in CORPUS.iterdir() if (p / "model.onnx").is_file()) if CORPUS.is_dir() else []
GOOD = [p for p in FOLDERS if not p.name.startswith("neg-")]
BAD = [p for p in FOLDERS if p.name.startswith("neg-")]
pytestmark = pytest.mark.skipif(not FOLDERS, reason="the shared corpus is not beside this checkout")


def folders(paths: list[Path]) -> pytest.MarkDecorator:
    """One test a folder; one skipped test without the corpus."""
    return pytest.mark.parametrize("folder", paths, ids=[p.name for p in paths])


def case(folder: Path, sample: int = 0) -> tuple[dict[str, Array], dict[str, Array]]:
    """One sample's inputs by name, and what onnxruntime answered when the corpus was made."""
    meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    inputs, outputs = np.load(folder / "inputs.npz"), np.load(folder / "expected_ort.npz")
    feeds = {name: inputs[key][sample] for key, name in meta["input_keys"].items()}
    return feeds, {name: outputs[key][sample] for key, name in meta["output_keys"].items() if key in outputs}


@folders(GOOD)
def test_predict_is_what_onnxruntime_answered(folder: Path) -> None:
    """The recorded outputs of the first sample, to rounding between versions of onnxruntime."""
    feeds, expected = case(folder)
    found = explainsvc.load(folder / "model.onnx").predict(feeds)
    assert expected
    for name, array in expected.items():
        if array.dtype.kind == "f" and isinstance(found[name], np.ndarray):
            tolerance = 1e-2 if array.dtype == np.float16 else 1e-4
            np.testing.assert_allclose(found[name], array, rtol=tolerance, atol=tolerance * max(1e-6, float(np.abs(array).max())))
        elif isinstance(found[name], np.ndarray):
            np.testing.assert_array_equal(found[name].astype(array.dtype), array)


def advises(error: ExplainsvcError) -> None:
    """A refusal says what happened, and what was expected or what to do."""
    assert error.what
    assert error.expected or error.to_do or error.violations


@folders(GOOD)
def test_the_gradient_explains_or_refuses(folder: Path) -> None:
    """Either finite values in the inputs' shapes, or a typed error that says what was expected and what to do."""
    feeds, _ = case(folder)
    model = explainsvc.load(folder / "model.onnx")
    try:
        found = model.explain(feeds)
    except ExplainsvcError as error:
        advises(error)
        return
    assert found.values
    for name, values in found.values.items():
        assert values.shape == feeds[name].shape
        assert np.isfinite(values).all()


@folders(GOOD)
def test_a_frozen_or_open_batch_takes_two_samples(folder: Path) -> None:
    """Two samples together get what each gets alone, where samples may be stacked at all."""
    if len(np.load(folder / "inputs.npz")["in0"]) < 2:
        pytest.skip("the corpus has one sample of this model")
    first, second = case(folder, 0)[0], case(folder, 1)[0]
    model = explainsvc.load(folder / "model.onnx")
    stackable = model.stackable and all(first[n].shape == second[n].shape and first[n].shape[0] == 1 for n in first)
    if not stackable:
        pytest.skip("samples of this model are not stacked along a batch axis")
    pair = {n: np.concatenate([first[n], second[n]]) for n in first}
    try:
        together, alone = model.explain(pair), [model.explain(feeds) for feeds in (first, second)]
    except ExplainsvcError as error:
        pytest.skip(f"refused: {error.REASON}")
    for name, values in together.values.items():
        for item, single in enumerate(alone):
            scale = float(np.abs(single.values[name]).max())
            np.testing.assert_allclose(values[item], single.values[name][0], rtol=0, atol=1e-3 * scale + 1e-12)


REFUSALS = {
    "neg-bfloat16-output": (ModelUnsupported, "bfloat16"),
    "neg-custom-domain-op": (ModelUnsupported, "SuperResolutionPreProcess"),
    "neg-no-opset-import": (ModelMalformed, "opset_import"),
}


@folders(BAD)
def test_unfit_models_are_refused(folder: Path) -> None:
    """Models that cannot be explained are refused at loading, by the error that fits, with advice."""
    kind, word = REFUSALS[folder.name]
    with pytest.raises(kind, match=word) as caught:
        explainsvc.load(folder / "model.onnx")
    advises(caught.value)


def test_half_precision_agrees_with_its_twin() -> None:
    """SqueezeNet in fp16 and its fp32 twin, one image, one class: the gradients agree to a hundredth of their norm."""
    half, single = (CORPUS / f"squeezenet10-{name}" for name in ("fp16-caffe2", "fp32-derived"))
    x = case(half)[0]["data_0"]
    target = {"output": "pool10_1", "index": (340, 0, 0)}  # the logit of the zebra, so named in both
    found, twin = (
        explainsvc.load(folder / "model.onnx").explain({"data_0": x.astype(kind)}, target=target).values["data_0"]
        for folder, kind in ((half, np.float16), (single, np.float32))
    )
    assert x.dtype == np.float16
    assert np.linalg.norm(found - twin) < 1e-2 * np.linalg.norm(twin)
