"""Names of layers: the module of the source program that a node belongs to, where the exporter wrote it down."""

from __future__ import annotations

import re
from collections.abc import Mapping

import onnx
import onnx_ir as ir

SCOPES = "pkg.torch.onnx.name_scopes"
"""torch's dynamo exporter: ['', 'encoder', 'encoder.dense', 'linear'], from the network to the operation."""
NAMESPACE = "namespace"
"""The same in older versions: ': Net/encoder: Encoder/encoder.dense: Linear/linear: aten.linear.default'."""
_LONGEST = 4096
_QUOTED = re.compile(r"'([^']*)'")
_CALLS = frozenset({"StatefulPartitionedCall", "PartitionedCall"})
"""What TensorFlow writes for a function that was inlined."""
_OPERATORS = frozenset(schema.name for schema in onnx.defs.get_all_schemas()) | frozenset(
    "BiasAdd Conv1D Conv2D Conv3D DepthwiseConv2dNative FusedBatchNormV3 AddV2 add mul sub conv1d".split()
)
"""The last part of a name that is an operator's, ONNX's or TensorFlow's, says nothing of the layer."""
_NUMBERS = re.compile(r"(_\d+)?(_output_\d+)?(:\d+)?$")


def recorded_scope(metadata: Mapping[str, str]) -> str:
    """The module's dotted path out of a node's metadata, as torch's dynamo exporter writes it; empty where there is none."""
    if SCOPES in metadata:
        scopes = _QUOTED.findall(metadata[SCOPES][:_LONGEST])
    else:
        scopes = [part.partition(":")[0].strip() for part in metadata.get(NAMESPACE, "")[:_LONGEST].split("/")]
    return scopes[-2] if len(scopes) > 1 and not scopes[-2].startswith("_empty_nn_module") else ""


def layer_name(node: ir.Node) -> str | None:
    """The layer of a node: ``encoder.dense`` (torch) or ``model/dense`` (TensorFlow); None where nothing says so.

    Sources in this order: the scopes that torch's dynamo exporter records; names such as ``/encoder/dense/MatMul`` of its
    torchscript exporter and ``model/dense/MatMul`` of TensorFlow's, of the node or of its result.
    """
    recorded = recorded_scope(node.metadata_props)
    if recorded:
        return recorded
    names = [node.name or "", *(v.name or "" for v in node.outputs[:1])]
    return next((found for name in names if (found := _from_name(name))), None)


def dotted(name: str) -> str:
    """The layer's path where a name such as ``/encoder/dense/MatMul`` holds one; else the name itself."""
    return _from_name(name) or name


def _from_name(name: str) -> str:
    *parts, last = [part for part in name.split("/") if part and part not in _CALLS] or [""]
    if not parts or _NUMBERS.sub("", last) not in _OPERATORS:
        return ""
    return _dotted(parts) if name.startswith("/") else "/".join(parts)


def _dotted(parts: list[str]) -> str:
    """``layer1/layer1.0/conv`` is ``layer1.0.conv``: the entries of a list repeat its name."""
    path: list[str] = []
    for part in parts:
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        path.append(part)
    return ".".join(path)
