"""Affine graphs: whether a value is w·x + b of others, by the operators between them."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.backward import FLOATS, operands
from explainsvc.errors import MethodNotApplicable

ML = "ai.onnx.ml"
JOINTLY = frozenset("Add Sub Sum Mean Concat Identity Neg FeatureVectorizer".split())
"""Affine in all operands together."""
FIRST = frozenset(
    "Reshape Flatten Squeeze Unsqueeze Transpose Slice Gather GatherElements GatherND Split Expand Tile ReduceSum ReduceMean "
    "AveragePool GlobalAveragePool CumSum DepthToSpace SpaceToDepth Trilu Div Resize Upsample Pad Scaler ArrayFeatureExtractor "
    "Dropout Cast CastLike BatchNormalization Imputer LinearRegressor LinearClassifier".split()
)
"""Affine in operand 0 while the others do not depend on what is explained."""
FACTORS = frozenset("Mul MatMul Gemm Conv ConvTranspose Einsum".split())
"""Affine in one operand while the other factors do not depend on what is explained; operand 2 is added."""


def dependents(graph: ir.Graph, sources: Collection[ir.Value]) -> set[ir.Value]:
    """All values that depend on what ``sources`` hold, by any type, ``sources`` among them; their shapes do not count."""
    reached = set(sources)
    for node in graph:
        if node.op_type not in ("Shape", "Size") and any(v in reached for v in operands(node)):
            reached.update(node.outputs)
    return reached


def nodes_from(graph: ir.Graph, sources: Collection[ir.Value], target: ir.Value) -> list[ir.Node]:
    """The nodes between ``sources`` and ``target``, in topological order."""
    reached, needed, path = dependents(graph, sources), {target}, []
    for node in reversed(graph):
        if needed.intersection(node.outputs):
            needed.update(v for v in operands(node) if v not in sources)
            path += [node] if any(v in reached for v in operands(node)) else []
    return path[::-1]


def require_affine(graph: ir.Graph, sources: Collection[ir.Value], target: ir.Value, method: str, to_do: str) -> None:
    """Every node between must be affine.

    Raises:
        MethodNotApplicable: Names the first that is not known to be, or says that the target depends on no source.
    """
    reached = dependents(graph, sources)
    if target not in reached:
        raise MethodNotApplicable(f'{method}: "{target.name}" does not depend on the inputs', to_do=to_do)
    for node in nodes_from(graph, sources, target):
        if not is_affine(node, reached):
            raise MethodNotApplicable(
                f"{method} needs a target that is affine in what it explains",
                where=f'node "{node.name or node.outputs[0].name}" ({node.op_type})',
                expected="sums, products with constants, and operators that only move elements", to_do=to_do,
            )  # fmt: skip


def is_affine(node: ir.Node, reached: Collection[ir.Value]) -> bool:
    """Whether the results of a node are affine in its operands that are ``reached``, taken together."""
    varying = {k for k, v in enumerate(node.inputs) if v is not None and v in reached}
    inner = any(v in reached for v in operands(node) if v not in node.inputs)
    whole = any(v is not None and v in reached and v.dtype is not None and v.dtype not in FLOATS for v in node.inputs)
    if inner or whole or node.domain not in ("", ML) or not (node.op_type not in _CONDITIONS or _CONDITIONS[node.op_type](node)):
        return False
    if node.op_type in JOINTLY:
        return True
    if node.op_type in FACTORS:
        return len(varying - ({2} if node.op_type != "Einsum" else set())) <= 1
    return node.op_type in FIRST and varying == {0}


def _attribute(node: ir.Node, name: str, default: object) -> object:
    return default if name not in node.attributes else node.attributes[name].value


def _to_float(node: ir.Node) -> bool:
    return node.outputs[0].dtype in FLOATS


def _untransformed(node: ir.Node) -> bool:
    return _attribute(node, "post_transform", "NONE") == "NONE"


def _of_missing_values(node: ir.Node) -> bool:
    """An Imputer of NaN does nothing to finite numbers."""
    replaced = node.attributes.get("replaced_value_float")
    return replaced is not None and bool(np.isnan(replaced.as_float()))


_CONDITIONS: dict[str, Callable[[ir.Node], bool]] = {
    "Cast": _to_float,
    "CastLike": _to_float,
    "LinearRegressor": lambda node: _untransformed(node) or _attribute(node, "targets", 1) == 1,  # onnxruntime: see vjps/ml.py
    "LinearClassifier": _untransformed,
    "Imputer": _of_missing_values,
    "BatchNormalization": lambda node: _attribute(node, "training_mode", 0) == 0,
    "Dropout": lambda node: len(node.inputs) < 3,
    "Resize": lambda node: _attribute(node, "coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize",
}
