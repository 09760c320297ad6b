"""ai.onnx.ml: what onnxruntime computes is the definition, so the truth is a float32 difference through it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from explainsvc.autograd.differentiate import differentiate
from explainsvc.errors import NotDifferentiable
from tests.autograd.harness import Case, build, emitted
from tests.autograd.rows import normal

ML = "ai.onnx.ml"
STEP = 1e-2
TITANIC = Path(__file__).parents[3] / "shared" / "corpus" / "titanic-pipeline-sklearn" / "model.onnx"


def case(op_type: str, operands: list[Any], outputs: int = 1, output: int = 0, **attributes: Any) -> Case:
    """A row of the domain."""
    return Case(op_type, operands, attributes, domain=ML, outputs=outputs, output=output)


X = normal(3, 4)
WEIGHTS = [float(w) for w in normal(12).round(2)]
TRANSFORMS = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"]
IMPUTED = {"imputed_value_floats": [1.0, 2.0, 3.0, 4.0]}

ROWS = [
    case("Scaler", [X], scale=[2.0, -1.0, 0.5, 3.0], offset=[1.0, 0.0, -1.0, 2.0]),
    case("Scaler", [X], scale=[0.25], offset=[3.0]),
    case("Imputer", [np.where(X > 0.3, np.nan, X)], replaced_value_float=float("nan"), **IMPUTED),
    case("Imputer", [np.where(X > 0.3, -7.0, X)], replaced_value_float=-7.0, **IMPUTED),
    *(case("Normalizer", [rows], norm=norm) for norm in ("MAX", "L1", "L2") for rows in (X, X[0], -0.5 - np.abs(X))),
    case("ArrayFeatureExtractor", [X, np.array([[2, 0, 0]])]),
    case("ArrayFeatureExtractor", [X[0], np.array([1, 3])]),
    case("FeatureVectorizer", [X, normal(3, 2)], inputdimensions=[4, 2]),
    *(
        case("LinearRegressor", [X], coefficients=WEIGHTS, intercepts=[0.1, 0.2, 0.3], targets=3, post_transform=t)
        for t in TRANSFORMS
    ),
    case("LinearRegressor", [X], coefficients=WEIGHTS[:4], post_transform="LOGISTIC"),
    case("LinearRegressor", [X[0]], coefficients=WEIGHTS[:4], intercepts=[0.4], targets=1),
    case(
        "LinearRegressor",
        [np.array([[0.4, 0.5]])],
        coefficients=[0.5, 0.2, 0.3, 0.6],
        targets=2,
        post_transform="PROBIT",
    ),
    *(
        case(
            "LinearClassifier",
            [X],
            2,
            1,
            coefficients=WEIGHTS[: 4 * len(b)],
            intercepts=b,
            post_transform=t,
            classlabels_ints=labels,
        )
        for t in TRANSFORMS
        for b, labels in [([0.1, 0.2, 0.3], [0, 1, 2]), ([0.1, 0.2], [0, 1]), ([0.1], [0, 1])]
    ),
    case(
        "LinearClassifier",
        [X[0]],
        2,
        1,
        coefficients=WEIGHTS[:8],
        intercepts=[0.1, 0.2],
        classlabels_strings=["a", "b"],
    ),
]


def difference(row: Case, operand: int, seed: Any) -> Any:
    """Central differences of <seed, y> through onnxruntime, element by element, summed in float64."""
    session = ort.InferenceSession(build(row, np.float32).SerializeToString(), providers=["CPUExecutionProvider"])
    arrays = {f"x{i}": np.asarray(o) for i, o in enumerate(row.operands) if o is not None}
    feeds = {name: a.astype(np.float32) if a.dtype.kind == "f" else a for name, a in arrays.items()}
    x = feeds[f"x{operand}"]
    result = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * STEP
            (y,) = session.run([f"y{row.output}"], feeds | {f"x{operand}": moved})
            ends.append(float((y.astype(np.float64) * seed).sum()))
        result[index] = (ends[0] - ends[1]) / (2 * STEP)
    return result


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_gradient(row: Case, dynamic: bool) -> None:
    """The gradient is the slope of what onnxruntime computes."""
    _, gradients, seed = emitted(replace(row, dynamic=dynamic))
    for operand, gradient in gradients.items():
        expected = difference(row, operand, seed)
        at_marker = row.op_type == "Imputer" and not np.isnan(row.attributes["replaced_value_float"])
        if at_marker:  # the one value that is replaced is a jump: the slope there is that of the constant put in
            expected = np.where(np.asarray(row.operands[0]) == row.attributes["replaced_value_float"], 0.0, expected)
        np.testing.assert_allclose(gradient, expected, rtol=5e-3, atol=2e-3)


def test_tree_ensembles_are_refused() -> None:
    """Their derivative is zero almost everywhere, which answers no question: a refusal says so instead of zeros."""
    row = case(
        "TreeEnsembleRegressor", [X], n_targets=1, nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2],
        nodes_featureids=[1, 0, 0], nodes_values=[0.5, 0.0, 0.0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0], target_treeids=[0, 0], target_nodeids=[1, 2],
        target_ids=[0, 0], target_weights=[1.0, 2.0],
    )  # fmt: skip
    with pytest.raises(NotDifferentiable, match="TreeEnsembleRegressor"):
        differentiate(build(row, np.float32), ["x0"])


@pytest.mark.skipif(not TITANIC.exists(), reason="no corpus beside the checkout")
def test_titanic_pipeline() -> None:
    """A real scikit-learn pipeline: the slope of its probabilities along age and fare."""
    proto = onnx.version_converter.convert_version(onnx.load(TITANIC), 21)
    explained = differentiate(proto, ["age", "fare"], output="probabilities")
    session = ort.InferenceSession(explained.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {
        "pclass": np.array([[1], [3]], np.int64),
        "sex": np.array([["female"], ["male"]], object),
        "age": np.array([[30.0], [np.nan]], np.float32),
        "fare": np.array([[80.0], [8.0]], np.float32),
        "embarked": np.array([["S"], ["missing"]], object),
        "explain.seed": np.array([[1.0, 0.0], [0.0, 1.0]], np.float32),
    }
    age, fare = session.run(["explain.age", "explain.fare"], feeds)

    def slope(name: str) -> Any:
        ends = [session.run(["probabilities"], feeds | {name: feeds[name] + np.float32(s)})[0] for s in (1, -1)]
        return ((ends[0] - ends[1]).astype(np.float64) * feeds["explain.seed"]).sum(1, keepdims=True) / 2

    np.testing.assert_allclose(age, slope("age"), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(fare, slope("fare"), rtol=1e-3, atol=1e-6)
    assert age[1, 0] == 0.0, "an imputed age has no influence"
    assert age[0, 0] != 0.0
