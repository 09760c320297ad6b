"""Windows that slide over the spatial axes: where they lie, for convolutions and pools alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F

from explainsvc.training.converters.operator import Call, Tensor


@dataclass(frozen=True)
class Window:
    """Per spatial axis: step and dilation of the window, and the padding.

    Attributes:
        filled: Padding behind the input with which the windows fit exactly: more than ``end`` where ceil_mode rounds up,
            and less where the last window ends before.
    """

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    filled: tuple[int, ...]


def window(call: Call, kernel: Sequence[int], lengths: Sequence[int]) -> Window:
    """The windows over axes of these lengths (ONNX, operators Conv, MaxPool and AveragePool: auto_pad, pads, ceil_mode)."""
    rank = len(kernel)
    strides = tuple(call.get("strides") or [1] * rank)
    dilations = tuple(call.get("dilations") or [1] * rank)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    begin, end = _padding(call, spans, strides, lengths)
    axes = list(zip(lengths, spans, strides, begin, end, strict=True))
    counts = [_count(*axis, ceil=bool(call.get("ceil_mode", 0))) for axis in axes]
    filled = [(n - 1) * s + k - (b + size) for n, (size, k, s, b, _) in zip(counts, axes, strict=True)]
    return Window(strides, dilations, tuple(begin), tuple(end), tuple(filled))


def _padding(
    call: Call, spans: Sequence[int], strides: Sequence[int], lengths: Sequence[int]
) -> tuple[Sequence[int], Sequence[int]]:
    auto, rank = call.get("auto_pad", "NOTSET"), len(spans)
    if not auto.startswith("SAME"):
        pads = (call.get("pads") if auto == "NOTSET" else None) or [0] * 2 * rank
        return pads[:rank], pads[rank:]
    wanted = [-(-size // s) for size, s in zip(lengths, strides, strict=True)]
    total = [max((n - 1) * s + k - size, 0) for n, s, k, size in zip(wanted, strides, spans, lengths, strict=True)]
    less, more = [t // 2 for t in total], [t - t // 2 for t in total]
    return (less, more) if auto == "SAME_UPPER" else (more, less)


def _count(length: int, span: int, stride: int, begin: int, end: int, ceil: bool) -> int:
    room = length + begin + end - span
    count = (-(-room // stride) if ceil else room // stride) + 1
    # a window that would start in the padding behind is none (onnxruntime, and ONNX from opset 22 on)
    return count - 1 if ceil and (count - 1) * stride >= length + begin else count


def padded(x: Tensor, begin: Sequence[int], end: Sequence[int], value: float = 0.0) -> Tensor:
    """The last axes with so many values more before and behind; negative: with so many less."""
    pads = [n for pair in zip(reversed(begin), reversed(end), strict=True) for n in pair]
    return F.pad(x, pads, value=value) if any(pads) else x
