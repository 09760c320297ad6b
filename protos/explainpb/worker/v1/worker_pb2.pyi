from explainpb.v1 import audit_service_pb2 as _audit_service_pb2
from explainpb.v1 import error_pb2 as _error_pb2
from explainpb.v1 import explanation_service_pb2 as _explanation_service_pb2
from explainpb.v1 import model_service_pb2 as _model_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Job(_message.Message):
    __slots__ = ("model_folder", "number", "validate", "inspect", "predict", "explain", "compile", "audit", "ledger", "dry_run", "together", "probe", "explain_stream", "validate_audit", "signature")
    MODEL_FOLDER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_FIELD_NUMBER: _ClassVar[int]
    INSPECT_FIELD_NUMBER: _ClassVar[int]
    PREDICT_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    COMPILE_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    TOGETHER_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_STREAM_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_AUDIT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    model_folder: str
    number: int
    validate: ValidateWork
    inspect: _model_service_pb2.InspectModelRequest
    predict: _explanation_service_pb2.PredictRequest
    explain: _explanation_service_pb2.ExplainRequest
    compile: _explanation_service_pb2.CompileExplanationRequest
    audit: AuditWork
    ledger: _explanation_service_pb2.GetLedgerRequest
    dry_run: _explanation_service_pb2.DryRunRequest
    together: ExplainTogether
    probe: ProbeWork
    explain_stream: _explanation_service_pb2.ExplainStreamRequest
    validate_audit: _audit_service_pb2.CreateAuditRequest
    signature: SignatureWork
    def __init__(self, model_folder: _Optional[str] = ..., number: _Optional[int] = ..., validate: _Optional[_Union[ValidateWork, _Mapping]] = ..., inspect: _Optional[_Union[_model_service_pb2.InspectModelRequest, _Mapping]] = ..., predict: _Optional[_Union[_explanation_service_pb2.PredictRequest, _Mapping]] = ..., explain: _Optional[_Union[_explanation_service_pb2.ExplainRequest, _Mapping]] = ..., compile: _Optional[_Union[_explanation_service_pb2.CompileExplanationRequest, _Mapping]] = ..., audit: _Optional[_Union[AuditWork, _Mapping]] = ..., ledger: _Optional[_Union[_explanation_service_pb2.GetLedgerRequest, _Mapping]] = ..., dry_run: _Optional[_Union[_explanation_service_pb2.DryRunRequest, _Mapping]] = ..., together: _Optional[_Union[ExplainTogether, _Mapping]] = ..., probe: _Optional[_Union[ProbeWork, _Mapping]] = ..., explain_stream: _Optional[_Union[_explanation_service_pb2.ExplainStreamRequest, _Mapping]] = ..., validate_audit: _Optional[_Union[_audit_service_pb2.CreateAuditRequest, _Mapping]] = ..., signature: _Optional[_Union[SignatureWork, _Mapping]] = ...) -> None: ...

