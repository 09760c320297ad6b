from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

import explainsvc
from explainsvc.errors import InvalidParameter, JournalMismatch, NotTrainable, StoreCorrupt
from explainsvc.training.checkpoints import NAME
from explainsvc.training.data import Data, Task
from explainsvc.training.fitting import Settings, epochs, fit, measure
from explainsvc.training.initialisation import initial_numbers, with_numbers
from explainsvc.weights import NEUTRAL
from tests.training.networks import BINARY, CLASSES, NUMBERS, bits, blobs, convolutional, initializers, perceptron

ROOT = Path(__file__).resolve().parents[2]
QUICK = Settings(epochs=6, learning_rate=0.01, batch_size=16)


def test_a_fitted_model_computes_in_onnx_what_it_computes_in_torch() -> None:
    """The file of a trained model gives onnxruntime the outputs that torch computes, and most of the labels."""
    data = blobs()
    found = fit(perceptron(), data, CLASSES, replace(QUICK, epochs=20))
    model = explainsvc.load(found.trainable.to_onnx())
    outputs = model.predict(data.inputs)["y"]
    with torch.no_grad():
        np.testing.assert_allclose(outputs, found.trainable(data.feeds(slice(None)))["y"].numpy(), atol=1e-5)
    assert found.chosen.accuracy == pytest.approx(np.mean(outputs.argmax(axis=1) == data.labels))
    assert found.chosen.accuracy > 0.9


def test_training_starts_from_the_declared_distribution_and_not_from_what_was_learned() -> None:
    """First weights depend on the seed alone; biases and normalisations are neutral, and the variance is that of He et al."""
    given = perceptron(hidden=512)
    elsewhere = perceptron(hidden=512, seed=1)
    first = initial_numbers(given, "he_normal", 3)
    assert all(np.array_equal(array, initial_numbers(elsewhere, "he_normal", 3)[name]) for name, array in first.items())
    assert not np.array_equal(first["w1"], initial_numbers(given, "he_normal", 4)["w1"])
    assert first.keys() == set(given.tensors.values())
    assert first["w1"].var() == pytest.approx(2 / 6, rel=0.1)
    assert first["w2"].var() == pytest.approx(2 / 512, rel=0.1)
    neutral = {"b1": "bias", "b2": "bias", "scale": "scale", "shift": "shift", "mean": "mean", "var": "var"}
    assert all(np.all(first[name] == NEUTRAL[role]) for name, role in neutral.items())


def test_what_is_given_stays_as_it_is() -> None:
    """Training changes a copy."""
    given = perceptron()
    before = bits(given)
    found = fit(given, blobs(), CLASSES, replace(QUICK, epochs=1))
    assert bits(given) == before
    assert all(bits(found.trainable)[name] != before[name] for name in ("w1", "w2", "mean"))
    assert {n: a.tobytes() for n, a in initializers(given.to_onnx()).items()} == before


def test_the_same_settings_give_the_same_bits_whatever_torch_drew_before() -> None:
    """Equal seeds give equal weights, dropout included, other seeds others; the caller's random numbers go on undisturbed."""
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = fit(perceptron(), blobs(), CLASSES, QUICK)
    assert torch.equal(torch.rand(3), expected)
    again = fit(perceptron(), blobs(), CLASSES, QUICK)
    assert bits(first.trainable) == bits(again.trainable)
    assert repr(first.records) == repr(again.records)
    assert bits(first.trainable) != bits(fit(perceptron(), blobs(), CLASSES, replace(QUICK, seed=1)).trainable)


def test_one_step_of_sgd_is_the_formula() -> None:
    """Full-batch SGD moves every weight by rate × gradient of the mean loss, on a model without random parts."""
    data = Data({"x": blobs(20).inputs["x"].reshape(20, 1, 3, 2).repeat(2, axis=3)[:, :, :, :3].copy()}, blobs(20).labels)
    given = convolutional(1, 3, 3)
    settings = Settings(optimiser="sgd", momentum=0.0, learning_rate=0.1, batch_size=20, epochs=1)
    found = fit(given, data, CLASSES, settings)
    start = with_numbers(given, initial_numbers(given, "he_normal", 0))
    loss = CLASSES.loss(start(data.feeds(slice(None)))["y"], torch.as_tensor(data.labels)).mean()
    parameters = dict(start.module.named_parameters())
    gradients = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
    for own, name in given.tensors.items():
        expected = (parameters[own] - 0.1 * gradients[own]).detach().numpy()
        np.testing.assert_allclose(found.trainable.weights()[name], expected, atol=1e-6)


