"""Normalisations and activation functions as exporters write them out, in ONNX's text form."""

from __future__ import annotations

import numpy as np
import onnx

from tests import models

ROOT2 = 2.0**0.5
_PHI = "e = Erf (d)  p = Add (e, one)"
_CUBIC = "k = Mul (h, cubic)  q = Mul (k, h)  p = Add (q, one)  v = Mul (h, root)  u = Mul (v, p)"
_POW = "c = Pow (h, three)  d = Mul (c, cubic)  s = Add (h, d)  u = Mul (s, root)"
_HALVES = "t = Tanh (u)  o = Add (t, one)  l = Mul (h, half)  a = Mul (l, o)"
ACTIVATIONS: dict[str, tuple[str, str]] = {
    "gelu erf, torch": ("Gelu", f"d = Div (h, r2)  {_PHI}  m = Mul (h, p)  a = Mul (m, half)"),
    "gelu erf, tensorflow": ("Gelu", f"l = Mul (half, h)  d = Mul (h, r05)  {_PHI}  a = Mul (l, p)"),
    "gelu erf, half inside": ("Gelu", f"d = Div (h, r2)  {_PHI}  q = Mul (p, half)  a = Mul (h, q)"),
    "gelu tanh, pow": ("Gelu", f"{_POW}  {_HALVES}"),
    "gelu tanh, factored": ("Gelu", f"{_CUBIC}  {_HALVES}"),
    "hardswish, clip": ("HardSwish", "s = Add (h, three)  c = Clip (s, zero, six)  d = Div (c, six)  a = Mul (h, d)"),
    "hardswish, product first": ("HardSwish", "s = Add (h, three)  c = Clip (s, zero, six)  p = Mul (h, c)  a = Div (p, six)"),
    "hardswish, hardsigmoid": ("HardSwish", "s = HardSigmoid <alpha = 0.16666667, beta = 0.5> (h)  a = Mul (h, s)"),
    "mish": ("Mish", "s = Softplus (h)  t = Tanh (s)  a = Mul (h, t)"),
}
"""Operator → the nodes that make ``a`` of ``h``."""
NUMBERS = {"r2": ROOT2, "r05": 0.5**0.5, "one": 1.0, "half": 0.5, "three": 3.0, "six": 6.0, "zero": 0.0, "cubic": 0.044715,
           "root": (2 / np.pi) ** 0.5, "wrong2": 1.414, "wrong3": 3.01, "alpha": 1.702}  # fmt: skip


def activation(body: str, opset: int = 17) -> onnx.ModelProto:
    """x [N, 6] → dense → the activation ``a`` of ``h`` → dense → y [N, 3]."""
    graph = f"""g (float[N, 6] x) => (float[N, 3] y) {{
      [first] h = Gemm (x, w1, b1)  {_named(body)}  [last] y = Gemm (a, w2, b2)
    }}"""
    tensors = {"w1": models.weights("w1", 6, 8), "b1": models.weights("b1", 8), "w2": models.weights("w2", 8, 3),
               "b2": models.weights("b2", 3)}  # fmt: skip
    used = {name: np.array(number, np.float32) for name, number in NUMBERS.items() if f" {name}" in body or f"({name}" in body}
    return models.build(graph, tensors | used, opset, ir_version=10)


def _named(body: str) -> str:
    """Every node with a name: /act/<result>."""
    parts = body.split("  ")
    return "  ".join(f'["/act/{part.split(" = ")[0]}"] {part}' for part in parts if part)


