import datetime

from explainpb.v1 import error_pb2 as _error_pb2
from explainpb.v1 import target_pb2 as _target_pb2
from explainpb.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuditState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIT_STATE_UNSPECIFIED: _ClassVar[AuditState]
    AUDIT_STATE_RUNNING: _ClassVar[AuditState]
    AUDIT_STATE_SUCCEEDED: _ClassVar[AuditState]
    AUDIT_STATE_FAILED: _ClassVar[AuditState]
    AUDIT_STATE_CANCELLED: _ClassVar[AuditState]
    AUDIT_STATE_ABORTED: _ClassVar[AuditState]

class ReportFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPORT_FORMAT_UNSPECIFIED: _ClassVar[ReportFormat]
    REPORT_FORMAT_JSON: _ClassVar[ReportFormat]
    REPORT_FORMAT_HTML: _ClassVar[ReportFormat]
AUDIT_STATE_UNSPECIFIED: AuditState
AUDIT_STATE_RUNNING: AuditState
AUDIT_STATE_SUCCEEDED: AuditState
AUDIT_STATE_FAILED: AuditState
AUDIT_STATE_CANCELLED: AuditState
AUDIT_STATE_ABORTED: AuditState
REPORT_FORMAT_UNSPECIFIED: ReportFormat
REPORT_FORMAT_JSON: ReportFormat
REPORT_FORMAT_HTML: ReportFormat

