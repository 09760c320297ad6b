from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import helper
from scipy.stats import spearmanr

import explainsvc
from explainsvc.check import Explained
from explainsvc.checks import maps
from explainsvc.checks.parameter_randomization import NAME
from explainsvc.checks.rows import DIGEST, MODEL, Row
from explainsvc.checks.verdicts import _verdict
from explainsvc.errors import MethodNotApplicable
from explainsvc.method import Result
from explainsvc.methods import METHODS
from explainsvc.randomisation import Draws, randomised, steps_of
from explainsvc.report.report import Report
from explainsvc.target import ResolvedTarget
from tests.checks.models import Array, built, cnn, fixed_edges, numbers, pictures


@pytest.fixture(scope="module")
def report() -> Report:
    """The gradient and both controls on a small CNN, labelled by the model's own answers."""
    model, x = cnn(), pictures()
    labels = model.predict(x)["y"].argmax(axis=1)
    return model.audit(x, methods=["gradient", "sobel", "random"], labels=labels)


def rows_of(report: Report, method: str, similarity: str) -> list[Row]:
    """By step."""
    return [row for row in report.rows if (row.method, row.measure) == (method, similarity)]


def test_the_gradient_depends_on_the_weights(report: Report) -> None:
    """Random layers, random gradient: sensitive, with the numbers in the reason."""
    assert report.verdicts["gradient", NAME] == "sensitive"
    last = rows_of(report, "gradient", "spearman")[-1]
    assert f"spearman {last.mean:.2f} [{last.low:.2f}, {last.high:.2f}]" in report.reasons["gradient", NAME]


def test_maps_that_no_weight_reaches_are_insensitive() -> None:
    """∂y/∂x of this model does not contain its only learned tensor: similarity 1 after all units are random."""
    found = fixed_edges().audit({"x": numbers(12, 12)}, methods=["gradient"])
    assert found.verdicts["gradient", NAME] == "insensitive"
    for row in rows_of(found, "gradient", "spearman_abs"):
        assert (row.mean, row.low, row.high, row.n) == (1, 1, 1, 12)


def test_an_edge_detector_is_insensitive(report: Report) -> None:
    """Sobel's maps are exactly the same at every step."""
    assert report.verdicts["sobel", NAME] == "insensitive"
    assert {row.mean for row in rows_of(report, "sobel", "spearman")} == {1.0}


def test_random_maps_are_drawn_anew_and_not_judged(report: Report) -> None:
    """After step 0 the control gives what unrelated maps give: 0 within 5/√(inputs · elements)."""
    for row in rows_of(report, "random", "spearman")[1:]:
        assert abs(row.mean) < 5 / math.sqrt(24 * 128)
    assert report.verdicts["random", NAME] == "inconclusive"
    assert "not judged" in report.reasons["random", NAME]


def test_step_0_is_the_untouched_model(report: Report) -> None:
    """Every similarity of step 0 is 1, and so are agreement, accuracy and correlation of the output."""
    start = [row for row in report.rows if row.step == 0 and row.measure != DIGEST]
    assert {row.method for row in start} == {MODEL, "gradient", "sobel", "random"}
    assert all(row.mean == pytest.approx(1) and row.unit == "" for row in start)


def test_steps_name_their_unit(report: Report) -> None:
    """From the output on, one row per step and similarity."""
    for similarity in ("spearman_abs", "spearman"):
        rows = rows_of(report, "gradient", similarity)
        assert [(row.step, row.unit) for row in rows] == [(0, ""), (1, "head"), (2, "second"), (3, "first")]
        assert {row.order for row in rows} == {"cascading"}


@pytest.mark.parametrize("order", ["cascading", "bottom_up", "independent"])
def test_rows_are_what_the_public_interface_gives(order: str) -> None:
    """Every step again by hand: with_weights' models, explain at the untouched model's arg-max, scipy's spearmanr."""
    model, x = cnn(), pictures(6)
    report = model.audit(x, methods=["gradient"], seed=5, parameters={NAME: {"order": order}})
    target = model.predict(x)["y"].argmax(axis=1).tolist()
    before = model.explain(x, "gradient", target).values["x"].reshape(6, -1)
    steps = steps_of(model, Draws(order=order, seed=5))
    for row, step in zip(rows_of(report, "gradient", "spearman"), steps, strict=True):
        after = model.with_weights(step.weights).explain(x, "gradient", target).values["x"].reshape(6, -1)
        expected = [spearmanr(a, b).statistic for a, b in zip(before, after, strict=True)]
        assert row.mean == pytest.approx(np.mean(expected), abs=1e-5)
        assert row.std == pytest.approx(np.std(expected, ddof=1), abs=1e-5)
        assert row.low <= row.mean <= row.high


