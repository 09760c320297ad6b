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
    """Once the output's shape is known, the explained graph alone is run; the arg-max still takes a forward pass."""
    model, x = explainsvc.load(models.cnn()), numbers(3, 2, 8, 8)
    first = model.explain({"x": x}, "lrp_epsilon", [0, 1, 2])
    runs.clear()
    second = model.explain({"x": x}, "lrp_epsilon", [0, 1, 2])
    assert len(runs) == 1
    np.testing.assert_array_equal(first.values["x"], second.values["x"])
    np.testing.assert_array_equal(first.output_value, second.output_value)
    runs.clear()
    model.explain({"x": x}, "lrp_epsilon")
    assert len(runs) == 2


def test_an_output_whose_shape_depends_on_values_is_not_taken_for_known() -> None:
    """y keeps the positive elements of x: two of them, then one, then none at this index."""
    graph = "g (float[3] x) => (float[M] y) { p = Greater (x, zero)  y = Compress (x, p) }"
    model = explainsvc.load(models.build(graph, {"zero": np.zeros(1, np.float32)}))
    for x, expected in ([[1, 2, -1], [0, 1, 0]], [[-1, 3, 4], [0, 0, 1]]):
        found = model.explain({"x": np.array(x, np.float32)}, "gradient", {"output": "y", "index": (1,)})
        np.testing.assert_array_equal(found.values["x"], expected)
    with pytest.raises(TargetOutOfRange):
        model.explain({"x": np.array([-1, 3, -4], np.float32)}, "gradient", {"output": "y", "index": (1,)})
