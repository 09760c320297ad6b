"""What server reflection finds by name: rpcs too, which the protocol says are symbols and protobuf's own pool does not find."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

POOL: Any = descriptor_pool.Default()


class Symbols:
    """The part of a descriptor pool that reflection uses."""

    # The names are those of DescriptorPool.
    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802
        """The file of a message, an enum, a service or an rpc; KeyError where there is none."""
        try:
            found: FileDescriptor = POOL.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, rpc = symbol.rpartition(".")
            found = POOL.FindServiceByName(service).methods_by_name[rpc].containing_service.file
        return found

    def FindFileByName(self, name: str) -> FileDescriptor:  # noqa: N802
        """A file."""
        found: FileDescriptor = POOL.FindFileByName(name)
        return found

    def FindMessageTypeByName(self, name: str) -> Descriptor:  # noqa: N802
        """A message."""
        found: Descriptor = POOL.FindMessageTypeByName(name)
        return found

    def FindExtensionByNumber(self, message: Descriptor, number: int) -> FieldDescriptor:  # noqa: N802
        """An extension of a message."""
        found: FieldDescriptor = POOL.FindExtensionByNumber(message, number)
        return found

    def FindAllExtensions(self, message: Descriptor) -> list[FieldDescriptor]:  # noqa: N802
        """All extensions of a message."""
        found: list[FieldDescriptor] = POOL.FindAllExtensions(message)
        return found
