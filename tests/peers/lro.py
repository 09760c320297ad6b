"""Polls an audit with Google's own client of long-running operations; nothing of ours can be imported here."""

import json
import sys

import grpc
from google.api_core import exceptions, operation, operations_v1
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

address, name, running = sys.argv[1:]
channel = grpc.insecure_channel(address)
pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
audit = GetMessageClass(pool.FindMessageTypeByName("explainsvc.v1.Audit"))
client = operations_v1.OperationsClient(channel)
future = operation.from_gapic(client.get_operation(name), client, audit, metadata_type=audit)
while not future.done():
    pass
listed = [one.name for one in client.list_operations("audits", "")]
other = operation.from_gapic(client.get_operation(running), client, audit)
before = other.done()
other.cancel()
while not other.done():
    pass
try:
    client.get_operation("audits/nobody")
    missing = ""
except exceptions.NotFound as error:
    missing = error.reason
found = {
    "rows": len(future.result().rows),
    "metadata": future.metadata.audit_id,
    "listed": listed,
    "before": before,
    "cancelled": other.cancelled(),
    "missing": missing,
}
sys.stdout.write(json.dumps(found))
