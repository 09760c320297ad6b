"""Random graphs: a few at every test run, always the same ones; ``make fuzz`` draws as many fresh ones as wanted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from tests.fuzz.check import Tally
from tests.fuzz.graphs import ROWS, Drawn, graphs
from tests.fuzz.run import QUIET, tried
from tests.fuzz.sketch import Sketch

GRAPHS = 150
TALLY = Tally()


@settings(max_examples=GRAPHS, derandomize=True, **QUIET)
@given(graphs())
def test_gradients_of_random_graphs(drawn: Drawn) -> None:
    """Through the public path every gradient equals differences in double precision, and what is refused has none."""
    tried(drawn, TALLY)


def test_most_graphs_are_compared() -> None:
    """Graphs without a truth, or not smooth where they were drawn, are the exception."""
    if TALLY.compared == 0:
        pytest.skip("the graphs were drawn in another process")
    assert TALLY.compared > 0.85 * TALLY.seen


@pytest.mark.parametrize("name", ROWS)
def test_every_row_fits_somewhere(name: str) -> None:
    """No row of the tables is one that onnxruntime always refuses."""
    assert any(_sketch(number).add(ROWS[name]) for number in range(30))


def _sketch(number: int) -> Sketch:
    s = Sketch(13 + number % 11, np.random.default_rng(number))
    for shape in ((2, 3), (1, 4, 3), ()):
        name = s.name()
        s.inputs[name] = s.values[name] = np.asarray(s.rng().uniform(-2, 2, shape), np.float32)
        s.live.append(name)
    return s
