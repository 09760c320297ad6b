"""Maps of many inputs: what is explained in groups is what is explained at once, with all that is said beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.cards import plain, read_params
from explainsvc.checks import maps
from explainsvc.checks.implementation_invariance import compare_models
from explainsvc.errors import MethodNotApplicable
from explainsvc.method import Request, Result, silent
from explainsvc.methods import find_method
from explainsvc.model import Model
from explainsvc.target import resolve_target
from tests import models
from tests.models import Array, numbers

MLP, X = explainsvc.load(models.mlp()), numbers(7, 6)


@pytest.fixture(autouse=True)
def groups_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows of six elements at a time: seven items are three groups, the last of one item."""
    monkeypatch.setattr(maps, "GROUP_ELEMENTS", 3 * 6)


def in_groups(method: str, x: Array, model: Model = MLP, **parameters: Any) -> Result:
    """The audit's maps of element 1 of the output."""
    found = find_method(method)
    target = resolve_target(1, "y", lambda name: model.value_of({"x": x}, name), True)
    request = Request(model, {"x": x}, ("x",), target, 5, silent)
    return maps.attribute(found, read_params(found.params, parameters, method), request)


def test_the_groups_are_three() -> None:
    """What these tests are about happens."""
    assert len(maps.groups(MLP, {"x": X})) == 3


@pytest.mark.parametrize("method", ["feature_permutation", "feature_ablation", "integrated_gradients", "lrp_epsilon", "random"])
def test_groups_change_nothing(method: str) -> None:
    """Values, residuals and baseline values are those of one request for all items: permutations go over all of them."""
    found, expected = in_groups(method, X), MLP.explain({"x": X}, method, target=1, seed=5)
    np.testing.assert_allclose(found.values["x"], expected.values["x"], rtol=1e-5, atol=1e-6)
    for ours, theirs in ((found.residual, expected.residual), (found.baseline_value, expected.baseline_value)):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("method", "names"), [("lime", ("weighted_r2", "intercept")), ("sampling_shap", ("standard_error",))])
def test_parameters_of_items_are_those_of_all_items(method: str, names: tuple[str, ...]) -> None:
    """An array with an item axis has a number for every item, not only for those of the first group."""
    found, expected = in_groups(method, X, samples=8), MLP.explain({"x": X}, method, target=1, seed=5, samples=8)
    for name in names:
        np.testing.assert_allclose(found.parameters[name], expected.parameters[name], rtol=1e-4)


def test_parameters_that_differ_by_group_are_told_per_item() -> None:
    """Of two groups, an equal number is told once, another one for every item, arrays along the items, dicts key by key."""
    first: Mapping[str, Any] = {"steps": 16, "layer": "a", "error": {"x": 0.5}, "r2": np.array([1.0, 2.0])}
    second: Mapping[str, Any] = {"steps": 32, "layer": "a", "error": {"x": 0.25}, "r2": np.array([3.0])}
    joined = {"steps": [16, 16, 32], "layer": "a", "error": {"x": [0.5, 0.5, 0.25]}, "r2": [1.0, 2.0, 3.0]}
    assert plain(maps._parameters([first, second], [2, 1])) == joined


def test_caveats_speak_of_all_items() -> None:
    """One group of zeros is no input of zeros; and a class-activation map names the items as the user numbers them."""
    rows = np.where(np.arange(7)[:, None] < 3, -1.0, 1.0).astype(np.float32) * np.ones((7, 6), np.float32)
    relu = explainsvc.load(models.build("g (float[N, 6] x) => (float[N, 6] y) { y = Relu (x) }", {}))
    assert in_groups("gradient", rows, relu).caveats == ()
    assert in_groups("gradient", -np.abs(rows), relu).caveats == ('every value of "x" is zero',)
    cnn = explainsvc.load(models.cnn(bias=False, batchnorm=False))
    pictures = numbers(3, 2, 8, 8) * np.array([1, 0, 1], np.float32)[:, None, None, None]
    (blank,) = [caveat for caveat in in_groups("hires_cam", pictures, cnn).caveats if "zero" in caveat]
    assert "(items 1)" in blank


def test_a_large_batch_is_permuted_at_once_and_run_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """All permutations and no run of more than batch_size items, but the one for S itself; the values are the same."""
    expected = MLP.explain({"x": X}, "feature_permutation", target=1, seed=5, batch_size=32)
    sizes: list[int] = []
    value_of = Model.value_of

    def counted(model: Model, feeds: Mapping[str, Array], name: str) -> Array:
        sizes.append(len(feeds["x"]))
        return value_of(model, feeds, name)

    monkeypatch.setattr(Model, "value_of", counted)
    found = in_groups("feature_permutation", X, batch_size=2)
    np.testing.assert_allclose(found.values["x"], expected.values["x"], rtol=1e-5, atol=1e-6)
    assert max(sizes[1:]) == 2  # the first gives the shape of the target


@pytest.mark.parametrize("count", [1, 4])
def test_an_input_that_all_items_share_has_no_map_per_item(count: int) -> None:
    """Its elements are no items, even where there are as many: audits and the comparison of two models refuse it by name."""
    rest = "m = MatMul (x, w)  s = ReduceSum (k)  y = Mul (m, s)"
    graph = f"g (float[N, 3] x, float[{count}] k) => (float[N, 2] y) {{ {rest} }}"
    model = explainsvc.load(models.build(graph, {"w": models.weights("w", 3, 2)}))
    feeds = {"x": numbers(4, 3), "k": numbers(count)}
    with pytest.raises(MethodNotApplicable, match=r'input "k" is shared by all items.*a constant of the model'):
        model.audit(feeds, methods=["gradient"], checks=["complexity"])
    with pytest.raises(MethodNotApplicable, match='"k" is shared'):
        compare_models(model, model, feeds, "gradient")
