"""Our checks against Quantus 0.6 (Hedström et al. 2023, arXiv:2202.06861) where it is right, against formulas where it is not.

What Quantus says is recorded (``quantus_record`` says why and how); both sides are given the same network, maps, masks,
perturbations and randomised weights, which ``quantus_cases`` holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.metrics import structural_similarity

import explainsvc
from explainsvc.checks import complexity as ours
from explainsvc.checks._imputation import imputed
from explainsvc.checks.rows import Row
from explainsvc.randomisation import Draws, all_random
from tests.checks.judged import judged, row_of, subject_of, with_maps
from tests.models import Array
from tests.parity import quantus_cases as cases

RECORD: Mapping[str, Any] = json.loads(Path(__file__).with_name("quantus.json").read_text())
MODEL, X = explainsvc.load(cases.network()), cases.inputs()
GIVEN = "given"
LOCAL = ["pointing_game", "mass_accuracy", "rank_accuracy", "top_k_intersection", "auc"]


def recorded(group: str, name: str) -> Array:
    """What Quantus said, per item along the first axis; NaN for null."""
    found = RECORD[group][name]
    return np.array([[math.nan if v is None else v for v in np.ravel(row)] for row in found]).reshape(np.shape(found))


def rows_of(check: str, x: Array = X, maps: Array | None = None, model: explainsvc.Model = MODEL, **parameters: Any) -> list[Row]:
    """A check's rows on the gradient, or on given maps under the name ``given``."""
    subject = subject_of(model, {"x": x}, ["gradient"])
    if maps is not None:
        subject = with_maps(subject, **{GIVEN: lambda values: maps.reshape(values.shape).astype(np.float32)})
    return judged(subject, check, **parameters)[0]


def item_by_item(check: str, measure: str, order: str = "", maps: Array | None = None, **parameters: Any) -> Array:
    """Means of each item alone, on the given maps: float64 [item, step]."""
    given = cases.maps() if maps is None else maps
    found = []
    for k in range(cases.ITEMS):
        own = {name: value[k : k + 1] if isinstance(value, np.ndarray) else value for name, value in parameters.items()}
        rows = rows_of(check, X[k : k + 1], given[k : k + 1], **own)
        found.append([r.mean for r in rows if (r.method, r.measure, r.order) == (GIVEN, measure, order)])
    return np.array(found)


def agrees(row: Row, values: Array, rel: float = 1e-5) -> None:
    """The row's mean and spread over items are those of Quantus's values."""
    assert row.n == len(values)
    np.testing.assert_allclose([row.mean, row.std], [values.mean(), values.std(ddof=1)], rtol=rel, atol=rel)


def test_the_record_belongs_to_these_cases() -> None:
    """Of Quantus 0.6, and made from the numbers that are compared here; else ``python -m tests.parity.quantus_record``."""
    assert RECORD["quantus"].startswith("0.6")
    assert RECORD["digest"] == cases.digest()


