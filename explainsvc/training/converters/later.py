"""Later versions of operators that only take more types of numbers than the last one that onnx2torch knows."""

from __future__ import annotations

from onnx2torch.node_converters import registry

from explainsvc.training.converters.operator import add_missing, versions_of

_ONLY_TYPES: dict[str, int] = {
    "Acos": 7, "Asin": 7, "Atan": 7, "Cast": 13, "Constant": 13, "ConstantOfShape": 9, "Cos": 7, "Dropout": 13, "Elu": 6,
    "Equal": 13, "EyeLike": 9, "Flatten": 13, "GlobalAveragePool": 1, "GreaterOrEqual": 12, "HardSigmoid": 6, "HardSwish": 14,
    "Identity": 16, "InstanceNormalization": 6, "IsInf": 10, "IsNaN": 13, "LessOrEqual": 12, "RoiAlign": 16, "Round": 11,
    "ScatterND": 16, "Selu": 6, "Shape": 15, "Sin": 7, "Softplus": 1, "Softsign": 1, "Squeeze": 13, "Tan": 7, "TopK": 11,
    "Transpose": 13, "Unsqueeze": 13,
}  # fmt: skip
"""Operator → the version whose converter serves the later ones. (ONNX's Changelog.md, the operators' type constraints.)"""


def _register() -> None:
    for op_type, known in _ONLY_TYPES.items():
        converter = registry.get_converter(op_type, known)
        for version in versions_of(op_type, known + 1):
            add_missing(op_type, version, converter)


_register()
