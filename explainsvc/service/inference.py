"""The Open Inference Protocol: prediction and explanation for clients that were made for KServe or Triton."""

# ruff: noqa: ARG002, N802  # the names and the unused context are those of the generated interface
from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict

import explainsvc
from explainpb.inference import inference_service_pb2 as oip
from explainpb.inference.inference_service_pb2_grpc import GRPCInferenceServiceServicer
from explainpb.v1 import explanation_service_pb2 as pb
from explainpb.v1.tensor_pb2 import NamedTensor, Tensor
from explainsvc.codec import options
from explainsvc.codec.infer_tensors import DATATYPES, NAMES, add_outputs, from_infer_inputs
from explainsvc.codec.tensors import DTYPES
from explainsvc.errors import InvalidRequest, Violation
from explainsvc.info import TensorInfo
from explainsvc.service.names import VERSION, Names

SERVER = "explainsvc"
EXTENSIONS = ("explain",)
PLATFORM = "onnxruntime_onnx"
ATTRIBUTION, EXPLANATION = "attribution:", "explanation:"
"""Before the name of an explained input, and of a number an item: what an output of an explanation is called."""
NUMBERS = ("output_value", "baseline_value", "residual")


@dataclass(frozen=True)
class Asked:
    """A request, read: what to predict, and what to explain where that is asked for."""

    predict: pb.PredictRequest
    explain: pb.ExplainRequest | None
    wanted: tuple[str, ...]

    @property
    def wants_outputs(self) -> bool:
        """Whether an output of the model is asked for."""
        return not self.wanted or not all(map(explains, self.wanted)) or self.explain is None

    @property
    def wants_explanation(self) -> bool:
        """Whether an output of the explanation is."""
        return self.explain is not None and (not self.wanted or any(map(explains, self.wanted)))


def explains(name: str) -> bool:
    """Whether an output of this name is one of an explanation."""
    return name.startswith((ATTRIBUTION, EXPLANATION))


class InferenceService(GRPCInferenceServiceServicer):
    """Stored models, as KServe and Triton serve theirs.

    Attributes:
        names: Finds models.
        reasons: Why the server is not ready.
    """

    def __init__(self, names: Names, reasons: Callable[[], object]) -> None:
        self.names, self.reasons = names, reasons

    async def ServerLive(self, request: oip.ServerLiveRequest, context: Any) -> oip.ServerLiveResponse:
        """It answers."""
        return oip.ServerLiveResponse(live=True)

    async def ServerReady(self, request: oip.ServerReadyRequest, context: Any) -> oip.ServerReadyResponse:
        """As health says it."""
        return oip.ServerReadyResponse(ready=not self.reasons())

    async def ServerMetadata(self, request: oip.ServerMetadataRequest, context: Any) -> oip.ServerMetadataResponse:
        """Name, version, extensions."""
        return oip.ServerMetadataResponse(name=SERVER, version=explainsvc.__version__, extensions=EXTENSIONS)

    async def ModelReady(self, request: oip.ModelReadyRequest, context: Any) -> oip.ModelReadyResponse:
        """Whether the caller can have answers now."""
        return oip.ModelReadyResponse(ready=not self.reasons() and self.names.ready(request.name, request.version))

    async def ModelMetadata(self, request: oip.ModelMetadataRequest, context: Any) -> oip.ModelMetadataResponse:
        """Inputs and outputs."""
        signature = await self.names.signature(self.names.digest(request.name, request.version))
        inputs, outputs = map(_metadata, signature.inputs), map(_metadata, signature.outputs)
        return oip.ModelMetadataResponse(
            name=request.name, versions=[VERSION], platform=PLATFORM, inputs=inputs, outputs=outputs
        )  # fmt: skip

    async def ModelInfer(self, request: oip.ModelInferRequest, context: Any) -> oip.ModelInferResponse:
        """Outputs and, where options ask for it, their explanation."""
        digest = self.names.digest(request.model_name, request.model_version)
        asked = await asyncio.to_thread(read, digest, request)
        tensors: list[NamedTensor] = []
        response = oip.ModelInferResponse(model_name=request.model_name, model_version=VERSION, id=request.id)
        response.parameters["model_digest"].string_param = digest
        if asked.wants_outputs:
            tensors += (await self.predicted(asked.predict)).outputs
            _check_known(asked.wanted, [tensor.name for tensor in tensors])
        if asked.wants_explanation and asked.explain is not None:
            attribution = (await self.explained(asked.explain)).attribution
            tensors += explanation_tensors(attribution)
            _add_facts(response, attribution)
        add_outputs(response, _chosen(tensors, asked.wanted))
        return response

    async def predicted(self, request: pb.PredictRequest) -> pb.PredictResponse:
        """The model's own outputs."""
        backend = self.names.backend
        return (await backend.result(request.model_digest, predict=request)).outputs

    async def explained(self, request: pb.ExplainRequest) -> pb.ExplainResponse:
        """One explanation."""
        backend = self.names.backend
        return (await backend.result(request.model_digest, explain=request)).explained


