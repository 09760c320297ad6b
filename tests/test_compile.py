"""Explained graphs as files: any onnxruntime runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import explainsvc
from explainsvc.methods import METHODS
from tests import models
from tests.methods.required import required
from tests.models import Array, numbers

OF_ATTENTION = {"attn_lrp", "cp_lrp"}
"""Refused on a network without any; ``methods/test_attn_lrp.py`` compiles them."""
GRAPHS = sorted(name for name, method in METHODS.items() if method.program is not None and name not in OF_ATTENTION)


def bare(path: Path | bytes, feeds: dict[str, Array]) -> dict[str, Array]:
    """All outputs by an onnxruntime session made without this package."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


@pytest.mark.parametrize("method", GRAPHS)
def test_a_saved_graph_gives_the_same_numbers(tmp_path: Path, method: str) -> None:
    """Saved, checked by onnx.checker, run by a bare session: the model's outputs and exactly our attributions."""
    model, x = explainsvc.load(models.cnn()), numbers(3, 2, 8, 8)
    expected = model.explain({"x": x}, method, target=[2, 0, 1], **required(method))
    path = tmp_path / "explained.onnx"
    model.compile(method, **required(method)).save(path)
    onnx.checker.check_model(str(path), full_check=True)
    feeds = {"x": x, "explain.seed": expected.target.seed, "explain.baseline.x": np.zeros_like(x)}
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = bare(str(path), {i.name: feeds[i.name] for i in session.get_inputs()})
    assert list(found) == ["y", "explain.x"]
    np.testing.assert_allclose(found["y"], model.predict({"x": x})["y"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["explain.x"], expected.values["x"], rtol=1e-5, atol=1e-7)


def test_the_explained_graph_names_its_inputs_and_outputs() -> None:
    """The original names stay; the seed has the target's shape, the explanation the input's."""
    graph = explainsvc.load(models.two_by_two()).compile("input_x_gradient", {"output": "p"}, inputs=["b"]).proto.graph
    assert [i.name for i in graph.input] == ["a", "b", "explain.seed"]
    assert [o.name for o in graph.output] == ["p", "q", "explain.b"]
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.output)}
    assert shapes["explain.seed"] == shapes["p"]
    assert shapes["explain.b"] == shapes["b"] == ["N", 2]


def test_metadata_records_how_it_was_made() -> None:
    """Method, parameters in force, digest of the source and the explained value."""
    model = explainsvc.load(models.cnn())
    proto = model.compile("lrp_epsilon_plus", epsilon=0.25, bias="ignored").proto
    metadata = {p.key: p.value for p in proto.metadata_props}
    assert metadata["explainsvc.method"] == "lrp_epsilon_plus"
    assert json.loads(metadata["explainsvc.parameters"]) == {"epsilon": 0.25, "bias": "ignored"}
    assert metadata["explainsvc.source_sha256"] == model.digest
    assert metadata["explainsvc.target"] == "y"
    assert json.loads(metadata["explainsvc.caveats"]) == []


def test_one_graph_serves_every_class() -> None:
    """The index is an input: the same file explains class 0 of one item and any functional of another."""
    model, x = explainsvc.load(models.mlp()), numbers(2, 6)
    raw = model.compile("gradient").proto.SerializeToString()
    seed = np.array([[1, 0, 0], [0.5, -2, 0]], np.float32)
    found = bare(raw, {"x": x, "explain.seed": seed})["explain.x"]
    expected = model.explain({"x": x}, target={"seed": seed}).values["x"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_an_inner_target_becomes_an_output() -> None:
    """Where the explained value is no output of the model, its value is given as explain.target."""
    model, x = explainsvc.load(models.mlp(end="Softmax")), numbers(2, 6)
    found = bare(
        model.compile("lrp_epsilon").proto.SerializeToString(), {"x": x, "explain.seed": np.eye(3, dtype=np.float32)[:2]}
    )
    assert list(found) == ["y", "explain.x", "explain.target"]
    logits = found["explain.target"]
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), found["y"], rtol=1e-5)


def test_forward_nodes_keep_their_names_and_ours_have_a_prefix() -> None:
    """In a viewer the model is recognised, and everything added is seen to be added."""
    proto = explainsvc.load(models.cnn(batchnorm=False)).compile("gradient").proto
    source = {node.name for node in models.cnn(batchnorm=False).graph.node}
    names = [node.name for node in proto.graph.node]
    assert source - {"bn1", "bn2"} <= set(names)
    assert [name for name in names if name not in source and not name.startswith("explain.")] == []
    assert len(set(names)) == len(names)


def test_compiling_does_not_change_the_model() -> None:
    """The prepared graph is the same before and after, so that the next method starts clean."""
    model = explainsvc.load(models.cnn())
    before = [node.name for node in model.graph]
    model.compile("lrp_epsilon_plus")
    assert [node.name for node in model.graph] == before


def test_an_explained_graph_can_be_differentiated_again() -> None:
    """The gradient of ∂S/∂x of Σ c x² + 3 x₀x₁ is its Hessian: known numbers."""
    first = explainsvc.load(models.quadratic()).compile("gradient").proto
    second = explainsvc.load(first)
    x, one = numbers(1, 4), np.ones((1, 1), np.float32)
    rows = []
    for k in range(4):
        target = {"output": "explain.x", "index": k}
        rows.append(second.explain({"x": x, "explain.seed": one}, target=target, inputs=["x"]).values["x"][0])
    hessian = np.diag([2, -4, 1, 6]).astype(float)
    hessian[0, 1] = hessian[1, 0] = 3
    np.testing.assert_allclose(np.array(rows), hessian, atol=1e-5)
