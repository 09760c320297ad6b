"""tree_shap: the Shapley values of the onnxruntime model, over all coalitions, for every kind of tree and of table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import explainsvc
from explainsvc.errors import ExplainsvcError, MethodNotApplicable
from explainsvc.trees import Ensemble, read_ensemble
from tests import forests, models
from tests.forests import halves, new_attributes, old_attributes, tree
from tests.methods.games import by_coalitions, game_of
from tests.models import Array

ML = "ai.onnx.ml"


def forest(seed: int, features: int, outputs: int, count: int = 4) -> list[forests.Tree]:
    """Trees of depths 1 to ``count``."""
    rng = np.random.default_rng(seed)
    return [tree(rng, features, range(outputs), depth) for depth in range(1, count + 1)]


def regressor(**options: Any) -> Any:
    """x [N, 5] → trees → y [N, 2]."""
    attributes = old_attributes(forest(7, 5, 2), "target") | {"n_targets": 2}
    return forests.model("TreeEnsembleRegressor", attributes, 5, **options)


def agree(proto: Any, feeds: dict[str, Array], rows: Any, target: Any, **options: Any) -> Any:
    """Its values are those of all coalitions of the model itself, asked by onnxruntime."""
    model = explainsvc.load(proto)
    found = model.explain(feeds, "tree_shap", target=target, background=rows, **options)
    expected = model.explain(feeds, "exact_shap", target=target, background=rows, **{"feature_mask": "element"} | options)
    for name, values in expected.values.items():
        np.testing.assert_allclose(found.values[name], values, atol=1e-5)
    np.testing.assert_allclose(found.baseline_value, expected.baseline_value, atol=1e-6)
    assert np.abs(found.residual).max() < 1e-5
    assert max(np.abs(v).max() for v in found.values.values()) > 0.05
    return found


def test_by_a_plain_loop_over_coalitions() -> None:
    """Without any code of the family: every coalition, one mixture at a time."""
    x, rows = halves(2, 5), halves(3, 5, seed=1)
    model = explainsvc.load(regressor())
    found = model.explain({"x": x}, "tree_shap", target=1, background=rows).values["x"]
    for item, values in zip(x, found, strict=True):
        mixed = [{"x": row[None]} for row in rows]
        v = game_of(model, {"x": item[None]}, mixed, {"x": np.arange(5)[None]}, lambda o: o["y"][0, 1])
        np.testing.assert_allclose(values, by_coalitions(v, 5), atol=1e-6)


OPERATORS: list[tuple[str, dict[str, Any]]] = [
    ("TreeEnsembleRegressor", {"n_targets": 2}),
    ("TreeEnsembleRegressor", {"n_targets": 2, "aggregate_function": "AVERAGE", "base_values": [0.5, -1.0]}),
    ("TreeEnsembleClassifier", {"classlabels_int64s": [0, 1, 2], "base_values": [0.5, 0.25, 1.0]}),
    ("TreeEnsemble", {"aggregate_function": 0}),
    ("TreeEnsemble", {"members": [[1, 3], [2]]}),
]


@pytest.mark.parametrize(("operator", "options"), OPERATORS, ids=str)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_operator(operator: str, options: dict[str, Any], seed: int) -> None:
    """All comparisons on inputs that hit the thresholds, several targets, items and rows."""
    width = len(options.get("classlabels_int64s", "ab"))
    made = forest(seed, 5, 1 if operator == "TreeEnsemble" else width)
    if operator == "TreeEnsemble":
        attributes = new_attributes(made, 1, options.get("members", ())) | {k: v for k, v in options.items() if k != "members"}
    else:
        attributes = old_attributes(made, "class" if "Classifier" in operator else "target") | options
    x, rows = (2 * halves(n, 5, seed=seed + n) for n in (3, 4))
    agree(forests.model(operator, attributes, 5), {"x": x}, rows, 0 if operator == "TreeEnsemble" else [0, 1, 1])


@pytest.mark.parametrize("positive", [True, False])
def test_binary_classifiers_with_one_column(positive: bool) -> None:
    """Both columns of (1 − s, s) and (−s, s)."""
    made = forest(5, 4, 1)
    for one in made:
        one.leaves = {n: {0: abs(leaf[0]) if positive else leaf[0]} for n, leaf in one.leaves.items()}
    proto = forests.model("TreeEnsembleClassifier", old_attributes(made, "class") | {"classlabels_int64s": [0, 1]}, 4)
    agree(proto, {"x": halves(2, 4)}, halves(3, 4, seed=2), [0, 1])


def test_missing_values() -> None:
    """NaN goes the way that its node says; all coalitions of the tables, since no NaN passes the model's edge."""
    from explainsvc.methods._tree_paths import item_values

    table = _tables(regressor())
    x, rows = halves(1, 5), halves(3, 5, seed=1)
    x[0, [0, 2]], rows[:, [1, 2]] = np.nan, np.nan
    found = item_values(table, np.arange(5), x[0], rows, np.array([1.0, -2]))

    def v(members: frozenset[int]) -> float:
        mixed = np.where(np.isin(np.arange(5), list(members)), x, rows)
        return float((table.outputs(mixed) @ [1, -2]).mean())

    np.testing.assert_allclose(found, by_coalitions(v, 5), atol=1e-12)
    assert np.abs(found).max() > 0.05


