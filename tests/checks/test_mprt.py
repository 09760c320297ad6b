from __future__ import annotations

import numpy as np
import onnx
import pytest
from scipy.stats import entropy as shannon
from scipy.stats import spearmanr

import explainsvc
from explainsvc.checks import efficient_mprt, smooth_mprt
from explainsvc.checks.rows import Row
from explainsvc.randomisation import Draws, randomised, steps_of
from explainsvc.report.report import Report
from explainsvc.weights import seed_sequence
from tests.checks.models import Array, cnn, fixed_edges, numbers, pictures
from tests.checks.test_parameter_randomization import dead

SMOOTH, EFFICIENT = smooth_mprt.NAME, efficient_mprt.NAME


def rows_of(report: Report, method: str, measure: str) -> list[Row]:
    """By step."""
    return [row for row in report.rows if (row.method, row.measure) == (method, measure)]


# smooth_mprt ------------------------------------------------------------------------------------------------------


def test_smooth_maps_are_means_over_noisy_inputs() -> None:
    """Every step again by hand: the mean gradient over copies with σ = 0.1 · (max − min), scipy's rank correlation."""
    model, x = cnn(), pictures(6)
    report = model.audit(x, methods=["gradient"], checks=[SMOOTH], parameters={SMOOTH: {"samples": 4}})
    target = model.predict(x)["y"].argmax(axis=1).tolist()
    copies = noisy_copies(x["x"], 4)
    before = mean_gradient(model, copies, target)
    for row, step in zip(rows_of(report, "gradient", "spearman"), steps_of(model, Draws()), strict=True):
        after = mean_gradient(model.with_weights(step.weights), copies, target)
        expected = [spearmanr(a, b).statistic for a, b in zip(before, after, strict=True)]
        assert row.mean == pytest.approx(np.mean(expected), abs=1e-4)
    assert rows_of(report, "gradient", "spearman")[0].mean == pytest.approx(1)


def noisy_copies(x: Array, count: int) -> list[Array]:
    """The check's noise, from its documented source: one generator per copy, keyed by seed and number."""
    spread = 0.1 * (x.max(axis=(1, 2, 3), keepdims=True) - x.min(axis=(1, 2, 3), keepdims=True))
    streams = [np.random.default_rng(seed_sequence(0, f"{SMOOTH}/{n}")) for n in range(count)]
    return [(x + spread * rng.standard_normal(x.shape)).astype(np.float32) for rng in streams]


def mean_gradient(model: explainsvc.Model, copies: list[Array], target: list[int]) -> Array:
    """[item, element]."""
    return np.mean([model.explain({"x": x}, "gradient", target).values["x"].reshape(len(x), -1) for x in copies], axis=0)


def tokens() -> explainsvc.Model:
    """Integer ids, embedded, summed and classified."""
    nodes = [
        onnx.helper.make_node("Gather", ["table", "ids"], ["e"]),
        onnx.helper.make_node("ReduceSum", ["e", "axes"], ["s"], keepdims=0),
        onnx.helper.make_node("MatMul", ["s", "w"], ["y"]),
    ]
    tensors = {"table": numbers(9, 4), "axes": np.array([1]), "w": numbers(4, 3, seed=1)}
    graph = onnx.helper.make_graph(
        nodes,
        "tokens",
        [onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["n", 5])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3])],
        [onnx.numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return explainsvc.load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8))


def test_integers_take_no_noise() -> None:
    """A method that explains token ids is refused by name; the ids were rounded to other tokens before."""
    ids = {"ids": np.arange(40).reshape(8, 5) % 9}
    report = tokens().audit(ids, methods=["occlusion"], checks=[SMOOTH], parameters={"occlusion": {"window": [1]}})
    assert report.verdicts["occlusion", SMOOTH] == "inconclusive"
    assert "float numbers" in report.reasons["occlusion", SMOOTH]
    assert {row.measure for row in report.rows} == {"refused"}


