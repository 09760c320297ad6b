from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from explainsvc import demo

FOLDER = Path(demo.__file__).parent
MODEL = FOLDER / "digits.onnx"


@pytest.fixture(scope="module")
def examples() -> dict[str, np.ndarray]:
    """The committed held-out images and labels."""
    with np.load(FOLDER / "digits.npz") as data:
        return dict(data)


def logits(images: np.ndarray) -> np.ndarray:
    """The committed model on plain onnxruntime."""
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"image": images})[0])


def test_the_committed_files_are_small() -> None:
    """A clone stays light: the model below 500 kB, the images below 10 kB."""
    assert MODEL.stat().st_size < 500_000
    assert (FOLDER / "digits.npz").stat().st_size < 10_000


def test_the_model_says_where_it_comes_from_and_how_good_it_is() -> None:
    """Its metadata name the data, the script, the licence and a held-out accuracy of at least 97 %."""
    facts = {entry.key: entry.value for entry in onnx.load(MODEL).metadata_props}
    assert float(facts["test_accuracy"]) >= 0.97
    assert (FOLDER.parent.parent / facts["trained_by"]).is_file()
    assert {"data", "task", "license"} <= set(facts)


def test_the_model_recognises_the_held_out_digits(examples: dict[str, np.ndarray]) -> None:
    """Four images of each class, none of which it was trained on: 97 % of 40 allow one mistake."""
    assert np.bincount(examples["label"]).tolist() == [4] * 10
    assert (logits(examples["image"]).argmax(1) != examples["label"]).sum() <= 1


def test_the_batch_size_is_free(examples: dict[str, np.ndarray]) -> None:
    """One image alone gets the logits it gets among others."""
    together = logits(examples["image"][:5])
    alone = np.concatenate([logits(examples["image"][index : index + 1]) for index in range(5)])
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


def test_held_out_images_were_not_trained_on(examples: dict[str, np.ndarray]) -> None:
    """None of the committed images is in the training split."""
    pytest.importorskip("sklearn")
    pytest.importorskip("torch")
    train_digits = pytest.importorskip("explainsvc.demo.train_digits")
    train_images = train_digits.split()[0].numpy().reshape(-1, 64)
    distances = np.abs(examples["image"].reshape(-1, 1, 64) - train_images).max(-1)
    assert distances.min() > 0
