"""KServe over HTTP: ``:explain`` and ``:predict`` of its V1 protocol, and the Open Inference Protocol as JSON (V2)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import hdrs, web
from google.protobuf.message import Message

from explainpb.inference import inference_service_pb2 as oip
from explainpb.v1 import explanation_service_pb2 as pb
from explainsvc.codec import options, v1_json, v2_json
from explainsvc.codec.json_tensors import from_json, written
from explainsvc.codec.tensors import to_named
from explainsvc.errors import InvalidRequest, Violation
from explainsvc.service.access import ANY, EXPLAIN, OPEN
from explainsvc.service.calls import Call
from explainsvc.service.inference import InferenceService
from explainsvc.service.interceptor import Gate
from explainsvc.service.web import STATUSES, Route, failure

LARGEST_BODY = 2**24
"""Bytes of JSON: as objects of Python they are some twenty times as many. Larger inputs go over gRPC."""
JSON = "application/json"
BODY_SECONDS = 60.0
"""For a body to arrive."""
V1, V2 = "/v1/models/{name:.+}", "/v2/models/{name:.+?}{version:(?:/versions/[^/]+)?}"
"""Names may hold colons and slashes, as they are or percent-encoded."""


async def read_json(request: web.Request, limit: int) -> dict[str, Any]:
    """The body, refused before it is read where its length says that it is too large, and else as soon as it is.

    Raises:
        web.HTTPException: It is too large, compressed, or does not arrive.
        InvalidInput: It is no JSON object.
    """
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
        raise _refused(web.HTTPUnsupportedMediaType, "the body is compressed; send it as it is")
    if "Inference-Header-Content-Length" in request.headers:
        raise _refused(web.HTTPUnsupportedMediaType, "the body is not JSON alone; send binary tensors over gRPC")
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    body = bytearray()
    async with _in_time():
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > limit:
                raise _too_large(limit)
    return await asyncio.to_thread(from_json, bytes(body))


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            yield
    except TimeoutError:
        raise _refused(web.HTTPRequestTimeout, "the body did not arrive in time") from None


def _too_large(limit: int) -> web.HTTPException:
    text = f"the body is larger than {limit} bytes; send large inputs over gRPC"
    return web.HTTPRequestEntityTooLarge(limit, text=_said(413, text), content_type=JSON)


def _refused(kind: type[web.HTTPError], text: str) -> web.HTTPException:
    return kind(text=_said(kind.status_code, text), content_type=JSON)


def _said(code: int, text: str) -> str:
    return json.dumps({"error": text, "code": code, "status": "INVALID_ARGUMENT"})


def failed(error: Exception, call: Call) -> web.Response:
    """As both protocols have it: ``error`` is a text; code, status and details stand beside it."""
    response = failure(error, call)
    fields = json.loads(response.text or "")["error"]
    body = {"error": fields.pop("message", ""), **fields}
    headers = {
        str(name): response.headers[name] for name in (hdrs.WWW_AUTHENTICATE, hdrs.RETRY_AFTER) if name in response.headers
    }
    return _answer(body, response.status, headers)


def _answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON; without a charset, which it has none of, and which KServe's client takes for another type."""
    return web.Response(body=written(document), status=status, content_type=JSON, headers=headers)


@dataclass(frozen=True)
class Served:
    """What answers, and the gate before it."""

    gate: Gate
    inference: InferenceService

    @property
    def limit(self) -> int:
        """Bytes of a body."""
        return min(LARGEST_BODY, self.gate.config.max_message_bytes)