def test_independent_ends_with_all_units() -> None:
    """Its last step is the last step of the cascade: the verdict is about the same model."""
    ends = [
        rows_of(cnn().audit(pictures(6), methods=["gradient"], parameters={NAME: {"order": order}}), "gradient", "spearman")
        for order in ("cascading", "independent")
    ]
    assert ends[1][-1].unit == "all units"
    assert ends[0][-1].mean == pytest.approx(ends[1][-1].mean)


def test_the_outputs_change_is_measured(report: Report) -> None:
    """Agreement and accuracy at the last step are those of the fully randomised model."""
    model, x = cnn(), pictures()
    random = explainsvc.load(randomised(model))
    same = model.predict(x)["y"].argmax(axis=1) == random.predict(x)["y"].argmax(axis=1)
    for similarity in ("argmax_agreement", "accuracy"):
        assert rows_of(report, MODEL, similarity)[-1].mean == pytest.approx(same.mean())


def dead() -> onnx.ModelProto:
    """y = w · relu(x): the gradient of an item without positive elements is zero everywhere."""
    nodes = [helper.make_node("Relu", ["x"], ["r"], "relu"), helper.make_node("MatMul", ["r", "w"], ["y"], "dense")]
    return built(nodes, ["n", 12], {"w": numbers(12, 3)})


def test_constant_maps_are_counted_and_left_out() -> None:
    """A map of zeros has no rank correlation: not 1, but n is smaller and the note says why."""
    x = numbers(10, 12)
    x[:3] = -np.abs(x[:3])
    report = explainsvc.load(dead()).audit({"x": x}, methods=["gradient"])
    for row in report.rows:
        if row.method == "gradient":
            assert row.n == 7
            assert row.note == "3 of 10 inputs left out: a constant map"


def test_no_map_left_is_inconclusive() -> None:
    """When all maps are constant there is nothing to judge."""
    report = explainsvc.load(dead()).audit({"x": -np.abs(numbers(6, 12))}, methods=["gradient"])
    assert report.verdicts["gradient", NAME] == "inconclusive"
    assert all(math.isnan(row.mean) and row.n == 0 for row in report.rows if row.method == "gradient")


def test_few_inputs_are_inconclusive() -> None:
    """Four inputs decide nothing, whatever the similarity is; the reason says how many would."""
    report = fixed_edges().audit({"x": numbers(4, 12)}, methods=["gradient"])
    assert report.verdicts["gradient", NAME] == "inconclusive"
    assert "5 are needed" in report.reasons["gradient", NAME]


def test_half_precision_is_audited_in_float32() -> None:
    """A float16 model's maps and outputs are compared with those of float32 models; step 0 is 1."""
    node = helper.make_node("MatMul", ["x", "w"], ["m"], "dense")
    graph = helper.make_graph(
        [node, helper.make_node("Tanh", ["m"], ["y"], "tanh")], "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, ["n", 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT16, ["n", 4])],
        [onnx.numpy_helper.from_array(numbers(8, 4).astype(np.float16), "w")],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    report = explainsvc.load(proto).audit({"x": numbers(8, 8).astype(np.float16)}, methods=["gradient"])
    assert all(row.mean == pytest.approx(1, abs=1e-3) for row in report.rows if row.step == 0 and row.measure != DIGEST)
    assert report.verdicts["gradient", NAME] == "sensitive"


def test_groups_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs explained five at a time give the rows of all at once."""
    model, x = cnn(), pictures(12)
    whole = [row.to_json() for row in model.audit(x, methods=["gradient"]).rows]
    monkeypatch.setattr(maps, "GROUP_ELEMENTS", 5 * 128)
    assert len(maps.groups(model, x)) == 3
    for row, expected in zip(model.audit(x, methods=["gradient"]).rows, whole, strict=True):
        assert row.to_json() == pytest.approx(expected, abs=1e-5)


def test_weights_outside_all_units_are_reported() -> None:
    """A divisor is not counted as learned: the reason says that not all was randomised."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"], "dense"), helper.make_node("Div", ["m", "c"], ["y"], "div")]
    model = explainsvc.load(built(nodes, ["n", 4], {"w": numbers(4, 3), "c": np.array([1, 2, 3], np.float32)}))
    report = model.audit({"x": numbers(6, 4)}, methods=["input_x_gradient"])
    assert "only 80% of the float weights" in report.reasons["input_x_gradient", NAME]


