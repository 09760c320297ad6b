"""Which scope each rpc and each path takes: one table, complete over everything that is served; a test holds that."""

from __future__ import annotations

from explainsvc.errors import NotAllowed
from explainsvc.service.principals import Principal

UPLOAD, EXPLAIN, AUDIT, ADMIN = (frozenset({name}) for name in ("upload", "explain", "audit", "admin"))
ANY = UPLOAD | EXPLAIN | AUDIT
OPEN: frozenset[str] = frozenset()
"""For everybody, without credentials."""
_HEALTH, _OPERATIONS, _OIP = "/grpc.health.v1.Health", "/google.longrunning.Operations", "/inference.GRPCInferenceService"
_MODELS, _EXPLANATIONS, _AUDITS = (f"/explainsvc.v1.{name}Service" for name in ("Model", "Explanation", "Audit"))

SCOPES_OF: dict[str, frozenset[str]] = {
    f"{_MODELS}/UploadModel": UPLOAD,
    f"{_MODELS}/GetUpload": UPLOAD,
    f"{_MODELS}/SetModelPreprocessing": UPLOAD,
    f"{_MODELS}/DeleteModel": UPLOAD,
    f"{_MODELS}/GetModel": ANY,
    f"{_MODELS}/ListModels": ANY,
    f"{_MODELS}/InspectModel": ANY,
    f"{_EXPLANATIONS}/Explain": EXPLAIN,
    f"{_EXPLANATIONS}/ExplainStream": EXPLAIN,
    f"{_EXPLANATIONS}/ExplainBatch": EXPLAIN,
    f"{_EXPLANATIONS}/Predict": EXPLAIN,
    f"{_EXPLANATIONS}/CompileExplanation": EXPLAIN,
    f"{_EXPLANATIONS}/GetLedger": EXPLAIN,
    f"{_EXPLANATIONS}/DryRun": EXPLAIN,
    f"{_EXPLANATIONS}/ListMethods": ANY,
    f"{_AUDITS}/CreateAudit": AUDIT,
    f"{_AUDITS}/GetAudit": AUDIT,
    f"{_AUDITS}/DownloadReport": AUDIT,
    f"{_AUDITS}/WatchAudit": AUDIT,
    f"{_AUDITS}/ListAudits": AUDIT,
    f"{_AUDITS}/CancelAudit": AUDIT,
    f"{_AUDITS}/DeleteAudit": AUDIT,
    **{f"{_OPERATIONS}/{name}Operation": AUDIT for name in ("Get", "Delete", "Cancel", "Wait")},
    f"{_OPERATIONS}/ListOperations": AUDIT,
    **{f"{_OIP}/{name}": OPEN for name in ("ServerLive", "ServerReady")},
    f"{_OIP}/ServerMetadata": ANY,
    **{f"{_OIP}/{name}": EXPLAIN for name in ("ModelReady", "ModelMetadata", "ModelInfer")},
    **{f"{_HEALTH}/{name}": OPEN for name in ("Check", "Watch", "List")},
}
"""Full name of an rpc → the scopes of which its caller needs one."""
REFLECTION = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)


def scopes_of(rpc: str, open_reflection: bool = True) -> frozenset[str]:
    """What an rpc takes; one that the table does not know is for administrators."""
    if rpc in REFLECTION:
        return OPEN if open_reflection else ANY
    return SCOPES_OF.get(rpc, ADMIN)


def allow(principal: Principal, scopes: frozenset[str]) -> None:
    """Nothing, or NotAllowed. Neither what the principal may do nor what was asked about is said."""
    if scopes and not any(map(principal.may, scopes)):
        wanted = " or ".join(sorted(scopes))
        raise NotAllowed("the caller may not do this", expected=f"the scope {wanted}", to_do="Ask whoever runs the server for it")