class ValidateWork(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SignatureWork(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Signature(_message.Message):
    __slots__ = ("inputs", "outputs")
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    inputs: _containers.RepeatedCompositeFieldContainer[_model_service_pb2.TensorInfo]
    outputs: _containers.RepeatedCompositeFieldContainer[_model_service_pb2.TensorInfo]
    def __init__(self, inputs: _Optional[_Iterable[_Union[_model_service_pb2.TensorInfo, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[_model_service_pb2.TensorInfo, _Mapping]]] = ...) -> None: ...

class ExplainTogether(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[_explanation_service_pb2.ExplainRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[_explanation_service_pb2.ExplainRequest, _Mapping]]] = ...) -> None: ...

class ProbeWork(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AuditWork(_message.Message):
    __slots__ = ("request", "finished")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    request: _audit_service_pb2.CreateAuditRequest
    finished: _containers.RepeatedCompositeFieldContainer[FinishedPart]
    def __init__(self, request: _Optional[_Union[_audit_service_pb2.CreateAuditRequest, _Mapping]] = ..., finished: _Optional[_Iterable[_Union[FinishedPart, _Mapping]]] = ...) -> None: ...

class FinishedPart(_message.Message):
    __slots__ = ("part", "seconds", "rows")
    PART_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    part: _containers.RepeatedScalarFieldContainer[str]
    seconds: float
    rows: _containers.RepeatedCompositeFieldContainer[_audit_service_pb2.AuditRow]
    def __init__(self, part: _Optional[_Iterable[str]] = ..., seconds: _Optional[float] = ..., rows: _Optional[_Iterable[_Union[_audit_service_pb2.AuditRow, _Mapping]]] = ...) -> None: ...

class AuditBegun(_message.Message):
    __slots__ = ("question",)
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    question: str
    def __init__(self, question: _Optional[str] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("ready", "progress", "row", "error", "digest", "info", "outputs", "explained", "streamed", "validation", "audit_validation", "compiled", "report", "ledger", "plan", "begun", "part", "wanted", "answers", "probes", "cancelled", "signature", "held", "spans")
    READY_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_FIELD_NUMBER: _ClassVar[int]
    STREAMED_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    AUDIT_VALIDATION_FIELD_NUMBER: _ClassVar[int]
    COMPILED_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    BEGUN_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    ready: Ready
    progress: _audit_service_pb2.Progress
    row: _audit_service_pb2.AuditRow
    error: _error_pb2.Error
    digest: str
    info: _model_service_pb2.ModelInfo
    outputs: _explanation_service_pb2.PredictResponse
    explained: _explanation_service_pb2.ExplainResponse
    streamed: _explanation_service_pb2.ExplainStreamResponse
    validation: _explanation_service_pb2.Validation
    audit_validation: _audit_service_pb2.AuditValidation
    compiled: bytes
    report: bytes
    ledger: _explanation_service_pb2.Ledger
    plan: _explanation_service_pb2.RulePlan
    begun: AuditBegun
    part: FinishedPart
    wanted: Wanted
    answers: Answers
    probes: Probes
    cancelled: Cancelled
    signature: Signature
    held: _containers.RepeatedScalarFieldContainer[str]
    spans: _containers.RepeatedCompositeFieldContainer[Span]
    def __init__(self, ready: _Optional[_Union[Ready, _Mapping]] = ..., progress: _Optional[_Union[_audit_service_pb2.Progress, _Mapping]] = ..., row: _Optional[_Union[_audit_service_pb2.AuditRow, _Mapping]] = ..., error: _Optional[_Union[_error_pb2.Error, _Mapping]] = ..., digest: _Optional[str] = ..., info: _Optional[_Union[_model_service_pb2.ModelInfo, _Mapping]] = ..., outputs: _Optional[_Union[_explanation_service_pb2.PredictResponse, _Mapping]] = ..., explained: _Optional[_Union[_explanation_service_pb2.ExplainResponse, _Mapping]] = ..., streamed: _Optional[_Union[_explanation_service_pb2.ExplainStreamResponse, _Mapping]] = ..., validation: _Optional[_Union[_explanation_service_pb2.Validation, _Mapping]] = ..., audit_validation: _Optional[_Union[_audit_service_pb2.AuditValidation, _Mapping]] = ..., compiled: _Optional[bytes] = ..., report: _Optional[bytes] = ..., ledger: _Optional[_Union[_explanation_service_pb2.Ledger, _Mapping]] = ..., plan: _Optional[_Union[_explanation_service_pb2.RulePlan, _Mapping]] = ..., begun: _Optional[_Union[AuditBegun, _Mapping]] = ..., part: _Optional[_Union[FinishedPart, _Mapping]] = ..., wanted: _Optional[_Union[Wanted, _Mapping]] = ..., answers: _Optional[_Union[Answers, _Mapping]] = ..., probes: _Optional[_Union[Probes, _Mapping]] = ..., cancelled: _Optional[_Union[Cancelled, _Mapping]] = ..., signature: _Optional[_Union[Signature, _Mapping]] = ..., held: _Optional[_Iterable[str]] = ..., spans: _Optional[_Iterable[_Union[Span, _Mapping]]] = ...) -> None: ...

class Span(_message.Message):
    __slots__ = ("name", "start_unix_nanos", "end_unix_nanos", "times")
    NAME_FIELD_NUMBER: _ClassVar[int]
    START_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    END_UNIX_NANOS_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    name: str
    start_unix_nanos: int
    end_unix_nanos: int
    times: int
    def __init__(self, name: _Optional[str] = ..., start_unix_nanos: _Optional[int] = ..., end_unix_nanos: _Optional[int] = ..., times: _Optional[int] = ...) -> None: ...

class Wanted(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Cancelled(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Answers(_message.Message):
    __slots__ = ("replies",)
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    replies: _containers.RepeatedCompositeFieldContainer[Reply]
    def __init__(self, replies: _Optional[_Iterable[_Union[Reply, _Mapping]]] = ...) -> None: ...

class Probes(_message.Message):
    __slots__ = ("probes",)
    PROBES_FIELD_NUMBER: _ClassVar[int]
    probes: _containers.RepeatedCompositeFieldContainer[Probe]
    def __init__(self, probes: _Optional[_Iterable[_Union[Probe, _Mapping]]] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ("name", "denied", "detail")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DENIED_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    denied: bool
    detail: str
    def __init__(self, name: _Optional[str] = ..., denied: _Optional[bool] = ..., detail: _Optional[str] = ...) -> None: ...

class Ready(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
