from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import explainsvc
from explainsvc.errors import InvalidInput, InvalidParameter, JournalMismatch, UnknownMethod
from explainsvc.report.report import Report
from explainsvc.training.data import Data
from explainsvc.training.design import Design
from explainsvc.training.fitting import Settings, fit
from explainsvc.training.outcomes import GAIN
from explainsvc.training.removal import Estimator
from explainsvc.training.retraining import retrain
from explainsvc.training.roar import Bench, prepare, roar
from tests.training.informative import FEATURES, GRADIENT, MASK, TEST_SET, TRAIN_SET, informative, pointing
from tests.training.networks import CLASSES, NUMBERS, convolutional, cross_entropy, perceptron

BUILD = partial(perceptron, FEATURES, 16, 3)
SETTINGS = Settings(epochs=6, learning_rate=0.03, batch_size=40)
DESIGN = Design((GRADIENT,), ("roar", "kar"), shares=(0.0, 0.25, 0.5))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Report]:
    """The benchmark of a map that points at the truth, and its report."""
    folder = tmp_path_factory.mktemp("truth")
    report = roar(pointing(MASK), BUILD, TRAIN_SET, TEST_SET, CLASSES, SETTINGS, DESIGN, folder)
    return prepare(pointing(MASK), BUILD, TRAIN_SET, TEST_SET, CLASSES, SETTINGS, DESIGN, folder), report


def rows(report: Report, method: str, order: str, measure: str = "accuracy") -> list[Any]:
    """Share by share."""
    return [row for row in report.rows if (row.method, row.order, row.measure) == (method, order, measure)]


def test_baselines_with_parameters_stand_in_for_those_that_run_beside() -> None:
    """ROAR's own variants may be asked for; without, random and Sobel are added."""
    own = (Estimator("sobel", {"variant": "roar"}), GRADIENT, Estimator("random", {"distribution": "bernoulli"}))
    assert Design(own).everyone == own
    assert Design(own).random == 2
    assert [estimator.name for estimator in DESIGN.everyone] == ["gradient", "random", "sobel"]


# What comes of it -------------------------------------------------------------------------------------------------


def test_a_map_that_points_at_the_truth_beats_random(kept: tuple[Bench, Report]) -> None:
    """Without the informative features a retrained model knows next to nothing; keeping them alone, it knows all."""
    report = kept[1]
    assert report.verdicts == {("gradient", "roar"): "pass"}
    assert rows(report, "gradient", "roar")[1].mean < 0.45
    assert rows(report, "gradient", "kar")[2].mean > 0.85
    assert rows(report, "gradient", "roar")[1].mean < rows(report, "random", "roar")[1].mean - 0.2
    assert rows(report, "gradient", "kar", GAIN)[0].low > 0


def test_a_map_that_points_at_noise_fails(tmp_path: Path) -> None:
    """Removing noise costs nothing, and less than random removals cost."""
    design = replace(DESIGN, orders=("roar",))
    report = roar(pointing(1 - MASK), BUILD, TRAIN_SET, TEST_SET, CLASSES, SETTINGS, design, tmp_path)
    assert report.verdicts == {("gradient", "roar"): "fail"}
    assert rows(report, "gradient", "roar")[1].mean > 0.85


def test_a_retraining_is_that_of_sets_masked_by_hand(kept: tuple[Bench, Report]) -> None:
    """Accuracy of a model fitted on the training set without the true features, on the test set without them; by onnxruntime."""
    means = TRAIN_SET.inputs["x"].mean(axis=0, dtype=np.float64).astype(np.float32)
    without = [np.where(MASK > 0, means, data.inputs["x"]) for data in (TRAIN_SET, TEST_SET)]
    accuracies: list[float] = []
    deleted: list[float] = []
    for repetition in range(5):
        own = replace(SETTINGS, seed=repetition)
        retrained = fit(BUILD(), replace(TRAIN_SET, inputs={"x": without[0]}), CLASSES, own)
        untouched = fit(BUILD(), TRAIN_SET, CLASSES, own)
        for fitted, into in ((retrained, accuracies), (untouched, deleted)):
            outputs = explainsvc.load(fitted.trainable.to_onnx()).predict({"x": without[1]})["y"]
            into.append(float(np.mean(outputs.argmax(axis=1) == TEST_SET.labels)))
    found, beside = rows(kept[1], "gradient", "roar")[1], rows(kept[1], "gradient", "roar without retraining")[1]
    assert (found.mean, found.std, found.n) == pytest.approx((np.mean(accuracies), np.std(accuracies, ddof=1), 5))
    assert (beside.mean, beside.std) == pytest.approx((np.mean(deleted), np.std(deleted, ddof=1)))
    assert found.amount == 0.25


