"""Audits as google.longrunning operations, through the stub that Google generates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2 as lro
from google.longrunning.operations_pb2_grpc import OperationsStub
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2

from explainpb.v1 import audit_service_pb2 as pb
from explainsvc.client import Client
from tests.service import models


@pytest.fixture
def operations(address: str) -> Iterator[OperationsStub]:
    """The service."""
    with grpc.insecure_channel(address) as channel:
        yield OperationsStub(channel)


def waited(operations: OperationsStub, name: str, seconds: int = 60) -> Any:
    """WaitOperation."""
    return operations.WaitOperation(lro.WaitOperationRequest(name=name, timeout=Duration(seconds=seconds)))


def test_an_audit_is_an_operation(client: Client, operations: OperationsStub, digest: str) -> None:
    """Waited for, its response is the audit that GetAudit returns, its metadata the same without rows; deleted, it is gone."""
    audit_id = client.audits.start(digest, models.image(3), methods=["gradient"], checks=["continuity"])
    done = waited(operations, name := f"audits/{audit_id}")
    audit, metadata = pb.Audit(), pb.Audit()
    assert done.done
    assert done.response.Unpack(audit)
    assert done.metadata.Unpack(metadata)
    assert audit == client.audits.get(audit_id)
    assert audit.rows
    assert (metadata.audit_id, metadata.state, len(metadata.rows)) == (audit_id, pb.AUDIT_STATE_SUCCEEDED, 0)
    assert operations.GetOperation(lro.GetOperationRequest(name=name)) == done
    assert name in [one.name for one in operations.ListOperations(lro.ListOperationsRequest(name="audits")).operations]
    operations.DeleteOperation(lro.DeleteOperationRequest(name=name))
    with pytest.raises(grpc.RpcError) as error:
        operations.GetOperation(lro.GetOperationRequest(name=name))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_cancelled_and_failed(client: Client, operations: OperationsStub, digest: str) -> None:
    """One that runs is not done and tells its progress; cancelled it ends CANCELLED; one that failed has the audit's error."""
    loop = client.upload(models.loop())
    audit_id = client.audits.start(loop, models.rounds(models.ENDLESS), methods=["random"], checks=["continuity"])
    name = f"audits/{audit_id}"
    running = waited(operations, name, seconds=0)
    assert not running.done
    assert running.WhichOneof("result") is None
    operations.CancelOperation(lro.CancelOperationRequest(name=name))
    assert waited(operations, name).error.code == code_pb2.CANCELLED
    refused = client.audits.start(digest, {}, methods=["gradient"], checks=["continuity"])
    failed = waited(operations, f"audits/{refused}")
    assert failed.error.code == code_pb2.INVALID_ARGUMENT
    assert "is missing" in failed.error.message
    assert failed.error.details


@pytest.mark.parametrize("request_", [lro.ListOperationsRequest(filter="done"), lro.ListOperationsRequest(name="models")])
def test_what_cannot_be_listed(operations: OperationsStub, request_: Any) -> None:
    """A filter or another collection is refused; an operation of another name is not there."""
    with pytest.raises(grpc.RpcError) as error:
        operations.ListOperations(request_)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as error:
        operations.GetOperation(lro.GetOperationRequest(name="models/1"))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
