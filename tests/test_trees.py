"""Node tables: read as onnxruntime reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto

from explainsvc.errors import MethodNotApplicable
from explainsvc.trees import MODES, OPERATORS, Ensemble, read_ensemble
from tests import forests
from tests.forests import halves, new_attributes, old_attributes, tree
from tests.models import Array

OLD: list[tuple[str, dict[str, Any]]] = [
    ("TreeEnsembleRegressor", {"n_targets": 2}),
    ("TreeEnsembleRegressor", {"n_targets": 2, "aggregate_function": "AVERAGE", "base_values": [0.5, -1.0]}),
    ("TreeEnsembleRegressor", {"n_targets": 1, "base_values": [0.25]}),
    ("TreeEnsembleRegressor", {"n_targets": 1, "post_transform": "LOGISTIC"}),
    ("TreeEnsembleRegressor", {"n_targets": 1, "post_transform": "SOFTMAX", "aggregate_function": "AVERAGE"}),
    ("TreeEnsembleClassifier", {"classlabels_int64s": [0, 1, 2]}),
    ("TreeEnsembleClassifier", {"classlabels_strings": ["a", "b", "c"], "base_values": [0.1, 0.2, 0.3]}),
    ("TreeEnsembleClassifier", {"classlabels_int64s": [0, 1]}),
]


def trees_of(proto: Any) -> Ensemble:
    """The tables of a model's only ensemble."""
    return read_ensemble(next(node for node in ir.from_proto(proto).graph if node.op_type in OPERATORS))


def by_onnxruntime(proto: Any, x: Array) -> Array:
    """What it answers for y."""
    return ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(["y"], {"x": x})[0]


def with_missing(x: Array) -> Array:
    """Every third number gone."""
    x = x.copy()
    x.reshape(-1)[::3] = np.nan
    return x


@pytest.mark.parametrize(("operator", "options"), OLD, ids=str)
@pytest.mark.parametrize("double", [False, True], ids=["float", "double"])
def test_regressors_and_classifiers(operator: str, options: dict[str, Any], double: bool) -> None:
    """All comparisons, missing values, base values, sums and averages: the sums that onnxruntime computes, on 200 rows."""
    rng = np.random.default_rng(1)
    kind = "target" if operator.endswith("Regressor") else "class"
    width = options.get("n_targets") or len(options.get("classlabels_int64s", "abc"))
    made = [tree(rng, 5, range(width), depth) for depth in (0, 1, 3, 4, 5)]
    if double:
        options = {f"{k}_as_tensor" if k == "base_values" else k: _as_tensor(k, v) for k, v in options.items()}
    attributes = old_attributes(made, kind, double) | options
    dtype = TensorProto.DOUBLE if double else TensorProto.FLOAT
    proto = forests.model(operator, attributes, 5, kind=dtype)
    x = halves(200, 5).astype(np.float64 if double else np.float32)
    for rows in (x, with_missing(x)):
        expected = by_onnxruntime(proto, rows)
        np.testing.assert_allclose(trees_of(proto).outputs(rows), expected.reshape(200, -1), atol=1e-5)


def _as_tensor(name: str, value: Any) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array(value, np.float64), name) if name == "base_values" else value


def one_column(column: int, sign: int, base: Any) -> Any:
    """A classifier of two classes with votes for one of them."""
    rng = np.random.default_rng(2)
    made = [tree(rng, 3, [column], depth) for depth in (2, 3)]
    for one in made:
        one.leaves = {n: {k: abs(w) * (sign if n % 2 else 1) for k, w in leaf.items()} for n, leaf in one.leaves.items()}
    options = {"classlabels_int64s": [0, 1]} | ({} if base is None else {"base_values": base})
    return forests.model("TreeEnsembleClassifier", old_attributes(made, "class") | options, 3)