def test_all_orders_start_at_the_untouched_model(kept: tuple[Bench, Report]) -> None:
    """At share 0 every estimator has the accuracy of the same retrainings on untouched inputs."""
    report = kept[1]
    own = next(row for row in report.rows if (row.method, row.measure) == ("model", "accuracy"))
    assert own.mean > 0.85
    starts = {row.mean for row in report.rows if row.measure == "accuracy" and row.amount == 0}
    assert starts == {own.mean}
    assert next(row.mean for row in report.rows if row.measure == "guessing") == pytest.approx(1 / 3)


def test_gain_is_the_mean_paired_difference_to_random(kept: tuple[Bench, Report]) -> None:
    """Over the shares above 0, for roar how much lower, for kar how much higher."""
    for order, sign in (("roar", 1), ("kar", -1)):
        own, random = (np.mean([r.mean for r in rows(kept[1], name, order)[1:]]) for name in ("gradient", "random"))
        assert rows(kept[1], "gradient", order, GAIN)[0].mean == pytest.approx(sign * (random - own))


def test_reports_are_drawn_and_written(kept: tuple[Bench, Report], tmp_path: Path) -> None:
    """As JSON and back, and as a page."""
    report = kept[1]
    report.save(tmp_path / "report.json")
    again = Report.from_json(json.loads((tmp_path / "report.json").read_text()))
    assert repr(again.rows) == repr(report.rows)
    assert again.verdicts == report.verdicts
    assert "gradient" in report.to_html()


