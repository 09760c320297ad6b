"""eigen_cam, score_cam and ablation_cam: the papers' formulas by bare onnxruntime forwards and eigenvectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import explainsvc
from explainsvc.errors import MethodNotApplicable
from tests import models
from tests.methods.cams import activation, run, upsampled
from tests.models import Array, numbers

CNN = models.cnn(batchnorm=False)
X = numbers(2, 2, 8, 8)
FORWARD = ["eigen_cam", "score_cam", "ablation_cam"]


def explained(proto: onnx.ModelProto, method: str, x: Array = X, **options: Any) -> Array:
    """One channel's map for class 0."""
    return np.asarray(explainsvc.load(proto).explain({"x": x}, method, target=0, **options).values["x"][:, 0])


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("layer", ["r3", "a2"])
def test_eigen_cam_projects_on_the_first_eigenvector(layer: str, center: bool) -> None:
    """O v₁ with v₁ the eigenvector of OᵀO of the largest eigenvalue; its entry largest in magnitude is positive."""
    heats = []
    for item in activation(CNN, X, layer).astype(np.float64):
        matrix = item.reshape(len(item), -1).T
        matrix = matrix - matrix.mean(axis=0) if center else matrix
        heat = (matrix @ np.linalg.eigh(matrix.T @ matrix)[1][:, -1]).reshape(item.shape[1:])
        heats.append(heat * np.sign(heat.ravel()[np.abs(heat).argmax()]))
    found = explained(CNN, "eigen_cam", layer=layer, center=center)
    np.testing.assert_allclose(found, upsampled(np.stack(heats), 8, 8), rtol=1e-4, atol=1e-5)
    assert center or layer == "a2" or found.min() >= 0


def test_eigen_cam_says_that_it_knows_no_target() -> None:
    """The map of another class is the same, and a caveat says so."""
    model = explainsvc.load(CNN)
    first, second = (model.explain({"x": X}, "eigen_cam", target=t) for t in (0, 2))
    np.testing.assert_array_equal(first.values["x"], second.values["x"])
    assert any("every target" in caveat for caveat in first.caveats)


def score_cam(layer: str, relu: bool) -> Array:
    """Algorithm 1, one forward at a time."""
    a = activation(CNN, X, layer)
    heats = []
    for item, maps in zip(X, a, strict=True):
        up = upsampled(maps, 8, 8)
        low, high = up.min(axis=(1, 2), keepdims=True), up.max(axis=(1, 2), keepdims=True)
        masked = [(item * m)[None].astype(np.float32) for m in (up - low) / (high - low)]
        scores = np.array([run(CNN, {"x": x}, "y")[0][0, 0] for x in masked], np.float64)
        heats.append(np.einsum("k,khw->hw", np.exp(scores) / np.exp(scores).sum(), maps))
    heat = np.stack(heats)
    return upsampled(np.maximum(heat, 0) if relu else heat, 8, 8)


@pytest.mark.parametrize(("layer", "relu"), [("r1", True), ("a2", True), ("a2", False)])
def test_score_cam_is_algorithm_1(layer: str, relu: bool) -> None:
    """softmax over channels of S(x ⊙ H_k), H_k the channel upsampled and scaled to [0, 1]."""
    np.testing.assert_allclose(explained(CNN, "score_cam", layer=layer, relu=relu), score_cam(layer, relu), rtol=1e-4, atol=1e-5)


def test_a_constant_channel_gets_no_weight_by_score_cam() -> None:
    """A dead channel has no H_k: the map is that of the network without it, as if it had not been scored."""
    tensors = {"w": models.weights("w", 3, 2, 3, 3), "b": np.array([0.3, 0.1, -99], np.float32), "v": models.weights("v", 3, 3)}
    graph = """g (float[N, 2, 8, 8] x) => (float[N, 3] y) {
      c = Conv (x, w, b)  r = Relu (c)  m = GlobalAveragePool (r)  f = Flatten (m)  y = Gemm (f, v)
    }"""
    alive = {name: tensor[:2] for name, tensor in tensors.items()}
    both, fewer = (explained(models.build(graph, t), "score_cam", layer="r") for t in (tensors, alive))
    assert fewer.max() > 0
    np.testing.assert_allclose(both, fewer, rtol=1e-5)


