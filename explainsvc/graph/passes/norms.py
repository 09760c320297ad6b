"""LayerNorm and RMSNorm that an exporter wrote out become LayerNormalization and RMSNormalization.

As with activation functions a region (see ``regions``) is held against the formula: on a few rows of random numbers of
different size, so that ε counts. Scale and shift follow by least squares; they must be constants of the region, so that
the learned tensors stay those of the source model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from explainsvc.autograd.shapes import Array
from explainsvc.graph.later import RMS_FROM
from explainsvc.graph.passes.regions import NORMALISING, Region, places, regions
from explainsvc.graph.passes.rewrite import Rewriter, constant_of

TOLERANCE = 1e-6
"""Of the largest result; both sides are computed in float64, constants were written in float32."""
SIZES = np.array([1.0, 3.0, 0.1, 0.01, 1e-3, 30.0, 1e-3])
OFFSETS = np.array([0.5, -2.0, 0.1, 0.02, 2e-3, 5.0, 0.0])
"""Spread and mean of the rows: ε of 1e-5 shows in the small ones, a mean that is not taken off in all."""
LARGEST = 2**16
"""Elements of one row that we try: what a file says must not make this take long."""
_ROOTS = frozenset({"Add", "Sub", "Mul", "Div"})
_REDUCTIONS = frozenset({"ReduceMean", "ReduceSum"})


@dataclass(frozen=True)
class Norm:
    """What a region computes: x̂ over the last ``axes`` axes, times ``scale`` plus ``shift``; None: without."""

    centred: bool
    axes: int
    shape: tuple[int, ...]
    epsilon: float
    scale: ir.Value | None
    shift: ir.Value | None


def fuse_norms(model: ir.Model) -> bool:
    """Replaces written-out LayerNorm and RMSNorm, in place; True when there was one."""
    found = [match for graph in (model.graph, *model.graph.subgraphs()) for match in norms(graph)]
    write = Rewriter(model.graph)
    for region, norm in found:
        _fuse(region, norm, write)
    if any(not norm.centred for _, norm in found):
        version = model.graph.opset_imports[""]
        model.graph.opset_imports[""] = max(version, RMS_FROM)
    if found:
        common.RemoveUnusedNodesPass()(model)
    return bool(found)


def norms(graph: ir.Graph) -> list[tuple[Region, Norm]]:
    """The written-out normalisations of one graph, each with all that belongs to it."""
    order, inside = places(graph), set[ir.Node]()
    found = []
    for node in reversed(list(graph)):
        if node.op_type not in _ROOTS or node.domain != "" or node in inside:
            continue
        candidates = [r for r in regions(node.outputs[0], order, NORMALISING) if r.operators & _REDUCTIONS]
        # the largest: without a shift, what follows the centring alone is a root mean square
        match = next(((r, norm) for r in reversed(candidates) if (norm := norm_of(r)) is not None), None)
        if match is not None:
            found.append(match)
            inside |= set(match[0].nodes)
    return found[::-1]


def norm_of(region: Region) -> Norm | None:
    """What a region computes, if it is a normalisation over the last axes."""
    axes = _last_axes(region)
    shape = None if axes is None else _row_shape(region, axes)
    if axes is None or shape is None or not 1 < prod(shape) <= LARGEST:
        return None
    lead = (region.rank or axes + 1) - axes
    if lead < 1 or not all(_fits(v, lead, shape) for v in region.constants):
        return None
    rng = np.random.default_rng(0)
    spread, mean = (v.reshape([-1] + [1] * (lead - 1 + axes)) for v in (SIZES, OFFSETS))
    x = rng.standard_normal([len(SIZES), *[1] * (lead - 1), *shape]) * spread + mean
    try:
        y = region(x)
    except (ValueError, IndexError):  # means over axes that the rows do not have
        return None
    if y.shape != x.shape or not np.isfinite(y).all():
        return None
    rows = (len(SIZES), *shape)
    return _identified(region, x.reshape(rows), y.reshape(rows), axes)


def _fits(value: ir.Value, lead: int, shape: tuple[int, ...]) -> bool:
    """Whether a float constant broadcasts against every row alone: then no product is larger than the rows."""
    array = constant_of(value)
    if array is None or array.dtype.kind != "f":
        return True
    allowed = [1] * lead + list(shape)
    return array.ndim <= len(allowed) and all(d in (1, n) for d, n in zip(array.shape[::-1], allowed[::-1], strict=False))


def _identified(region: Region, x: Array, y: Array, axes: int) -> Norm | None:
    """The norm whose x̂ times a scale plus a shift is ``y`` on all rows, where these are constants of the region."""
    epsilon = _epsilon(region)
    for centred in (True, False):
        scale, shift = _regressed(standardised(x, epsilon, centred), y)
        error = np.abs(standardised(x, epsilon, centred) * scale + shift - y).max()
        if not error <= TOLERANCE * np.abs(y).max() or not (centred or np.abs(shift).max() <= TOLERANCE * np.abs(y).max()):
            continue
        constants = region.constants  # in topological order: the scale comes before the shift, also where both are equal
        values = [_constant(constants, scale, 1.0), _constant(constants[::-1], shift, 0.0)]
        if all(known for known, _ in values):
            return Norm(centred, axes, x.shape[1:], epsilon, values[0][1], values[1][1] if centred else None)
    return None


def standardised(x: Array, epsilon: float, centred: bool) -> Array:
    """x̂ of every row: (x − mean) / √(var + ε) (Ba et al. 2016, arXiv:1607.06450), or x / √(mean(x²) + ε) (Zhang & Sennrich 2019)."""  # noqa: E501
    axes = tuple(range(1, x.ndim))
    x = x - x.mean(axes, keepdims=True) if centred else x
    return np.asarray(x / np.sqrt(np.square(x).mean(axes, keepdims=True) + epsilon))


def _regressed(x: Array, y: Array) -> tuple[Array, Array]:
    """Least squares of y = scale · x + shift over the rows, element by element."""
    dx, dy = x - x.mean(0), y - y.mean(0)
    scale = (dx * dy).sum(0) / (dx * dx).sum(0)
    return scale, y.mean(0) - scale * x.mean(0)


def _constant(constants: Sequence[ir.Value], wanted: Array, neutral: float) -> tuple[bool, ir.Value | None]:
    """Whether the numbers are known, and the constant that holds them: none where they are all ``neutral``."""
    for value in constants:
        number = constant_of(value)
        if number is not None and number.size == wanted.size and _close(number.astype(np.float64).reshape(wanted.shape), wanted):
            return True, value
    return _close(np.full(wanted.shape, neutral), wanted), None


def _close(a: Array, b: Array) -> bool:
    return bool(np.abs(a - b).max() <= 1e-5 * max(1.0, np.abs(b).max()))


def _last_axes(region: Region) -> int | None:
    """How many of the last axes every mean (or sum) is taken over; None where they differ, or are others."""
    found = set()
    for node in region.nodes:
        if node.op_type not in _REDUCTIONS:
            continue
        axes = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
        if axes is None or (region.rank is None and bool((axes >= 0).any())):
            return None
        found.add(tuple(sorted(int(a) - (region.rank or 0) if a >= 0 else int(a) for a in axes)))
    if len(found) != 1:
        return None
    (axes_,) = found
    return len(axes_) if axes_ == tuple(range(-len(axes_), 0)) else None


def _row_shape(region: Region, axes: int) -> tuple[int, ...] | None:
    """Static lengths of the last axes: of x, or of the longest constant."""
    shapes: list[Sequence[object]] = [] if region.x.shape is None else [list(region.x.shape)]
    shapes += [a.shape for v in region.constants if (a := constant_of(v)) is not None and a.ndim >= axes and a.size > 1]
    for shape in shapes:
        last = [d for d in shape[-axes:] if isinstance(d, int)]
        if len(last) == axes:
            return tuple(last)
    return None


def _epsilon(region: Region) -> float:
    """The number that is added to what a root is drawn from."""
    drawn = {n.inputs[0] for n in region.nodes if n.op_type in ("Sqrt", "Pow")}
    for node in region.nodes:
        if node.op_type == "Add" and node.outputs[0] in drawn:
            numbers = [a for v in node.inputs if (a := constant_of(v)) is not None and a.size == 1]
            if numbers:
                return float(numbers[0].item())
    return 0.0


def _fuse(region: Region, norm: Norm, write: Rewriter) -> None:
    dtype = (region.x.dtype or ir.DataType.FLOAT).numpy()
    inside = set(region.nodes)
    ones = write.constant(np.ones(norm.shape, dtype), f"{region.y.name}_scale") if norm.scale is None else norm.scale
    operands = [region.x, *(write.reshaped(v, norm.shape, inside) for v in (ones, norm.shift) if v is not None)]
    op_type = "LayerNormalization" if norm.centred else "RMSNormalization"
    name = region.root.name or f"{region.y.name}_{op_type}"
    attributes = {"axis": -norm.axes, "epsilon": norm.epsilon}
    result = write.before(region.root, op_type, operands, attributes, region.y.dtype, name=name)
    result.shape = region.x.shape
    write.replace(region.root, result)
