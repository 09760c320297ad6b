from explainpb.v1 import target_pb2 as _target_pb2
from explainpb.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExplainRequest(_message.Message):
    __slots__ = ("model_digest", "inputs", "method", "target", "explained_inputs", "seed", "parameters", "array_parameters", "straight_through")
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_INPUTS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ARRAY_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    STRAIGHT_THROUGH_FIELD_NUMBER: _ClassVar[int]
    model_digest: str
    inputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    method: str
    target: _target_pb2.Target
    explained_inputs: _containers.RepeatedScalarFieldContainer[str]
    seed: int
    parameters: _struct_pb2.Struct
    array_parameters: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    straight_through: bool
    def __init__(self, model_digest: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., method: _Optional[str] = ..., target: _Optional[_Union[_target_pb2.Target, _Mapping]] = ..., explained_inputs: _Optional[_Iterable[str]] = ..., seed: _Optional[int] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., array_parameters: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., straight_through: _Optional[bool] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("attribution",)
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    attribution: Attribution
    def __init__(self, attribution: _Optional[_Union[Attribution, _Mapping]] = ...) -> None: ...

class Attribution(_message.Message):
    __slots__ = ("method", "values", "target", "output_value", "baseline_value", "residual", "parameters", "seed", "model_digest", "versions", "caveats")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    METHOD_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_VALUE_FIELD_NUMBER: _ClassVar[int]
    BASELINE_VALUE_FIELD_NUMBER: _ClassVar[int]
    RESIDUAL_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    CAVEATS_FIELD_NUMBER: _ClassVar[int]
    method: str
    values: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    target: _target_pb2.ResolvedTarget
    output_value: _tensor_pb2.Tensor
    baseline_value: _tensor_pb2.Tensor
    residual: _tensor_pb2.Tensor
    parameters: _struct_pb2.Struct
    seed: int
    model_digest: str
    versions: _containers.ScalarMap[str, str]
    caveats: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, method: _Optional[str] = ..., values: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., target: _Optional[_Union[_target_pb2.ResolvedTarget, _Mapping]] = ..., output_value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., baseline_value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., residual: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., seed: _Optional[int] = ..., model_digest: _Optional[str] = ..., versions: _Optional[_Mapping[str, str]] = ..., caveats: _Optional[_Iterable[str]] = ...) -> None: ...