def _tables(proto: Any) -> Ensemble:
    import onnx_ir as ir

    return read_ensemble(next(n for n in ir.from_proto(proto).graph if n.op_type.startswith("TreeEnsemble")))


def test_a_category_that_is_not_explained() -> None:
    """Strings in one-hot columns stay those of the item in every mixture."""
    before = [
        helper.make_node("OneHotEncoder", ["word"], ["hot"], domain=ML, cats_strings=["a", "b", "c"], zeros=1),
        helper.make_node("Reshape", ["hot", "flat"], ["columns"]),
        helper.make_node("Concat", ["columns", "x"], ["table"], axis=1),
    ]
    words = helper.make_tensor_value_info("word", TensorProto.STRING, ["N", 1])
    inputs = [words, helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])]
    attributes = old_attributes(forest(6, 6, 2, count=6), "target") | {"n_targets": 2}
    flat = numpy_helper.from_array(np.array([-1, 3]), "flat")
    proto = forests.model("TreeEnsembleRegressor", attributes, 6, before, initializers=[flat], inputs=inputs)
    agree(proto, {"word": np.array([["a"], ["c"], ["z"]], object), "x": halves(3, 3)}, halves(4, 3, seed=1), 1)


def test_groups_of_columns() -> None:
    """A feature of several columns meets a leaf's conditions only when all of them do."""
    found = agree(regressor(), {"x": halves(3, 5)}, halves(4, 5, seed=1), 1, feature_mask=[0, 1, 0, 2, 1])
    np.testing.assert_array_equal(found.values["x"][:, 0], found.values["x"][:, 2])


def test_the_one_baseline_stands_for_rows() -> None:
    """Without background the baseline is the only row, as in the whole family."""
    proto, x = regressor(), halves(2, 5)
    model = explainsvc.load(proto)
    one = model.explain({"x": x}, "tree_shap", target=0, baseline=-0.5)
    rows = model.explain({"x": x}, "tree_shap", target=0, background=np.full((1, 5), -0.5))
    np.testing.assert_array_equal(one.values["x"], rows.values["x"])


def test_a_pipeline_of_several_inputs() -> None:
    """a [N, 2] scaled, b float [N, 1] cast to integers, a category in one-hot columns, an input that is not explained."""
    before = [
        helper.make_node("Scaler", ["a"], ["scaled"], domain=ML, offset=[0.25, -0.5], scale=[2.0, 0.5]),
        helper.make_node("Cast", ["b"], ["whole"], to=TensorProto.INT64),
        helper.make_node("OneHotEncoder", ["whole"], ["hot"], domain=ML, cats_int64s=[0, 1, 2], zeros=1),
        helper.make_node("Reshape", ["hot", "flat"], ["hot2"]),
        helper.make_node("Imputer", ["c"], ["known"], domain=ML, imputed_value_floats=[0.5], replaced_value_float=1.5),
        helper.make_node("Concat", ["scaled", "hot2"], ["left"], axis=1),
        helper.make_node("FeatureVectorizer", ["left", "known", "d"], ["wide"], domain=ML, inputdimensions=[5, 1, 1]),
        helper.make_node("Identity", ["wide"], ["table"]),
    ]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 2 if n == "a" else 1]) for n in "abcd"]
    attributes = old_attributes(forest(4, 7, 2, count=6), "target") | {"n_targets": 2}
    flat = numpy_helper.from_array(np.array([-1, 3]), "flat")
    proto = forests.model("TreeEnsembleRegressor", attributes, 7, before, initializers=[flat], inputs=inputs)
    feeds = {n: halves(3, 2 if n == "a" else 1, seed=ord(n)) for n in "abcd"}
    feeds["b"] = np.array([[0.0], [2.0], [1.0]], np.float32)
    rows = {n: halves(4, 2 if n == "a" else 1, seed=1 + ord(n)) for n in "abcd"}
    rows["b"] = np.array([[1.0], [0.0], [2.0], [5.0]], np.float32)
    agree(proto, feeds, rows, 1)
    model = explainsvc.load(proto)
    some = {n: rows[n] for n in "ab"}
    found, expected = (
        model.explain(feeds, method, target=1, inputs=["a", "b"], background=some, feature_mask="element")
        for method in ("tree_shap", "exact_shap")
    )
    for name in "ab":
        np.testing.assert_allclose(found.values[name], expected.values[name], atol=1e-5)