def ablation_cam(layer: str, target: int, relu: bool, inputs: tuple[str, ...]) -> Array:
    """Every channel set to 0 in turn, in the network cut at the layer by onnx's own tool; 64-bit arithmetic around it."""
    cut = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(CNN)).extract_model(list(inputs), ["y"])
    feeds = {name: activation(CNN, X, name) for name in inputs}
    a = feeds[layer]
    whole = run(CNN, {"x": X}, "y")[0][:, target].astype(np.float64)
    weights = []
    for k in range(a.shape[1]):
        off = a * (np.arange(a.shape[1]) != k)[:, None, None].astype(np.float32)
        weights.append((whole - run(cut, feeds | {layer: off}, "y")[0][:, target]) / np.abs(whole))
    heat = np.einsum("kn,nkhw->nhw", np.array(weights), a)
    return upsampled(np.maximum(heat, 0) if relu else heat, 8, 8)


@pytest.mark.parametrize("target", [0, 1, 2])
@pytest.mark.parametrize(("layer", "inputs"), [("r3", ("r3",)), ("a2", ("a2",)), ("c2", ("c2", "r1"))], ids=str)
def test_ablation_cam_switches_channels_off(layer: str, inputs: tuple[str, ...], target: int) -> None:
    """w_k = (S − S_k) / |S|; what goes around the layer, as a skip connection does, stays as it is."""
    found = explainsvc.load(CNN).explain({"x": X}, "ablation_cam", target=target, layer=layer, relu=False).values["x"][:, 0]
    expected = ablation_cam(layer, target, False, inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_ablation_cam_of_a_zero_value_is_not_divided() -> None:
    """S = 0 has no relative drop: a caveat, and finite numbers."""
    found = explainsvc.load(CNN).explain({"x": X}, "ablation_cam", target={"seed": np.zeros((2, 3), np.float32)})
    assert np.isfinite(found.values["x"]).all()
    assert any("S is 0" in caveat for caveat in found.caveats)


def test_ablation_cam_needs_a_layer_before_the_target() -> None:
    """The target itself cannot be cut off from what it is computed from."""
    graph = "g (float[N, 2, 8, 8] x) => (float[N, 3, 8, 8] y) { y = Conv <pads = [1, 1, 1, 1]> (x, w) }"
    model = explainsvc.load(models.build(graph, {"w": models.weights("w", 3, 2, 3, 3)}))
    with pytest.raises(MethodNotApplicable, match=r"parameters\.layer"):
        model.explain({"x": X}, "ablation_cam", target=(0, 1, 1), layer="y")


@pytest.mark.parametrize("method", FORWARD)
@pytest.mark.parametrize("batch", ["1", "2", "N"])
def test_batches_do_not_change_the_map(method: str, batch: str) -> None:
    """Frozen or open, stacked or not: the same numbers."""
    proto = models.cnn(batchnorm=False, batch=batch)
    expected = explained(CNN, method)
    for options in ({}, {"batch_size": 1}, {"batch_size": 5}) if method != "eigen_cam" else ({},):
        np.testing.assert_allclose(explained(proto, method, **options), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", FORWARD[1:])
def test_progress_reaches_the_number_of_channels(method: str) -> None:
    """Each channel of the layer is counted."""
    seen: list[tuple[int, int, str]] = []
    explainsvc.load(CNN).explain({"x": X}, method, target=0, batch_size=4, progress=lambda *told: seen.append(told))
    assert seen[-1] == (5, 5, method)
    assert [done for done, _, _ in seen] == sorted({done for done, _, _ in seen})
