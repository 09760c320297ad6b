"""A smooth copy of a model: Softplus where it has corners, so that its explanations have derivatives."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from explainsvc.checks._derived import derived
from explainsvc.graph.passes.rewrite import Rewriter
from explainsvc.model import Model

_CORNERS = frozenset({"Relu", "LeakyRelu", "Clip"})
LEAKY_SLOPE = 0.01
"""ONNX's default of LeakyRelu's alpha."""


def smoothed(model: Model, beta: float) -> Model:
    """The model with softplus_β(z) = log(1 + exp βz)/β in place of every ReLU, as a part of LeakyRelu, and twice in a Clip.

    (Ghorbani et al. 2019: softplus replaces ReLU where the direction of the attack is computed; β as in Dombrowski
    et al. 2019, arXiv:1906.07983.)
    """
    changed = model.prepared.model.clone()
    write = Rewriter(changed.graph)
    nodes = [n for n in changed.graph.all_nodes() if n.op_type in _CORNERS and n.domain in ("", "ai.onnx")]
    for node in nodes:
        write.replace(node, _Smooth(write, node, beta).result())
    return derived(model, changed)


class _Smooth:
    """Writes the smooth form of one node in front of it."""

    def __init__(self, write: Rewriter, node: ir.Node, beta: float) -> None:
        self.write, self.node, self.beta = write, node, beta
        operand = node.inputs[0]
        assert operand is not None
        self.z = operand
        self.dtype = node.outputs[0].dtype or operand.dtype or ir.DataType.FLOAT

    def result(self) -> ir.Value:
        if self.node.op_type == "Clip":
            return self.clip()
        if self.node.op_type == "LeakyRelu":
            slope = self.node.attributes.get("alpha")
            alpha = LEAKY_SLOPE if slope is None else slope.as_float()
            return self.op("Add", self.scaled(self.z, alpha), self.scaled(self.softplus(self.z), 1 - alpha))
        return self.softplus(self.z)

    def clip(self) -> ir.Value:
        """low + softplus(z − low) − softplus(z − high); a missing bound leaves its term out."""
        low, high = ((*self.node.inputs, None, None)[i] for i in (1, 2))
        start = self.z if low is None else self.op("Add", low, self.softplus(self.op("Sub", self.z, low)))
        return start if high is None else self.op("Sub", start, self.softplus(self.op("Sub", self.z, high)))

    def softplus(self, z: ir.Value) -> ir.Value:
        return self.scaled(self.op("Softplus", self.scaled(z, self.beta)), 1 / self.beta)

    def scaled(self, value: ir.Value, factor: float) -> ir.Value:
        if factor == 1:
            return value
        number = np.array(factor, self.dtype.numpy())
        return self.op("Mul", value, self.write.constant(number, f"{self.node.outputs[0].name}_factor"))

    def op(self, op_type: str, *operands: ir.Value) -> ir.Value:
        result = self.write.before(self.node, op_type, operands, dtype=self.dtype)
        result.shape = self.z.shape
        return result
