"""RoiAlign, MaxRoiPool, MaxUnpool."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.autograd.harness import Case, check, emitted
from tests.autograd.rows import both, ints, normal
from tests.autograd.test_ml import difference

IMAGES, BATCH = normal(2, 3, 6, 7), ints(0, 1, 1)
ROIS = np.array([[0.3, 0.4, 4.9, 3.1], [-3.3, -1.7, 9.2, 8.1], [1.1, 2.2, 1.4, 2.3]])
"""Inside of the image, far beyond it, smaller than a cell."""
MODES, RATIOS, SCALES, PIXELS = ("avg", "max"), (0, 2), (1.0, 0.5), ("half_pixel", "output_half_pixel")


def align(mode: str, ratio: int, scale: float, pixels: str) -> Case:
    """A RoiAlign to 2×3 bins."""
    attributes = {"output_height": 2, "output_width": 3, "sampling_ratio": ratio, "spatial_scale": scale}
    return Case("RoiAlign", [IMAGES, ROIS, BATCH], attributes | {"mode": mode, "coordinate_transformation_mode": pixels})


@pytest.mark.parametrize("case", [c for row in product(MODES, RATIOS, SCALES, PIXELS) for c in both(align(*row))], ids=str)
def test_roi_align(case: Case) -> None:
    """Images and corners of regions: the slope of what onnxruntime computes in float64."""
    check(case)


@pytest.mark.parametrize("row", list(product(RATIOS, SCALES, PIXELS)), ids=str)
def test_roi_align_is_torchvisions(row: tuple[int, float, str]) -> None:
    """The gradient of the images is torchvision's."""
    ratio, scale, pixels = row

    def run(x: Any, rois: Any, batch: Any) -> Any:
        import torch
        from torchvision.ops import roi_align

        boxes = torch.cat([batch[:, None].to(rois.dtype), rois], 1)
        return roi_align(x, boxes, (2, 3), scale, ratio, aligned=pixels == "half_pixel")

    check(replace(align("avg", *row), wanted=[0], torch=run, finite_differences=False))


ROI_POOLED = [
    Case("MaxRoiPool", [IMAGES, np.concatenate([BATCH[:, None], ROIS], axis=1)],
         {"pooled_shape": [2, 3], "spatial_scale": scale}, wanted=[0], finite_differences=False)
    for scale in (1.0, 0.6)
]  # fmt: skip


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("row", ROI_POOLED, ids=str)
def test_max_roi_pool(row: Case, dynamic: bool) -> None:
    """The largest cell of every bin gets it all, as in onnxruntime; at scale 1 torchvision agrees."""

    def run(x: Any, rois: Any) -> Any:
        from torchvision.ops import roi_pool

        return roi_pool(x, rois, (2, 3), 1.0)

    row = replace(row, dynamic=dynamic)
    check(replace(row, torch=run if row.attributes["spatial_scale"] == 1 else None))
    _, gradients, seed = emitted(row)
    np.testing.assert_allclose(gradients[0], difference(row, 0, seed), rtol=1e-3, atol=1e-3)


UNPOOL: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
UNPOOLED = [
    Case("MaxUnpool", [normal(1, 2, 2, 2), np.array([0, 3, 9, 14, 17, 18, 25, 31]).reshape(1, 2, 2, 2)], UNPOOL),
    Case("MaxUnpool", [normal(1, 1, 2, 2), np.array([0, 3, 3, 14]).reshape(1, 1, 2, 2)], UNPOOL),
    Case("MaxUnpool", [normal(1, 1, 2, 2), np.array([0, 3, 7, 24]).reshape(1, 1, 2, 2), ints(1, 1, 5, 5)], UNPOOL),
    Case("MaxUnpool", [normal(1, 1, 2, 2), np.array([0, 2, 4, 8]).reshape(1, 1, 2, 2)], UNPOOL | {"pads": [0, 0, 1, 1]}),
    Case("MaxUnpool", [normal(1, 2, 3), np.array([1, 2, 5, 6, 8, 11]).reshape(1, 2, 3)], {"kernel_shape": [2], "strides": [2]}),
]


@pytest.mark.parametrize("row", [c for case in UNPOOLED for c in both(case)], ids=str)
def test_max_unpool(row: Case) -> None:
    """From the places where they were put; of two elements at one place the last is there."""
    _, gradients, seed = emitted(row)
    np.testing.assert_allclose(gradients[0], difference(row, 0, seed), rtol=1e-3, atol=1e-3)


def test_max_unpool_is_torchs() -> None:
    """Over what max_pool2d names, torch's max_unpool2d has the same gradient."""

    def run(x: Any, places: Any) -> Any:
        import torch

        return torch.nn.functional.max_unpool2d(x, places, 2)

    case = Case("MaxUnpool", [normal(1, 1, 2, 2), np.array([0, 3, 9, 14]).reshape(1, 1, 2, 2)], UNPOOL, torch=run)
    check(replace(case, finite_differences=False))
