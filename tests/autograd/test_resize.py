"""Resize: every mode, rounding and coordinate transformation, enlarged and reduced, by scales and by sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from tests.autograd.harness import Case, build, check, emitted
from tests.autograd.test_shape import both, ints, normal

TRANSFORMATIONS = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
IMAGE = normal(1, 2, 3, 4)


def scaled(x: Any, scales: list[float], **attributes: Any) -> Case:
    """A Resize by constant scales."""
    operands = [x, None, np.array(scales, np.float32)]
    return Case("Resize", operands, attributes, wanted=[0], constant=[2], finite_differences=False)


def sized(x: Any, *sizes: int, **attributes: Any) -> Case:
    """A Resize to constant sizes."""
    return Case("Resize", [x, None, None, ints(*sizes)], attributes, constant=[3], finite_differences=False)


def _interpolated(size: tuple[int, ...], **options: Any) -> Any:
    """Interpolation by torch to ``size``."""

    def run(x: Any, *_: Any) -> Any:
        import torch

        return torch.nn.functional.interpolate(x, size=size, **options)

    return run


NEAREST = [
    scaled(IMAGE, [1, 1, high, wide], coordinate_transformation_mode=transformation, nearest_mode=rounding)
    for transformation in TRANSFORMATIONS
    for rounding in ROUNDINGS
    for high, wide in [(2, 3), (1.7, 0.6)]
]

SMOOTH = [
    scaled(IMAGE, [1, 1, high, wide], coordinate_transformation_mode=transformation, mode=mode)
    for transformation in TRANSFORMATIONS
    for mode in ("linear", "cubic")
    for high, wide in [(2, 3), (1.7, 0.6)]
]

TORCH: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, {}),
    ({"mode": "linear"}, {"mode": "bilinear"}),
    (
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        {"mode": "bilinear", "align_corners": True},
    ),
    ({"mode": "cubic", "cubic_coeff_a": -0.75}, {"mode": "bicubic"}),
    (
        {"mode": "cubic", "antialias": 1, "cubic_coeff_a": -0.5, "exclude_outside": 1},
        {"mode": "bicubic", "antialias": True},
    ),
]
"""(attributes, torch's options) of the same function."""

OTHER = [
    scaled(IMAGE, [1, 1, 1, 1]),
    scaled(IMAGE, [2, 1.5, 2, 1]),
    scaled(IMAGE, [2.5, 2], axes=[3, 2], mode="linear"),
    sized(IMAGE, 7, 2, axes=[-1, -2], mode="linear"),
    sized(normal(3, 4), 5, 9, mode="linear"),
    sized(normal(2, 3), 4, 3),
    sized(normal(1, 2, 2, 3, 2), 1, 2, 4, 3, 5, mode="linear"),
    sized(IMAGE, 1, 2, 6, 3, mode="cubic", exclude_outside=1),
    sized(IMAGE, 1, 2, 5, 3, mode="linear", antialias=1),
    sized(IMAGE, 1, 2, 2, 3, mode="cubic", antialias=1),
    sized(IMAGE, 6, 6, axes=[2, 3], keep_aspect_ratio_policy="not_larger"),
    sized(IMAGE, 7, 8, axes=[2, 3], keep_aspect_ratio_policy="not_smaller"),
    sized(IMAGE, 8, 7, axes=[3, 2], mode="linear", keep_aspect_ratio_policy="not_larger"),
]

ROI = np.array([0, 0, 0.4, -0.3, 1, 1, 0.9, 1.2], np.float32)
CROPS = [
    Case(
        "Resize",
        [IMAGE, ROI, None, ints(1, 2, 4, 5)],
        {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.0, "mode": mode},
        wanted=[0],
        constant=constant,
        finite_differences=False,
    )
    for mode in ("linear", "cubic", "nearest")
    for constant in ([1, 3], [3])
]

AT_RUN_TIME = [
    replace(scaled(IMAGE, [1, 1, 1.5, 2], mode="linear"), constant=()),
    replace(sized(IMAGE, 1, 2, 2, 7, mode="cubic"), constant=()),
    replace(sized(IMAGE, 1, 2, 6, 8), constant=()),
]


def transposed(case: Case, seed: Any) -> Any:
    """The gradient of a linear operator, column by column, by onnxruntime: ⟨seed, f(e) − f(0)⟩ for every unit vector e.

    Not by finite differences: onnx's reference differs from onnxruntime on ties and in align_corners of odd scales.
    """
    session = ort.InferenceSession(build(case, np.float32).SerializeToString(), providers=["CPUExecutionProvider"])
    given = {f"x{i}": o for i, o in enumerate(case.operands) if o is not None and i and i not in case.constant}
    shape = np.shape(case.operands[0])
    units = np.eye(int(np.prod(shape)), dtype=np.float32).reshape(-1, *shape)
    at_zero = session.run(None, given | {"x0": np.zeros(shape, np.float32)})[0]
    return np.reshape([((session.run(None, given | {"x0": e})[0] - at_zero) * seed).sum() for e in units], shape)


@pytest.mark.parametrize("case", NEAREST + SMOOTH + CROPS + [c for o in OTHER + AT_RUN_TIME for c in both(o)], ids=str)
def test_gradient(case: Case) -> None:
    """The transposed interpolation, whatever the modes, wherever the sizes are known."""
    _, gradients, seed = emitted(case)
    np.testing.assert_allclose(gradients[0], transposed(case, seed), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(6, 8), (5, 3)], ids=str)
@pytest.mark.parametrize(("attributes", "options"), TORCH, ids=str)
def test_gradient_as_torch_has_it(size: tuple[int, int], attributes: dict[str, Any], options: dict[str, Any]) -> None:
    """Where torch interpolates in the same way, it differentiates in the same way."""
    for case in both(sized(IMAGE, 1, 2, *size, **attributes)):
        check(replace(case, torch=_interpolated(size, **options)))


@pytest.mark.parametrize("axes", [None, [3, 2]], ids=str)
def test_gradient_of_the_region(axes: list[int] | None) -> None:
    """A linear crop changes as its corners move: central differences through onnxruntime, float32."""
    roi, sizes = (ROI, ints(1, 2, 4, 5)) if axes is None else (ROI[[3, 2, 7, 6]], ints(5, 4))
    attributes: dict[str, Any] = {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear"}
    more = {} if axes is None else {"axes": axes}
    case = Case("Resize", [IMAGE, roi, None, sizes], attributes | more, wanted=[1], constant=[3])
    feeds, gradients, seed = emitted(case)
    session = ort.InferenceSession(build(case, np.float32).SerializeToString(), providers=["CPUExecutionProvider"])
    step = np.float32(1e-3)
    ends = [[session.run(None, feeds | {"x1": roi + s * e})[0] for s in (step, -step)] for e in np.eye(len(roi), dtype="f")]
    expected = [((high - low) * seed).sum() / (2 * step) for high, low in ends]
    np.testing.assert_allclose(gradients[1], expected, rtol=2e-2, atol=2e-3)
