from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from explainsvc.errors import InvalidInput
from explainsvc.training.data import Data, require_fitting
from tests.training.networks import BINARY, CLASSES, NUMBERS, blobs, perceptron

X = blobs(40).inputs["x"]
BAD = {
    "classes that the output lacks": (Data({"x": X}, np.arange(40) % 4), CLASSES, r"has classes 0 … 2"),
    "classes of two axes": (Data({"x": X}, np.zeros((40, 2), int)), CLASSES, r"expected integers \[item\]"),
    "fractions for classes": (Data({"x": X}, np.linspace(0, 1, 40)), CLASSES, r"expected integers \[item\]"),
    "one class": (Data({"x": X}, np.ones(40, int)), CLASSES, "nothing to tell apart"),
    "one number": (Data({"x": X}, np.full((40, 3), 0.5)), NUMBERS, "nothing to tell apart"),
    "not binary": (Data({"x": X}, np.arange(120).reshape(40, 3)), BINARY, "not all 0 or 1"),
    "binary of another width": (Data({"x": X}, np.arange(80).reshape(40, 2) % 2), BINARY, "expected 3 for an item"),
    "NaN among numbers": (Data({"x": X}, np.full((40, 3), np.nan)), NUMBERS, "not all finite"),
    "too few": (Data({"x": X[:19]}, np.arange(19) % 3), CLASSES, "expected 20 or more"),
    "other numbers of items": (Data({"x": X[:30]}, np.arange(40) % 3), CLASSES, "has 30 items, the labels have 40"),
    "a missing input": (Data({"z": X}, np.arange(40) % 3), CLASSES, r"inputs\[\"x\"\]: is missing"),
    "another type": (Data({"x": X.astype(np.float64)}, np.arange(40) % 3), CLASSES, r"could not run .* float64\[40, 6\]"),
    "another shape": (Data({"x": X[:, :5]}, np.arange(40) % 3), CLASSES, r"could not run .* float32\[40, 5\]"),
    "NaN in an input": (Data({"x": np.where(X > 2, np.nan, X)}, np.arange(40) % 3), CLASSES, "holds NaN"),
}


@pytest.mark.parametrize("name", BAD)
def test_unfit_data_are_refused(name: str) -> None:
    """Before anything is trained, with what is wrong."""
    data, task, words = BAD[name]
    with pytest.raises(InvalidInput, match=words):
        require_fitting(perceptron(), data, task, "y")


def test_binary_hits_are_shares_of_right_labels() -> None:
    """Of an output with or without an axis of its own, above the task's threshold."""
    outputs, labels = torch.tensor([[0.7, 0.2], [0.4, 0.6]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    assert replace(BINARY, threshold=0.5).hits(outputs, labels).tolist() == [0.5, 1.0]
    assert BINARY.hits(outputs[:, 0] - 0.5, labels[:, 0]).tolist() == [1.0, 1.0]
