"""Activation functions that an exporter wrote out: GELU (erf and tanh), Mish, HardSwish and SiLU become one operator.

A region (see ``regions``) is what its values say: it is held against the formulas on a dense grid, so that every
spelling is found and a wrong constant is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common
from scipy import special

from explainsvc.autograd.shapes import Array
from explainsvc.graph.passes.regions import POINTWISE, Region, places, regions
from explainsvc.graph.passes.rewrite import Rewriter, constant_of

TOLERANCE = 1e-6
"""Constants are written in float32 (eps 1.2e-7). GELU's two forms differ by 5e-4, √2 as 1.414 makes 2e-5."""
GRID = np.concatenate([np.linspace(-12, 12, 1201), np.linspace(-0.02, 0.02, 21)])
SWISH_SINCE = 24
"""Opset of Swish. Older graphs are not raised to it: GPU kernels of several operators end at 21; ``roles`` marks them."""
_BENDING = frozenset({"Erf", "Tanh", "Sigmoid", "Exp", "Clip", "HardSigmoid", "Relu", "Min", "Max"})
"""One of them is in every activation function."""
_ROOTS = frozenset({"Mul", "Div"})
_LARGEST_ALPHA = 16.0


@dataclass(frozen=True)
class Activation:
    """An operator of ONNX and its attributes."""

    op_type: str
    attributes: dict[str, str | float] = field(default_factory=dict)


def _gelu(x: Array) -> Array:
    """x Φ(x) (Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2)."""
    return np.asarray(0.5 * x * (1 + special.erf(x / np.sqrt(2))))


def _gelu_tanh(x: Array) -> Array:
    """Its approximation, ibid."""
    return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


def _hard_swish(x: Array) -> Array:
    """x · clip(x/6 + 1/2, 0, 1) (Howard et al. 2019, arXiv:1905.02244, section 5.2)."""
    return np.asarray(x * np.clip(x / 6 + 0.5, 0, 1))


def _mish(x: Array) -> Array:
    """x tanh(softplus(x)) (Misra 2019, arXiv:1908.08681, eq. 1)."""
    return np.asarray(x * np.tanh(np.logaddexp(x, 0)))


_FORMULAS: tuple[tuple[Activation, Callable[[Array], Array]], ...] = (
    (Activation("Gelu", {"approximate": "none"}), _gelu),
    (Activation("Gelu", {"approximate": "tanh"}), _gelu_tanh),
    (Activation("HardSwish"), _hard_swish),
    (Activation("Mish"), _mish),
)


def fuse_activations(model: ir.Model) -> bool:
    """Replaces written-out activation functions, in place; True when there was one."""
    write = Rewriter(model.graph)
    version = model.graph.opset_imports.get("", 1)
    found = [match for graph in (model.graph, *model.graph.subgraphs()) for match in activations(graph)]
    fused = [(r, a) for r, a in found if a.op_type != "Swish" or version >= SWISH_SINCE]
    for region, activation in fused:
        name = region.root.name or f"{region.y.name}_{activation.op_type}"
        result = write.before(region.root, activation.op_type, [region.x], activation.attributes, region.y.dtype, name=name)
        result.shape = region.x.shape
        write.replace(region.root, result)
    if fused:
        common.RemoveUnusedNodesPass()(model)
    return bool(fused)


def activations(graph: ir.Graph) -> list[tuple[Region, Activation]]:
    """The written-out activation functions of one graph, in topological order."""
    order = places(graph)
    found: list[tuple[Region, Activation]] = []
    for node in graph:
        if node.op_type in _ROOTS and node.domain == "":
            matches = ((r, activation_of(r)) for r in regions(node.outputs[0], order, POINTWISE))
            found += [(r, a) for r, a in matches if a is not None][:1]
    return found


def activation_of(region: Region) -> Activation | None:
    """What a region computes, if it is one of the functions above."""
    if len(region.nodes) < 2 or not region.operators & _BENDING or any(_size(v) != 1 for v in region.constants):
        return None
    x = GRID.reshape([-1] + [1] * ((region.rank or 1) - 1))
    y = region(x)
    if y.shape != x.shape:
        return None
    for activation, formula in _FORMULAS:
        if _equal(y, formula(x)):
            return activation
    return _swish(x.reshape(-1), y.reshape(-1))


def _swish(x: Array, y: Array) -> Activation | None:
    """x σ(αx); α follows from one point."""
    at = int(np.argmin(np.abs(x - 0.5)))
    share = y[at] / x[at]
    if not 0.5 < share < 1:
        return None
    alpha = float(np.log(share / (1 - share)) / x[at])
    alpha = round(alpha, 6)
    return Activation("Swish", {"alpha": alpha}) if alpha < _LARGEST_ALPHA and _equal(y, x * special.expit(alpha * x)) else None


def _equal(y: Array, formula: Array) -> bool:
    return bool(np.all(np.abs(y - formula) <= TOLERANCE * (1 + np.abs(formula))))


def _size(value: ir.Value) -> int:
    constant = constant_of(value)
    return 0 if constant is None else constant.size
