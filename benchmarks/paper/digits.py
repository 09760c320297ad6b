"""MNIST's 10,000 test pictures, split into 8,000 to train on and 2,000 that are held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
SEED = 0
TRAINED = 8_000


@dataclass(frozen=True)
class Digits:
    """Pictures in [0, 1], float32 [n, 1, 28, 28], and their labels, int64 [n]."""

    x: Array
    y: Array

    def first(self, count: int) -> Digits:
        """The first ones."""
        return Digits(self.x[:count], self.y[:count])


def read(path: Path) -> tuple[Digits, Digits]:
    """Those to train on and those held out; shuffled once, because the second half of the file is the cleaner one."""
    with np.load(path) as data:
        pictures, labels = data["images"], data["labels"]
    order = np.random.default_rng(SEED).permutation(len(pictures))
    x = (pictures[order].reshape(-1, 1, 28, 28) / 255).astype(np.float32)
    y = labels[order].astype(np.int64)
    return Digits(x[:TRAINED], y[:TRAINED]), Digits(x[TRAINED:], y[TRAINED:])