# Faithfulness ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", ["pixel_flipping", "deletion"])
def test_pixel_flipping(check: str) -> None:
    """Same order, same baseline, same steps: the same curve of every item; ours has the untouched output in front."""
    found = item_by_item(check, "output", "morf", steps=100 // cases.STEP, baseline=0.0)
    np.testing.assert_allclose(found[:, 0], MODEL.predict({"x": X})["y"].max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found[:, 1:], recorded("faithfulness", "pixel_flipping"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_region_perturbation(order: str) -> None:
    """Regions of 2 × 2: S(x) − S(x_k), from the most or the least relevant one on; the area is Samek's AOPC."""
    parameters = {"step_size": 1, "window": (cases.PATCH,), "baseline": 0.0}
    curves = item_by_item("pixel_flipping", "output", order, **parameters)
    drops = np.array(RECORD["faithfulness"]["region_perturbation"][order])
    np.testing.assert_allclose(curves[:, :1] - curves[:, 1:], drops, rtol=1e-5, atol=1e-5)
    areas = item_by_item("pixel_flipping", "aopc", order, **parameters)
    np.testing.assert_allclose(areas[:, 0], drops.sum(axis=1) / 26, rtol=1e-5)


def test_road() -> None:
    """The same pixels are filled with the same numbers, and the arg-max stays as often."""
    missing = cases.masks()[3]
    np.testing.assert_allclose(imputed(X[0], missing), recorded("faithfulness", "imputed"), rtol=1e-5, atol=1e-6)
    rows = rows_of("road", maps=cases.maps(), percentages=cases.PERCENTAGES, noise=0.0)
    found = [row_of(rows, GIVEN, "argmax_agreement", "morf", step + 1).mean for step in range(len(cases.PERCENTAGES))]
    assert found == pytest.approx([RECORD["faithfulness"]["road"][str(p)] for p in cases.PERCENTAGES])


def test_road_of_several_channels() -> None:
    """Quantus ranks the channels' elements and looks for them among the pixels: IndexError. Here a pixel is all its channels."""
    assert RECORD["faithfulness"]["road_of_two_channels"] == "IndexError"
    both = imputed(np.repeat(X[0], 2, axis=0), np.repeat(cases.masks()[3], 2, axis=0))
    np.testing.assert_allclose(both, np.repeat(imputed(X[0], cases.masks()[3]), 2, axis=0))


def test_infidelity_of_the_whole_input() -> None:
    """One perturbation, the whole picture to 0: (xᵀφ − (S(x) − S(0)))² of the gradient."""
    rows = rows_of("infidelity", samples=2, window=(cases.SIZE,), baseline=0.0)
    (row,) = [r for r in rows if (r.method, r.measure) == ("gradient", "infidelity")]
    agrees(row, recorded("faithfulness", "infidelity_whole"), 1e-4)


def test_quantus_never_puts_a_square_back() -> None:
    """Its I grows from square to square; Yeh et al. 2019 remove one at a time, as ours does: the dense sums of both."""
    S = MODEL.predict({"x": X})["y"]
    c = S.argmax(axis=1)
    phi = MODEL.explain({"x": X}, "gradient").values["x"].astype(np.float64)
    squares = [(slice(i, i + 5), slice(j, j + 5)) for i in (0, 5) for j in (0, 5)]
    (growing, single), left = np.zeros((2, 4, cases.ITEMS)), X.copy()
    for k, square in enumerate(squares):
        left[:, :, *square] = 0
        alone = X.copy()
        alone[:, :, *square] = 0
        for errors, other in ((growing, left), (single, alone)):
            drop = S.max(axis=1) - MODEL.predict({"x": other})["y"][np.arange(cases.ITEMS), c]
            errors[k] = np.square(((X - other) * phi).sum(axis=(1, 2, 3)) - drop)
    np.testing.assert_allclose(recorded("faithfulness", "infidelity_quarters"), growing.mean(axis=0), rtol=1e-3)
    assert np.abs(growing.mean() / single.mean() - 1) > 0.1


# Robustness -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["max_sensitivity", "avg_sensitivity"])
def test_sensitivity(measure: str) -> None:
    """Among the same neighbours: ‖Φ(x̃) − Φ(x)‖ / ‖Φ(x)‖, its maximum and its mean."""
    rows = rows_of("max_sensitivity", radius=cases.RADIUS, samples=cases.NEIGHBOURS)
    agrees(row_of(rows, "gradient", measure), recorded("robustness", measure))


def test_local_lipschitz() -> None:
    """Among the same neighbours: the largest ‖Φ(x̃) − Φ(x)‖ / ‖x̃ − x‖."""
    rows = rows_of("continuity", radius=cases.RADIUS, samples=cases.NEIGHBOURS)
    agrees(row_of(rows, "gradient", "lipschitz"), recorded("robustness", "local_lipschitz"))


# Randomisation --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def randomised() -> list[Row]:
    """The rows of the cascading randomisation."""
    return rows_of("parameter_randomization")


@pytest.mark.parametrize("similarity", ["spearman", "spearman_abs"])
def test_mprt(randomised: list[Row], similarity: str) -> None:
    """Given the randomised weights that our export has, the rank correlation of every step, from the head to the first layer."""
    steps = RECORD["randomisation"][f"mprt_{similarity}"]
    assert list(steps) == ["original", "head", "conv3", "conv2", "conv1"]
    for number, (name, values) in enumerate(steps.items()):
        row = row_of(randomised, "gradient", similarity, "cascading", number)
        assert row.unit == name.replace("original", "")
        agrees(row, np.array(values))


def test_layers_of_one_shape_get_different_numbers() -> None:
    """Quantus's conv2 and conv3 are the same after its randomisation, to the last bit; ours are not even correlated."""
    assert RECORD["randomisation"]["same_shape_apart"] == 0
    drawn = all_random(MODEL, Draws())
    assert abs(np.corrcoef([drawn[f"conv{i}.weight"].ravel() for i in (2, 3)])[0, 1]) < 0.3


def test_efficient_mprt() -> None:
    """The relative rise of the histogram's entropy, 100 bins, given the same randomised weights."""
    agrees(row_of(rows_of("efficient_mprt"), "gradient", "relative_rise"), recorded("randomisation", "efficient_mprt"))


def test_constant_maps_and_the_noise_of_step_0() -> None:
    """A constant map ends Quantus's test in an AttributeError, and new noise at each step makes its step 0 less than 1."""
    assert RECORD["randomisation"]["mprt_of_constants"] == "AttributeError"
    assert max(RECORD["randomisation"]["smooth_mprt_original"]) < 0.8
    rows = rows_of("parameter_randomization", maps=np.ones_like(X), similarities="spearman")
    row = row_of(rows, GIVEN, "spearman", "cascading", 0)
    assert (row.n, row.note) == (0, "6 of 6 inputs left out: a constant map")
    smooth = rows_of("smooth_mprt", samples=5, similarities="spearman")
    assert row_of(smooth, "gradient", "spearman", "cascading", 0).mean == pytest.approx(1)


def test_random_logit() -> None:
    """Of two classes the other one is known: the rank correlation of the two maps."""
    rows = rows_of("random_logit", model=explainsvc.load(cases.network(2)))
    agrees(row_of(rows, "gradient", "spearman"), recorded("randomisation", "random_logit_spearman"))


def test_other_classes_are_drawn_item_by_item() -> None:
    """Quantus starts anew at every batch: one by one, all items get the same other class."""
    assert len(set(RECORD["randomisation"]["random_logit_one_by_one"])) == 1
    assert len(set(RECORD["randomisation"]["random_logit_together"])) > 1


def test_quantus_takes_the_ssim_of_a_line() -> None:
    """Its maps are flattened before: windows of 7 elements run over the ends of the rows. Pictures have another SSIM."""
    model = explainsvc.load(cases.network(2))
    c = model.predict({"x": X})["y"].argmax(axis=1)
    pairs = [[model.explain({"x": X[k : k + 1]}, target=int(t)).values["x"][0, 0].astype(np.float64) for t in (c[k], 1 - c[k])]
             for k in range(cases.ITEMS)]  # fmt: skip
    line, picture = (np.array([_ssim(*(m.ravel() if flat else m for m in pair)) for pair in pairs]) for flat in (True, False))
    np.testing.assert_allclose(recorded("randomisation", "random_logit_ssim"), line, rtol=1e-3, atol=1e-5)
    assert np.abs(line - picture).max() > 0.05


def _ssim(a: Array, b: Array) -> float:
    both = np.concatenate([a.ravel(), b.ravel()])
    return float(structural_similarity(a, b, data_range=np.ptp(both)))


# Axioms ---------------------------------------------------------------------------------------------------------------


def test_completeness_is_not_an_equality_of_floats() -> None:
    """x·w of a linear model sums to S to rounding: Quantus finds it complete for no input, here the residual is 1e-6."""
    assert RECORD["axioms"]["completeness"] == [False] * cases.ITEMS
    subject = subject_of(explainsvc.load(cases.linear()), {"x": X}, ["input_x_gradient"])
    rows, verdicts = judged(subject, "completeness")
    assert row_of(rows, "input_x_gradient", "relative_residual").mean < 1e-5
    assert verdicts["input_x_gradient"].word == "pass"


@pytest.mark.parametrize("name", ["padded", "unpadded"])
def test_the_shifted_model_is_the_same_function(name: str) -> None:
    """f₂(x − 1) = f(x) for any first layer; Quantus's corrected bias leaves the border of a padded one wrong by 92 % of f."""
    assert RECORD["axioms"]["shifted_padded"] > 0.9
    assert RECORD["axioms"]["shifted_unpadded"] < 1e-6
    model = explainsvc.load(cases.network() if name == "padded" else cases.unpadded())
    subject = subject_of(model, {"x": X}, ["gradient", "input_x_gradient"])
    rows, verdicts = judged(subject, "input_invariance", shift=-1 / np.ptp(X))
    assert row_of(rows, "model", "output_deviation").mean < 1e-5
    assert [v.word for v in verdicts.values()] == ["pass", "fail"]


def test_quantus_forgets_to_shift_one_element() -> None:
    """The first of each input, so that the gradient, which is the same for both models, fails for half of the items."""
    assert RECORD["axioms"]["unshifted_elements"] == [1] * cases.ITEMS
    assert RECORD["axioms"]["input_invariance_gradient"].count(False) == 3
    assert RECORD["axioms"]["input_invariance_product"] == [False] * cases.ITEMS


# Localisation ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", LOCAL)
def test_localization(measure: str) -> None:
    """Of maps without ties or signs, item by item."""
    sizes = np.abs(cases.maps())
    found = item_by_item("localization", measure, maps=sizes, masks=cases.masks(), k=cases.TOP)
    np.testing.assert_allclose(found[:, 0], recorded("localization", measure), rtol=1e-5)


def test_signs_ties_and_pictures_without_an_object() -> None:
    """Quantus's mass accuracy leaves [0, 1], a uniform map always hits, and so may a map where there is no object."""
    signed = recorded("localization", "mass_accuracy_signed")
    assert (signed.max() > 5, signed.min() < -17) == (True, True)
    assert RECORD["localization"]["pointing_game_uniform"] == [True] * cases.ITEMS
    assert RECORD["localization"]["pointing_game_no_object"][0]
    masks = cases.masks()
    mass = item_by_item("localization", "mass_accuracy", masks=masks)[:, 0]
    positive = np.maximum(cases.maps(), 0)
    np.testing.assert_allclose(mass, (positive * masks).sum(axis=(1, 2, 3)) / positive.sum(axis=(1, 2, 3)), rtol=1e-5)
    uniform = item_by_item("localization", "pointing_game", maps=np.ones_like(X), masks=masks)[:, 0]
    np.testing.assert_allclose(uniform, masks.mean(axis=(1, 2, 3)))
    masks[0] = False
    (row,) = [r for r in rows_of("localization", maps=cases.maps(), masks=masks) if (r.method, r.measure) == (GIVEN, LOCAL[0])]
    assert row.n == cases.ITEMS - 1


# Complexity -----------------------------------------------------------------------------------------------------------


def test_complexity() -> None:
    """Entropy of the shares, and the Gini index; 1e-7 that Quantus adds to each element shows in the sixth digit."""
    sizes = np.abs(cases.maps().reshape(cases.ITEMS, -1).astype(np.float64))
    np.testing.assert_allclose(ours.entropy(sizes), recorded("complexity", "entropy"), rtol=1e-5)
    np.testing.assert_allclose(ours.gini(sizes), recorded("complexity", "sparseness"), rtol=1e-4)


def test_an_item_does_not_depend_on_the_others() -> None:
    """Quantus divides by the largest value of the whole batch: a large map beside them leaves the others without an element."""
    sizes = np.abs(cases.maps().reshape(cases.ITEMS, -1).astype(np.float64))
    whole = (sizes > 0.05 * sizes.max()).sum(axis=1)
    np.testing.assert_array_equal(recorded("complexity", "effective"), whole)
    np.testing.assert_array_equal(recorded("complexity", "effective_raw"), (sizes > 0.05).sum(axis=1))
    assert RECORD["complexity"]["effective_scaled"][:-1] == [0] * (cases.ITEMS - 1)
    own = ours.effective_complexity(sizes, 0.05).tolist()
    scaled = sizes * np.where(np.arange(cases.ITEMS) == cases.ITEMS - 1, 1e6, 1)[:, None]
    assert own == [(item > 0.05 * item.max()).sum() for item in sizes]
    assert ours.effective_complexity(scaled, 0.05).tolist() == own
