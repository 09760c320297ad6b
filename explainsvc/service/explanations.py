"""ExplanationService."""

# ruff: noqa: ARG002, N802  # the names and the unused context are those of the generated interface
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from time import perf_counter
from typing import Any

from explainpb.v1 import explanation_service_pb2 as pb
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceServicer
from explainsvc.check import Check
from explainsvc.checks import CHECKS
from explainsvc.codec.beside import explained
from explainsvc.codec.parameters import to_struct
from explainsvc.codec.results import to_card
from explainsvc.method import Method
from explainsvc.methods import METHODS
from explainsvc.schemas import schema_of
from explainsvc.service.backend import Backend, chunks
from explainsvc.service.items import as_they_end
from explainsvc.service.status import to_status, told


class ExplanationService(ExplanationServiceServicer):
    """Explanations of stored models."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    async def Explain(self, request: pb.ExplainRequest, context: Any) -> Any:
        """One explanation."""
        start = perf_counter()
        reply, values = await self.backend.answer(request.model_digest, explain=request)
        response = _timed(reply.explained, start)
        return explained(response, values) if values else response

    async def ExplainStream(self, request: pb.ExplainStreamRequest, context: Any) -> AsyncIterator[pb.ExplainStreamResponse]:
        """One explanation, and what is known of it on the way."""
        start = perf_counter()
        job = await self.backend.job(request.request.model_digest, explain_stream=request)
        async with aclosing(self.backend.pool.run(job)) as replies:  # type: ignore[type-var]  # it has aclose
            async for reply in replies:
                if reply.HasField("streamed"):
                    yield reply.streamed
                else:
                    yield pb.ExplainStreamResponse(result=_timed(reply.explained, start))

    async def ExplainBatch(
        self, request_iterator: AsyncIterator[pb.ExplainBatchRequest], context: Any
    ) -> AsyncIterator[pb.ExplainBatchResponse]:
        """Many explanations, as many at once as there are workers, each with a status of its own."""
        outcomes = as_they_end(request_iterator, self._item, self.backend.config.workers)
        async with aclosing(outcomes) as responses:  # type: ignore[type-var]  # it has aclose
            async for response in responses:
                yield response

    async def _item(self, item: pb.ExplainBatchRequest) -> pb.ExplainBatchResponse:
        try:
            return pb.ExplainBatchResponse(id=item.id, result=await self._explained(item.request))
        except Exception as error:  # noqa: BLE001  # whatever becomes of one item, the others go on
            return pb.ExplainBatchResponse(id=item.id, error=to_status(told(error)))

    async def _explained(self, request: pb.ExplainRequest) -> pb.ExplainResponse:
        start = perf_counter()
        reply = await self.backend.result(request.model_digest, explain=request)
        return _timed(reply.explained, start)

    async def Predict(self, request: pb.PredictRequest, context: Any) -> Any:
        """The model's own outputs."""
        reply = await self.backend.result(request.model_digest, predict=request)
        return reply.outputs

    async def CompileExplanation(
        self, request: pb.CompileExplanationRequest, context: Any
    ) -> AsyncIterator[pb.CompileExplanationResponse]:
        """The explanation as ONNX, in chunks."""
        reply = await self.backend.result(request.model_digest, compile=request)
        if request.validate_only:
            yield pb.CompileExplanationResponse(validation=reply.validation)
            return
        for chunk in chunks(reply.compiled):
            yield pb.CompileExplanationResponse(chunk=chunk, total_bytes=len(reply.compiled))

    async def GetLedger(self, request: pb.GetLedgerRequest, context: Any) -> Any:
        """The books of one explanation."""
        reply = await self.backend.result(request.model_digest, ledger=request)
        return pb.GetLedgerResponse(ledger=reply.ledger)

    async def DryRun(self, request: pb.DryRunRequest, context: Any) -> Any:
        """The rule of every node."""
        reply = await self.backend.result(request.model_digest, dry_run=request)
        return pb.DryRunResponse(plan=reply.plan)

    async def ListMethods(self, request: pb.ListMethodsRequest, context: Any) -> Any:
        """All cards."""
        return pb.ListMethodsResponse(
            methods=[_with_schema(method) for method in METHODS.values()],
            checks=[_with_schema(check) for check in CHECKS.values()],
        )


def _with_schema(one: Method | Check) -> pb.Card:
    card = to_card(one.card)
    card.parameters_schema.CopyFrom(to_struct(schema_of(one.params, one.card.name)))
    return card


def _timed(response: pb.ExplainResponse, start: float) -> pb.ExplainResponse:
    """The response, with the rest of the time since ``start``: what neither loading nor computing took."""
    if response.HasField("attribution"):
        timings = response.attribution.timings
        rest = 1000 * (perf_counter() - start) - timings.load_milliseconds - timings.compute_milliseconds
        timings.queue_milliseconds = max(rest, 0.0)
    return response
