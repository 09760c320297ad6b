"""Bodies of what onnxruntime's optimisers fuse: a Conv or Gemm, a sum, an activation. As separate nodes they have rules."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from explainsvc.autograd.body_text import attribute, function, present

_ACTIVATIONS = {"": (), "Relu": (), "Sigmoid": (), "Tanh": (), "LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"),
                "Clip": ("min", "max")}  # fmt: skip
"""Fused activation → the names of its parameters, in onnxruntime's order."""


def fused_conv(node: ir.Node) -> onnx.FunctionProto | None:
    """The activation of Conv plus a summand."""
    activation = _activated(node, [float(p) for p in attribute(node, "activation_params", ())])
    if activation is None:
        return None
    window = [f"{name} = {list(value)}" for name in ("dilations", "kernel_shape", "pads", "strides")
              if (value := attribute(node, name)) is not None]  # fmt: skip
    window += [f"group = {attribute(node, 'group', 1)}", f'auto_pad = "{attribute(node, "auto_pad", "NOTSET")}"']
    operands = "x, w, b" if present(node, 2) else "x, w"
    summed = "before = Add (product, z)" if present(node, 3) else "before = Identity (product)"
    lines = [f"product = Conv <{', '.join(window)}> ({operands})", summed, *activation]
    return function(["x", "w", "b", "z"][: len(node.inputs)], ["output"], lines)


def fused_gemm(node: ir.Node) -> onnx.FunctionProto | None:
    """The activation of Gemm."""
    named = [attribute(node, f"activation_{name}") for name in ("alpha", "beta", "gamma")]
    activation = _activated(node, [float(p) for p in named if p is not None])
    if activation is None:
        return None
    numbers = [f"{name} = {attribute(node, name, 0)}" for name in ("transA", "transB")]
    numbers += [f"{name} = {float(attribute(node, name, 1.0))!r}" for name in ("alpha", "beta")]
    line = f"before = Gemm <{', '.join(numbers)}> ({'a, b, c' if present(node, 2) else 'a, b'})"
    return function(["a", "b", "c"][: len(node.inputs)], ["output"], [line, *activation])


def _activated(node: ir.Node, parameters: list[float]) -> list[str] | None:
    """``output`` = the activation of ``before``; None for one that is not known."""
    name = str(attribute(node, "activation", ""))
    if name not in _ACTIVATIONS or len(parameters) < len(_ACTIVATIONS[name]):
        return None
    if name == "Clip":
        bounds = [f"{end} = Constant <value = float {{{p!r}}}> ()" for end, p in zip(("low", "high"), parameters, strict=False)]
        return [*bounds, "low_like = CastLike (low, before)", "high_like = CastLike (high, before)",
                "output = Clip (before, low_like, high_like)"]  # fmt: skip
    given = ", ".join(f"{key} = {p!r}" for key, p in zip(_ACTIVATIONS[name], parameters, strict=False))
    return [f"output = {name or 'Identity'} {f'<{given}>' if given else ''} (before)"]
