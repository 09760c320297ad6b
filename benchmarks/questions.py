"""What clients under load ask: small models of several kinds, predictions and explanations, each with its answer's numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from onnx import parser

from explainpb.v1.explanation_service_pb2 import ExplainRequest, PredictRequest
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from explainsvc.client import Client
from explainsvc.codec.questions import Question, to_fields
from explainsvc.codec.tensors import Array, from_named, to_named
from explainsvc.service.status import DETAILS_KEY
from explainsvc.together import TOLERANCE, key_of

SUMS = """<ir_version: 9, opset_import: ["" : 17]>
sums (float[N, M] x) => (float[N] y) { s = Tanh (x)  r = Relu (s)  axis = Constant <value_ints = [1]> ()
  y = ReduceSum <keepdims = 0> (r, axis) }"""
METHODS = ("gradient", "input_x_gradient", "lrp_epsilon", "integrated_gradients", "smoothgrad", "occlusion", "kernel_shap")
SMALL = {"integrated_gradients": {"steps": 8}, "smoothgrad": {"samples": 4}, "kernel_shap": {"samples": 160}}


@dataclass(frozen=True)
class Asked:
    """A request, and how far its answer may be from the serial one, relative to its largest value: 0 for bit for bit."""

    name: str
    request: Message
    tolerance: float

    def answer(self, stub: ExplanationServiceStub, **options: Any) -> dict[str, Array]:
        """The numbers of the answer."""
        if isinstance(self.request, PredictRequest):
            return from_named(stub.Predict(self.request, **options).outputs)
        return from_named(stub.Explain(self.request, **options).attribution.values)


def small_models() -> dict[str, bytes]:
    """Name → model."""
    digits = files("explainsvc.demo").joinpath("digits.onnx").read_bytes()
    return {"digits": digits, "sums": parser.parse_model(SUMS).SerializeToString()}


def inputs(name: str, seed: int) -> dict[str, Array]:
    """Of one of the models."""
    random = np.random.default_rng(seed)
    shapes = {"digits": ("image", (1, 1, 8, 8)), "sums": ("x", (1, 64))}
    tensor, shape = shapes[name]
    return {tensor: random.random(shape).astype(np.float32)}


def questions(address: str, seeds: int = 3) -> list[Asked]:
    """Predictions and explanations of every model, each of several inputs; the models are on the server."""
    with Client(address) as client:
        digests = {name: client.upload(data) for name, data in small_models().items()}
    return [asked for name, digest in digests.items() for seed in range(seeds) for asked in _of_model(name, digest, seed)]


def _of_model(name: str, digest: str, seed: int) -> Iterator[Asked]:
    tensors = to_named(inputs(name, seed))
    yield Asked(f"{name} predict", PredictRequest(model_digest=digest, inputs=tensors), 0.0)
    for method in METHODS:
        fields = to_fields(digest, Question(method, None, None, SMALL.get(method, {}), False))
        request = ExplainRequest(**fields, inputs=tensors, seed=7)
        yield Asked(f"{name} {method}", request, 0.0 if key_of(request) is None else TOLERANCE)


def difference(found: dict[str, Array], expected: dict[str, Array]) -> float:
    """The largest difference relative to the largest value; infinite where shapes or names differ."""
    if found.keys() != expected.keys() or any(found[name].shape != array.shape for name, array in expected.items()):
        return float("inf")
    largest = max(float(np.abs(array).max(initial=0.0)) for array in expected.values()) or 1.0
    return max(float(np.abs(found[name] - array).max(initial=0.0)) for name, array in expected.items()) / largest


def is_backpressure(error: grpc.RpcError) -> float | None:
    """Seconds after which a refused call may come again; None for any other error."""
    call: Any = error
    if call.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
        return None
    status = status_pb2.Status.FromString(dict(call.trailing_metadata()).get(DETAILS_KEY, b""))
    retry = error_details_pb2.RetryInfo()
    told = [retry.retry_delay.ToTimedelta().total_seconds() for detail in status.details if detail.Unpack(retry)]
    return told[0] if told else None


def outcome(call: Callable[[], object]) -> str:
    """The code that a call ends in; RESOURCE_EXHAUSTED only with RetryInfo."""
    try:
        call()
    except grpc.RpcError as error:
        found: Any = error
        refused = found.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and is_backpressure(error) is None
        return "RESOURCE_EXHAUSTED without RetryInfo" if refused else str(found.code().name)
    return "OK"
