"""One explanation: what is run for it, and that nothing depends on what was run before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import TargetOutOfRange
from explainsvc.runtime import Session
from tests import models
from tests.models import numbers


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    """Every onnxruntime run, as it happens."""
    seen: list[Session] = []
    run = Session.run

    def counted(session: Session, *arguments: Any) -> Any:
        seen.append(session)
        return run(session, *arguments)

    monkeypatch.setattr(Session, "run", counted)
    return seen


def test_a_target_by_index_takes_one_run(runs: list[Session]) -> None:
    """Once the output's shape is known, the explained graph alone is run; a contrast with the arg-max takes a forward pass."""
    model, x = explainsvc.load(models.cnn()), numbers(3, 2, 8, 8)
    first = model.explain({"x": x}, "lrp_epsilon", [0, 1, 2])
    runs.clear()
    second = model.explain({"x": x}, "lrp_epsilon", [0, 1, 2])
    assert len(runs) == 1
    np.testing.assert_array_equal(first.values["x"], second.values["x"])
    np.testing.assert_array_equal(first.output_value, second.output_value)
    runs.clear()
    model.explain({"x": x}, "lrp_epsilon", {"against": 1})
    assert len(runs) == 2


@pytest.mark.parametrize("method", ["gradient", "lrp_epsilon", "guided_backprop", "grad_cam", "guided_grad_cam"])
def test_the_graph_finds_the_largest_element(runs: list[Session], method: str) -> None:
    """One run, and the numbers of the target that names it; the first of several largest ones, as numpy counts."""
    model, x = explainsvc.load(models.cnn()), numbers(3, 2, 8, 8)
    model.explain({"x": x}, method)
    runs.clear()
    found = model.explain({"x": x}, method)
    assert len(runs) == 1
    named = model.explain({"x": x}, method, [index for (index,) in found.target.index or ()])
    np.testing.assert_array_equal(model.predict({"x": x})["y"].argmax(axis=1), np.ravel(found.target.index))
    np.testing.assert_array_equal(found.values["x"], named.values["x"])
    np.testing.assert_array_equal(found.output_value, named.output_value)
    np.testing.assert_equal(found.residual, named.residual)
    assert (found.target.description, found.caveats) == (named.target.description, named.caveats)


LARGEST = {
    "the first of equals": (
        "g (float[N, 3] x) => (float[N, 3] y) { y = Mul (x, two) }",
        [[1, 3, 3], [2, 2, 1]],
        [[0, 2, 0], [2, 0, 0]],
    ),
    "one axis": ("g (float[3] x) => (float[3] y) { y = Mul (x, two) }", [-3, -1, -2], [0, 2, 0]),
    "one number an item": ("g (float[N] x) => (float[N] y) { y = Mul (x, two) }", [4, -5], [2, 2]),
    "infinite": ("g (float[N, 3] x) => (float[N, 3] y) { y = Add (x, masked) }", [[5, 1, 0]], [[0, 1, 0]]),
    "NaN": ("g (float[N, 2] x) => (float[N, 2] y) { r = Sqrt (x)  y = Mul (r, two) }", [[1, -1]], [[0, np.nan]]),
    "float64": ("g (double[N, 3] x) => (double[N, 3] y) { y = Add (x, x) }", [[1, 3, 3]], [[0, 2, 0]]),
    "float16": ("g (float16[N, 3] x) => (float16[N, 3] y) { y = Add (x, x) }", [[1, 3, 3]], [[0, 2, 0]]),
}


@pytest.mark.parametrize("name", LARGEST)
def test_what_is_largest(name: str) -> None:
    """The derivative where y is largest; what has a NaN is explained there, as numpy has it."""
    graph, x, expected = LARGEST[name]
    constants = {"two": np.array(2, np.float32), "masked": np.array([-np.inf, 0, 0], np.float32)}
    model = explainsvc.load(models.build(graph, {name: array for name, array in constants.items() if name in graph}))
    dtype = next(t.dtype for t in model.inputs)
    found = model.explain({"x": np.array(x, dtype)})
    values = model.predict({"x": np.array(x, dtype)})["y"]
    np.testing.assert_array_equal(found.values["x"], expected)
    largest = values.reshape(len(found.target.index or ()), -1).argmax(axis=1)
    assert [np.ravel_multi_index(i, values.shape[-len(i) :]) if i else 0 for i in found.target.index or ()] == list(largest)


def test_an_output_whose_shape_depends_on_values_is_not_taken_for_known() -> None:
    """y keeps the positive elements of x: two of them, then one, then none at this index."""
    graph = "g (float[3] x) => (float[M] y) { p = Greater (x, zero)  y = Compress (x, p) }"
    model = explainsvc.load(models.build(graph, {"zero": np.zeros(1, np.float32)}))
    for x, expected in ([[1, 2, -1], [0, 1, 0]], [[-1, 3, 4], [0, 0, 1]]):
        found = model.explain({"x": np.array(x, np.float32)}, "gradient", {"output": "y", "index": (1,)})
        np.testing.assert_array_equal(found.values["x"], expected)
    with pytest.raises(TargetOutOfRange):
        model.explain({"x": np.array([-1, 3, -4], np.float32)}, "gradient", {"output": "y", "index": (1,)})
