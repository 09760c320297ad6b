from explainpb.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Target(_message.Message):
    __slots__ = ("output", "arg_max", "index", "indices", "seed", "against", "against_indices")
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ARG_MAX_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    AGAINST_FIELD_NUMBER: _ClassVar[int]
    AGAINST_INDICES_FIELD_NUMBER: _ClassVar[int]
    output: str
    arg_max: ArgMax
    index: Index
    indices: IndexList
    seed: _tensor_pb2.Tensor
    against: Index
    against_indices: IndexList
    def __init__(self, output: _Optional[str] = ..., arg_max: _Optional[_Union[ArgMax, _Mapping]] = ..., index: _Optional[_Union[Index, _Mapping]] = ..., indices: _Optional[_Union[IndexList, _Mapping]] = ..., seed: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., against: _Optional[_Union[Index, _Mapping]] = ..., against_indices: _Optional[_Union[IndexList, _Mapping]] = ...) -> None: ...

class ArgMax(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Index(_message.Message):
    __slots__ = ("positions",)
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, positions: _Optional[_Iterable[int]] = ...) -> None: ...

class IndexList(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Index]
    def __init__(self, items: _Optional[_Iterable[_Union[Index, _Mapping]]] = ...) -> None: ...

class ResolvedTarget(_message.Message):
    __slots__ = ("output", "description", "seed", "index")
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    output: str
    description: str
    seed: _tensor_pb2.Tensor
    index: IndexList
    def __init__(self, output: _Optional[str] = ..., description: _Optional[str] = ..., seed: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., index: _Optional[_Union[IndexList, _Mapping]] = ...) -> None: ...