@pytest.mark.parametrize(("column", "base"), [(0, None), (0, [0.3]), (1, None)], ids=str)
@pytest.mark.parametrize("sign", [1, -1], ids=["positive", "mixed"])
def test_binary_classifiers_with_one_column_of_votes(column: int, base: Any, sign: int) -> None:
    """Votes for the first class: (1 − s, s) where none is negative, else (−s, s); for the second (0, s)."""
    proto, x = one_column(column, sign, base), halves(100, 3)
    np.testing.assert_allclose(trees_of(proto).outputs(x), by_onnxruntime(proto, x), atol=1e-5)


@pytest.mark.parametrize(("column", "base"), [(0, [0.3, 0.8]), (1, [0.3]), (1, [0.3, 0.8])], ids=str)
def test_base_values_that_are_not_just_added_are_refused(column: int, base: Any) -> None:
    """onnxruntime drops or moves them: the plain sum would be another model."""
    proto, x = one_column(column, 1, base), halves(100, 3)
    plain = trees_of(one_column(column, 1, None)).outputs(x)
    assert np.abs(by_onnxruntime(proto, x) - (plain + base)).max() > 0.1
    with pytest.raises(MethodNotApplicable, match="base values"):
        trees_of(proto)


@pytest.mark.parametrize("aggregate", [0, 1], ids=["average", "sum"])
@pytest.mark.parametrize("members", [(), ([2, 1], [3], [1, 3, 20])], ids=["plain", "members"])
def test_the_joint_operator(aggregate: int, members: Any) -> None:
    """TreeEnsemble of ai.onnx.ml 5, with sets of members."""
    rng = np.random.default_rng(3)
    made = [tree(rng, 4, [k % 2], depth) for k, depth in enumerate((2, 3, 4, 5))]
    proto = forests.model("TreeEnsemble", new_attributes(made, 2, members) | {"aggregate_function": aggregate}, 4)
    ensemble = trees_of(proto)
    assert ensemble.nodes.modes.count("BRANCH_MEMBER") == len(members)
    x = halves(200, 4) * 2
    np.testing.assert_allclose(ensemble.outputs(x), by_onnxruntime(proto, x), atol=1e-5)


def test_every_comparison_is_made() -> None:
    """Each mode on three values, by hand."""
    expected = {"BRANCH_LEQ": [1, 1, 0], "BRANCH_LT": [1, 0, 0], "BRANCH_GTE": [0, 1, 1], "BRANCH_GT": [0, 0, 1],
                "BRANCH_EQ": [0, 1, 0], "BRANCH_NEQ": [1, 0, 1]}  # fmt: skip
    assert {*expected, "BRANCH_MEMBER"} == set(MODES)
    for mode, held in expected.items():
        proto = forests.model("TreeEnsembleRegressor", _stump(mode), 1)
        x = np.array([[-1], [0.5], [1]], np.float32)
        np.testing.assert_array_equal(trees_of(proto).outputs(x)[:, 0], held)
        np.testing.assert_array_equal(by_onnxruntime(proto, x)[:, 0], held)


def _stump(mode: str) -> dict[str, Any]:
    """x ∘ 0.5 ? 1 : 0."""
    stump = forests.Tree([(0, mode, 0.5, 1, 2, 0), None, None], {1: {0: 1.0}, 2: {0: 0.0}})
    return old_attributes([stump], "target") | {"n_targets": 1}


@pytest.mark.parametrize("options", [
    {"n_targets": 2, "post_transform": "LOGISTIC"}, {"n_targets": 2, "aggregate_function": "MAX"},
    {"n_targets": 1, "post_transform": "PROBIT"}, {"n_targets": 1, "aggregate_function": "MIN"},
], ids=str)  # fmt: skip
def test_what_is_no_sum_over_leaves_is_refused(options: dict[str, Any]) -> None:
    """Extremes over trees, and transforms inside the node, by its name and with what to do."""
    made = [tree(np.random.default_rng(4), 3, range(options["n_targets"]), 2)]
    proto = forests.model("TreeEnsembleRegressor", old_attributes(made, "target") | options, 3)
    with pytest.raises(MethodNotApplicable, match=r"forest.*kernel_shap"):
        trees_of(proto)
