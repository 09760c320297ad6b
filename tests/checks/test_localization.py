from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from explainsvc.checks import _localization as on
from explainsvc.errors import InvalidParameter
from tests.checks.judged import judged, linear, negated, row_of, subject_of, uniform, with_map, with_maps
from tests.checks.models import cnn, numbers, pictures

NAME = "localization"


def squares(count: int, side: int = 8) -> np.ndarray:
    """Objects of 3 × 4 pixels at different places."""
    masks = np.zeros((count, side, side), bool)
    for k in range(count):
        masks[k, k % 5 : k % 5 + 3, 4 - k % 4 : 8 - k % 4] = True
    return masks


def test_measures_are_those_of_a_loop() -> None:
    """Item by item with sorting and scikit-learn."""
    masks = squares(6)
    subject = subject_of(cnn(), pictures(6), ["gradient"])
    rows, _ = judged(subject, NAME, masks=masks, k=5)
    expected: dict[str, list[float]] = {}
    for values, mask in zip(subject.explained[0].result.values["x"].astype(float), masks, strict=True):
        pixels, inside = values.sum(axis=0).ravel(), mask.ravel()
        order, positive = np.argsort(-pixels), np.maximum(pixels, 0)
        one = {"pointing_game": inside[order[0]], "mass_accuracy": positive[inside].sum() / positive.sum()}
        one |= {"rank_accuracy": inside[order[:12]].mean(), "top_k_intersection": inside[order[:5]].mean()}
        one |= {"auc": roc_auc_score(inside, pixels), "gain_over_chance": inside[order[:12]].mean() - 12 / 64}
        for name, value in one.items():
            expected.setdefault(name, []).append(float(value))
    for name, values in expected.items():
        assert row_of(rows, "gradient", name).mean == pytest.approx(np.mean(values), rel=1e-6)


def test_relevance_on_the_object_passes_and_beside_it_fails() -> None:
    """A map that is the mask has all accuracies 1; its opposite 0; a uniform map exactly those of chance, and fails."""
    masks = squares(8)
    subject = subject_of(cnn(), pictures(8), ["gradient"])
    there = np.repeat(masks[:, None], 2, axis=1).astype(np.float32)
    made = with_maps(subject, there=lambda _: there, beside=lambda _: negated(there), flat=uniform)
    rows, verdicts = judged(made, NAME, masks=masks)
    assert [verdicts[name].word for name in ("there", "beside", "flat")] == ["pass", "fail", "fail"]
    for measure in ("pointing_game", "mass_accuracy", "rank_accuracy", "auc"):
        assert row_of(rows, "there", measure).mean == 1
        assert row_of(rows, "flat", measure).mean == pytest.approx(0.5 if measure == "auc" else 12 / 64)
    assert (row_of(rows, "beside", "auc").mean, row_of(rows, "beside", "rank_accuracy").mean) == (0, 0)
    assert np.isnan(row_of(rows, "beside", "mass_accuracy").mean)


def test_an_edge_detector_is_a_control() -> None:
    """Objects that are bright squares: Sobel itself is judged by chance alone, a map that is no better than it fails."""
    masks = squares(8)
    x = np.repeat(masks[:, None], 2, axis=1).astype(np.float32)
    subject = subject_of(cnn(), {"x": x}, ["gradient", "sobel"], checks=(NAME,))
    sobel = next(e for e in subject.explained if e.name == "sobel")
    copied = with_map(sobel, lambda v: v, "copy")
    rows, verdicts = judged(replace(subject, explained=(*subject.explained, copied)), NAME, masks=masks)
    assert row_of(rows, "copy", "gain_over_sobel").mean == 0
    assert row_of(rows, "copy", "gain_over_chance").mean > 0
    assert verdicts["copy"].word == "fail"
    assert verdicts["sobel"].word == "pass"


@pytest.mark.parametrize("form", ["planes", "input", "float"])
def test_masks_are_planes_or_of_the_inputs_shape(form: str) -> None:
    """Booleans or numbers, with or without channels: the same objects."""
    masks = squares(5)
    given: Any = {"planes": masks, "input": np.repeat(masks[:, None], 2, axis=1), "float": 0.3 * masks}[form]
    np.testing.assert_array_equal(on.object_masks(given, (5, 2, 8, 8), "x"), masks)
    last = np.repeat(masks[..., None], 3, axis=3)
    np.testing.assert_array_equal(on.object_masks(last, (5, 8, 8, 3), "x"), masks)


def test_what_does_not_fit_is_refused() -> None:
    """No masks, masks of another size; an input that is no picture."""
    subject = subject_of(cnn(), pictures(5), ["gradient"])
    with pytest.raises(InvalidParameter, match="is missing"):
        judged(subject, NAME)
    with pytest.raises(InvalidParameter, match="has shape"):
        judged(subject, NAME, masks=squares(4))
    report = linear(6).audit({"x": numbers(5, 6)}, methods=["gradient"], checks=[NAME, "complexity"], parameters={})
    assert "no pictures" in report.reasons["gradient", NAME]


def test_no_object_is_left_out() -> None:
    """An item without an object has no measure; one that is all object no AUC; the note counts them."""
    masks = squares(7)
    masks[0], masks[1] = False, True
    rows, _ = judged(subject_of(cnn(), pictures(7), ["gradient"]), NAME, masks=masks)
    assert {row.measure: row.n for row in rows} == {
        "pointing_game": 6, "mass_accuracy": 6, "rank_accuracy": 6, "top_k_intersection": 6, "auc": 5, "gain_over_chance": 6,
    }  # fmt: skip
    assert row_of(rows, "gradient", "auc").note.startswith("2 of 7 inputs left out")


def test_ties_count_by_their_mean() -> None:
    """Three pixels share the last of two places: one of them on the object is a third of a hit."""
    pixels = np.array([[[5.0, 1.0], [1.0, 1.0]]])
    inside = np.array([[[False, True], [False, False]]])
    np.testing.assert_allclose(on.top_share(pixels, inside, np.array([2])), [1 / 6])
    np.testing.assert_allclose(on.top_share(pixels, inside, np.array([9])), [1 / 4])
    assert rankdata(pixels.ravel()).tolist() == [4, 2, 2, 2]
    np.testing.assert_allclose(on.auc(pixels, inside), [(0.5 + 0.5 + 0) / 3])


def test_the_tolerance_is_a_circle() -> None:
    """Pixels up to that distance from the object count in the pointing game."""
    mask = np.zeros((1, 5, 5), bool)
    mask[0, 2, 2] = True
    assert on.widened(mask, 0).sum() == 1
    assert on.widened(mask, 1).sum() == 5
    assert on.widened(mask, 2).sum() == 13
    assert not on.widened(np.zeros((1, 5, 5), bool), 3).any()
