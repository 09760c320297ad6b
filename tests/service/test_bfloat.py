"""Inputs in bfloat16, which numpy has only by ml_dtypes: here and over the wire, against onnxruntime's own run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest

import explainsvc
from explainpb.inference.inference_service_pb2 import ModelMetadataRequest
from explainpb.inference.inference_service_pb2_grpc import GRPCInferenceServiceStub
from explainpb.v1.explanation_service_pb2 import Rendering
from explainsvc import arguments
from explainsvc.client import Client
from explainsvc.codec.questions import Question
from explainsvc.codec.v2_json import from_v2
from explainsvc.errors import InvalidInput
from explainsvc.explanation_client import Asked
from tests import models
from tests.service.test_inference import asked, outputs

BFLOAT16 = 16
"""onnx.TensorProto.BFLOAT16."""
W = np.arange(8, dtype=np.float32).reshape(4, 2)
AT_ONCE = f"""g (bfloat16[N, 4] x) => (float[N, 2] y)
  <float[4, 2] w = {{{", ".join(map(str, W.ravel()))}}}> {{ h = Cast <to = 1> (x)  y = MatMul (h, w) }}"""
WITHIN = "g (bfloat16[N, 4] x) => (float[N, 4] y) { h = Mul (x, x)  y = Cast <to = 1> (h) }"
X = np.random.default_rng(0).normal(size=(3, 4)).astype(ml_dtypes.bfloat16)


def truth() -> npt.NDArray[Any]:
    """What onnxruntime computes of bfloat16."""
    session = ort.InferenceSession(models.build(AT_ONCE).SerializeToString(), providers=["CPUExecutionProvider"])
    value = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(X.view(np.uint16), BFLOAT16)
    output: npt.NDArray[Any] = session.run_with_ort_values(None, {"x": value})[0].numpy()
    return output


def test_a_model_that_casts_at_once_is_predicted_and_explained() -> None:
    """Outputs are onnxruntime's bit for bit, the gradient is that of the formula; exact float32 is the same input."""
    model = explainsvc.load(models.build(AT_ONCE))
    assert [tensor.dtype for tensor in model.info.inputs] == ["bfloat16"]
    for x in (X, X.astype(np.float32)):
        np.testing.assert_array_equal(model.predict({"x": x})["y"], truth())
    for method in ("gradient", "occlusion"):
        values = model.explain({"x": X}, method=method, target=1).values["x"]
        expected = np.broadcast_to(W[:, 1], X.shape) * (1 if method == "gradient" else X.astype(np.float32))
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


def test_a_model_that_computes_in_bfloat16_says_that_it_does_not() -> None:
    """Where onnxruntime has no kernel it is run and explained in float32, and the result names the type."""
    found = explainsvc.load(models.build(WITHIN)).explain({"x": X}, target=1)
    np.testing.assert_allclose(found.values["x"][:, 1], 2 * X[:, 1].astype(np.float32), rtol=1e-6)
    assert any("no kernels for its bfloat16" in caveat for caveat in found.caveats)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (X.astype(np.float32) + np.float32(1e-5), "float32, with numbers that bfloat16 does not hold"),
        (X.astype(np.float64), "is float64, expected bfloat16"),
        (np.full_like(X, np.nan), "NaN"),
        (X[:, :2], "expected bfloat16[N, 4]"),
    ],
)
def test_nothing_is_rounded_silently(x: npt.NDArray[Any], said: str) -> None:
    """What bfloat16 does not hold is refused, as are other types, NaN and other shapes."""
    with pytest.raises(InvalidInput) as caught:
        explainsvc.load(models.build(AT_ONCE)).predict({"x": x})
    assert said in str(caught.value)


def test_over_the_wire(client: Client) -> None:
    """The API answers the same numbers, draws the input beneath them, and refuses another type."""
    digest = client.upload(models.build(AT_ONCE).SerializeToString())
    np.testing.assert_array_equal(client.predict(digest, {"x": X})["y"], truth())
    request = Asked(digest, Question("gradient", 1), {"x": X})
    found = client.explanations.explain(request)
    np.testing.assert_allclose(found.values["x"], np.broadcast_to(W[:, 1], X.shape), rtol=1e-6)
    assert len(client.explanations.draw(request, Rendering())) == len(X)
    with pytest.raises(InvalidInput, match="float64"):
        client.predict(digest, {"x": X.astype(np.float64)})


def test_in_other_protocols(client: Client, address: str, tmp_path: Path) -> None:
    """Raw BF16 and its numbers as JSON are the same input, and an ``.npz`` that numpy wrote, whose format knows no such type."""
    digest = client.upload(models.build(AT_ONCE).SerializeToString())
    body = {"name": "x", "shape": list(X.shape), "datatype": "BF16", "data": X.astype(float).tolist()}
    with grpc.insecure_channel(address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for request in (asked(digest, {"x": X}), from_v2({"inputs": [body]}, digest, "")):
            np.testing.assert_array_equal(outputs(stub.ModelInfer(request))["y"], truth())
        (tensor,) = stub.ModelMetadata(ModelMetadataRequest(name=digest)).inputs
    assert tensor.datatype == "BF16"
    np.savez(tmp_path / "x.npz", x=X)
    np.testing.assert_array_equal(arguments.read_inputs(str(tmp_path / "x.npz"))["x"], X)
