import datetime

from explainpb.v1 import audit_service_pb2 as _audit_service_pb2
from explainpb.v1 import target_pb2 as _target_pb2
from explainpb.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PictureKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PICTURE_KIND_UNSPECIFIED: _ClassVar[PictureKind]
    PICTURE_KIND_IMAGE: _ClassVar[PictureKind]
    PICTURE_KIND_TOKENS: _ClassVar[PictureKind]
    PICTURE_KIND_BARS: _ClassVar[PictureKind]
    PICTURE_KIND_SERIES: _ClassVar[PictureKind]
    PICTURE_KIND_VOLUME: _ClassVar[PictureKind]

class ColourMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COLOUR_MODE_UNSPECIFIED: _ClassVar[ColourMode]
    COLOUR_MODE_SIGNED: _ClassVar[ColourMode]
    COLOUR_MODE_ABSOLUTE: _ClassVar[ColourMode]
PICTURE_KIND_UNSPECIFIED: PictureKind
PICTURE_KIND_IMAGE: PictureKind
PICTURE_KIND_TOKENS: PictureKind
PICTURE_KIND_BARS: PictureKind
PICTURE_KIND_SERIES: PictureKind
PICTURE_KIND_VOLUME: PictureKind
COLOUR_MODE_UNSPECIFIED: ColourMode
COLOUR_MODE_SIGNED: ColourMode
COLOUR_MODE_ABSOLUTE: ColourMode

