"""What ``make bench`` makes of its lines; that it measures is shown by ``make bench ARGS=--quick``."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import explainsvc
from benchmarks import page
from benchmarks.__main__ import merged
from benchmarks.chains import chain
from benchmarks.groups import GROUPS
from benchmarks.networks import SHAPES
from benchmarks.perturbation import WINDOWS
from benchmarks.timing import rotate

LINE = {"batch": 1, "failed": {}, "machine": "a machine"}
CONTEST: dict[str, Any] = LINE | {
    "group": "gradients", "work": "gradient", "network": "resnet18", "unit": "forward", "judged": "explain", "target": 2.2,
    "ours": ["forward", "explain"], "seconds": {"forward": 0.01, "explain": 0.021, "captum": 0.03}, "rounds": 3,
    "ratio": {"explain": 2.1, "captum": 3.0}, "fastest": {"explain": 2.0, "captum": 2.9}, "deviation": {"captum": 1e-6},
    "versions": {"captum": "0.9.0"},
}  # fmt: skip
VALUES: dict[str, Any] = LINE | {
    "group": "memory", "work": "gradient", "network": "resnet50", "batch": 8, "kind": "MB", "judged": "again", "target": 400,
    "ours": ["again"], "values": {"again": 500.0, "captum": 800.0}, "failed": {"zennit": "no memory"},
}  # fmt: skip
CURVE = {"group": "growth", "work": "depth", "kind": "curve", "points": [{"at": 10, "values": {"ms": 1.0}}], "machine": "it"}
CRASHED = LINE | {"group": "first", "work": "gradient", "network": "vgg16", "crashed": -9}


def test_the_page_tells_every_line() -> None:
    """A contest, values, a curve, a peer that failed and a line that crashed; what was written by hand stays."""
    found = page.page([CONTEST, VALUES, CRASHED, CURVE], f"earlier figures\n\n{page.BY_HAND}\n\n## The service\n")
    assert "| **explain 2.10 (2.00), 21 ms** | captum 3.00 (2.90), 30 ms | ≤ 2.2 | yes | captum 1e-06 | 3 |" in found
    assert "a machine; peers: captum 0.9.0\n" in found
    assert "| **again: 500 MB** | captum: 800 MB | ≤ 400 | no |" in found
    assert "gradient, resnet50, batch 8: zennit: no memory" in found
    assert "gradient, vgg16, batch 1: the measurement ended with exit code -9" in found
    assert "| depth | ms |\n| --- | --- |\n| 10 | 1 |" in found
    assert found.endswith(f"{page.BY_HAND}\n\n## The service\n")
    assert "earlier" not in found


def test_lines_are_kept() -> None:
    """A whole group replaces its lines, one line that of its name; the others stay, in the order of the groups."""
    other = CONTEST | {"batch": 8}
    assert merged([VALUES, CONTEST], "gradients", [other], replace=True) == [other, VALUES]
    assert merged([VALUES, CONTEST], "gradients", [other], replace=False) == [CONTEST, other, VALUES]
    faster = CONTEST | {"rounds": 9}
    assert merged([CONTEST, VALUES], "gradients", [faster], replace=False) == [faster, VALUES]


def test_contestants_take_turns() -> None:
    """A B A B after a warm-up, each with the seconds that it says."""
    order: list[str] = []

    def contestant(name: str, seconds: float) -> Any:
        def run() -> float:
            order.append(name)
            return seconds

        return run

    times = rotate({"a": contestant("a", 1.0), "b": contestant("b", 2.0)}, budget=0, fewest=2)
    assert "".join(order) == "abab" + "ab"
    assert times.seconds == {"a": [1.0, 1.0], "b": [2.0, 2.0]}
    assert times.ratio("b", "a") == 2


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", GROUPS)
def test_lines_are_distinct_and_of_known_networks(name: str, quick: bool) -> None:
    """No line hides another one, and each network can be exported."""
    specs = list(GROUPS[name].specs(quick))
    named = [page.name_of(spec) for spec in specs]
    assert len(set(named)) == len(named) > 0
    assert {spec["network"] for spec in specs if "peers" in spec} <= SHAPES.keys()


@pytest.mark.parametrize("nodes", [10, 30])
def test_a_chain_has_as_many_nodes(nodes: int) -> None:
    """Less the last Relu; and it can be explained."""
    data = chain(nodes, 16)
    assert len(onnx.load_from_string(data).graph.node) == nodes - 1
    found = explainsvc.load(data).explain({"x": np.ones((2, 16), np.float32)}, target=0)
    assert np.abs(found.values["x"]).min() > 0


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_end_at_the_border(name: str) -> None:
    """So that both sides cover the same: where a window does not, ours is moved inwards and captum's is cut."""
    window, stride = WINDOWS[name]
    assert (SHAPES[name][1] - window) % stride == 0
