"""grad_cam and guided_grad_cam: the paper's formula in numpy, over channels-first and channels-last inputs."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import explainsvc
from explainsvc.errors import MethodNotApplicable
from tests import models
from tests.models import Array, numbers


def upsampled(heat: Array, height: int, width: int) -> Array:
    """[N, h, w] → [N, height, width] linearly between pixel centres, edges held."""

    def along(a: Array, size: int) -> Array:
        centres = (np.arange(size) + 0.5) * a.shape[-1] / size - 0.5
        return np.apply_along_axis(lambda row: np.interp(centres, np.arange(len(row)), row), -1, a)

    return np.swapaxes(along(np.swapaxes(along(heat.astype(np.float64), width), 1, 2), height), 1, 2)


def activation(proto: onnx.ModelProto, x: Array, name: str) -> Array:
    """An inner value of the untouched model, by a bare onnxruntime with one more output."""
    wider = onnx.ModelProto.FromString(proto.SerializeToString())
    wider.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = ort.InferenceSession(wider.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([name], {"x": x})[0])


def cnn_map(x: Array, target: int, relu: bool = True) -> Array:
    """The last activation is averaged and weighed by w₅: α = w₅ / 16."""
    a = activation(models.cnn(), x, "r3")
    heat = np.einsum("k,nkhw->nhw", models.weights("w5", 3, 5)[target] / 16, a)
    return np.maximum(heat, 0) if relu else heat


@pytest.mark.parametrize("relu", [True, False])
def test_the_map_is_the_papers_formula(relu: bool) -> None:
    """(Σ α_k A_k)⁺ at the last activation, upsampled, the same in both channels; signed without the ReLU."""
    x = numbers(3, 2, 8, 8)
    found = explainsvc.load(models.cnn()).explain({"x": x}, "grad_cam", target=0, relu=relu).values["x"]
    expected = upsampled(cnn_map(x, 0, relu), 8, 8)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, np.stack([expected, expected], axis=1), rtol=1e-4, atol=1e-6)


def test_channels_last_inputs_keep_their_layout() -> None:
    """On [N, H, W, C] the map lies over H and W, also when they differ."""
    x = numbers(2, 8, 6, 2)
    a = activation(models.nhwc(), x, "r")
    heat = np.maximum(np.einsum("k,nkhw->nhw", models.weights("w2", 4, 3)[:, 2] / 48, a), 0)
    assert heat.max() > 1e-3
    found = explainsvc.load(models.nhwc()).explain({"x": x}, "grad_cam", target=2).values["x"]
    np.testing.assert_allclose(found, np.stack([heat, heat], axis=3), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("layer", ["r1", "a2", "p", "both"])
def test_any_spatial_value_can_be_the_layer(layer: str) -> None:
    """α is the mean gradient at the layer named, here taken from the gradient of the network cut there."""
    proto, x = models.cnn(batchnorm=False), numbers(2, 2, 8, 8)
    a = activation(proto, x, layer)
    tail = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(proto)).extract_model([layer], ["y"])
    gradient = explainsvc.load(tail).explain({layer: a}, target=0).values[layer]
    assert np.abs(gradient).max() > 0
    heat = np.maximum(np.einsum("nk,nkhw->nhw", gradient.mean(axis=(2, 3)), a), 0)
    found = explainsvc.load(proto).explain({"x": x}, "grad_cam", target=0, layer=layer).values["x"][:, 0]
    np.testing.assert_allclose(found, upsampled(heat, 8, 8), rtol=1e-4, atol=1e-6)


def test_guided_grad_cam_is_the_product() -> None:
    """Upsampled Grad-CAM ⊙ guided backpropagation, at the same layer."""
    model, x = explainsvc.load(models.cnn()), numbers(2, 2, 8, 8)
    for options in ({}, {"layer": "p"}):
        cam = model.explain({"x": x}, "grad_cam", target=0, **options).values["x"]
        guided = model.explain({"x": x}, "guided_backprop", target=0).values["x"]
        found = model.explain({"x": x}, "guided_grad_cam", target=0, **options).values["x"]
        assert np.abs(found).max() > 0
        np.testing.assert_allclose(found, cam * guided, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("method", ["grad_cam", "guided_grad_cam"])
def test_models_without_spatial_activations_are_refused(method: str) -> None:
    """A perceptron has no positions: typed, with advice, and known to inspect beforehand."""
    model = explainsvc.load(models.mlp())
    with pytest.raises(MethodNotApplicable, match="spatial") as caught:
        model.explain({"x": numbers(1, 6)}, method)
    assert caught.value.to_do
    assert "spatial" in model.info.methods[method]
