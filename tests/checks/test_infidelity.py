from __future__ import annotations

import numpy as np
import pytest

from explainsvc.checks import _flipping as flipping
from explainsvc.checks import maps
from explainsvc.checks._perturbations import perturbations
from explainsvc.checks.infidelity import Params, scaled, units_of
from tests.checks.judged import judged, linear, negated, row_of, subject_of, with_maps
from tests.checks.models import cnn, numbers, pictures

NAME = "infidelity"


@pytest.mark.parametrize("method", ["gradient", "input_x_gradient"])
@pytest.mark.parametrize("perturbation", ["square", "gaussian"])
def test_a_linear_model_is_predicted_exactly(method: str, perturbation: str) -> None:
    """Gradient or contributions, each read in its own unit: infidelity 0; the opposite map's is 4 times that of zeros."""
    subject = with_maps(subject_of(linear(2, 8, 8), {"x": numbers(6, 2, 8, 8)}, [method]), opposite=negated)
    rows, verdicts = judged(subject, NAME, perturbation=perturbation)
    assert row_of(rows, method, "relative_infidelity").mean < 1e-6
    assert row_of(rows, "opposite", "relative_infidelity").mean == pytest.approx(4, rel=1e-3)
    assert row_of(rows, "opposite", "infidelity_scaled").mean == pytest.approx(0, abs=1e-4)
    assert [v.word for v in verdicts.values()] == ["pass", "fail"]


def test_a_map_of_zeros_fails_at_exactly_one() -> None:
    """Predicting no change is the reference, not a success."""
    subject = with_maps(subject_of(cnn(), pictures(6), ["gradient"]), nothing=lambda v: 0 * v)
    rows, verdicts = judged(subject, NAME)
    row = row_of(rows, "nothing", "relative_infidelity")
    assert (row.low, row.high) == (1, 1)
    assert verdicts["nothing"].word == "fail"


@pytest.mark.parametrize("perturbation", ["square", "gaussian"])
@pytest.mark.parametrize("method", ["gradient", "occlusion"])
def test_values_are_those_of_a_loop(method: str, perturbation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Perturbation by perturbation with one forward each, in groups of items too."""
    model, x = cnn(), pictures(5)["x"]
    subject = subject_of(model, {"x": x}, [method])
    request = flipping.request_of(subject, subject.explained[0])
    drawn = perturbations(request, perturbation, 8, Params(baseline="mean", window=(3,)))
    monkeypatch.setattr(maps, "GROUP_ELEMENTS", 256)
    rows, _ = judged(subject, NAME, perturbation=perturbation, samples=8, window=3, baseline="mean")
    values = subject.explained[0].result.values["x"].astype(float)
    target, means = model.predict({"x": x})["y"].argmax(axis=1), x.mean(axis=(1, 2, 3))
    found = np.zeros((8, 5, 2))
    for s in range(8):
        ((_, window, change),) = drawn.changes(s)
        for k in range(5):
            i = np.zeros_like(x[k], dtype=float)
            i[window[1:]] = change[k]
            pair = model.predict({"x": np.stack([x[k], (x[k] - i).astype(np.float32)])})["y"][:, target[k]]
            phi = values[k] if method == "gradient" else values[k] / (x[k] - means[k])
            found[s, k] = (i * phi).sum(), pair[0] - pair[1]
    assert row_of(rows, method, "infidelity").mean == pytest.approx(np.square(found[..., 0] - found[..., 1]).mean(), rel=1e-3)
    assert row_of(rows, method, "infidelity_zero").mean == pytest.approx(np.square(found[..., 1]).mean(), rel=1e-3)
    assert row_of(rows, method, "infidelity_scaled").mean == pytest.approx(scaled(found[..., 0], found[..., 1]).mean(), rel=1e-3)


def test_the_scale_is_the_best_one() -> None:
    """No β on a fine grid does better than the closed form; a prediction of zeros keeps the reference."""
    rng = np.random.default_rng(0)
    predicted, drops = rng.standard_normal((2, 40, 1))
    grid = min(np.square(beta * predicted - drops).mean() for beta in np.linspace(-2, 2, 4001))
    assert scaled(predicted, drops)[0] == pytest.approx(grid, rel=1e-5)
    assert scaled(predicted, drops)[0] <= grid
    assert scaled(0 * predicted, drops)[0] == pytest.approx(np.square(drops).mean())


def test_units_are_read_from_the_card() -> None:
    """Gradients are per unit of input, also below a wrapper; contributions and CAMs are not."""
    names = ["gradient", "smoothgrad", "input_x_gradient", "integrated_gradients", "grad_cam", "lrp_epsilon"]
    subject = subject_of(cnn(), pictures(2), names)
    units = {e.name: units_of(e) for e in subject.explained}
    assert [name for name in names if units[name] == "gradient"] == ["gradient", "smoothgrad"]


def test_perturbations_are_what_they_say() -> None:
    """A square lies inside, holds all channels and becomes the baseline; noise has its share of the item's range."""
    x = pictures(4)["x"] * np.array([1, 2, 3, 4], np.float32).reshape(4, 1, 1, 1)
    subject = subject_of(cnn(), {"x": x}, ["gradient"])
    request = flipping.request_of(subject, subject.explained[0])
    squares = perturbations(request, "square", 30, Params(window=(3,)))
    for changed in list(squares.variations(request))[1:]:
        gone = changed["x"] != x
        assert (changed["x"][gone] == 0).all()
        assert gone.reshape(4, 2, 64).sum(axis=2).tolist() == [[9, 9]] * 4
    noise = np.stack([next(iter(perturbations(request, "gaussian", 30, Params()).changes(s)))[2] for s in range(30)])
    np.testing.assert_allclose(noise.std(axis=(0, 2, 3, 4)), 0.2 * np.ptp(x, axis=(1, 2, 3)), rtol=0.05)


def test_an_input_that_nothing_changes_is_left_out() -> None:
    """All zeros, replaced by zeros: no infidelity to compare with."""
    x = numbers(6, 20)
    x[2] = 0
    rows, _ = judged(subject_of(linear(20), {"x": x}, ["gradient"]), NAME)
    row = row_of(rows, "gradient", "relative_infidelity")
    assert (row.n, "1 of 6 inputs left out: no perturbation changes S" in row.note) == (5, True)
