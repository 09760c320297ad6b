"""ExplanationService."""

# ruff: noqa: ARG002, N802  # the names and the unused context are those of the generated interface
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import explainsvc
from explainpb.v1 import explanation_service_pb2 as pb
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceServicer
from explainsvc.codec.results import to_card
from explainsvc.service.backend import Backend, chunks


class ExplanationService(ExplanationServiceServicer):
    """Explanations of stored models."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    async def Explain(self, request: pb.ExplainRequest, context: Any) -> Any:
        """One explanation."""
        reply = await self.backend.pool.result(await self.backend.job(request.model_digest, explain=request))
        return pb.ExplainResponse(attribution=reply.attribution)

    async def Predict(self, request: pb.PredictRequest, context: Any) -> Any:
        """The model's own outputs."""
        reply = await self.backend.pool.result(await self.backend.job(request.model_digest, predict=request))
        return reply.outputs

    async def CompileExplanation(
        self, request: pb.CompileExplanationRequest, context: Any
    ) -> AsyncIterator[pb.CompileExplanationResponse]:
        """The explanation as ONNX, in chunks."""
        reply = await self.backend.pool.result(await self.backend.job(request.model_digest, compile=request))
        for chunk in chunks(reply.compiled):
            yield pb.CompileExplanationResponse(chunk=chunk, total_bytes=len(reply.compiled))

    async def GetLedger(self, request: pb.GetLedgerRequest, context: Any) -> Any:
        """The books of one explanation."""
        reply = await self.backend.pool.result(await self.backend.job(request.model_digest, ledger=request))
        return pb.GetLedgerResponse(ledger=reply.ledger)

    async def DryRun(self, request: pb.DryRunRequest, context: Any) -> Any:
        """The rule of every node."""
        reply = await self.backend.pool.result(await self.backend.job(request.model_digest, dry_run=request))
        return pb.DryRunResponse(plan=reply.plan)

    async def ListMethods(self, request: pb.ListMethodsRequest, context: Any) -> Any:
        """All cards."""
        return pb.ListMethodsResponse(
            methods=[to_card(card) for card in explainsvc.methods().values()],
            checks=[to_card(card) for card in explainsvc.checks().values()],
        )
