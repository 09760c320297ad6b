"""DFT and STFT: every direction, length, axis and kind of number; onnxruntime's float64 kernels are the truth."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.autograd.harness import Case, check
from tests.autograd.rows import both, ints, normal, positive, without_ranks


def dft(components: int, length: int | None, axis: int, **attributes: int) -> Case:
    """A DFT of [2, 5, 3, components]."""
    number = None if length is None else np.array(length)
    return Case("DFT", [normal(2, 5, 3, components), number, np.array(axis)], attributes, wanted=[0])


FULL = [dft(c, length, axis, inverse=i) for c, length, axis, i in product((1, 2), (None, 4, 7), (1, -2), (0, 1))]
HALF = [dft(1, length, axis, onesided=1) for length, axis in product((None, 4, 7), (1, -2))]
BACK = [dft(2, length, axis, onesided=1, inverse=1) for length, axis in product((None, 4, 7, 9), (1, 2))]

WINDOWS = [(positive(5), None), (positive(5), np.array(5)), (None, np.array(4))]
STFT = [
    Case("STFT", [normal(2, 11, c), np.array(3), window, length], {"onesided": onesided})
    for (c, onesided), (window, length) in product([(1, 1), (1, 0), (2, 0)], WINDOWS)
]


@pytest.mark.parametrize("case", [c for case in FULL + HALF + BACK + STFT for c in both(case)], ids=str)
def test_gradient(case: Case) -> None:
    """The adjoint of a transform is a transform."""
    check(case)


def test_gradient_without_ranks() -> None:
    """Neither the axis nor the number of components has to be known."""
    for case in (dft(1, 4, -2), dft(2, None, 1, inverse=1), dft(2, 7, -2, onesided=1, inverse=1)):
        without_ranks(case)


@pytest.mark.parametrize("norm", ["forward", "backward"])
def test_as_torch(norm: str) -> None:
    """The same derivative as torch.fft has, the inverse divided by the length."""

    def run(x: Any, *_: Any) -> Any:
        import torch

        z = torch.view_as_complex(x)
        return torch.view_as_real(torch.fft.fft(z, n=7, dim=1) if norm == "backward" else torch.fft.ifft(z, n=7, dim=1))

    inverse = int(norm == "forward")
    check(Case("DFT", [normal(2, 5, 3, 2), np.array(7), np.array(1)], {"inverse": inverse}, wanted=[0], torch=run))


def test_stft_is_torchs() -> None:
    """Overlapping frames add up as in torch.stft."""

    def run(x: Any, _: Any, window: Any) -> Any:
        import torch

        spectra = torch.stft(x[..., 0], 5, 3, window=window, center=False, return_complex=True)
        return torch.view_as_real(spectra.transpose(1, 2))

    check(Case("STFT", [normal(2, 11, 1), ints(3).reshape(()), positive(5)], torch=run))
