"""Where the windows of Conv, ConvTranspose and the pools lie.

Sizes are int64 vectors with one entry a spatial axis: numpy arrays where they are static, terms where only run time
knows them. The formulas are written once for both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.emit import Emitter, Term
from explainsvc.autograd.shapes import Array
from explainsvc.autograd.view import NodeView
from explainsvc.errors import NotDifferentiable

Sizes: TypeAlias = Array | Term

INT64 = ir.DataType.INT64


@dataclass(frozen=True)
class Windows:
    """Windows of ``kernel`` cells, ``dilations`` apart, every ``strides`` cells over ``big`` padded by begin and end.

    ``slack`` is ConvTranspose's output_padding: cells of ``big`` behind the last window. ``ceil``: a last window that
    hangs over the padding counts, if it starts before the padding behind.
    """

    kernel: Sizes
    strides: Array
    dilations: Array
    begin: Sizes
    end: Sizes
    group: int = 1
    slack: Array | int = 0
    ceil: bool = False

    @property
    def extent(self) -> Sizes:
        """Cells from the first to the last of a window, both included."""
        return (self.kernel - 1) * self.dilations + 1

    @property
    def cells(self) -> list[int]:
        """The kernel of a pool, which is an attribute and hence static."""
        assert isinstance(self.kernel, np.ndarray)
        return [int(k) for k in self.kernel]

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.strides)

    @property
    def axes(self) -> range:
        """The spatial axes of ``big`` and ``small``."""
        return range(2, 2 + self.rank)


def spatial_rank(n: NodeView) -> int:
    """Number of spatial axes of a windowed node, from whatever states it.

    Raises:
        NotDifferentiable: Neither attributes nor shapes tell.
    """
    for name in ("kernel_shape", "strides", "dilations", "output_shape"):
        if n.attr(name) is not None:
            return len(n.attr(name))
    ranks = [t.rank for t in (*n.inputs[:2], n.y) if t is not None and t.rank is not None]
    if not ranks:
        raise NotDifferentiable(
            "the number of spatial axes is unknown",
            where=n.where(),
            expected="a kernel_shape attribute or an operand of known rank",
            to_do="Export the model with shapes, or run onnx.shape_inference on it",
        )
    return ranks[0] - 2


def windows_of(n: NodeView, kernel: Sizes | None = None) -> Windows:
    """The windows of a Conv, ConvTranspose or pool; ``kernel`` overrides ``kernel_shape``."""
    rank = spatial_rank(n)
    extents = _vector(n.attr("kernel_shape", (1,) * rank)) if kernel is None else kernel
    strides, dilations = (_vector(n.attr(name) or (1,) * rank) for name in ("strides", "dilations"))
    none, ceil = np.zeros(rank, np.int64), n.attr("ceil_mode", 0) == 1
    bare = Windows(extents, strides, dilations, none, none, n.attr("group", 1), _slack(n, rank), ceil)
    begin, end = _pads(n, bare)
    return replace(bare, begin=begin, end=end)


def sizes_of(term: Term, rank: int) -> Sizes:
    """Spatial sizes of ``term`` [batch, channels, *spatial]; of a weight, its kernel."""
    static = static_sizes(term)
    return term.emit.op("Shape", term, dtype=INT64, shape=(rank,), start=2) if static is None else static


def static_sizes(term: Term) -> Array | None:
    """Spatial sizes where all of them are static."""
    dims = None if term.shape is None else term.shape[2:]
    return None if dims is None or any(not isinstance(d, int) for d in dims) else _vector(dims)


def windows_along(win: Windows, size: Array, begin: Array, end: Array, extent: Array) -> Array:
    """How many windows onnxruntime lays along axes of static ``size``. Inferred shapes of pools with ceil differ."""
    room = size + begin + end - extent
    count: Array = room // win.strides + 1
    if win.ceil:
        more = -(-room // win.strides) + 1
        count = more - ((more - 1) * win.strides >= size + begin)
    return count


def _vector(values: object) -> Array:
    return np.asarray(values, dtype=np.int64)


def _slack(n: NodeView, rank: int) -> Array:
    return _vector(n.attr("output_padding") or (0,) * rank)


def _pads(n: NodeView, win: Windows) -> tuple[Sizes, Sizes]:
    """Cells added before and behind ``big``: by attribute, or computed as auto_pad and output_shape define."""
    mode, rank = n.attr("auto_pad", "NOTSET"), win.rank
    computed = mode.startswith("SAME") or (n.op_type == "ConvTranspose" and n.attr("output_shape") is not None)
    if not computed:
        pads = _vector((mode == "NOTSET" and n.attr("pads")) or (0,) * (2 * rank))
        return pads[:rank], pads[rank:]
    total = _transposed_total(n, win) if n.op_type == "ConvTranspose" else _same_total(n, win)
    less, more = _floored(total, 2), total - _floored(total, 2)
    return (less, more) if mode == "SAME_UPPER" else (more, less)


def _same_total(n: NodeView, win: Windows) -> Sizes:
    """auto_pad SAME: as many windows as strides fit into the input, rounded up (ONNX, Conv)."""
    if (win.strides == 1).all():
        return win.extent - 1
    size, extent = _alike(n.emit, sizes_of(n.x, win.rank), win.extent)
    return _positive(_floored(size + (win.strides - 1), win.strides) * win.strides - size + (extent - win.strides))


def _transposed_total(n: NodeView, win: Windows) -> Sizes:
    """output_shape, or auto_pad SAME: output = input · strides (ONNX, ConvTranspose)."""
    extent = win.extent + (win.slack - win.strides)
    if n.attr("output_shape") is None:
        return _positive(extent)
    size, extent = _alike(n.emit, sizes_of(n.x, win.rank), extent)
    return _positive(size * win.strides + extent - _vector(n.attr("output_shape")[-win.rank :]))


def _alike(emit: Emitter, a: Sizes, b: Sizes) -> tuple[Sizes, Sizes]:
    """Both as terms if one is, so that arithmetic between them is the terms'."""
    mixed = isinstance(a, Term) != isinstance(b, Term)
    return (as_term(emit, a), as_term(emit, b)) if mixed else (a, b)


def as_term(emit: Emitter, sizes: Sizes) -> Term:
    """Sizes as a value of the graph."""
    return sizes if isinstance(sizes, Term) else emit.constant(sizes)


def _positive(sizes: Sizes) -> Sizes:
    return sizes.emit.op("Max", sizes, sizes.emit.ints([0])) if isinstance(sizes, Term) else np.maximum(sizes, 0)


def _floored(sizes: Sizes, by: Array | int) -> Sizes:
    """Division of non-negative sizes."""
    if isinstance(sizes, Term):
        return sizes / by
    floored: Array = sizes // by
    return floored
