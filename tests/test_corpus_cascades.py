"""Cascades on models that other people exported: each step's maps against those of a model built anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import ExplainsvcError
from explainsvc.exchange import Exchange
from explainsvc.optimised import Optimised
from explainsvc.randomisation import Draws, changes_of, learned_units, steps_of
from explainsvc.weights import replace_weights
from tests.test_corpus import FOLDERS, GOOD, case

pytestmark = [pytest.mark.skipif(not FOLDERS, reason="the shared corpus is not beside this checkout"), pytest.mark.slow]

METHODS = ("gradient", "guided_backprop", "lrp_epsilon_plus")
MOST = 5
"""Steps of a model that are looked at: the first ones, one in the middle and the last ones."""
QUICK = frozenset({"mnist-cnn-keras-nhwc", "cifar10-cnn-torch", "mnist-selfattention-tf"})
SUBJECTS = [pytest.param(f, id=f.name, marks=() if f.name in QUICK else pytest.mark.exhaustive) for f in GOOD]


@pytest.mark.parametrize("folder", SUBJECTS)
@pytest.mark.parametrize("order", ["cascading", "bottom_up"])
def test_a_step_of_a_cascade_is_a_model_built_anew(folder: Path, order: str) -> None:
    """Bit for bit, though it starts from the graph as it was optimised once and from values that are kept."""
    feeds, _ = case(folder)
    model, draws = explainsvc.load(folder / "model.onnx"), Draws(order=order)
    applicable = [name for name in METHODS if not model.info.methods[name]]
    try:
        learned_units(model)
    except ExplainsvcError:
        pytest.skip("no learned tensors")
    if not applicable:
        pytest.skip("none of the methods applies")
    exchange, steps = Exchange(model, changes_of(model, draws)), list(steps_of(model, draws))
    looked_at = steps if len(steps) <= MOST else [*steps[:2], steps[len(steps) // 2], *steps[-2:]]
    targets = {name: list(model.explain(feeds, name).target.index or ()) for name in applicable}
    inner = model.internal(feeds)  # in float32 where the file has float16
    for step in looked_at:
        fast, plain = exchange.with_weights(step.weights), replace_weights(model, step.weights)
        for name in applicable:
            found, expected = (m.explain(inner, name, target=targets[name]).values for m in (fast, plain))
            for entry, array in expected.items():
                np.testing.assert_array_equal(found[entry], array, err_msg=f"{name} at step {step.number}")
    if folder.name in QUICK:
        assert any(isinstance(kept.template, Optimised) for kept in exchange._graphs.values())