HALF = math.sqrt(0.5)
RATES = {
    "constant": (Settings(learning_rate=0.2), [0.2, 0.2, 0.2, 0.2]),
    "cosine": (Settings(learning_rate=0.2, schedule="cosine", epochs=4), [0.2, 0.1 + 0.1 * HALF, 0.1, 0.1 - 0.1 * HALF]),
    "step": (Settings(learning_rate=0.2, schedule="step", step_epochs=2, step_factor=0.5), [0.2, 0.2, 0.1, 0.1]),
}


@pytest.mark.parametrize("name", RATES)
def test_schedules(name: str) -> None:
    """The learning rate of the first four epochs, by the formula."""
    settings, expected = RATES[name]
    assert [settings.rate(epoch) for epoch in range(4)] == pytest.approx(expected)


def test_an_epoch_sees_every_item_once_in_another_order() -> None:
    """In batches as even as can be, by the labels that the loss is given while gradients are recorded."""

    def recording(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            seen.append(labels.reshape(-1).tolist())
        return NUMBERS.loss(outputs, labels)

    seen: list[list[float]] = []
    data = Data({"x": blobs(33).inputs["x"]}, np.arange(33.0))
    fit(perceptron(outputs=1), data, replace(NUMBERS, loss=recording), replace(QUICK, epochs=2, batch_size=32))
    assert [len(batch) for batch in seen] == [17, 16, 17, 16]
    first, second = seen[0] + seen[1], seen[2] + seen[3]
    assert sorted(first) == sorted(second) == list(range(33))
    assert first != second


def test_tensors_of_unknown_roles_are_drawn_with_their_own_spread() -> None:
    """What only a Sub takes belongs to no layer: N(0, σ²) with the σ that it has, in another order of magnitude than He's."""
    given = perceptron(hidden=512)
    proto = type(given.graph)()
    proto.CopyFrom(given.graph)
    spread = np.random.default_rng(0).normal(scale=30, size=512).astype(np.float32)
    proto.graph.node[0].output[0] = "shifted"
    proto.graph.node.insert(1, helper.make_node("Sub", ["shifted", "c"], ["h"], "shift"))
    proto.graph.initializer.append(numpy_helper.from_array(spread, "c"))
    module = given.module
    module.register_parameter("c", torch.nn.Parameter(torch.from_numpy(spread)))
    drawn = initial_numbers(replace(given, graph=proto, tensors={**given.tensors, "c": "c"}), "he_normal", 0)
    assert drawn["c"].std() == pytest.approx(30, rel=0.15)
    assert abs(np.corrcoef(drawn["c"], spread)[0, 1]) < 0.2
    assert all(np.array_equal(array, drawn[name]) for name, array in initial_numbers(given, "he_normal", 0).items())


def test_training_ends_at_the_accuracy_asked_for() -> None:
    """The last epoch is the first that reaches it."""
    found = fit(perceptron(), blobs(), CLASSES, replace(QUICK, epochs=50, stop_accuracy=0.9))
    assert found.ending == "accuracy"
    assert [record.accuracy >= 0.9 for record in found.records] == [False] * (len(found.records) - 1) + [True]


def test_training_ends_when_the_validation_loss_no_longer_falls(tmp_path: Path) -> None:
    """With patience the numbers are those of the best epoch, which is followed by as many worse ones; also when resumed."""
    rng = np.random.default_rng(0)
    noise = replace(blobs(60), labels=rng.integers(0, 3, 60))
    validation = replace(blobs(60, seed=1), labels=rng.integers(0, 3, 60))
    settings = replace(QUICK, epochs=200, patience=3)
    found = fit(perceptron(), noise, CLASSES, settings, validation=validation, folder=tmp_path)
    losses = [record.validation_loss for record in found.records]
    assert found.ending == "patience"
    assert len(losses) == int(np.argmin(losses)) + 1 + 3
    assert measure(found.trainable, validation, CLASSES)[0] == pytest.approx(min(losses))
    again = fit(perceptron(), noise, CLASSES, settings, validation=validation, folder=tmp_path)
    assert bits(again.trainable) == bits(found.trainable)


CHILD = """
import sys
from pathlib import Path
from tests.training.test_fitting import killed_training
killed_training(Path(sys.argv[1]))
"""
LONG = replace(QUICK, epochs=8, schedule="cosine")


def killed_training(folder: Path) -> None:
    """Trains in a process of its own, and waits to be killed in the middle of its fourth epoch."""

    def waiting(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        steps.append(torch.is_grad_enabled())
        if sum(steps) == 3 * 8 + 4:
            print("now", flush=True)  # noqa: T201
            time.sleep(300)
        return CLASSES.loss(outputs, labels)

    steps: list[bool] = []
    fit(perceptron(), blobs(), replace(CLASSES, loss=waiting), LONG, folder=folder, checkpoint_seconds=0)


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """Killed with SIGKILL in its fourth epoch, a training goes on with that one and ends where an undisturbed one ends."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "protos")]), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", CHILD, tmp_path], stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "now\n"
        child.send_signal(signal.SIGKILL)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        heard: list[int] = []
        resumed = fit(perceptron(), blobs(), CLASSES, LONG, folder=tmp_path, progress=lambda r: heard.append(r.epoch))
        undisturbed = fit(perceptron(), blobs(), CLASSES, LONG)
    finally:
        torch.set_num_threads(threads)
    assert heard == [3, 4, 5, 6, 7]
    assert bits(resumed.trainable) == bits(undisturbed.trainable)
    assert repr(resumed.records) == repr(undisturbed.records)


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    """The same call gives the same model and trains no epoch."""
    given = perceptron()
    first = fit(given, blobs(), CLASSES, QUICK, folder=tmp_path)
    heard: list[int] = []
    again = fit(given, blobs(), CLASSES, QUICK, folder=tmp_path, progress=lambda record: heard.append(record.epoch))
    assert heard == []
    assert bits(again.trainable) == bits(first.trainable)


def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    """Other settings or data do not go on from it, and it stays; one that cannot be read says so."""
    given = perceptron()
    fit(given, blobs(), CLASSES, QUICK, folder=tmp_path)
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(JournalMismatch):
        fit(given, blobs(), CLASSES, replace(QUICK, seed=1), folder=tmp_path)
    with pytest.raises(JournalMismatch):
        fit(given, blobs(seed=1), CLASSES, QUICK, folder=tmp_path)
    assert (tmp_path / NAME).read_bytes() == before
    (tmp_path / NAME).write_bytes(before[: len(before) // 2])
    with pytest.raises(StoreCorrupt):
        fit(given, blobs(), CLASSES, QUICK, folder=tmp_path)


def test_checkpoints_keep_their_distance(tmp_path: Path) -> None:
    """Where epochs are quick, only the last one is kept; with no distance, every one."""
    for seconds, expected in ((60.0, [False, False, True]), (0.0, [True, True, True])):
        folder = tmp_path / str(seconds)
        course = epochs(perceptron(), blobs(), CLASSES, replace(QUICK, epochs=3), folder=folder, checkpoint_seconds=seconds)
        assert [(folder / NAME).is_file() for _ in course] == expected


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_last_sound_epoch(tmp_path: Path) -> None:
    """The error names the epoch; the checkpoint is that of the epochs before."""

    def breaking(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        broken.append(0)
        return CLASSES.loss(outputs, labels) * (math.nan if len(broken) > 30 else 1.0)

    broken: list[int] = []
    given = perceptron()
    with pytest.raises(NotTrainable, match=r"loss is nan in epoch [1-5]") as caught:
        fit(given, blobs(), Task("breaking", breaking), QUICK, folder=tmp_path, checkpoint_seconds=0)
    kept = torch.load(tmp_path / NAME, weights_only=True)
    assert len(kept["records"]) == int(caught.value.details["epoch"])
    assert all(torch.isfinite(tensor).all() for tensor in kept["module"].values())


def test_records_stream() -> None:
    """Each epoch is told when it is over, and a training that nobody listens to any more ends."""
    course = epochs(perceptron(), blobs(), CLASSES, QUICK)
    first, second = islice(course, 2)
    assert (first.epoch, second.epoch) == (0, 1)
    assert second.loss < first.loss
    course.close()


def test_a_model_that_learns_nothing_is_refused() -> None:
    """Without learned tensors there is nothing to train."""
    given = perceptron()
    with pytest.raises(NotTrainable, match="no learned numbers"):
        fit(replace(given, tensors={}), blobs(), CLASSES, QUICK)


def test_settings_that_contradict_the_data_are_refused() -> None:
    """Patience without a validation set, and an accuracy of numbers."""
    with pytest.raises(InvalidParameter, match="validation"):
        fit(perceptron(), blobs(), CLASSES, replace(QUICK, patience=1))
    numbers = Data(blobs(40).inputs, np.arange(120.0).reshape(40, 3))
    with pytest.raises(InvalidParameter, match="labels that can be met"):
        fit(perceptron(), numbers, NUMBERS, replace(QUICK, stop_accuracy=0.9))


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("task", [BINARY, NUMBERS], ids=lambda task: task.name)
def test_tasks_of_several_outputs_are_learned(task: Task, optimiser: str) -> None:
    """The loss falls to a fraction of what it was; binary labels are met, numbers have no accuracy."""
    data = blobs()
    labels = np.eye(3)[data.labels]
    settings = replace(QUICK, epochs=40, optimiser=optimiser, learning_rate=0.02)
    found = fit(perceptron(), replace(data, labels=labels), task, settings)
    assert found.chosen.loss < 0.3 * found.records[0].loss
    assert math.isnan(found.chosen.accuracy) if task is NUMBERS else found.chosen.accuracy > 0.95