class Audit(_message.Message):
    __slots__ = ("audit_id", "state", "model_digest", "create_time", "end_time", "error", "rows", "verdicts", "progress")
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    audit_id: str
    state: AuditState
    model_digest: str
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    error: _error_pb2.Error
    rows: _containers.RepeatedCompositeFieldContainer[AuditRow]
    verdicts: _containers.RepeatedCompositeFieldContainer[Verdict]
    progress: Progress
    def __init__(self, audit_id: _Optional[str] = ..., state: _Optional[_Union[AuditState, str]] = ..., model_digest: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ..., rows: _Optional[_Iterable[_Union[AuditRow, _Mapping]]] = ..., verdicts: _Optional[_Iterable[_Union[Verdict, _Mapping]]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ...) -> None: ...

class AuditRow(_message.Message):
    __slots__ = ("check", "method", "order", "step", "unit", "measure", "mean", "std", "low", "high", "n", "note", "amount")
    CHECK_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    check: str
    method: str
    order: str
    step: int
    unit: str
    measure: str
    mean: float
    std: float
    low: float
    high: float
    n: int
    note: str
    amount: float
    def __init__(self, check: _Optional[str] = ..., method: _Optional[str] = ..., order: _Optional[str] = ..., step: _Optional[int] = ..., unit: _Optional[str] = ..., measure: _Optional[str] = ..., mean: _Optional[float] = ..., std: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., n: _Optional[int] = ..., note: _Optional[str] = ..., amount: _Optional[float] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("method", "check", "verdict", "reason")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    method: str
    check: str
    verdict: str
    reason: str
    def __init__(self, method: _Optional[str] = ..., check: _Optional[str] = ..., verdict: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CreateAuditRequest(_message.Message):
    __slots__ = ("model_digest", "inputs", "methods", "checks", "target", "labels", "seed", "parameters", "preset", "plan", "keep_running", "request_id", "validate_only", "images")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _struct_pb2.Struct
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    KEEP_RUNNING_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    model_digest: str
    inputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    methods: _containers.RepeatedScalarFieldContainer[str]
    checks: _containers.RepeatedScalarFieldContainer[str]
    target: _target_pb2.Target
    labels: _tensor_pb2.Tensor
    seed: int
    parameters: _containers.MessageMap[str, _struct_pb2.Struct]
    preset: str
    plan: str
    keep_running: bool
    request_id: str
    validate_only: bool
    images: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedImages]
    def __init__(self, model_digest: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., methods: _Optional[_Iterable[str]] = ..., checks: _Optional[_Iterable[str]] = ..., target: _Optional[_Union[_target_pb2.Target, _Mapping]] = ..., labels: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., seed: _Optional[int] = ..., parameters: _Optional[_Mapping[str, _struct_pb2.Struct]] = ..., preset: _Optional[str] = ..., plan: _Optional[str] = ..., keep_running: _Optional[bool] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ..., images: _Optional[_Iterable[_Union[_tensor_pb2.NamedImages, _Mapping]]] = ...) -> None: ...

class CreateAuditResponse(_message.Message):
    __slots__ = ("started", "progress", "row", "finished", "validation", "sequence")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    started: Audit
    progress: Progress
    row: AuditRow
    finished: Audit
    validation: AuditValidation
    sequence: int
    def __init__(self, started: _Optional[_Union[Audit, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., row: _Optional[_Union[AuditRow, _Mapping]] = ..., finished: _Optional[_Union[Audit, _Mapping]] = ..., validation: _Optional[_Union[AuditValidation, _Mapping]] = ..., sequence: _Optional[int] = ...) -> None: ...

class AuditValidation(_message.Message):
    __slots__ = ("methods", "controls", "checks", "parameters", "output", "seed", "items")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _struct_pb2.Struct
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...
    METHODS_FIELD_NUMBER: _ClassVar[int]
    CONTROLS_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    methods: _containers.RepeatedScalarFieldContainer[str]
    controls: _containers.RepeatedScalarFieldContainer[str]
    checks: _containers.RepeatedScalarFieldContainer[str]
    parameters: _containers.MessageMap[str, _struct_pb2.Struct]
    output: str
    seed: int
    items: int
    def __init__(self, methods: _Optional[_Iterable[str]] = ..., controls: _Optional[_Iterable[str]] = ..., checks: _Optional[_Iterable[str]] = ..., parameters: _Optional[_Mapping[str, _struct_pb2.Struct]] = ..., output: _Optional[str] = ..., seed: _Optional[int] = ..., items: _Optional[int] = ...) -> None: ...

class WatchAuditRequest(_message.Message):
    __slots__ = ("audit_id", "after_sequence")
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    audit_id: str
    after_sequence: int
    def __init__(self, audit_id: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class WatchAuditResponse(_message.Message):
    __slots__ = ("started", "progress", "row", "finished", "sequence")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    started: Audit
    progress: Progress
    row: AuditRow
    finished: Audit
    sequence: int
    def __init__(self, started: _Optional[_Union[Audit, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., row: _Optional[_Union[AuditRow, _Mapping]] = ..., finished: _Optional[_Union[Audit, _Mapping]] = ..., sequence: _Optional[int] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("done", "total", "what", "remaining")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    what: str
    remaining: _duration_pb2.Duration
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., what: _Optional[str] = ..., remaining: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GetAuditRequest(_message.Message):
    __slots__ = ("audit_id",)
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    audit_id: str
    def __init__(self, audit_id: _Optional[str] = ...) -> None: ...

class GetAuditResponse(_message.Message):
    __slots__ = ("audit",)
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    audit: Audit
    def __init__(self, audit: _Optional[_Union[Audit, _Mapping]] = ...) -> None: ...

class DownloadReportRequest(_message.Message):
    __slots__ = ("audit_id", "format")
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    audit_id: str
    format: ReportFormat
    def __init__(self, audit_id: _Optional[str] = ..., format: _Optional[_Union[ReportFormat, str]] = ...) -> None: ...

class DownloadReportResponse(_message.Message):
    __slots__ = ("chunk", "total_bytes")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    total_bytes: int
    def __init__(self, chunk: _Optional[bytes] = ..., total_bytes: _Optional[int] = ...) -> None: ...

class ListAuditsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAuditsResponse(_message.Message):
    __slots__ = ("audits", "next_page_token")
    AUDITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    audits: _containers.RepeatedCompositeFieldContainer[Audit]
    next_page_token: str
    def __init__(self, audits: _Optional[_Iterable[_Union[Audit, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelAuditRequest(_message.Message):
    __slots__ = ("audit_id",)
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    audit_id: str
    def __init__(self, audit_id: _Optional[str] = ...) -> None: ...

class CancelAuditResponse(_message.Message):
    __slots__ = ("audit",)
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    audit: Audit
    def __init__(self, audit: _Optional[_Union[Audit, _Mapping]] = ...) -> None: ...

class DeleteAuditRequest(_message.Message):
    __slots__ = ("audit_id",)
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    audit_id: str
    def __init__(self, audit_id: _Optional[str] = ...) -> None: ...

class DeleteAuditResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
