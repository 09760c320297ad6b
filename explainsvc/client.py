"""The Python client: the library's calls, made to a server.

::

    with Client("127.0.0.1:50551") as client:
        digest = client.upload("model.onnx")
        attribution = client.explain(digest, {"x": x}, "lrp_epsilon_plus", target=3)

Results are the library's own values, bit for bit; errors are the library's own classes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import numpy.typing as npt

from explainpb.v1 import explanation_service_pb2, model_service_pb2
from explainpb.v1.audit_service_pb2_grpc import AuditServiceStub
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from explainpb.v1.model_service_pb2_grpc import ModelServiceStub
from explainsvc.attribution import Attribution
from explainsvc.audit_client import Audits, typed_errors
from explainsvc.cards import Card
from explainsvc.checks.pace import Standing
from explainsvc.checks.rows import Row
from explainsvc.codec.audits import AuditQuestion
from explainsvc.codec.books import from_ledger, from_plan
from explainsvc.codec.pictures import from_preprocessing, to_preprocessing
from explainsvc.codec.questions import Question, to_fields
from explainsvc.codec.results import from_attribution, from_card, from_info
from explainsvc.codec.tensors import from_named, to_named
from explainsvc.connecting import OPTIONS, Connection
from explainsvc.dry_run import DryRun
from explainsvc.errors import ModelNotFound
from explainsvc.explanation_client import Explanations
from explainsvc.graph.load import digest_of, read_files
from explainsvc.images import Preprocessing
from explainsvc.ledger import Ledger
from explainsvc.report.report import Report
from explainsvc.upload_client import upload

Array = npt.NDArray[Any]
Progress = Callable[[int, int, str], None]
Target = Any
"""As ``Model.explain`` takes it."""


class Client:
    """A connection to a server, such as ``Client("127.0.0.1:50551")``; close it, or use it in a ``with`` statement.

    Where the server wants TLS, certificates or a token: ``Client(Connection("host:443", ca=pem, token=token))``, or any
    ``credentials`` of gRPC.
    """

    def __init__(self, target: str | Connection, *, credentials: grpc.ChannelCredentials | None = None) -> None:
        connection = target if isinstance(target, Connection) else Connection(target)
        self._target = target = connection.target
        self._channel = connection.channel() if credentials is None else grpc.secure_channel(target, credentials, OPTIONS)
        self._models = ModelServiceStub(self._channel)
        self._explanations = ExplanationServiceStub(self._channel)
        self.explanations = Explanations(self._explanations, target)
        self.audits = Audits(AuditServiceStub(self._channel), target)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def upload(
        self, source: str | os.PathLike[str] | bytes, external_data: Mapping[str, bytes] | None = None, *, again: bool = False
    ) -> str:
        """Store a model; its digest. Of a path, the external-data files beside it are sent along.

        Nothing is sent when the caller has stored the model already, unless ``again`` says so, by which an administrator frees it
        from quarantine. An upload survives a broken connection and a server that
        starts again meanwhile: it goes on with what had not arrived.
        """
        data, external = (source, external_data or {}) if isinstance(source, bytes) else read_files(source)
        name = "" if isinstance(source, bytes) else Path(source).name
        with self._typed_errors():
            digest = digest_of(data, external)
            if again or not self._has(digest):
                digest = upload(self._models, name, data, external)
        return digest

    def _has(self, digest: str) -> bool:
        try:
            with self._typed_errors():
                self._models.GetModel(model_service_pb2.GetModelRequest(digest=digest))
        except ModelNotFound:
            return False
        return True

    def inspect(self, digest: str) -> dict[str, Any]:
        """What ``ModelInfo.to_json`` gives."""
        with self._typed_errors():
            response = self._models.InspectModel(model_service_pb2.InspectModelRequest(digest=digest))
        return from_info(response.info)

    def list_models(self) -> list[dict[str, Any]]:
        """Digest, name, size, time and external-data files of every stored model."""
        return list(self._listed())

    def _listed(self) -> Iterator[dict[str, Any]]:
        token, more = "", True
        while more:
            with self._typed_errors():
                response = self._models.ListModels(model_service_pb2.ListModelsRequest(page_token=token))
            yield from map(_stored, response.models)
            token = response.next_page_token
            more = token != ""

    def preprocessing(self, digest: str) -> Preprocessing | None:
        """How pictures become a model's inputs, if that is kept with it."""
        with self._typed_errors():
            response = self._models.GetModel(model_service_pb2.GetModelRequest(digest=digest))
        return from_preprocessing(response.model.preprocessing) if response.model.HasField("preprocessing") else None

    def set_preprocessing(self, digest: str, how: Preprocessing | None) -> None:
        """Keep that with a model, for pictures that are sent without it; None: forget it."""
        request = model_service_pb2.SetModelPreprocessingRequest(digest=digest)
        if how is not None:
            request.preprocessing.CopyFrom(to_preprocessing(how))
        with self._typed_errors():
            self._models.SetModelPreprocessing(request)

    def delete(self, digest: str) -> None:
        """Forget a model."""
        with self._typed_errors():
            self._models.DeleteModel(model_service_pb2.DeleteModelRequest(digest=digest))

    def predict(self, digest: str, inputs: Mapping[str, Array], *, timeout: float | None = None) -> dict[str, Array]:
        """``Model.predict``."""
        request = explanation_service_pb2.PredictRequest(model_digest=digest, inputs=to_named(inputs))
        with self._typed_errors():
            response = self._explanations.Predict(request, timeout=timeout)
        return from_named(response.outputs, "outputs")

    def explain(
        self,
        digest: str,
        inputs: Mapping[str, Array],
        method: str = "gradient",
        target: Target = None,
        *,
        inputs_wanted: Sequence[str] | None = None,
        seed: int = 0,
        parameters: Mapping[str, Any] | None = None,
        straight_through: bool = False,
        timeout: float | None = None,
    ) -> Attribution:
        """``Model.explain``; ``inputs_wanted`` restricts what is explained, ``timeout`` is in seconds."""
        fields = to_fields(digest, Question(method, target, inputs_wanted, parameters, straight_through))
        request = explanation_service_pb2.ExplainRequest(**fields, inputs=to_named(inputs), seed=seed)
        with self._typed_errors():
            response = self._explanations.Explain(request, timeout=timeout)
        return from_attribution(response.attribution)

    def compile(
        self,
        digest: str,
        method: str = "gradient",
        target: Target = None,
        parameters: Mapping[str, Any] | None = None,
        *,
        inputs_wanted: Sequence[str] | None = None,
        straight_through: bool = False,
    ) -> bytes:
        """``Model.compile``, serialised."""
        fields = to_fields(digest, Question(method, target, inputs_wanted, parameters, straight_through))
        request = explanation_service_pb2.CompileExplanationRequest(**fields)
        with self._typed_errors():
            return b"".join(part.chunk for part in self._explanations.CompileExplanation(request))

    def ledger(
        self,
        digest: str,
        inputs: Mapping[str, Array],
        method: str,
        target: Target = None,
        *,
        inputs_wanted: Sequence[str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        straight_through: bool = False,
        timeout: float | None = None,
    ) -> Ledger:
        """``Model.ledger``; ``inputs_wanted`` are the inputs at which the books end, ``timeout`` is in seconds."""
        fields = to_fields(digest, Question(method, target, inputs_wanted, parameters, straight_through))
        request = explanation_service_pb2.GetLedgerRequest(**fields, inputs=to_named(inputs))
        with self._typed_errors():
            response = self._explanations.GetLedger(request, timeout=timeout)
        return from_ledger(response.ledger)

    def dry_run(
        self,
        digest: str,
        method: str,
        target: Target = None,
        *,
        inputs_wanted: Sequence[str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        straight_through: bool = False,
        timeout: float | None = None,
    ) -> DryRun:
        """``Model.dry_run``; ``inputs_wanted`` restricts what would be explained, ``timeout`` is in seconds."""
        fields = to_fields(digest, Question(method, target, inputs_wanted, parameters, straight_through))
        request = explanation_service_pb2.DryRunRequest(**fields)
        with self._typed_errors():
            response = self._explanations.DryRun(request, timeout=timeout)
        return from_plan(response.plan)

    def audit(
        self,
        digest: str,
        inputs: Mapping[str, Array],
        *,
        progress: Progress | None = None,
        on_row: Callable[[Row], None] | None = None,
        on_standing: Callable[[Standing], None] | None = None,
        **question: Any,
    ) -> Report:
        """``Model.audit``; ``progress``, ``on_row`` and ``on_standing`` hear of it while it runs.

        ``question``: the fields of :class:`explainsvc.codec.audits.AuditQuestion`: what ``Model.audit`` takes, a ``preset``
        or a ``plan``. The audit survives a broken connection and a server that starts again meanwhile; it is cancelled where
        this call ends before it does.
        """

        def heard(standing: Standing) -> None:
            if progress is not None:
                progress(standing.done, standing.total, standing.what)
            if on_standing is not None:
                on_standing(standing)

        return self.audits.run(digest, inputs, AuditQuestion(**question), heard, on_row)

    def report(self, audit_id: str) -> Report:
        """The report of an earlier audit."""
        return self.audits.report(audit_id)

    def methods(self) -> dict[str, Card]:
        """The cards of the server's methods."""
        return {card.name: from_card(card) for card in self._cards().methods}

    def checks(self) -> dict[str, Card]:
        """The cards of the server's checks."""
        return {card.name: from_card(card) for card in self._cards().checks}

    def _cards(self) -> explanation_service_pb2.ListMethodsResponse:
        with self._typed_errors():
            response: explanation_service_pb2.ListMethodsResponse = self._explanations.ListMethods(
                explanation_service_pb2.ListMethodsRequest()
            )
        return response

    def _typed_errors(self) -> AbstractContextManager[None]:
        return typed_errors(self._target)


def _stored(model: model_service_pb2.Model) -> dict[str, Any]:
    return {
        "digest": model.digest,
        "name": model.name,
        "size_bytes": model.size_bytes,
        "create_time": model.create_time.ToJsonString(),
        "external_data": list(model.external_data),
    }