LAYER = (
    "m = ReduceMean <axes = [-1]> (x)  d = Sub (x, m)  {square}  v = ReduceMean <axes = [-1]> (q)  e = Add (v, eps)  s = Sqrt (e)"
)
_POW2, _PRODUCT = LAYER.format(square="q = Pow (d, two)"), LAYER.format(square="q = Mul (d, d)")
_RMS = "v = ReduceMean <axes = [-1]> (q)  e = Add (v, eps)  s = Sqrt (e)"
_MIRRORED = "k = Mul (g, n)  h = Add (b, k)"
_TENSORFLOW = "r = Reciprocal (s)  f = Mul (r, g)  l = Mul (x, f)  o = Mul (m, f)  p = Sub (b, o)  h = Add (l, p)"
NORMS: dict[str, tuple[str, str]] = {
    "layer, torch": ("LayerNormalization", f"{_POW2}  n = Div (d, s)  k = Mul (n, g)  h = Add (k, b)"),
    "layer, reciprocal": ("LayerNormalization", f"{_PRODUCT}  r = Reciprocal (s)  n = Mul (d, r)  {_MIRRORED}"),
    "layer, tensorflow": ("LayerNormalization", f"{_PRODUCT}  {_TENSORFLOW}"),
    "layer, wide constants": ("LayerNormalization", f"{_POW2}  n = Div (d, s)  k = Mul (n, g3)  h = Add (k, b3)"),
    "layer, bare": ("LayerNormalization", f"{_POW2}  h = Div (d, s)"),
    "layer, no shift": ("LayerNormalization", f"{_POW2}  n = Div (d, s)  h = Mul (n, g)"),
    "root mean square": ("RMSNormalization", f"q = Pow (x, two)  {_RMS}  r = Reciprocal (s)  n = Mul (x, r)  h = Mul (g, n)"),
    "root mean square, div": (
        "RMSNormalization", f"q = Mul (x, x)  {_RMS.replace('-1', '2')}  n = Div (x, s)  h = Mul (n, g)"
    ),
}  # fmt: skip
"""Operator → the nodes that make ``h`` of ``x``."""


def norm(body: str) -> onnx.ModelProto:
    """x [N, 4, 6] → the normalisation ``h`` of ``x`` → dense → y [N, 4, 3]."""
    graph = f"""g (float[N, 4, 6] x) => (float[N, 4, 3] y) {{ {_named(body)}  [last] t = Tanh (h)  y = MatMul (t, w) }}"""
    g, b = 1 + models.weights("g", 6, scale=0.2), models.weights("b", 6)
    tensors = {"g": g, "b": b, "g3": g.reshape(1, 1, 6), "b3": b.reshape(1, 1, 6), "w": models.weights("w", 6, 3),
               "two": np.array(2, np.float32), "eps": np.array(1e-5, np.float32), "gg": models.weights("gg", 4, 1),
               "third": np.array(3, np.float32)}  # fmt: skip
    used = {name: a for name, a in tensors.items() if f" {name})" in graph or f" {name}," in graph or f"({name}," in graph}
    return models.build(graph, used, 17)


def groupnorm(rows: tuple[int, ...] = (0, 2, -1), scale: tuple[int, ...] = (6, 1, 1), instance: float = 1.0) -> onnx.ModelProto:
    """x [N, 6, 4, 6] → Conv → GroupNorm through InstanceNormalization → Tanh → mean → y [N, 6]."""
    graph = """g (float[N, 6, 4, 6] x) => (float[N, 6] y) {
      [conv] c = Conv <pads = [1, 1, 1, 1]> (x, w)
      r = Reshape (c, rows)  i = InstanceNormalization <epsilon = 1e-4> (r, one, zero)
      s = Shape (c)  b = Reshape (i, s)  [mul] m = Mul (b, scale)  ["/norm/Add"] h = Add (m, shift)
      a = Tanh (h)  p = GlobalAveragePool (a)  y = Flatten (p)
    }"""
    tensors = {"w": models.weights("w", 6, 6, 3, 3), "rows": np.array(rows), "one": np.full(rows[1], instance, np.float32),
               "zero": np.zeros(rows[1], np.float32), "scale": 1 + models.weights("scale", 6).reshape(scale),
               "shift": models.weights("shift", 6).reshape(6, 1, 1)}  # fmt: skip
    return models.build(graph, tensors, 17)
