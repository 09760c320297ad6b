"""Initializers that sessions share."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from explainsvc import sharing
from explainsvc.runtime import optimised_session
from tests.models import numbers

LARGE = 2**20


def resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def product(count: int, names: tuple[str, ...] = ("w",)) -> bytes:
    """x · w₁ · w₂ …, their numbers outside."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [count]) for name in ("x", "y"))
    between = ["x", *(f"x_{name}" for name in names[:-1]), "y"]
    nodes = [helper.make_node("Mul", [between[n], name], [between[n + 1]]) for n, name in enumerate(names)]
    outside = [sharing.outside(name, [count], 4 * count) for name in names]
    graph = helper.make_graph(nodes, "product", [x], [y], outside)
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


@pytest.fixture(params=["shared", "copied"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways; the second is that of an onnxruntime that does not share, or where no file can be made."""
    if request.param == "copied":
        monkeypatch.setattr(sharing, "_shared", lambda: False)
    return str(request.param)


def values(count: int, *names: str) -> dict[str, ort.OrtValue]:
    """Numbers that are not zero."""
    return {name: ort.OrtValue.ortvalue_from_numpy(numbers(count, seed=seed) + 3) for seed, name in enumerate(names)}


@pytest.mark.usefixtures("way")
def test_a_session_computes_with_what_it_is_given() -> None:
    """Tensors of several sizes, of which one is in the file's first page only; the file is gone by then."""
    for count in (64, 1024, LARGE):
        given, x = values(count, "v", "w"), numbers(count, seed=9)
        found = optimised_session(product(count, ("v", "w")), given).run({"x": x})["y"]
        np.testing.assert_array_equal(found, x * given["v"].numpy() * given["w"].numpy())


def test_nothing_is_copied_and_no_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten sessions of 16 MiB; copied, they take 160."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    given, data = values(4 * LARGE, "w"), product(4 * LARGE)
    assert sharing._shared()

    def grown(sessions: Callable[[], object]) -> float:
        before = resident()
        held = [sessions() for _ in range(10)]
        return (resident() - before) / len(held)

    assert grown(lambda: optimised_session(data, given)) < 2 * 2**20
    monkeypatch.setattr(sharing, "_shared", lambda: False)
    assert grown(lambda: optimised_session(data, given)) > 8 * 2**20
    assert not list(tmp_path.iterdir())


def test_where_no_file_can_be_made_numbers_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a sandbox."""

    def refused(**_: object) -> object:
        raise PermissionError

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refused)
    sharing._shared.cache_clear()
    try:
        assert not sharing._shared()
        x = numbers(8)
        given = values(8, "w")
        np.testing.assert_array_equal(optimised_session(product(8), given).run({"x": x})["y"], x * given["w"].numpy())
    finally:
        sharing._shared.cache_clear()


def test_an_onnxruntime_that_reads_the_file_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would compute with the file's zeros: such a way of sharing is not taken."""

    def read(options: ort.SessionOptions, given: dict[str, ort.OrtValue], _folder: str) -> None:
        zeros = {name: ort.OrtValue.ortvalue_from_numpy(np.zeros_like(value.numpy())) for name, value in given.items()}
        options.add_external_initializers(list(zeros), list(zeros.values()))

    monkeypatch.setattr(sharing, "_share", read)
    sharing._shared.cache_clear()
    try:
        assert not sharing._shared()
    finally:
        sharing._shared.cache_clear()


def test_outside_tensors_are_valid_onnx() -> None:
    """Of the type and shape that the graph declares."""
    model = onnx.ModelProto.FromString(product(16))
    (tensor,) = model.graph.initializer
    assert (tensor.data_type, list(tensor.dims), tensor.data_location) == (TensorProto.FLOAT, [16], TensorProto.EXTERNAL)