class PredictRequest(_message.Message):
    __slots__ = ("model_digest", "inputs")
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    model_digest: str
    inputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    def __init__(self, model_digest: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("outputs",)
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    outputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    def __init__(self, outputs: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ...) -> None: ...

class CompileExplanationRequest(_message.Message):
    __slots__ = ("model_digest", "method", "target", "explained_inputs", "parameters", "array_parameters", "straight_through")
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_INPUTS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ARRAY_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    STRAIGHT_THROUGH_FIELD_NUMBER: _ClassVar[int]
    model_digest: str
    method: str
    target: _target_pb2.Target
    explained_inputs: _containers.RepeatedScalarFieldContainer[str]
    parameters: _struct_pb2.Struct
    array_parameters: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    straight_through: bool
    def __init__(self, model_digest: _Optional[str] = ..., method: _Optional[str] = ..., target: _Optional[_Union[_target_pb2.Target, _Mapping]] = ..., explained_inputs: _Optional[_Iterable[str]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., array_parameters: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., straight_through: _Optional[bool] = ...) -> None: ...

class CompileExplanationResponse(_message.Message):
    __slots__ = ("chunk", "total_bytes")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    total_bytes: int
    def __init__(self, chunk: _Optional[bytes] = ..., total_bytes: _Optional[int] = ...) -> None: ...

class GetLedgerRequest(_message.Message):
    __slots__ = ("model_digest", "inputs", "method", "target", "explained_inputs", "parameters", "array_parameters", "straight_through")
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_INPUTS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ARRAY_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    STRAIGHT_THROUGH_FIELD_NUMBER: _ClassVar[int]
    model_digest: str
    inputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    method: str
    target: _target_pb2.Target
    explained_inputs: _containers.RepeatedScalarFieldContainer[str]
    parameters: _struct_pb2.Struct
    array_parameters: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    straight_through: bool
    def __init__(self, model_digest: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., method: _Optional[str] = ..., target: _Optional[_Union[_target_pb2.Target, _Mapping]] = ..., explained_inputs: _Optional[_Iterable[str]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., array_parameters: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., straight_through: _Optional[bool] = ...) -> None: ...

class GetLedgerResponse(_message.Message):
    __slots__ = ("ledger",)
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    ledger: Ledger
    def __init__(self, ledger: _Optional[_Union[Ledger, _Mapping]] = ...) -> None: ...

class Ledger(_message.Message):
    __slots__ = ("method", "target", "explained_inputs", "start", "accounts", "values", "parameters", "model_digest", "versions", "caveats")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_INPUTS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    CAVEATS_FIELD_NUMBER: _ClassVar[int]
    method: str
    target: _target_pb2.ResolvedTarget
    explained_inputs: _containers.RepeatedScalarFieldContainer[str]
    start: float
    accounts: _containers.RepeatedCompositeFieldContainer[Account]
    values: _containers.RepeatedCompositeFieldContainer[Relevance]
    parameters: _struct_pb2.Struct
    model_digest: str
    versions: _containers.ScalarMap[str, str]
    caveats: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, method: _Optional[str] = ..., target: _Optional[_Union[_target_pb2.ResolvedTarget, _Mapping]] = ..., explained_inputs: _Optional[_Iterable[str]] = ..., start: _Optional[float] = ..., accounts: _Optional[_Iterable[_Union[Account, _Mapping]]] = ..., values: _Optional[_Iterable[_Union[Relevance, _Mapping]]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., model_digest: _Optional[str] = ..., versions: _Optional[_Mapping[str, str]] = ..., caveats: _Optional[_Iterable[str]] = ...) -> None: ...

class Account(_message.Message):
    __slots__ = ("node", "operator", "results", "rule", "received", "handed_on", "bias", "rest")
    NODE_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    HANDED_ON_FIELD_NUMBER: _ClassVar[int]
    BIAS_FIELD_NUMBER: _ClassVar[int]
    REST_FIELD_NUMBER: _ClassVar[int]
    node: str
    operator: str
    results: _containers.RepeatedScalarFieldContainer[str]
    rule: str
    received: float
    handed_on: _containers.RepeatedCompositeFieldContainer[Relevance]
    bias: float
    rest: float
    def __init__(self, node: _Optional[str] = ..., operator: _Optional[str] = ..., results: _Optional[_Iterable[str]] = ..., rule: _Optional[str] = ..., received: _Optional[float] = ..., handed_on: _Optional[_Iterable[_Union[Relevance, _Mapping]]] = ..., bias: _Optional[float] = ..., rest: _Optional[float] = ...) -> None: ...

class Relevance(_message.Message):
    __slots__ = ("name", "sum")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    name: str
    sum: float
    def __init__(self, name: _Optional[str] = ..., sum: _Optional[float] = ...) -> None: ...

class DryRunRequest(_message.Message):
    __slots__ = ("model_digest", "method", "target", "explained_inputs", "parameters", "array_parameters", "straight_through")
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_INPUTS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ARRAY_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    STRAIGHT_THROUGH_FIELD_NUMBER: _ClassVar[int]
    model_digest: str
    method: str
    target: _target_pb2.Target
    explained_inputs: _containers.RepeatedScalarFieldContainer[str]
    parameters: _struct_pb2.Struct
    array_parameters: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    straight_through: bool
    def __init__(self, model_digest: _Optional[str] = ..., method: _Optional[str] = ..., target: _Optional[_Union[_target_pb2.Target, _Mapping]] = ..., explained_inputs: _Optional[_Iterable[str]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., array_parameters: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., straight_through: _Optional[bool] = ...) -> None: ...

class DryRunResponse(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: RulePlan
    def __init__(self, plan: _Optional[_Union[RulePlan, _Mapping]] = ...) -> None: ...

class RulePlan(_message.Message):
    __slots__ = ("method", "output", "explained_inputs", "nodes")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_INPUTS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    method: str
    output: str
    explained_inputs: _containers.RepeatedScalarFieldContainer[str]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeRule]
    def __init__(self, method: _Optional[str] = ..., output: _Optional[str] = ..., explained_inputs: _Optional[_Iterable[str]] = ..., nodes: _Optional[_Iterable[_Union[NodeRule, _Mapping]]] = ...) -> None: ...

class NodeRule(_message.Message):
    __slots__ = ("name", "operator", "results", "rule", "parameters", "refusal")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    operator: str
    results: _containers.RepeatedScalarFieldContainer[str]
    rule: str
    parameters: _struct_pb2.Struct
    refusal: str
    def __init__(self, name: _Optional[str] = ..., operator: _Optional[str] = ..., results: _Optional[_Iterable[str]] = ..., rule: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., refusal: _Optional[str] = ...) -> None: ...

class ListMethodsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListMethodsResponse(_message.Message):
    __slots__ = ("methods", "checks")
    METHODS_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    methods: _containers.RepeatedCompositeFieldContainer[Card]
    checks: _containers.RepeatedCompositeFieldContainer[Card]
    def __init__(self, methods: _Optional[_Iterable[_Union[Card, _Mapping]]] = ..., checks: _Optional[_Iterable[_Union[Card, _Mapping]]] = ...) -> None: ...

class Card(_message.Message):
    __slots__ = ("name", "summary", "computes", "output", "parameters", "needs", "cost", "properties", "limits", "source", "differs", "axioms")
    class AxiomsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    COMPUTES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DIFFERS_FIELD_NUMBER: _ClassVar[int]
    AXIOMS_FIELD_NUMBER: _ClassVar[int]
    name: str
    summary: str
    computes: str
    output: str
    parameters: _containers.RepeatedCompositeFieldContainer[ParameterCard]
    needs: str
    cost: str
    properties: str
    limits: str
    source: str
    differs: str
    axioms: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., summary: _Optional[str] = ..., computes: _Optional[str] = ..., output: _Optional[str] = ..., parameters: _Optional[_Iterable[_Union[ParameterCard, _Mapping]]] = ..., needs: _Optional[str] = ..., cost: _Optional[str] = ..., properties: _Optional[str] = ..., limits: _Optional[str] = ..., source: _Optional[str] = ..., differs: _Optional[str] = ..., axioms: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ParameterCard(_message.Message):
    __slots__ = ("name", "type", "default", "description", "range")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    default: _struct_pb2.Value
    description: str
    range: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., default: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., description: _Optional[str] = ..., range: _Optional[str] = ...) -> None: ...
