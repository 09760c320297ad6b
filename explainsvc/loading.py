"""``explainsvc.load``: from a file, bytes or a proto to a Model."""

from __future__ import annotations

from collections.abc import Mapping

from explainsvc.graph.limits import Limits
from explainsvc.graph.load import Source, load_model
from explainsvc.model import Model


def load(source: Source, *, external_data: Mapping[str, bytes] | None = None, limits: Limits | None = None) -> Model:
    """Reads an ONNX model.

    Args:
        source: Path (external data files beside it are read), bytes, or an ``onnx.ModelProto``.
        external_data: External-data files by the name that the model uses, for bytes and protos.
        limits: What the model may be; by default what ``EXPLAINSVC_LIMIT_*`` says.

    Raises:
        ModelMalformed: Not ONNX, truncated, or refused by onnx.checker.
        ModelUnsupported: onnxruntime does not run it: operator, domain or opset.
        ModelLimitExceeded: Over one of the limits.
        ExternalDataForbidden: An external-data file is missing or points outside.
    """
    return Model(load_model(source, external_data, limits))