def test_deletion_and_retraining_disagree_as_in_the_paper(tmp_path: Path) -> None:
    """On digits, deleting by the squared gradient ruins a model more than random deletions do; retrained, it is the reverse.

    Hooker et al. 2019, section 4.2: gradients rank no better than at random once models are retrained.
    """
    images, labels = load_digits(return_X_y=True)
    x = (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    train, test = Data({"x": x[:400]}, labels[:400]), Data({"x": x[400:700]}, labels[400:700])
    settings = replace(SETTINGS, learning_rate=0.01)
    model = explainsvc.load(fit(convolutional(), train, CLASSES, settings).trainable.to_onnx())
    design = Design((Estimator("gradient", squared=True),), shares=(0.7,), repetitions=2, unit="pixels")
    report = roar(model, convolutional, train, test, CLASSES, settings, design, tmp_path)
    retrained, deleted = (rows(report, "gradient²", order, GAIN)[0] for order in ("roar", "roar without retraining"))
    assert deleted.mean > 0.1
    assert retrained.mean < -0.1
    assert len(rows(report, "sobel", "roar")) == 1


# Jobs -------------------------------------------------------------------------------------------------------------


def test_jobs_travel_and_depend_on_their_folder_alone(kept: tuple[Bench, Report], tmp_path: Path) -> None:
    """Pickled, and run in the opposite order in another folder, jobs give the same outcomes; a finished one is only read."""
    design = replace(DESIGN, repetitions=1, shares=(0.0, 0.25))
    bench = prepare(pointing(MASK), BUILD, TRAIN_SET, TEST_SET, CLASSES, SETTINGS, design, tmp_path)
    assert len({job.key for job in bench.jobs}) == len(bench.jobs) == 1 + 2 * 2
    here = {job.key: retrain(pickle.loads(pickle.dumps(job))) for job in reversed(bench.jobs)}  # noqa: S301
    there = {job.key: retrain(job) for job in kept[0].jobs}
    assert all(there[key].accuracy == outcome.accuracy for key, outcome in here.items())
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_broken_benchmark_goes_on(tmp_path: Path) -> None:
    """What was finished is not trained again, partial results are told, and the end is that of an undisturbed run."""
    design = replace(DESIGN, repetitions=2, shares=(0.0, 0.25), orders=("roar",))

    def run(folder: Path, **more: Any) -> Report:
        return roar(pointing(MASK), BUILD, TRAIN_SET, TEST_SET, CLASSES, SETTINGS, design, folder, **more)

    def breaking(done: int, _total: int, _what: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", progress=breaking)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "broken" / "outcomes").iterdir()}
    assert len(files) == 3
    partial_report = prepare(pointing(MASK), BUILD, TRAIN_SET, TEST_SET, CLASSES, SETTINGS, design, tmp_path / "broken").report()
    row = rows(partial_report, "gradient", "roar")[1]
    assert (row.n, row.note) == (1, "1 of 2 retrainings left out: not finished")
    resumed = run(tmp_path / "broken")
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert repr(resumed.rows) == repr(run(tmp_path / "whole").rows)


def test_more_repetitions_go_on_and_another_benchmark_is_refused(tmp_path: Path) -> None:
    """The jobs of fewer repetitions are among those of more; a folder that holds other data or settings stays as it is."""
    few = replace(DESIGN, repetitions=1)
    ask = partial(prepare, pointing(MASK), BUILD, TRAIN_SET, TEST_SET, CLASSES)
    first = ask(SETTINGS, few, tmp_path)
    assert set(first.jobs) < set(ask(SETTINGS, replace(few, repetitions=3), tmp_path).jobs)
    with pytest.raises(JournalMismatch):
        ask(replace(SETTINGS, seed=1), few, tmp_path)
    with pytest.raises(JournalMismatch):
        prepare(pointing(1 - MASK), BUILD, TRAIN_SET, TEST_SET, CLASSES, SETTINGS, few, tmp_path)


# What cannot be told ----------------------------------------------------------------------------------------------


def test_an_estimator_that_does_not_apply_is_open_and_the_others_go_on(tmp_path: Path) -> None:
    """Grad-CAM finds no convolution: its verdict says so, the gradient has rows; fewer than five retrainings are no verdict."""
    design = Design((GRADIENT, Estimator("grad_cam")), shares=(0.25,), repetitions=1)
    report = roar(pointing(MASK), BUILD, TRAIN_SET, TEST_SET, CLASSES, SETTINGS, design, tmp_path)
    assert set(report.verdicts.values()) == {"inconclusive"}
    assert "could not be run" in report.reasons["grad_cam", "roar"]
    assert list(report.header["refused"]) == ["grad_cam"]
    assert "5 are needed" in report.reasons["gradient", "roar"]
    assert rows(report, "gradient", "roar")[0].n == 1
    assert not rows(report, "grad_cam", "roar")


def diverging(outputs: Any, labels: Any) -> Any:
    """Is no number where inputs were removed: then many outputs are alike."""
    return cross_entropy(outputs, labels) * (math.nan if outputs.std() < 0.02 else 1)


def test_a_retraining_that_diverges_is_an_outcome(tmp_path: Path) -> None:
    """Its row says why it is missing, the verdict is open, and what was trained stays."""
    task = replace(CLASSES, loss=diverging)
    design = Design((GRADIENT,), shares=(0.0, 1.0))
    report = roar(pointing(MASK), BUILD, TRAIN_SET, TEST_SET, task, SETTINGS, design, tmp_path)
    untouched, all_removed = rows(report, "gradient", "roar")
    assert untouched.n == 5
    assert all_removed.n == 0
    assert "5 of 5 retrainings left out: training: the loss is nan in epoch 0" in all_removed.note
    assert report.verdicts["gradient", "roar"] == "inconclusive"
    assert "the loss is nan" in report.reasons["gradient", "roar"]


def test_a_model_that_learns_nothing_leaves_all_open(tmp_path: Path) -> None:
    """Where untouched inputs give no more than the commonest label, removals tell nothing."""
    lazy = replace(SETTINGS, learning_rate=0.0, epochs=1)
    test = replace(TEST_SET, labels=np.where(np.arange(120) < 110, 0, 1))
    report = roar(pointing(MASK), BUILD, TRAIN_SET, test, CLASSES, lazy, replace(DESIGN, orders=("roar",)), tmp_path)
    assert report.verdicts["gradient", "roar"] == "inconclusive"
    assert "nothing was learned" in report.reasons["gradient", "roar"]


UNSOUND: dict[str, Any] = {
    "estimators": {"estimators": (GRADIENT, GRADIENT)},
    "orders": {"orders": ("remove",)},
    "shares": {"shares": (0.5, 0.1)},
    "unit": {"unit": "patches"},
    "repetitions": {"repetitions": 0},
    "removed": {"removed": "z"},
}


@pytest.mark.parametrize("field", UNSOUND)
def test_unsound_designs_are_refused(field: str, tmp_path: Path) -> None:
    """Before anything is ranked, by the field's name."""
    with pytest.raises(InvalidParameter, match=f"design.{field}"):
        prepare(pointing(MASK), BUILD, TRAIN_SET, TEST_SET, CLASSES, SETTINGS, replace(DESIGN, **UNSOUND[field]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_misspelt_estimators_are_errors_and_not_open_verdicts(tmp_path: Path) -> None:
    """A method that does not exist, or a parameter that it does not have, is told before anything is ranked."""
    ask = partial(prepare, pointing(MASK), BUILD, TRAIN_SET, TEST_SET, CLASSES, SETTINGS)
    with pytest.raises(UnknownMethod):
        ask(Design((Estimator("gradiant"),)), tmp_path)
    with pytest.raises(InvalidParameter, match="sample"):
        ask(Design((Estimator("smoothgrad", {"sample": 5}),)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_unfit_data_are_refused(tmp_path: Path) -> None:
    """A test set that is too small, labels that are numbers, pixels of what is no picture."""
    ask = partial(prepare, pointing(MASK), BUILD)
    with pytest.raises(InvalidInput, match="expected 20 or more"):
        ask(TRAIN_SET, informative(10, 1), CLASSES, SETTINGS, DESIGN, tmp_path)
    with pytest.raises(InvalidParameter, match="labels that can be met"):
        ask(TRAIN_SET, TEST_SET, NUMBERS, SETTINGS, DESIGN, tmp_path)
    with pytest.raises(InvalidParameter, match="only pictures have pixels"):
        ask(TRAIN_SET, TEST_SET, CLASSES, SETTINGS, replace(DESIGN, unit="pixels"), tmp_path)