def test_noise_is_relative_to_each_items_range() -> None:
    """The spread of the difference is σ · (max − min) of the item, within five standard errors."""
    x = {"x": numbers(3, 20_000) * np.array([[1], [10], [100]], np.float32)}
    model = explainsvc.load(dead())
    subject = _Seeded(model)
    shaken = smooth_mprt.noisy(x, ("x",), 0.1, subject, 0)
    found = (shaken["x"] - x["x"]).std(axis=1)
    np.testing.assert_allclose(found, 0.1 * np.ptp(x["x"], axis=1), rtol=5 / np.sqrt(40_000))


class _Seeded:
    """As much of a subject as noise needs."""

    def __init__(self, model: explainsvc.Model) -> None:
        self.model, self.seed = model, 0


def test_maps_that_no_weight_reaches_are_insensitive() -> None:
    """Denoised or not: the gradient of this model does not contain its only learned tensor."""
    fast = {SMOOTH: {"samples": 3}}
    fixed = fixed_edges().audit({"x": numbers(12, 12)}, methods=["gradient"], checks=[SMOOTH], parameters=fast)
    assert fixed.verdicts["gradient", SMOOTH] == "insensitive"


# efficient_mprt ---------------------------------------------------------------------------------------------------


def test_entropy_is_that_of_the_histogram() -> None:
    """scipy's entropy of numpy's histogram per item; a constant map and one with NaN have none."""
    maps = np.random.default_rng(0).normal(size=(5, 400)).astype(np.float32) ** 3
    maps[3], maps[4, 7] = 0.25, np.nan
    found = efficient_mprt.entropy(maps, 100)
    expected = [shannon(np.histogram(item, 100)[0]) for item in maps[:3].astype(np.float64)]
    np.testing.assert_allclose(found[:3], expected, rtol=1e-12)
    assert np.isnan(found[3:]).all()


def test_the_rise_is_relative() -> None:
    """By the public interface: (H after − H before) / H before of the fully randomised model, per item."""
    model, x = cnn(), pictures(8)
    report = model.audit(x, methods=["gradient"], checks=[EFFICIENT], parameters={EFFICIENT: {"bins": 40}})
    target = model.predict(x)["y"].argmax(axis=1).tolist()
    both = (model, explainsvc.load(randomised(model)))
    maps = [m.explain(x, "gradient", target).values["x"].reshape(8, -1).astype(np.float64) for m in both]
    old, new = ([shannon(np.histogram(item, 40)[0]) for item in part] for part in maps)
    (row,) = rows_of(report, "gradient", "relative_rise")
    assert row.mean == pytest.approx(np.mean((np.array(new) - old) / old), abs=1e-5)
    assert [r.mean for r in rows_of(report, "gradient", "entropy")] == pytest.approx([np.mean(old), np.mean(new)], abs=1e-5)


def test_maps_without_weights_rise_by_nothing() -> None:
    """One that no weight reaches, and an edge detector, by exactly 0: they fail; random numbers are not judged."""
    fixed = fixed_edges().audit({"x": numbers(12, 12)}, methods=["gradient"], checks=[EFFICIENT])
    assert [row.mean for row in rows_of(fixed, "gradient", "relative_rise")] == [0]
    edges = cnn().audit(pictures(6), methods=["sobel", "random"], checks=[EFFICIENT])
    assert edges.verdicts == {("sobel", EFFICIENT): "fail", ("random", EFFICIENT): "inconclusive"}
    assert "not judged" in edges.reasons["random", EFFICIENT]


def test_constant_maps_have_no_rise() -> None:
    """They are counted and left out; with fewer than five left nothing is decided."""
    x = numbers(8, 12)
    x[:5] = -np.abs(x[:5])
    report = explainsvc.load(dead()).audit({"x": x}, methods=["gradient"], checks=[EFFICIENT])
    (row,) = rows_of(report, "gradient", "relative_rise")
    assert (row.n, row.note) == (3, "5 of 8 inputs left out: a constant map")
    assert report.verdicts["gradient", EFFICIENT] == "inconclusive"


def test_one_draw_for_the_whole_family() -> None:
    """The fully randomised model is the same in all three checks: equal sha256 in the header."""
    names = ["parameter_randomization", SMOOTH, EFFICIENT]
    header = cnn().audit(pictures(6), methods=["gradient"], checks=names, parameters={SMOOTH: {"samples": 2}}).header
    assert len({header["checks"][name]["models"][-1]["sha256"] for name in names}) == 1
