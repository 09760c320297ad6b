"""Rows: If, Scan and Loop with small bodies that capture values from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.fuzz.pointwise import Row
from tests.fuzz.sketch import Sketch, value_info

_POINTWISE = ("Tanh", "Sigmoid", "Sin", "Relu", "Neg", "Abs", "Identity")
FLOAT = np.float32


def _chain(s: Sketch, start: str, others: Sequence[str]) -> tuple[list[onnx.NodeProto], str]:
    """One to three nodes inside a body: pointwise functions, and products with one of the others."""
    nodes, at = [], start
    for _ in range(s.integer(1, 3)):
        name = s.name()
        if others and s.flag():
            nodes.append(helper.make_node(s.one(("Mul", "Add", "Sub")), [at, s.one(others)], [name]))
        else:
            nodes.append(helper.make_node(s.one(_POINTWISE), [at], [name]))
        at = name
    return nodes, at


def _if(s: Sketch) -> None:
    x = s.pick()
    others = [x, s.one(s.live)]
    others = [n for n in others if s.shape(n) in (s.shape(x), ())]
    if s.flag():
        condition = s.constant(np.array(s.flag()))
    else:
        total = s.node("ReduceSum", [x], keepdims=0)[0]
        condition = s.node("Greater", [total, s.scalar(0.1)])[0]
    branches = {}
    for name in ("then_branch", "else_branch"):
        nodes, end = _chain(s, x, others)
        branches[name] = helper.make_graph(nodes, name, [], [value_info(end, FLOAT, None if s.flag() else s.shape(x))])
    s.node("If", [condition], captured=others, **branches)


def _scan(s: Sketch) -> None:
    """A state that every element of the scanned axis changes; the states are stacked."""
    x = s.ranked(1, 3)
    axis = s.integer(0, len(s.shape(x)) - 1)
    item = tuple(d for a, d in enumerate(s.shape(x)) if a != axis)
    state, element = s.name(), s.name()
    outside = [n for n in s.live if s.shape(n) in (item, ())][-1:]
    nodes, new = _chain(s, state, [element, *outside])
    more, result = _chain(s, new, [element])
    body = helper.make_graph(
        [*nodes, *more], "body", [value_info(n, FLOAT, item) for n in (state, element)],
        [value_info(n, FLOAT, item) for n in (new, result)],
    )  # fmt: skip
    place = s.integer(0, len(item))
    given = {"scan_input_axes": [axis], "scan_input_directions": [s.integer(0, 1)], "scan_output_axes": [place],
             "scan_output_directions": [s.integer(0, 1)]}  # fmt: skip
    s.node("Scan", [s.either(*item), x], 2, captured=outside, body=body, num_scan_inputs=1, **given)


def _loop(s: Sketch) -> None:
    """So many steps, or until the counter says no; a state is carried, and its values are stacked."""
    x = s.pick()
    shape = s.shape(x)
    trips = s.integer(1, 3)
    step, before, state, going = s.name(), s.name(), s.name(), s.name()
    outside = [n for n in s.live if s.shape(n) in (shape, ())][-1:]
    nodes, new = _chain(s, state, [state, *outside])
    limit, result = s.name(), s.name()
    nodes += [
        helper.make_node("Constant", [], [limit], value=numpy_helper.from_array(np.array(trips - 1, np.int64))),
        helper.make_node("Less", [step, limit], [going]) if s.flag() else helper.make_node("Identity", [before], [going]),
        helper.make_node("Identity", [new], [result]),
    ]
    inputs = [value_info(step, np.int64, []), value_info(before, np.bool_, []), value_info(state, FLOAT, shape)]
    outputs: list[Any] = [value_info(going, np.bool_, []), value_info(new, FLOAT, shape), value_info(result, FLOAT, shape)]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    count, first = s.constant(np.array(trips, np.int64)), s.constant(np.array(True))
    s.node("Loop", [count, first, x], 2, captured=outside, body=body)


CONTROL: dict[str, Row] = {"If": _if, "Scan": _scan, "Loop": _loop}
