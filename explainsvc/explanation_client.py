"""The Python client's part for what Explain's kin do beside one answer to one question; ``Client.explanations``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.json_format import MessageToDict

from explainpb.v1 import explanation_service_pb2 as pb
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from explainsvc.attribution import Attribution
from explainsvc.audit_client import typed_errors
from explainsvc.codec.pictures import to_images
from explainsvc.codec.questions import Question, to_fields
from explainsvc.codec.results import from_attribution
from explainsvc.codec.tensors import from_named, to_named
from explainsvc.errors import ExplainsvcError
from explainsvc.images import Preprocessing
from explainsvc.method import Estimate, Progress, silent
from explainsvc.service.status import from_status

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Asked:
    """One explanation of a stored model.

    Attributes:
        digest: The model's.
        question: Method, target and parameters.
        inputs: Input → array.
        images: Input → JPEG or PNG files, one an item, in place of arrays.
        preprocessing: Of all of these files.
        seed: Of all random numbers.
    """

    digest: str
    question: Question
    inputs: Mapping[str, Array] = field(default_factory=dict)
    images: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    seed: int = 0

    def request(self, **more: Any) -> pb.ExplainRequest:
        """The message, with further fields."""
        fields = to_fields(self.digest, self.question)
        images = to_images(self.images, self.preprocessing)
        return pb.ExplainRequest(**fields, inputs=to_named(self.inputs), images=images, seed=self.seed, **more)


class Explanations:
    """Explanations by a server: validated, streamed, drawn, many at once."""

    def __init__(self, stub: ExplanationServiceStub, target: str) -> None:
        self._stub = stub
        self._target = target

    def explain(self, asked: Asked) -> Attribution:
        """One explanation, of arrays or of pictures."""
        with typed_errors(self._target):
            response = self._stub.Explain(asked.request())
        return from_attribution(response.attribution)

    def validate(self, asked: Asked) -> pb.Validation:
        """The question as the server understands it; nothing is computed."""
        with typed_errors(self._target):
            validation: pb.Validation = self._stub.Explain(asked.request(validate_only=True)).validation
        return validation

    def draw(self, asked: Asked, rendering: pb.Rendering) -> list[pb.Picture]:
        """The pictures of an explanation."""
        with typed_errors(self._target):
            return list(self._stub.Explain(asked.request(render=rendering)).pictures)

    def stream(
        self,
        asked: Asked,
        *,
        progress: Progress = silent,
        on_estimate: Callable[[Estimate], None] = silent,
        interval: float = 1.0,
    ) -> Attribution:
        """One explanation; ``progress`` and ``on_estimate`` hear of it while it is computed, every ``interval`` seconds."""
        request = pb.ExplainStreamRequest(request=asked.request())
        request.interval.FromTimedelta(timedelta(seconds=interval))
        result = pb.ExplainResponse()
        with typed_errors(self._target):
            for event in self._stub.ExplainStream(request):
                match event.WhichOneof("event"):
                    case "progress":
                        progress(event.progress.done, event.progress.total, event.progress.what)
                    case "partial":
                        on_estimate(_from_partial(event.partial))
                    case "result":
                        result = event.result
        return from_attribution(result.attribution)

    def batch(self, asked: Mapping[str, Asked]) -> Iterator[tuple[str, Attribution | ExplainsvcError]]:
        """Each id with its explanation, or with the error that it ended in, as they come."""
        with typed_errors(self._target):
            for response in self._stub.ExplainBatch(_items(asked.items())):
                failed = response.WhichOneof("outcome") == "error"
                yield response.id, _error(response) if failed else from_attribution(response.result.attribution)

    def schemas(self) -> dict[str, dict[str, Any]]:
        """The JSON Schema of the parameters of every method and check."""
        with typed_errors(self._target):
            cards = self._stub.ListMethods(pb.ListMethodsRequest())
        return {card.name: MessageToDict(card.parameters_schema) for card in (*cards.methods, *cards.checks)}


def _items(asked: Iterable[tuple[str, Asked]]) -> Iterator[pb.ExplainBatchRequest]:
    for name, one in asked:
        yield pb.ExplainBatchRequest(id=name, request=one.request())


def _error(response: pb.ExplainBatchResponse) -> ExplainsvcError:
    return from_status(response.error) or ExplainsvcError(response.error.message)


def _from_partial(message: pb.PartialEstimate) -> Estimate:
    values, errors = from_named(message.values, "values"), from_named(message.standard_errors, "standard_errors")
    return Estimate(message.samples, message.total, values, {name: np.asarray(error) for name, error in errors.items()})
