from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

import explainsvc
from explainsvc.checks import _flipping as flipping
from explainsvc.checks import maps
from explainsvc.checks._features import features_of
from explainsvc.checks._substitutes import substitutes
from explainsvc.checks.pixel_flipping import NAME, aopc
from explainsvc.errors import InvalidParameter, MethodNotApplicable
from explainsvc.method import Request
from explainsvc.target import resolve_target
from tests import models
from tests.checks.judged import Array, judged, linear, negated, row_of, subject_of, uniform, weights_of, with_map, with_maps
from tests.checks.models import cnn, numbers, pictures


def dense_curve(model: explainsvc.Model, x: Array, order: Array, other: Array, counts: list[int], target: int) -> list[float]:
    """One item: pixel by pixel, channels together, one forward each."""
    flipped, found, done = x.copy(), [], 0
    for count in counts:
        for pixel in order[done:count]:
            flipped[:, pixel // 8, pixel % 8] = other[:, pixel // 8, pixel % 8]
        done = count
        found.append(float(model.predict({"x": flipped[None]})["y"][0, target]))
    return found


def test_curves_are_those_of_a_loop() -> None:
    """Every item, order and step again by one forward at a time: S, S/S(x), AOPC, gain and the area between."""
    model, x = cnn(), pictures(6)
    rows, _ = judged(subject_of(model, x, ["gradient"]), NAME, steps=7)
    target = model.predict(x)["y"].argmax(axis=1)
    values = model.explain(x, "gradient").values["x"].astype(float).sum(axis=1).reshape(6, 64)
    counts = np.round(np.linspace(0, 64, 8)).astype(int).tolist()
    areas = {}
    for order, sign in (("morf", -1), ("lerf", 1)):
        ranked = np.argsort(sign * values, axis=1)
        means = [np.full_like(item, item.mean()) for item in x["x"]]
        curve = np.array([dense_curve(model, x["x"][i], ranked[i], means[i], counts, target[i]) for i in range(6)])
        for step, count in enumerate(counts):
            row = row_of(rows, "gradient", "output", order, step)
            assert row.mean == pytest.approx(curve[:, step].mean(), rel=1e-4)
            assert row.amount == count / 64
            relative = (curve[:, step] / curve[:, 0])[curve[:, 0] > 0]
            assert row_of(rows, "gradient", "relative_output", order, step).mean == pytest.approx(relative.mean(), rel=1e-4)
        areas[order] = (curve[:, :1] - curve).sum(axis=1) / 8
        assert row_of(rows, "gradient", "aopc", order).mean == pytest.approx(areas[order].mean(), rel=1e-4)
    between = row_of(rows, "gradient", "lerf_minus_morf", "both").mean
    assert between == pytest.approx((areas["morf"] - areas["lerf"]).mean(), rel=1e-4)
    random = row_of(rows, "gradient", "aopc", "random").mean
    assert row_of(rows, "gradient", "gain_over_random", "morf").mean == pytest.approx(areas["morf"].mean() - random, rel=1e-4)


def test_contributions_pass_and_their_negation_and_a_uniform_map_fail() -> None:
    """On a linear model: w·x ranks rightly, −w·x wrongly, and a uniform map is exactly the random order."""
    subject = subject_of(linear(20), {"x": numbers(12, 20)}, ["input_x_gradient"])
    rows, verdicts = judged(with_maps(subject, opposite=negated, flat=uniform), NAME, baseline="zero")
    assert {name: v.word for name, v in verdicts.items()} == {"input_x_gradient": "pass", "opposite": "fail", "flat": "fail"}
    gain = row_of(rows, "flat", "gain_over_random", "morf")
    assert (gain.mean, gain.low, gain.high) == (0, 0, 0)
    assert f"{row_of(rows, 'opposite', 'gain_over_random', 'morf').mean:.3g}" in verdicts["opposite"].reason


def test_a_uniform_map_conserves_and_is_continuous_and_fails() -> None:
    """S/d everywhere sums to S and changes as little as S does, yet selects nothing."""
    model, x = linear(20), {"x": numbers(12, 20)}
    s = model.predict(x)["y"]
    subject = with_maps(subject_of(model, x, ["gradient"]), share=lambda v: np.broadcast_to(s / 20, v.shape))
    np.testing.assert_allclose(subject.explained[1].maps.sum(axis=1), s[:, 0], rtol=1e-5)
    assert judged(subject, NAME)[1]["share"].word == "fail"


def test_no_order_beats_contributions_of_a_linear_model() -> None:
    """Of all 24 orders of 4 features, that of w·(x − x′) has the largest AOPC."""
    x, w = numbers(1, 4)[0], weights_of(4)
    curves = {}
    for order in itertools.permutations(range(4)):
        left = [float(sum(w[i] * x[i] for i in order[count:])) for count in range(5)]
        curves[order] = np.mean([left[0] - value for value in left])
    subject = subject_of(linear(4), {"x": x[None]}, ["input_x_gradient"])
    rows, verdicts = judged(subject, NAME, steps=4, baseline=0.0, order="morf")
    assert row_of(rows, "input_x_gradient", "aopc", "morf").mean == pytest.approx(max(curves.values()), rel=1e-5)
    assert "5 inputs are needed" in verdicts["input_x_gradient"].reason


def test_lerf_alone_is_judged_by_its_own_gain() -> None:
    """order=lerf: the contributions keep the output longer than a random order, their negation does not."""
    subject = with_maps(subject_of(linear(20), {"x": numbers(12, 20)}, ["input_x_gradient"]), opposite=negated)
    rows, verdicts = judged(subject, NAME, baseline="zero", order="lerf")
    assert [v.word for v in verdicts.values()] == ["pass", "fail"]
    assert {row.order for row in rows} == {"lerf", "random"}


def test_values_are_ranked_with_their_sign() -> None:
    """The largest value goes first and the most negative last; magnitudes do not count."""
    scores = np.array([[-5.0, 1.0, 3.0, 0.0]])
    shuffled = np.array([[2, 0, 3, 1]], np.int32)
    assert flipping.orders(scores, shuffled, ("morf",))["morf"].tolist() == [[3, 1, 0, 2]]
    assert flipping.orders(scores, shuffled, ("lerf",))["lerf"].tolist() == [[0, 2, 3, 1]]


def test_ties_follow_the_random_order() -> None:
    """Among equal values the shuffled order decides, in all orders alike; without ties it does not matter."""
    shuffled = np.array([[2, 0, 3, 1]], np.int32)
    expected = [[1, 3, 0, 2]]
    for order in ("morf", "lerf", "random"):
        assert flipping.orders(np.zeros((1, 4)), shuffled, (order,))[order].tolist() == expected
    assert flipping.ranks(np.array([[7.0, 1.0, 1.0, 1.0]]), shuffled).tolist() == [[0, 3, 1, 2]]


@pytest.mark.parametrize(
    ("shape", "window", "expected"),
    [
        ((2, 2, 4), (), [0, 1, 2, 3, 4, 5, 6, 7] * 2),
        ((2, 2, 4), (2,), [0, 0, 1, 1, 0, 0, 1, 1] * 2),
        ((2, 2, 4), (1, 1, 1), list(range(16))),
        ((8, 6, 2), (), [k // 2 for k in range(96)]),
        ((5,), (), [0, 1, 2, 3, 4]),
        ((5,), (2,), [0, 0, 1, 1, 2]),
    ],
)
def test_features_are_pixels_patches_or_elements(shape: tuple[int, ...], window: tuple[int, ...], expected: list[int]) -> None:
    """Pixels hold all channels wherever these are; patches are cut at the border; 1 per axis gives single elements."""
    request = flipping.request_of(*_first(linear(*shape), numbers(2, *shape)))
    features = features_of(request, window)
    assert features.numbers["x"].tolist() == expected
    assert features.count == max(expected) + 1
    values = numbers(2, *shape, seed=3)
    sums = [[item.ravel()[np.array(expected) == k].sum() for k in range(features.count)] for item in values]
    np.testing.assert_allclose(features.sums({"x": values}), sums, rtol=1e-5, atol=1e-6)


def _first(model: explainsvc.Model, x: Array) -> tuple:
    subject = subject_of(model, {"x": x}, ["gradient"])
    return subject, subject.explained[0]


def test_substitutes_are_per_item() -> None:
    """The mean is the item's own, noise stays between the item's extremes, zero is zero, a number is that number."""
    x = numbers(3, 2, 8, 8) * np.array([1, 10, 100], np.float32).reshape(3, 1, 1, 1)
    request = flipping.request_of(*_first(cnn(), x))
    gone = np.ones((3, 128), bool)
    made = {spec: substitutes(spec, request)["x"].put(gone) for spec in ("mean", "noise", "zero", 2.5, "blur", "inpaint")}
    for k, item in enumerate(x):
        np.testing.assert_allclose(made["mean"][k], item.mean(), rtol=1e-5)
        assert item.min() <= made["noise"][k].min() < item.mean() < made["noise"][k].max() <= item.max()
        assert np.ptp(made["noise"][k]) > 0.9 * np.ptp(item)
        np.testing.assert_allclose(
            made["inpaint"][k], np.broadcast_to(item.mean(axis=(1, 2), keepdims=True), item.shape), rtol=1e-5
        )
    assert not made["zero"].any()
    assert (made[2.5] == 2.5).all()
    assert np.ptp(made["blur"][0]) < np.ptp(x[0])
    np.testing.assert_array_equal(substitutes("noise", request)["x"].put(gone), made["noise"])


def test_substitutes_leave_the_rest() -> None:
    """Only what is gone changes, in any substitute and type."""
    x = numbers(2, 2, 8, 8)
    request = flipping.request_of(*_first(cnn(), x))
    gone = np.zeros((2, 2, 8, 8), bool)
    gone[:, :, 2:5, 1] = True
    for spec in ("mean", "noise", "inpaint"):
        put = substitutes(spec, request)["x"].put(gone.reshape(2, -1))
        assert put.dtype == x.dtype
        np.testing.assert_array_equal(put[~gone], x[~gone])
        assert (put[gone] != x[gone]).all()


def test_what_does_not_fit_is_refused() -> None:
    """An unknown substitute or input, a row of numbers to inpaint, a window of too many axes."""
    request = flipping.request_of(*_first(linear(6), numbers(2, 6)))
    for spec in ("grey", {"z": 0.0}, "inpaint", np.zeros(5)):
        with pytest.raises(InvalidParameter, match="baseline"):
            substitutes(spec, request)
    with pytest.raises(InvalidParameter, match="window"):
        features_of(request, (2, 2))


def test_steps_have_a_size_or_a_number() -> None:
    """Steps of equal size up to the share, never more than there are features."""
    assert flipping.evenly(10, 5).tolist() == [0, 2, 4, 6, 8, 10]
    assert flipping.evenly(3, 20).tolist() == [0, 1, 2, 3]
    assert flipping.evenly(10, 20, size=4).tolist() == [0, 4, 8, 10]
    assert flipping.evenly(100, 2, share=0.1).tolist() == [0, 5, 10]


def test_groups_of_items_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Explained and flipped two items at a time, the rows are the same but for rounding."""
    subject = subject_of(cnn(), pictures(7), ["gradient"])
    whole, _ = judged(subject, NAME, steps=4, baseline="noise")
    monkeypatch.setattr(maps, "GROUP_ELEMENTS", 256)
    parts, _ = judged(subject, NAME, steps=4, baseline="noise")
    np.testing.assert_allclose([row.mean for row in parts], [row.mean for row in whole], rtol=1e-4)


def test_items_that_mix_are_flipped_together() -> None:
    """A softmax over the items: every forward holds all of them at the same step."""
    model, x = explainsvc.load(models.mixing()), {"x": numbers(3, 4)}
    subject = subject_of(model, x, ["gradient"], target=0)
    rows, _ = judged(subject, NAME, steps=4, baseline="zero", order="morf")
    ranked = np.argsort(-subject.explained[0].maps, axis=1)
    half = x["x"].copy()
    np.put_along_axis(half, ranked[:, :2], 0, axis=1)
    expected = model.predict({"x": half})["y"][:, 0].mean()
    assert row_of(rows, "gradient", "output", "morf", 2).mean == pytest.approx(expected, rel=1e-4)


def test_a_model_without_items_is_one_item() -> None:
    """x [5] is flipped element by element."""
    model, x = explainsvc.load(models.without_batch()), {"x": numbers(5)}
    rows, _ = judged(subject_of(model, x, ["gradient"], target=1), NAME, steps=5, baseline="zero", order="morf")
    end = row_of(rows, "gradient", "output", "morf", 5)
    assert end.n == 1
    assert end.mean == pytest.approx(float(model.predict({"x": np.zeros(5, np.float32)})["y"][1]), abs=1e-6)


def test_several_inputs_share_one_ranking() -> None:
    """The features of both inputs are flipped in one order."""
    model, x = explainsvc.load(models.two_by_two()), {"a": numbers(6, 3), "b": numbers(6, 2)}
    subject = subject_of(model, x, ["gradient"], target=0)
    rows, _ = judged(subject, NAME, steps=5, baseline="zero", order="morf")
    first = subject.explained[0].maps.argmax(axis=1)
    flat = np.concatenate([x["a"], x["b"]], axis=1)
    flat[np.arange(6), first] = 0
    expected = model.predict({"a": flat[:, :3], "b": flat[:, 3:]})["p"][:, 0].mean()
    assert row_of(rows, "gradient", "output", "morf", 1).mean == pytest.approx(expected, rel=1e-4)


def test_an_input_that_all_items_share_is_refused() -> None:
    """One factor for all items cannot be flipped item by item."""
    model, feeds = explainsvc.load(models.scaled()), {"x": numbers(6, 3), "k": numbers(1)}
    target = resolve_target(0, "y", lambda name: model.predict(feeds)[name], batched=True)
    with pytest.raises(MethodNotApplicable, match="shared by all items"):
        features_of(Request(model, feeds, ("x", "k"), target, 0, maps.silent), ())


def test_maps_with_nan_are_left_out() -> None:
    """An item whose map cannot be ranked has no curve; the note counts it."""
    subject = subject_of(linear(6), {"x": numbers(6, 6)}, ["gradient"])
    broken = with_map(subject.explained[0], lambda v: np.where(np.arange(6)[:, None] == 2, np.nan, v))
    rows, _ = judged(replace(subject, explained=(broken,)), NAME)
    gain = row_of(rows, "gradient", "gain_over_random", "morf")
    assert (gain.n, gain.note) == (5, "1 of 6 inputs left out: NaN or infinity in a map")


def test_methods_share_the_random_order() -> None:
    """The control's curve is the same for all methods that explain the same value."""
    rows, _ = judged(subject_of(cnn(), pictures(6), ["gradient", "input_x_gradient"]), NAME, steps=5)
    curves = [[r.mean for r in rows if (r.method, r.order, r.measure) == (m, "random", "output")] for m in
              ("gradient", "input_x_gradient")]  # fmt: skip
    assert curves[0] == curves[1]
    assert len(curves[0]) == 6


def test_aopc_is_the_formula() -> None:
    """Samek et al. 2017, equation 12: the mean over L + 1 steps, step 0 with its zero among them."""
    np.testing.assert_allclose(aopc(np.array([[4.0], [1.0], [0.0]])), [(0 + 3 + 4) / 3])
