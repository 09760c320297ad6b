"""validate_only: everything that can be known without running the model is said, and nothing is computed or kept."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from explainpb.v1 import audit_service_pb2 as pb
from explainpb.v1.audit_service_pb2_grpc import AuditServiceStub
from explainpb.v1.explanation_service_pb2 import CompileExplanationRequest
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from explainsvc import errors
from explainsvc.client import Client
from explainsvc.codec.audits import AuditQuestion, to_audit_request
from explainsvc.codec.parameters import from_struct
from explainsvc.codec.questions import Question, to_fields
from explainsvc.codec.targets import from_resolved
from explainsvc.explanation_client import Asked
from explainsvc.model import Model
from tests import models as small
from tests.service import models
from tests.service.test_bad_input import CALLS


@pytest.fixture
def channel(address: str) -> Iterator[grpc.Channel]:
    """A plain channel."""
    with grpc.insecure_channel(address) as channel:
        yield channel


def test_a_question_as_it_was_understood(client: Client, digest: str, cnn: Model) -> None:
    """Target, inputs, parameters in force and caveats are those that the explanation then has."""
    question = Question("integrated_gradients", [2, 0], None, {"steps": 7})
    found = client.explanations.validate(Asked(digest, question, models.image()))
    truth = cnn.explain(models.image(), "integrated_gradients", [2, 0], steps=7)
    assert (found.method, found.output, list(found.explained_inputs)) == ("integrated_gradients", "y", ["x"])
    assert from_struct(found.parameters)["steps"] == 7
    assert from_struct(found.parameters).keys() <= truth.parameters.keys()
    resolved = from_resolved(found.target)
    assert resolved.index == truth.target.index
    np.testing.assert_array_equal(resolved.seed, truth.target.seed)
    assert not client.explanations.validate(Asked(digest, Question("gradient"), models.image())).HasField("target")


@pytest.mark.parametrize("name", CALLS)
def test_what_explain_refuses(client: Client, name: str) -> None:
    """Every request that Explain refuses without a look at the model's numbers is refused alike."""
    call = CALLS[name]
    asked = Asked(client.upload(call.model), Question(call.method, call.target, call.wanted, call.parameters), call.inputs)
    with pytest.raises(call.error):
        client.explanations.validate(asked)


def test_nothing_runs(client: Client) -> None:
    """A model that would run for ever is validated; an operator without rule, and a wrapped method's graph, are refused."""
    loop = client.upload(models.loop())
    asked = Asked(loop, Question("occlusion", 3, ["x"]), models.rounds(models.ENDLESS))
    assert client.explanations.validate(asked).output == "y"
    forest = client.upload(small.trees().SerializeToString())
    for method in ("gradient", "integrated_gradients", "smoothgrad"):
        with pytest.raises(errors.NotDifferentiable, match="TreeEnsemble"):
            client.explanations.validate(Asked(forest, Question(method), {"x": np.ones((2, 2), np.float32)}))


def test_compiling(client: Client, channel: grpc.Channel, digest: str) -> None:
    """One message without bytes says what would be compiled; what cannot be compiled is refused."""
    stub = ExplanationServiceStub(channel)
    request = CompileExplanationRequest(**to_fields(digest, Question("lrp_epsilon", 1)), validate_only=True)
    (response,) = stub.CompileExplanation(request)
    assert (response.chunk, response.total_bytes) == (b"", 0)
    assert (response.validation.method, list(response.validation.explained_inputs)) == ("lrp_epsilon", ["x"])
    request.method = "occlusion"
    with pytest.raises(grpc.RpcError) as error:
        list(stub.CompileExplanation(request))
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_an_audit(client: Client, channel: grpc.Channel, digest: str) -> None:
    """The only event is the audit as it was understood; none is kept; a wrong one is refused with every violation."""
    stub, before = AuditServiceStub(channel), len(client.audits.list())
    question = AuditQuestion(methods=["gradient"], checks=["continuity"], parameters={"continuity": {"radius": 0.5}})
    request = to_audit_request(digest, models.image(3), question, keep_running=True)
    request.validate_only = True
    (event,) = stub.CreateAudit(request)
    found = event.validation
    assert (list(found.methods), list(found.checks), found.output, found.items) == (["gradient"], ["continuity"], "y", 3)
    assert found.parameters.keys() == {"gradient", "continuity", *found.controls}
    request.methods[:] = ["gradiant"]
    request.checks[:] = ["continuty"]
    with pytest.raises(grpc.RpcError, match=r"(?s)methods\[0\].*checks\[0\]"):
        list(stub.CreateAudit(request))
    assert len(client.audits.list()) == before
    assert isinstance(event, pb.CreateAuditResponse)