def inference_routes(gate: Gate, inference: InferenceService) -> list[Route]:
    """Both protocols."""
    served = Served(gate, inference)

    def route(method: str, path: str, handler: Any, scopes: frozenset[str] = EXPLAIN, *given: Any) -> Route:
        return Route(method, path, partial(handler, served, *given), scopes, failed)

    return [
        route("POST", f"{V1}:explain", _explain),
        route("POST", f"{V1}:predict", _predict),
        route("GET", V1, _model_ready),
        route("GET", "/v2", _plain, ANY, inference.ServerMetadata, oip.ServerMetadataRequest()),
        route("GET", "/v2/health/live", _plain, OPEN, inference.ServerLive, oip.ServerLiveRequest()),
        route("GET", "/v2/health/ready", _plain, OPEN, inference.ServerReady, oip.ServerReadyRequest()),
        route("POST", f"{V2}/infer", _infer),
        route("GET", f"{V2}/ready", _model_ready),
        route("GET", V2, _metadata),
    ]


async def _body(served: Served, request: web.Request, call: Call) -> tuple[str, v1_json.Body]:
    """The digest of the model of a path, and what the request asks of it."""
    names = served.inference.names
    digest = names.digest(*_model(request))
    document = await read_json(request, served.limit)
    if digest not in names.signatures:
        served.gate.take(call, oip.ModelMetadataRequest(name=digest))  # a worker has to read the model for its inputs' types
    signature = await names.signature(digest)
    return digest, await asyncio.to_thread(v1_json.from_body, document, signature.inputs)


async def _explain(served: Served, request: web.Request, call: Call) -> web.Response:
    digest, body = await _body(served, request, call)
    message = await asyncio.to_thread(lambda: options.to_request(digest, to_named(body.feeds), body.options))
    served.gate.take(call, message)
    response = await served.inference.explained(message)
    served.gate.give(call, response)
    return await _json(v1_json.to_explanations, response.attribution, body.instances)


async def _predict(served: Served, request: web.Request, call: Call) -> web.Response:
    digest, body = await _body(served, request, call)
    if body.options:
        wrong = [Violation(options.PREFIX + name[:80], "is for :explain") for name in body.options]
        raise InvalidRequest("a prediction takes no options of an explanation", violations=wrong)
    message = pb.PredictRequest(model_digest=digest, inputs=to_named(body.feeds))
    served.gate.take(call, message)
    response = await served.inference.predicted(message)
    served.gate.give(call, response)
    return await _json(v1_json.to_predictions, response, body.instances)


async def _infer(served: Served, request: web.Request, call: Call) -> web.Response:
    document = await read_json(request, served.limit)
    message = await asyncio.to_thread(v2_json.from_v2, document, *_model(request))
    served.gate.take(call, message)
    response = await served.inference.ModelInfer(message, None)
    served.gate.give(call, response)
    return await _json(v2_json.to_v2, response)


async def _metadata(served: Served, request: web.Request, call: Call) -> web.Response:
    name, version = _model(request)
    message = oip.ModelMetadataRequest(name=name, version=version)
    served.gate.take(call, message)
    return await _json(v2_json.to_metadata, await served.inference.ModelMetadata(message, None))


async def _model_ready(served: Served, request: web.Request, call: Call) -> web.Response:
    """404 for a model that is not ready, whyever."""
    name, version = _model(request)
    message = oip.ModelReadyRequest(name=name, version=version)
    served.gate.take(call, message)
    response = await served.inference.ModelReady(message, None)
    call.code = "OK" if response.ready else "NOT_FOUND"
    return _answer({"name": name, "ready": response.ready}, STATUSES[call.code])


async def _plain(served: Served, rpc: Any, message: Message, _request: web.Request, call: Call) -> web.Response:
    """An rpc without arguments; 503 while the server is not ready."""
    if not call.open:
        served.gate.take(call, message)
    facts = v2_json.to_facts(await rpc(message, None))
    call.code = "UNAVAILABLE" if facts.get("ready") is False else "OK"
    return _answer(facts, STATUSES[call.code])


def _model(request: web.Request) -> tuple[str, str]:
    """Name and version in a path."""
    return request.match_info["name"], request.match_info.get("version", "").removeprefix("/versions/")


async def _json(write: Any, *given: Any) -> web.Response:
    """The answer; a large one is written aside from the loop."""
    return await asyncio.to_thread(lambda: _answer(write(*given)))