def test_a_value_affine_in_the_sums() -> None:
    """Differences, scales and biases behind the trees are followed; a general seed too."""
    after = [
        helper.make_node("Gemm", ["sums", "w", "b"], ["mixed"]),
        helper.make_node("Mul", ["mixed", "half"], ["y"]),
    ]
    arrays = {"w": np.array([[1, -2, 0.5], [3, 1, -1]]), "b": np.array([0.5, 1, 2]), "half": np.array([0.5])}
    tensors = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    proto = regressor(after=after, initializers=tensors)
    x, rows = halves(2, 5), halves(3, 5, seed=1)
    agree(proto, {"x": x}, rows, [2, 0])
    agree(proto, {"x": x}, rows, {"output": "y", "seed": [[1, -2, 0.5], [0, 1, 1]]})


def test_double_and_integer_inputs() -> None:
    """Comparisons are made in the precision that onnxruntime compares in."""
    made = forest(9, 4, 3)
    double = old_attributes(made, "target", double=True) | {"n_targets": 3}
    x, rows = halves(2, 4), halves(3, 4, seed=1)
    proto = forests.model("TreeEnsembleRegressor", double, 4, kind=TensorProto.DOUBLE)
    agree(proto, {"x": x.astype(np.float64)}, rows.astype(np.float64), 0)
    whole = old_attributes(made, "class") | {"classlabels_int64s": [0, 1, 2]}
    proto = forests.model("TreeEnsembleClassifier", whole, 4, kind=TensorProto.INT64)
    agree(proto, {"x": (2 * x).astype(np.int64)}, (2 * rows).astype(np.int64), 0)


def test_thresholds_in_float32() -> None:
    """x = float32(0.1) is not above float32(0.1), although it is above 0.1: splits that float64 would decide otherwise."""
    stump = forests.Tree([(0, "BRANCH_LEQ", 0.1, 1, 2, 0), None, None], {1: {0: 1.0}, 2: {0: 0.0}})
    proto = forests.model("TreeEnsembleRegressor", old_attributes([stump], "target") | {"n_targets": 1}, 1)
    found = explainsvc.load(proto).explain({"x": np.array([[0.1]], np.float32)}, "tree_shap", baseline=1.0)
    np.testing.assert_array_equal(found.values["x"], [[1.0]])


def test_many_rows_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few trees are gone down together, the values stay."""
    from explainsvc.methods import _tree_paths

    model, x, rows = explainsvc.load(regressor()), halves(2, 5), halves(50, 5, seed=1)
    whole = model.explain({"x": x}, "tree_shap", target=1, background=rows).values["x"]
    monkeypatch.setattr(_tree_paths, "AT_ONCE", 1)
    np.testing.assert_allclose(model.explain({"x": x}, "tree_shap", target=1, background=rows).values["x"], whole, atol=1e-6)


def transformed(operator: str, attributes: dict[str, Any]) -> Any:
    """A node with a transform inside."""
    return forests.model(operator, attributes, 5)


UNFIT: dict[str, tuple[Any, str]] = {
    "logistic": (transformed("TreeEnsembleClassifier", old_attributes(forest(7, 5, 3), "class")
                             | {"classlabels_int64s": [0, 1, 2], "post_transform": "LOGISTIC"}), "LOGISTIC.*kernel_shap"),
    "softmax behind": (regressor(after=[helper.make_node("Softmax", ["sums"], ["y"])]), "Softmax"),
    "past the trees": (regressor(after=[
        helper.make_node("ReduceSum", ["x"], ["all"], keepdims=1), helper.make_node("Add", ["sums", "all"], ["y"]),
    ]), "past the trees"),
    "mixed columns": (regressor(before=[helper.make_node("Normalizer", ["x"], ["table"], domain=ML, norm="L2")]), "Normalizer"),
    "no trees": (models.mlp(), "0 tree ensembles"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNFIT)
def test_what_is_no_sum_over_leaves_of_input_columns_is_refused(case: str) -> None:
    """A transform inside or behind, a way past the trees, columns of several elements, no trees: by node, with what to do."""
    proto, words = UNFIT[case]
    model = explainsvc.load(proto)
    x = halves(2, 6 if case == "no trees" else 5)
    with pytest.raises(MethodNotApplicable, match=words) as caught:
        model.explain({"x": x}, "tree_shap", target=0)
    assert "kernel_shap" in str(caught.value)


def test_tables_that_do_not_reproduce_the_model_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a comparison were read wrongly, the check against onnxruntime would say so instead of a wrong map."""
    from explainsvc import trees

    monkeypatch.setitem(trees.COMPARE, "BRANCH_LT", np.less_equal)
    with pytest.raises(ExplainsvcError, match="off by"):
        explainsvc.load(regressor()).explain({"x": halves(20, 5)}, "tree_shap", target=0, background=halves(20, 5, seed=1))