def test_a_model_without_weights_is_refused() -> None:
    """There is nothing to randomise; the error says so."""
    model = explainsvc.load(built([helper.make_node("Tanh", ["x"], ["y"], "tanh")], ["n", 4], {}))
    with pytest.raises(MethodNotApplicable, match="no learned tensors"):
        model.audit({"x": numbers(6, 4)}, methods=["gradient"])


# The rule ---------------------------------------------------------------------------------------------------------


def ends(rows: Sequence[Row]) -> dict[tuple[str, str], Row]:
    """As the rule reads them."""
    return {(row.method, row.measure): row for row in rows}


def row(method: str, mean: float, low: float, high: float, *, std: float = 0.3, n: int = 40) -> Row:
    """A row of the last step."""
    return Row(NAME, method, "cascading", 3, "first", "spearman_abs", mean, std, low, high, n)


def judged(last: Row, *others: Row, start: float = 1.0) -> tuple[str, str]:
    """Word and reason for one method's last row."""
    no = np.zeros((1, 1))
    target = ResolvedTarget("y", no, None, "")
    method: Explained = Explained(METHODS["gradient"], None, ("x",), target, Result({}), no, True)
    first = ends([dataclasses.replace(r, mean=start, low=start, high=start, step=0) for r in (last, *others)])
    verdict = _verdict(method, first, ends([last, *others]))
    return verdict.word, verdict.reason


CASES: list[tuple[tuple[float, float, float], str]] = [
    ((0.7, 0.6, 0.8), "insensitive"),
    ((0.7, 0.45, 0.8), "inconclusive"),
    ((0.3, 0.2, 0.49), "sensitive"),
    ((-0.8, -0.9, -0.7), "sensitive"),
]


@pytest.mark.parametrize(("numbers_", "word"), CASES)
def test_the_interval_decides(numbers_: tuple[float, float, float], word: str) -> None:
    """All above one half, all below it, or neither."""
    assert judged(row("gradient", *numbers_))[0] == word


def test_undecided_says_how_many_inputs_would_do() -> None:
    """(1.96 σ/distance)² inputs: σ = 0.3 at a distance of 0.1 needs 36."""
    word, reason = judged(row("gradient", 0.6, 0.48, 0.72, n=20))
    assert word == "inconclusive"
    assert "about 36 inputs would decide it" in reason


def test_unrelated_maps_that_look_alike_raise_the_limit() -> None:
    """Where random maps reach 0.65, a similarity of 0.6 says nothing against a method."""
    assert judged(row("gradient", 0.6, 0.55, 0.63), row("random", 0.5, 0.35, 0.65))[0] == "sensitive"


def test_a_method_like_the_edge_detector_is_flagged() -> None:
    """An interval that reaches Sobel's is said to."""
    assert "no more sensitive than sobel" in judged(row("gradient", 0.99, 0.98, 1.0), row("sobel", 1, 1, 1))[1]
    assert "sobel" not in judged(row("gradient", 0.9, 0.88, 0.92), row("sobel", 1, 1, 1))[1]


def test_a_method_that_does_not_repeat_itself_is_not_judged() -> None:
    """Step 0 below 1 means that the difference is not the weights'."""
    word, reason = judged(row("gradient", 0.2, 0.1, 0.3), start=0.8)
    assert word == "inconclusive"
    assert "not repeatable" in reason


def test_the_worst_similarity_counts() -> None:
    """Insensitive by the signed map is insensitive, however much |map| changed."""
    signed = dataclasses.replace(row("gradient", 0.9, 0.85, 0.95), measure="spearman")
    word, reason = judged(row("gradient", 0.2, 0.1, 0.3), signed)
    assert word == "insensitive"
    assert reason.startswith("spearman 0.90")


def test_elements_are_arrays() -> None:
    """Reports keep the first items' maps in the input's shape, for figures."""
    report = cnn().audit(pictures(6), methods=["gradient"])
    shown: dict[str, Array] = report.maps
    assert {name: values.shape for name, values in shown.items()} == dict.fromkeys(("gradient", "random", "sobel"), (4, 2, 8, 8))
