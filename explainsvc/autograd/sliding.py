"""Sums over sliding windows, and what they are differentiated to.

``big`` is the side that the windows slide over, ``small`` has one cell a window. Three operations close the family
under differentiation: :func:`correlate` (big → small), its transpose :func:`spread` (small → big), and
:func:`weight_gradient` (big, small → kernel).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.emit import Term, is_emitted
from explainsvc.autograd.shapes import Array, Shape
from explainsvc.autograd.windows import INT64, Windows, as_term, sizes_of, static_sizes, windows_along


def spread(small: Term, w: Term, win: Windows, like: Term) -> Term:
    """Every cell of ``small`` [N, M, …] times ``w`` [M, C/group, *kernel], added into the cells of its window.

    The transpose of :func:`correlate`, hence the input gradient of Conv. Cells of padding are dropped.

    Args:
        small: One cell a window.
        w: Weight as Conv has it.
        win: The windows over ``like``.
        like: Has the shape of the result [N, C, …].
    """
    flipped_pads = None if _narrow(win, like) else _pads_of_flipped(w, win)
    if flipped_pads is not None:
        return _correlate(small, _flipped(w, win.group), flipped_pads, win, like)
    static = _static_pads(win, like)
    if static is None:
        return _spread_and_cut(small, w, win, like)
    begin, end, rest = static
    pads = np.concatenate([begin, end])
    return _meeting_point(_conv("ConvTranspose", small, w, win, pads=pads, output_padding=rest, shape=like.shape), win, like)


def _meeting_point(spread_out: Term, win: Windows, like: Term) -> Term:
    """The same numbers, in the layout that onnxruntime's convolutions use where gradients of several uses are summed.

    Its CPU kernels keep everything between convolutions in blocks of channels. ConvTranspose has no such kernel, and one
    plain operand takes a sum and all that follows back to plain layout, node by node along a whole stage of a residual
    network. A 1×1 pool has a blocked kernel and converts once: ResNet-50, batch 8, gradient: 4 % of the run.
    """
    channels = like.shape[1] if like.shape is not None else None
    in_blocks = isinstance(channels, int) and channels % _BLOCK == 0 and win.rank == 2 and spread_out.dtype == ir.DataType.FLOAT
    meet = sum(not is_emitted(use.node) for use in like.value.uses()) > 1
    if not (in_blocks and meet):
        return spread_out
    return like.emit.op("AveragePool", spread_out, kernel_shape=[1, 1], shape=like.shape)


_BLOCK = 16
"""Channels a block, the widest (AVX-512)."""


def _narrow(win: Windows, like: Term) -> bool:
    """Whether the result has less channels than a block, as the image at the front of a model: Conv would compute a whole one.

    ConvTranspose then takes a tenth of the time with 1 channel (50×16×28×28, k5), a third with 3 (1×64×224×224, k3), 0.6 of it
    with 8 (8×64×32×32, k3; AVX-512).
    """
    channels = None if like.shape is None else like.shape[1]
    return win.group == 1 and isinstance(channels, int) and channels < _BLOCK


def _pads_of_flipped(w: Term, win: Windows) -> list[int] | None:
    """Padding with which a stride-1 :func:`spread` is a plain convolution; None where it is not.

    onnxruntime's Conv does that 1.3–1.4 times as fast as its ConvTranspose (1×64×56×56 and 8×…, k3, 2 threads).
    For stride 2 nothing beat ConvTranspose: convolution of all phases + DepthToSpace takes 1.6 times as long with k3
    and 4–5 times with k1, insertion of zeros + Conv 3–4 times.
    """
    static = _arrays(win.begin, win.end, win.extent)
    if static is None or (win.strides != 1).any() or w.shape is None or any(not isinstance(d, int) for d in w.shape):
        return None
    begin, end, extent = static
    pads = [int(p) for p in (*(extent - 1 - begin), *(extent - 1 - end))]
    return None if min(pads) < 0 else pads


def _arrays(*sizes: Array | Term | None) -> list[Array] | None:
    """The sizes, where all of them are static."""
    static = [s for s in sizes if isinstance(s, np.ndarray)]
    return static if len(static) == len(sizes) else None


def _flipped(w: Term, group: int) -> Term:
    """Weight [group·A, B, *kernel] → [group·B, A, *kernel], mirrored in all spatial axes.

    onnxruntime computes this once, when the session is built, where ``w`` is an initializer.
    """
    assert w.shape is not None
    a, b, *kernel = (d if isinstance(d, int) else -1 for d in w.shape)
    a //= group
    if a * b > 1:
        parts = _reshaped(w, [group, a, b, *kernel])
        perm = [0, 2, 1, *range(3, 3 + len(kernel))]
        swapped = w.emit.op("Transpose", parts, perm=perm, shape=(group, b, a, *kernel))
        w = _reshaped(swapped, [group * b, a, *kernel])
    return w if max(kernel) == 1 else _mirrored(w)


def _mirrored(w: Term) -> Term:
    axes = range(2, w.rank or 2)
    starts, ends, steps = ([value] * len(axes) for value in (-1, np.iinfo(np.int64).min, -1))
    ints = w.emit.ints
    return w.emit.op("Slice", w, ints(starts), ints(ends), ints(axes), ints(steps), shape=w.shape)


def _reshaped(term: Term, dims: list[int]) -> Term:
    return term.emit.op("Reshape", term, term.emit.ints(dims), shape=tuple(dims))


def _static_pads(win: Windows, like: Term) -> tuple[Array, Array, Array] | None:
    """Pads and output_padding that make ConvTranspose give exactly the sizes of ``like``; None where unknown."""
    static = _arrays(static_sizes(like), win.begin, win.end, win.extent)
    if static is None:
        return None
    size, begin, end, extent = static
    reach = (windows_along(win, *static) - 1) * win.strides + extent
    end = np.maximum(end, reach - size - begin)  # ceil_mode: the last window hangs over the padding
    rest = size + begin + end - reach
    return begin, end, rest


def _spread_and_cut(small: Term, w: Term, win: Windows, like: Term) -> Term:
    """:func:`spread` where only run time knows the sizes: all cells that a window can reach, then the real ones."""
    emit = small.emit
    full = _conv("ConvTranspose", small, w, win, pads=None, output_padding=win.strides - 1)
    begin = as_term(emit, win.begin)
    stop = begin + as_term(emit, sizes_of(like, win.rank))
    return emit.op("Slice", full, begin, stop, emit.ints(win.axes), shape=like.shape)


def correlate(big: Term, w: Term, win: Windows, like: Term) -> Term:
    """Conv of ``big`` by ``w`` [M, C/group, *kernel] over the windows; the input gradient of ConvTranspose.

    Args:
        big: What the windows slide over.
        w: Weight as Conv has it.
        win: The windows over ``big``.
        like: Has the shape of the result [N, M, …].
    """
    cut = not isinstance(win.begin, np.ndarray) or bool(np.any(win.slack >= win.strides))
    padded, pads = _padded(big, win)
    if not cut:
        return _correlate(padded, w, pads, win, like)
    # output_shape may be larger than all windows together, and output_padding than a stride
    full = _conv("Conv", padded, w, win, pads=pads)
    return _cut(full, as_term(big.emit, sizes_of(like, win.rank)), win).like(like)


def _padded(big: Term, win: Windows) -> tuple[Term, list[int]]:
    """``big`` and the pads that remain to be given as an attribute: padded by a node where they are not static."""
    if isinstance(win.begin, np.ndarray) and isinstance(win.end, np.ndarray):
        return big, [int(p) for p in (*win.begin, *win.end)]
    emit = big.emit
    padded = emit.pad(big, as_term(emit, win.begin), as_term(emit, win.end), win.axes)
    return padded, [0] * (2 * win.rank)


def _cut(term: Term, sizes: Term, win: Windows) -> Term:
    """The first ``sizes`` cells along the spatial axes."""
    emit = term.emit
    return emit.op("Slice", term, emit.ints([0] * win.rank), sizes, emit.ints(win.axes))


def _correlate(big: Term, w: Term, pads: list[int], win: Windows, like: Term) -> Term:
    return _conv("Conv", big, w, win, pads=pads, shape=like.shape)


def _conv(
    op_type: str,
    x: Term,
    w: Term,
    win: Windows,
    pads: Sequence[int] | Array | None,
    output_padding: Array | None = None,
    shape: Shape | None = None,
) -> Term:
    """One Conv or ConvTranspose node with the strides, dilations and groups of the windows."""
    return x.emit.op(
        op_type,
        x,
        w,
        strides=win.strides.tolist(),
        dilations=win.dilations.tolist(),
        group=win.group,
        pads=None if pads is None else [int(p) for p in pads],
        output_padding=None if output_padding is None else output_padding.tolist(),
        shape=shape,
    )


def weight_gradient(big: Term, small: Term, win: Windows, w: Term) -> Term:
    """∂⟨small, correlate(big, w)⟩/∂w [M, C/group, *kernel].

    The convolution of ``big`` by ``small`` with batch and channels exchanged: what were strides are dilations.
    """
    emit = big.emit
    padded, pads = _padded(big, win)
    images = _batch_as_channels(padded, win)
    kernels = emit.op("Transpose", small, perm=[1, 0, *win.axes])
    turned = replace(win, strides=win.dilations, dilations=win.strides)
    full = _conv("Conv", images, kernels, turned, pads=pads)
    exchanged = emit.op("Transpose", full, perm=[1, 0, *win.axes])
    # cells of `big` behind the last window make the result longer than the kernel
    return _cut(exchanged, as_term(emit, win.kernel), win).like(w)


def _batch_as_channels(big: Term, win: Windows) -> Term:
    """[N, group·B, …] → [B, group·N, …]."""
    emit, rest = big.emit, [a + 1 for a in win.axes]
    if win.group == 1:
        return emit.op("Transpose", big, perm=[1, 0, *win.axes])
    spatial = as_term(emit, sizes_of(big, win.rank))
    batch = emit.op("Shape", big, dtype=INT64, shape=(1,), start=0, end=1)
    split = emit.op("Concat", batch, emit.ints([win.group, -1]), spatial, axis=0)
    parts = emit.op("Transpose", emit.op("Reshape", big, split), perm=[2, 1, 0, *rest])
    return emit.op("Reshape", parts, emit.op("Concat", emit.ints([0, -1]), spatial, axis=0))


def count_cells(x: Term, y: Term, win: Windows, padding_counts: bool) -> Term:
    """How many cells of ``x`` lie in the window of each cell of ``y`` [1, 1, …]; cells behind the padding never do."""
    dtype = (x.dtype or x.emit.float_type).numpy()
    static = _arrays(static_sizes(x), win.begin, win.end, win.extent)
    if static is None:
        return _counted(x, y, win, padding_counts)
    size, begin, end, _ = static
    low, high = (-begin, size + end) if padding_counts else (0 * begin, size)
    columns = zip(windows_along(win, *static), win.cells, win.strides, win.dilations, begin, low, high, strict=True)
    return x.emit.constant(reduce(np.multiply.outer, (_valid(*c) for c in columns))[None, None].astype(dtype))


def _valid(count: int, kernel: int, stride: int, dilation: int, begin: int, low: int, high: int) -> Array:
    """Along one axis: cells of every window at positions from ``low`` to ``high``, excluded."""
    cells = (np.arange(count) * stride - begin)[:, None] + np.arange(kernel) * dilation
    valid: Array = ((cells >= low) & (cells < high)).sum(axis=1)
    return valid


def _counted(x: Term, y: Term, win: Windows, padding_counts: bool) -> Term:
    """:func:`count_cells` at run time: the sum over windows of an image of ones."""
    emit, dtype = x.emit, x.dtype or x.emit.float_type
    shape = emit.op("Concat", emit.ints([1, 1]), as_term(emit, sizes_of(x, win.rank)), axis=0)
    one = ir.tensor(np.ones(1, dtype.numpy()))
    image = emit.op("ConstantOfShape", shape, dtype=dtype, shape=(1, 1, *[None] * win.rank), value=one)
    value = emit.constant(int(padding_counts), dtype.numpy())
    padded = emit.pad(image, as_term(emit, win.begin), as_term(emit, win.end), win.axes, value)
    w = emit.constant(np.ones((1, 1, *win.cells), dtype.numpy()))
    # ceil_mode: windows that hang over the padding
    behind = np.concatenate([np.zeros(win.rank), np.multiply(win.cells, win.dilations)])
    return _cut(_conv("Conv", padded, w, win, pads=behind), as_term(emit, sizes_of(y, win.rank)), win)


def spread_ones(small: Term, win: Windows, like: Term) -> Term:
    """Every cell of ``small`` added into all cells of its window, channel by channel: the transpose of a sum pool."""
    emit, kernel = like.emit, win.cells
    dtype = (like.dtype or emit.float_type).numpy()
    channels = None if like.shape is None else like.shape[1]
    if isinstance(channels, int):
        # depthwise; with batch and channels as rows of one channel it takes 1.1–1.7 times as long
        return spread(small, emit.constant(np.ones((channels, 1, *kernel), dtype)), replace(win, group=channels), like)
    w = emit.constant(np.ones((1, 1, *kernel), dtype))
    return emit.reshape_like(spread(_rows(small, win), w, win, _rows(like, win)), like)


def _rows(term: Term, win: Windows) -> Term:
    """[N, C, …] → [N·C, 1, …]."""
    shape = term.emit.op("Concat", term.emit.ints([-1, 1]), as_term(term.emit, sizes_of(term, win.rank)), axis=0)
    dims = (None,) * win.rank if term.shape is None else term.shape[2:]
    return term.emit.op("Reshape", term, shape, shape=(None, 1, *dims))