def read(digest: str, request: oip.ModelInferRequest) -> Asked:
    """What a request asks of a model.

    Raises:
        InvalidInput, InvalidParameter, TargetOutOfRange: It cannot be read.
        InvalidRequest: It asks for outputs that there cannot be.
    """
    inputs, given = from_infer_inputs(request), options.from_infer_parameters(request.parameters)
    wanted = tuple(output.name for output in request.outputs)
    violations = [
        Violation(
            f'outputs["{output.name}"].parameters', f"has {min(output.parameters)!r}, expected none: outputs come as they are"
        )
        for output in request.outputs
        if output.parameters
    ]
    violations += [
        Violation(f'outputs["{name}"]', "is asked for twice") for name in sorted({n for n in wanted if wanted.count(n) > 1})
    ]
    if violations:
        raise InvalidRequest("the outputs cannot be given so", violations=violations)
    explain = options.to_request(digest, inputs, given) if given else None
    return Asked(pb.PredictRequest(model_digest=digest, inputs=inputs), explain, wanted)


def explanation_tensors(attribution: pb.Attribution) -> list[NamedTensor]:
    """The attribution of every explained input; per item the value explained, that of the baseline, and the residual."""
    values = [NamedTensor(name=ATTRIBUTION + value.name, tensor=value.tensor) for value in attribution.values]
    numbers = [name for name in NUMBERS if attribution.HasField(name)]
    return values + [NamedTensor(name=EXPLANATION + name, tensor=getattr(attribution, name)) for name in numbers]


def attribution_of(response: oip.ModelInferResponse) -> pb.Attribution:
    """The method, and those numbers an item that the answer has; without the values."""
    facts, name = response.parameters, f"{options.PREFIX}method"
    attribution = pb.Attribution(method=facts[name].string_param if name in facts else "")
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        name = output.name.removeprefix(EXPLANATION)
        if output.name.startswith(EXPLANATION) and name in NUMBERS:
            tensor = Tensor(dtype=DTYPES[DATATYPES[output.datatype]], shape=output.shape, data=raw)
            getattr(attribution, name).CopyFrom(tensor)
    return attribution


def _add_facts(response: oip.ModelInferResponse, attribution: pb.Attribution) -> None:
    """What is needed to judge and repeat an explanation."""
    texts = {
        "method": attribution.method,
        "output": attribution.target.output,
        "target": attribution.target.description,
        "parameters": json.dumps(MessageToDict(attribution.parameters), sort_keys=True),
        "caveats": json.dumps(list(attribution.caveats)),
    }
    for name, text in texts.items():
        response.parameters[options.PREFIX + name].string_param = text
    response.parameters[f"{options.PREFIX}seed"].int64_param = attribution.seed


def _check_known(wanted: Sequence[str], outputs: Sequence[str]) -> None:
    """Of the names that are asked for, those of outputs of the model are some."""
    strange = [name for name in wanted if name not in outputs and not explains(name)]
    if strange:
        raise _unknown(strange, outputs)


def _chosen(tensors: Sequence[NamedTensor], wanted: Sequence[str]) -> Iterable[NamedTensor]:
    """Those that are asked for, in that order; all where none is named."""
    if not wanted:
        return tensors
    found = {tensor.name: tensor for tensor in tensors}
    strange = [name for name in wanted if name not in found]
    if strange:
        raise _unknown(strange, list(found))
    return [found[name] for name in wanted]


def _unknown(names: Sequence[str], known: Sequence[str]) -> InvalidRequest:
    violations = [
        Violation(f'outputs["{name[:80]}"]', f"is no output of this request; there are {', '.join(known)}") for name in names
    ]
    return InvalidRequest(
        "outputs that do not exist", violations=violations, to_do=f'"{ATTRIBUTION}" and "{EXPLANATION}" take explain_ parameters'
    )  # fmt: skip


def _metadata(tensor: TensorInfo) -> oip.ModelMetadataResponse.TensorMetadata:
    shape = [axis if isinstance(axis, int) else -1 for axis in tensor.shape or ()]
    return oip.ModelMetadataResponse.TensorMetadata(name=tensor.name, datatype=NAMES.get(tensor.dtype, ""), shape=shape)