class ExplainRequest(_message.Message):
    __slots__ = ("model_digest", "inputs", "method", "target", "explained_inputs", "seed", "parameters", "array_parameters", "straight_through", "validate_only", "images", "render")
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_INPUTS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ARRAY_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    STRAIGHT_THROUGH_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    RENDER_FIELD_NUMBER: _ClassVar[int]
    model_digest: str
    inputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    method: str
    target: _target_pb2.Target
    explained_inputs: _containers.RepeatedScalarFieldContainer[str]
    seed: int
    parameters: _struct_pb2.Struct
    array_parameters: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    straight_through: bool
    validate_only: bool
    images: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedImages]
    render: Rendering
    def __init__(self, model_digest: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., method: _Optional[str] = ..., target: _Optional[_Union[_target_pb2.Target, _Mapping]] = ..., explained_inputs: _Optional[_Iterable[str]] = ..., seed: _Optional[int] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., array_parameters: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., straight_through: _Optional[bool] = ..., validate_only: _Optional[bool] = ..., images: _Optional[_Iterable[_Union[_tensor_pb2.NamedImages, _Mapping]]] = ..., render: _Optional[_Union[Rendering, _Mapping]] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("attribution", "pictures", "pictures_left_out", "validation")
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    PICTURES_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    attribution: Attribution
    pictures: _containers.RepeatedCompositeFieldContainer[Picture]
    pictures_left_out: int
    validation: Validation
    def __init__(self, attribution: _Optional[_Union[Attribution, _Mapping]] = ..., pictures: _Optional[_Iterable[_Union[Picture, _Mapping]]] = ..., pictures_left_out: _Optional[int] = ..., validation: _Optional[_Union[Validation, _Mapping]] = ...) -> None: ...

class Rendering(_message.Message):
    __slots__ = ("kind", "mode", "percentile", "without_input", "tokens", "names", "max_pictures")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PERCENTILE_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_INPUT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    MAX_PICTURES_FIELD_NUMBER: _ClassVar[int]
    kind: PictureKind
    mode: ColourMode
    percentile: float
    without_input: bool
    tokens: _containers.RepeatedScalarFieldContainer[str]
    names: _containers.RepeatedScalarFieldContainer[str]
    max_pictures: int
    def __init__(self, kind: _Optional[_Union[PictureKind, str]] = ..., mode: _Optional[_Union[ColourMode, str]] = ..., percentile: _Optional[float] = ..., without_input: _Optional[bool] = ..., tokens: _Optional[_Iterable[str]] = ..., names: _Optional[_Iterable[str]] = ..., max_pictures: _Optional[int] = ...) -> None: ...

class Picture(_message.Message):
    __slots__ = ("input", "item", "kind", "png")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    input: str
    item: str
    kind: PictureKind
    png: bytes
    def __init__(self, input: _Optional[str] = ..., item: _Optional[str] = ..., kind: _Optional[_Union[PictureKind, str]] = ..., png: _Optional[bytes] = ...) -> None: ...

class Validation(_message.Message):
    __slots__ = ("method", "output", "target", "explained_inputs", "parameters", "seed", "caveats")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_INPUTS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    CAVEATS_FIELD_NUMBER: _ClassVar[int]
    method: str
    output: str
    target: _target_pb2.ResolvedTarget
    explained_inputs: _containers.RepeatedScalarFieldContainer[str]
    parameters: _struct_pb2.Struct
    seed: int
    caveats: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, method: _Optional[str] = ..., output: _Optional[str] = ..., target: _Optional[_Union[_target_pb2.ResolvedTarget, _Mapping]] = ..., explained_inputs: _Optional[_Iterable[str]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., seed: _Optional[int] = ..., caveats: _Optional[_Iterable[str]] = ...) -> None: ...

class ExplainStreamRequest(_message.Message):
    __slots__ = ("request", "interval")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    request: ExplainRequest
    interval: _duration_pb2.Duration
    def __init__(self, request: _Optional[_Union[ExplainRequest, _Mapping]] = ..., interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ExplainStreamResponse(_message.Message):
    __slots__ = ("progress", "partial", "result")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    progress: _audit_service_pb2.Progress
    partial: PartialEstimate
    result: ExplainResponse
    def __init__(self, progress: _Optional[_Union[_audit_service_pb2.Progress, _Mapping]] = ..., partial: _Optional[_Union[PartialEstimate, _Mapping]] = ..., result: _Optional[_Union[ExplainResponse, _Mapping]] = ...) -> None: ...

class PartialEstimate(_message.Message):
    __slots__ = ("samples", "total", "values", "standard_errors")
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERRORS_FIELD_NUMBER: _ClassVar[int]
    samples: int
    total: int
    values: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    standard_errors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    def __init__(self, samples: _Optional[int] = ..., total: _Optional[int] = ..., values: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., standard_errors: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ...) -> None: ...

class ExplainBatchRequest(_message.Message):
    __slots__ = ("id", "request")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    id: str
    request: ExplainRequest
    def __init__(self, id: _Optional[str] = ..., request: _Optional[_Union[ExplainRequest, _Mapping]] = ...) -> None: ...

class ExplainBatchResponse(_message.Message):
    __slots__ = ("id", "result", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    result: ExplainResponse
    error: _status_pb2.Status
    def __init__(self, id: _Optional[str] = ..., result: _Optional[_Union[ExplainResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class Attribution(_message.Message):
    __slots__ = ("method", "values", "target", "output_value", "baseline_value", "residual", "parameters", "seed", "model_digest", "versions", "caveats", "timings")
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
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
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
    timings: Timings
    def __init__(self, method: _Optional[str] = ..., values: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., target: _Optional[_Union[_target_pb2.ResolvedTarget, _Mapping]] = ..., output_value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., baseline_value: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., residual: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., seed: _Optional[int] = ..., model_digest: _Optional[str] = ..., versions: _Optional[_Mapping[str, str]] = ..., caveats: _Optional[_Iterable[str]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("queue_milliseconds", "load_milliseconds", "compute_milliseconds")
    QUEUE_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    LOAD_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    queue_milliseconds: float
    load_milliseconds: float
    compute_milliseconds: float
    def __init__(self, queue_milliseconds: _Optional[float] = ..., load_milliseconds: _Optional[float] = ..., compute_milliseconds: _Optional[float] = ...) -> None: ...

class PredictRequest(_message.Message):
    __slots__ = ("model_digest", "inputs", "images")
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    model_digest: str
    inputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    images: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedImages]
    def __init__(self, model_digest: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., images: _Optional[_Iterable[_Union[_tensor_pb2.NamedImages, _Mapping]]] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("outputs",)
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    outputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    def __init__(self, outputs: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ...) -> None: ...

class CompileExplanationRequest(_message.Message):
    __slots__ = ("model_digest", "method", "target", "explained_inputs", "parameters", "array_parameters", "straight_through", "validate_only")
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_INPUTS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ARRAY_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    STRAIGHT_THROUGH_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    model_digest: str
    method: str
    target: _target_pb2.Target
    explained_inputs: _containers.RepeatedScalarFieldContainer[str]
    parameters: _struct_pb2.Struct
    array_parameters: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    straight_through: bool
    validate_only: bool
    def __init__(self, model_digest: _Optional[str] = ..., method: _Optional[str] = ..., target: _Optional[_Union[_target_pb2.Target, _Mapping]] = ..., explained_inputs: _Optional[_Iterable[str]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., array_parameters: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., straight_through: _Optional[bool] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class CompileExplanationResponse(_message.Message):
    __slots__ = ("chunk", "total_bytes", "validation")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    total_bytes: int
    validation: Validation
    def __init__(self, chunk: _Optional[bytes] = ..., total_bytes: _Optional[int] = ..., validation: _Optional[_Union[Validation, _Mapping]] = ...) -> None: ...

class GetLedgerRequest(_message.Message):
    __slots__ = ("model_digest", "inputs", "method", "target", "explained_inputs", "parameters", "array_parameters", "straight_through", "images")
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_INPUTS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    ARRAY_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    STRAIGHT_THROUGH_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    model_digest: str
    inputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    method: str
    target: _target_pb2.Target
    explained_inputs: _containers.RepeatedScalarFieldContainer[str]
    parameters: _struct_pb2.Struct
    array_parameters: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    straight_through: bool
    images: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedImages]
    def __init__(self, model_digest: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., method: _Optional[str] = ..., target: _Optional[_Union[_target_pb2.Target, _Mapping]] = ..., explained_inputs: _Optional[_Iterable[str]] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., array_parameters: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., straight_through: _Optional[bool] = ..., images: _Optional[_Iterable[_Union[_tensor_pb2.NamedImages, _Mapping]]] = ...) -> None: ...

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
    __slots__ = ("name", "summary", "computes", "output", "parameters", "needs", "cost", "properties", "limits", "source", "differs", "axioms", "parameters_schema")
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
    PARAMETERS_SCHEMA_FIELD_NUMBER: _ClassVar[int]
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
    parameters_schema: _struct_pb2.Struct
    def __init__(self, name: _Optional[str] = ..., summary: _Optional[str] = ..., computes: _Optional[str] = ..., output: _Optional[str] = ..., parameters: _Optional[_Iterable[_Union[ParameterCard, _Mapping]]] = ..., needs: _Optional[str] = ..., cost: _Optional[str] = ..., properties: _Optional[str] = ..., limits: _Optional[str] = ..., source: _Optional[str] = ..., differs: _Optional[str] = ..., axioms: _Optional[_Mapping[str, str]] = ..., parameters_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

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
