"""The Open Inference Protocol as JSON ↔ its messages, whose elements are then raw."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from explainpb.inference import inference_service_pb2 as oip
from explainsvc.codec.infer_tensors import BYTES, DATATYPES, raw_texts, texts_of
from explainsvc.codec.json_tensors import require_finite, to_array
from explainsvc.errors import InvalidInput, Violation

Array = npt.NDArray[Any]
BINARY = ("binary_data", "binary_data_output")
"""Of Triton's extension for raw bytes after the JSON: clients send false by themselves; true is refused."""


def from_v2(document: Mapping[str, Any], model: str, version: str) -> oip.ModelInferRequest:
    """The message of a request.

    Raises:
        InvalidInput: It is none; what is wrong with several tensors is one error.
    """
    request = oip.ModelInferRequest(model_name=model, model_version=version)
    violations: list[Violation] = []
    for name, read in READERS.items():
        try:
            read(request, document.get(name))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            violations.append(Violation(name, f"is not what the protocol has there: {error!s:.120}"))
    violations += [
        Violation(name[:80], f"is not known; expected {', '.join(READERS)}") for name in document.keys() - READERS.keys()
    ]
    if violations:
        raise InvalidInput("the request is none of this protocol", violations=violations)
    return request


def _id(request: oip.ModelInferRequest, given: Any) -> None:
    request.id = given or ""


def _model_name(request: oip.ModelInferRequest, given: Any) -> None:
    """KServe's client repeats it."""
    if given not in (None, request.model_name):
        raise ValueError("another one than that of the path")


def _parameters(request: Any, given: Any) -> None:
    for name, value in (given or {}).items():
        if not (name in BINARY and value is False):
            request.parameters[name].CopyFrom(_parameter(value))


def _parameter(value: Any) -> oip.InferParameter:
    """Lists and objects as JSON in a text."""
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    if type(value) in kinds:
        return oip.InferParameter(**{kinds[type(value)]: value})
    return oip.InferParameter(string_param=json.dumps(value))


def _inputs(request: oip.ModelInferRequest, given: Any) -> None:
    for one in given or []:
        unknown = one.keys() - {"name", "shape", "datatype", "data", "parameters"}
        if unknown:
            raise ValueError(f"unknown {min(unknown)!r}")
        added = request.inputs.add(name=one["name"], datatype=one["datatype"], shape=one["shape"])
        _parameters(added, one.get("parameters"))
        request.raw_input_contents.append(_raw(one["data"], added))


def _raw(data: Any, added: oip.ModelInferRequest.InferInputTensor) -> bytes:
    """The elements, flat or nested; of an unknown type none: it is refused later, for that."""
    if added.datatype not in DATATYPES:
        return b""
    array = to_array(data, DATATYPES[added.datatype])
    if added.datatype == BYTES:
        return raw_texts(text.encode() for text in array.ravel())
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _outputs(request: oip.ModelInferRequest, given: Any) -> None:
    for one in given or []:
        added = request.outputs.add(name=one["name"])
        _parameters(added, one.get("parameters"))


READERS = {"id": _id, "model_name": _model_name, "parameters": _parameters, "inputs": _inputs, "outputs": _outputs}


def to_v2(response: oip.ModelInferResponse) -> dict[str, Any]:
    """The answer; InvalidRequest where an output holds NaN."""
    pairs = zip(response.outputs, response.raw_output_contents, strict=True)
    arrays = {output.name: _array(output.datatype, raw) for output, raw in pairs}
    require_finite(arrays)
    outputs = [
        {"name": o.name, "datatype": o.datatype, "shape": list(o.shape), "data": arrays[o.name].tolist()}
        for o in response.outputs
    ]
    facts = {name: getattr(value, value.WhichOneof("parameter_choice") or "") for name, value in response.parameters.items()}
    names = {"model_name": response.model_name, "model_version": response.model_version}
    return names | ({"id": response.id} if response.id else {}) | {"parameters": facts, "outputs": outputs}


def _array(datatype: str, raw: bytes) -> Array:
    if datatype == BYTES:
        return np.array([text.decode() for text in texts_of(raw)], object)
    return np.frombuffer(raw, np.dtype(DATATYPES[datatype]).newbyteorder("<"))


def to_metadata(response: oip.ModelMetadataResponse) -> dict[str, Any]:
    """The answer about a model."""

    def tensors(messages: Any) -> list[dict[str, Any]]:
        return [{"name": one.name, "datatype": one.datatype, "shape": list(one.shape)} for one in messages]

    facts = {"name": response.name, "versions": list(response.versions), "platform": response.platform}
    return facts | {"inputs": tensors(response.inputs), "outputs": tensors(response.outputs)}


def to_facts(response: Message) -> dict[str, Any]:
    """An answer of plain fields, those with no value too."""
    values = {field.name: getattr(response, field.name) for field in response.DESCRIPTOR.fields}
    return {name: value if isinstance(value, (str, bool)) else list(value) for name, value in values.items()}
