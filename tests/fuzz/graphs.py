"""Graphs of three to twelve operators, as hypothesis draws them; each with a point at which it is differentiated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import assume
from hypothesis import strategies as st
from onnx import numpy_helper

from tests.fuzz.control import CONTROL
from tests.fuzz.layers import LAYERS
from tests.fuzz.moves import MOVES
from tests.fuzz.pointwise import POINTWISE, Row
from tests.fuzz.rarer import RARER
from tests.fuzz.sketch import Sketch, model_of, value_info

ROWS: dict[str, Row] = POINTWISE | LAYERS | MOVES | CONTROL | RARER
LEAST, MOST = 3, 12
OPSETS = range(13, 24)


@dataclass(frozen=True)
class Drawn:
    """A graph: the model in float32, the float inputs at the point, the values there, and which output is explained.

    ``double``: explained in double precision, where onnxruntime has all kernels for that.
    """

    proto: onnx.ModelProto
    feeds: dict[str, Any]
    values: dict[str, Any]
    kept: frozenset[str]
    target: str
    seed: int
    double: bool = False

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {list(a.shape)}" for name, a in self.feeds.items())
        return f"seed {self.seed}, target {self.target!r}, inputs at {shapes}\n{onnx.printer.to_text(self.proto)}"


SEEDS = st.integers(0, 2**24 - 1)


@st.composite
def graphs(draw: st.DrawFn) -> Drawn:
    """Any graph that onnxruntime runs.

    hypothesis draws one seed for the inputs and one an operator, and can take out operators to make a failure smaller. All
    other choices follow from these seeds: where it drew them itself, more than half of the graphs were alike.
    """
    seed = draw(SEEDS)
    s = Sketch(int(np.random.default_rng(seed).choice(OPSETS)), np.random.default_rng([seed, 1]))
    for _ in range(s.integer(1, 3)):
        shape = [s.one((1, 2, 3, 4, 5, 6)) for _ in range(s.integer(0, 4))]
        while np.prod(shape) > 48:
            shape[shape.index(max(shape))] //= 2
        name = s.name()
        s.inputs[name] = s.values[name] = np.asarray(s.rng().uniform(-2, 2, shape), np.float32)
        s.live.append(name)
    for place, row in enumerate(draw(st.lists(SEEDS, min_size=LEAST, max_size=MOST))):
        if len(s.nodes) < MOST:
            s.choices = np.random.default_rng([row, place])
            s.add(ROWS[s.one(sorted(ROWS))])
    s.choices = np.random.default_rng([seed, 3])
    return finished(s, seed)


def finished(s: Sketch, seed: int) -> Drawn:
    """The model of a sketch: the last value and perhaps others as outputs, some axes of its inputs symbolic."""
    made = [name for node in s.nodes for name in node.output if name in s.live]
    assume(len(made) > 0 and len(s.nodes) >= LEAST)
    names = list(dict.fromkeys([s.one(made[-3:]), *(s.one(made) for _ in range(s.integer(0, 2)))]))
    inputs = [value_info(n, np.float32, _declared(s, a)) for n, a in s.inputs.items()]
    outputs = [value_info(n, np.float32, _output(s, n)) for n in names]
    used = {n for node in s.nodes for n in reads_of(node)}
    tensors = [numpy_helper.from_array(a, n) for n, a in s.constants.items() if n in used]
    proto = model_of(s.nodes, inputs, outputs, tensors, s.opset)
    return Drawn(proto, dict(s.inputs), dict(s.values), frozenset(s.kept), s.one(names), seed, s.integer(0, 2) == 0)


def reads_of(node: onnx.NodeProto) -> list[str]:
    """What a node reads, within its subgraphs too (their own values among it)."""
    inner = [n for a in node.attribute if a.HasField("g") for sub in a.g.node for n in reads_of(sub)]
    return [n for n in (*node.input, *inner) if n]


def _declared(s: Sketch, array: Any) -> list[int | str]:
    """Static, an open batch, or any axes open; axes of one name have one length."""
    kind = s.one(("static", "static", "batch", "any"))
    open_axes = {"static": [], "batch": [0], "any": [a for a in range(array.ndim) if kind == "any" and s.flag()]}[kind]
    return [f"{s.one(('N', 'batch', 'axis'))}{d}" if axis in open_axes else d for axis, d in enumerate(array.shape)]


def _output(s: Sketch, name: str) -> list[int | str]:
    """Exporters write open axes where they do not know better."""
    return [f"out_{name}_{axis}" for axis, _ in enumerate(s.shape(name))]
