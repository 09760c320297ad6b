"""feature_ablation: How much the target falls when one feature is absent.

Computes: S(x) − S(x with the feature's elements at the baseline), for every feature.
Output: Signed, the input's shape, in units of S; every element of a feature shows the feature's whole value.
Needs: Nothing of the model: any model that onnxruntime runs, trees included; features, and what stands for an absent one.
Cost: One forward per feature, item and row of background data, stacked in batches.
Properties: w_i (x_i − x′_i) for functions that are linear; exact for functions additive over the features.
Limits: One feature at a time: features that replace each other all look unimportant; sums to nothing in particular.
Source: Ablation of one feature as in captum's FeatureAblation; Zeiler, Fergus 2014, arXiv:1311.2901, section 4.2, of patches.
Differs: Features default to superpixels of images and tokens of integer sequences (captum: single elements); with `background`
the mean over its rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import exactly
from explainsvc.cards import param, read_card
from explainsvc.coalitions import Game, background_rows
from explainsvc.features import partition
from explainsvc.method import Method, Request, Result
from explainsvc.variations import target_values


@dataclass(frozen=True)
class Params:
    """The features, and what stands for an absent one."""

    feature_mask: Any = param(None, "value", "features: element, pixel, column, token, superpixel, integers, {input: these}")
    baseline: Any = param(0.0, "value", "absent features: a number, an array, zero, mean, blur, or {input: any of these}")
    background: Any = param(None, "value", "in place of the baseline: rows [rows, *item shape], or {input: rows}")
    batch_size: int = param(32, "int", "items per run", low=1)


def run(request: Request, p: Params) -> Result:
    """S(x) − v(all features but one)."""
    features = partition(p.feature_mask, request)
    game = Game(request, features, background_rows(p.background, p.baseline, request), p.batch_size)
    whole = target_values(request)
    drops = np.zeros((len(whole), features.count))
    for j, left in enumerate(game.values(_all_but_one(features.count))):
        drops[:, j] = whole - left
        request.progress(j + 1, features.count, "feature_ablation")
    return Result(features.spread(drops, request))


def _all_but_one(count: int) -> Iterator[Array]:
    for j in range(count):
        yield np.arange(count) != j


CLAIMS = exactly("dummy", "symmetry", "linearity", "implementation_invariance")
METHOD = Method(read_card("feature_ablation", __doc__, Params, CLAIMS), Params, run=run, family="perturbation")
