"""One node of every kind between x and a nonlinear functional of its result, for the multipliers of DeepLIFT."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx

from tests import models
from tests.models import Array, numbers

SHAPE = (2, 3, 4, 4)


@dataclass(frozen=True)
class Case:
    """``body`` makes z of x.

    Attributes:
        body: Nodes in ONNX's text form.
        tensors: Its constants, given to it in its element type.
        positive: Whether it is fed with positive numbers only.
        single: float32, because onnxruntime has the operator in no other type; else float64.
        opset: Newer than 17 for newer operators.
    """

    body: str
    tensors: dict[str, Array] = field(default_factory=dict)
    positive: bool = False
    single: bool = False
    opset: int = 17

    @property
    def dtype(self) -> type[np.floating]:
        """Element type."""
        return np.float32 if self.single else np.float64

    @property
    def tolerance(self) -> float:
        """Of sums of a hundred numbers near one."""
        return 1e-4 if self.single else 1e-9

    def proto(self) -> onnx.ModelProto:
        """x [N, 3, 4, 4] → z → y [N, 1] = Σ z³ + z over everything but the items."""
        kind = "float" if self.single else "double"
        text = f"""g ({kind}[N, 3, 4, 4] x) => ({kind}[N, 1] y) {{
          [node] {self.body}
          flat = Flatten (z)  square = Mul (flat, flat)  cube = Mul (square, flat)  both = Add (cube, flat)
          y = ReduceSum (both, one)
        }}"""
        tensors = {n: a.astype(self.dtype) if a.dtype == np.float64 else a for n, a in self.tensors.items()}
        return models.build(text, tensors | {"one": np.array([1])}, opset=self.opset, ir_version=10)

    def feed(self, seed: int) -> Array:
        """Numbers for x."""
        x = numbers(*SHAPE, seed=seed).astype(self.dtype)
        return np.asarray(np.abs(x) + self.dtype(0.1) if self.positive else x)


def _weights(*shape: int, name: str = "w") -> dict[str, Array]:
    return {name: models.weights(name, *shape).astype(np.float64)}


_V = np.array([0.8, 1.2, 0.5])
VECTORS = {"s": _V + 0.5, "b": _V - 1, "m": _V - 0.6, "v": _V}
ROWS = {"s": np.array([0.5, 1.5, -1.0, 1.0]), "b": np.array([0.1, -0.2, 0.3, 0.0])}
DOUBLE = "Relu Sigmoid Tanh Exp Abs Sin Cos Floor Ceil Sign Round"
SINGLE = (
    "Elu Softplus Softsign Atan Sinh Cosh Asinh Erf LeakyRelu Selu Celu HardSigmoid HardSwish ThresholdedRelu Asin Acos Tan Atanh"
)
INSIDE = frozenset({"Asin", "Acos", "Tan", "Atanh"})
"""Of numbers in (−1, 1)."""


def _inside(name: str) -> str:
    return f"t = Tanh (x)  z = {name} (t)" if name in INSIDE else f"z = {name} (x)"


RESCALED: dict[str, Case] = {
    **{name: Case(f"z = {name} (x)") for name in DOUBLE.split()},
    **{name: Case(_inside(name), single=True) for name in SINGLE.split()},
    "Acosh": Case("t = Cosh (x)  z = Acosh (t)", single=True),
    "Mish": Case("z = Mish (x)", opset=18, single=True),
    "Gelu": Case("z = Gelu (x)", opset=20, single=True),
    "Gelu by tanh": Case('z = Gelu <approximate = "tanh"> (x)', opset=20, single=True),
    "Shrink": Case("z = Shrink <lambd = 0.3> (x)", single=True),
    "Clip": Case("z = Clip (x, low, high)", {"low": np.array(-0.3), "high": np.array(0.4)}),
    "PRelu": Case("z = PRelu (x, w)", _weights(3, 1, 1), single=True),
    "Pow": Case("z = Pow (x, p)", {"p": np.array(3.0)}),
    "Pow, negative": Case("z = Pow (x, p)", {"p": np.array(-1.5)}, positive=True),
    "Pow of a constant": Case("z = Pow (p, x)", {"p": np.array(1.7)}),
    "Pow, stretched": Case("r = ReduceMean <axes = [1]> (x)  z = Pow (r, p)", {"p": np.array([[[2.0]], [[3.0]], [[4.0]]])}),
    "Mod": Case("z = Mod <fmod = 1> (x, p)", {"p": np.array(0.7)}),
    "Log": Case("z = Log (x)", positive=True),
    "Sqrt": Case("z = Sqrt (x)", positive=True),
    "Reciprocal": Case("z = Reciprocal (x)", positive=True),
}
PRODUCTS: dict[str, Case] = {
    "Mul": Case("t = Tanh (x)  z = Mul (t, x)"),
    "Mul of itself": Case("z = Mul (x, x)"),
    "Mul, stretched": Case("t = ReduceMean <axes = [2], keepdims = 1> (x)  z = Mul (t, x)"),
    "Mul by a constant": Case("z = Mul (x, w)", _weights(3, 1, 1)),
    "Div": Case("e = Exp (x)  t = Tanh (x)  z = Div (t, e)"),
    "Div, mixed signs": Case("s = Sin (x)  t = Sub (x, s)  u = Add (t, x)  z = Div (x, u)"),
    "Div, stretched": Case("t = ReduceSum <keepdims = 1> (x, axes)  z = Div (x, t)", {"axes": np.array([1, 3])}, positive=True),
    "Div of a constant": Case("z = Div (c, x)", {"c": np.array(2.0)}, positive=True),
    "Div by a constant": Case("z = Div (x, c)", {"c": np.array(2.0)}),
    "MatMul": Case("t = Transpose <perm = [0, 1, 3, 2]> (x)  z = MatMul (x, t)"),
    "MatMul by a constant": Case("z = MatMul (x, w)", _weights(4, 5)),
    "MatMul of a constant": Case("z = MatMul (w, x)", _weights(5, 4)),
    "Einsum": Case('t = Tanh (x)  z = Einsum <equation = "nchw, nckw -> nchk"> (x, t)'),
    "Einsum of three": Case('t = Tanh (x)  z = Einsum <equation = "nchw, wv, nchv -> nch"> (x, w, t)', _weights(4, 4)),
    "Gemm": Case("f = Flatten (x)  z = Gemm <alpha = 0.5, beta = 2.0> (f, w, r)", _weights(48, 4) | _weights(4, name="r")),
    "Conv": Case(
        "z = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w, b)",
        _weights(4, 3, 3, 3) | _weights(4, name="b"),
        single=True,
    ),
    "ConvTranspose": Case("z = ConvTranspose <strides = [2, 2]> (x, w)", _weights(3, 2, 3, 3), single=True),
    "Where": Case("t = Tanh (x)  z = Where (c, x, t)", {"c": np.array([True, False, True, True])}),
}
COMPETING: dict[str, Case] = {
    "Softmax": Case("z = Softmax <axis = 1> (x)"),
    "Softmax, steep": Case("a = Mul (x, c)  z = Softmax (a)", {"c": np.array(200.0)}),
    "Softmax, masked": Case("a = Add (x, c)  z = Softmax (a)", {"c": np.array([0, -np.inf, 0, -np.inf])}),
    "LogSoftmax": Case("z = LogSoftmax (x)"),
    "ReduceLogSumExp": Case("z = ReduceLogSumExp <axes = [1, 2]> (x)"),
    "ReduceLogSumExp, axes dropped": Case("z = ReduceLogSumExp <axes = [1], keepdims = 0> (x)"),
    "Max": Case("t = Neg (x)  z = Max (t, x, c)", {"c": np.array(0.5)}),
    "Min": Case("t = Tanh (x)  u = Sin (x)  z = Min (t, u)"),
    "ReduceMax": Case("z = ReduceMax <axes = [1, 3], keepdims = 0> (x)"),
    "ReduceMin": Case("z = ReduceMin <axes = [2]> (x)"),
    "MaxPool": Case("z = MaxPool <kernel_shape = [3, 3], strides = [1, 1], pads = [1, 1, 1, 1]> (x)"),
    "GlobalMaxPool": Case("z = GlobalMaxPool (x)", single=True),
}
FORMULAS: dict[str, Case] = {
    "LayerNormalization": Case("z = LayerNormalization (x, s, b)", ROWS),
    "LayerNormalization, axis 1": Case("z = LayerNormalization <axis = 1> (x, w)", _weights(3, 4, 4)),
    "RMSNormalization": Case("z = RMSNormalization (x, s)", ROWS, opset=23, single=True),
    "InstanceNormalization": Case("z = InstanceNormalization (x, s, b)", VECTORS, single=True),
    "GroupNormalization": Case("z = GroupNormalization <num_groups = 1> (x, s, b)", VECTORS, opset=21, single=True),
    "MeanVarianceNormalization": Case("z = MeanVarianceNormalization <axes = [2, 3]> (x)", single=True),
    "LRN": Case("z = LRN <size = 3, alpha = 0.5> (x)", single=True),
    "LpNormalization": Case("z = LpNormalization <axis = 1, p = 2> (x)"),
    "LpNormalization, p 1": Case("z = LpNormalization <axis = 1, p = 1> (x)"),
    "LpPool": Case("z = LpPool <kernel_shape = [2, 2], p = 2, pads = [1, 0, 0, 1]> (x)", single=True),
    "LpPool, p 3": Case("z = LpPool <kernel_shape = [3, 2], strides = [1, 2], p = 3> (x)", single=True),
    "GlobalLpPool": Case("z = GlobalLpPool <p = 1> (x)", single=True),
    "ReduceL1": Case("z = ReduceL1 <axes = [1]> (x)", single=True),
    "ReduceL2": Case("z = ReduceL2 <axes = [1], keepdims = 0> (x)", single=True),
    "ReduceSumSquare": Case("z = ReduceSumSquare <axes = [1, 2]> (x)"),
    "ReduceLogSum": Case("z = ReduceLogSum <axes = [1]> (x)", positive=True, single=True),
}
LINEAR: dict[str, Case] = {
    "BatchNormalization": Case("z = BatchNormalization (x, s, b, m, v)", VECTORS),
    "AveragePool": Case("z = AveragePool <kernel_shape = [2, 2]> (x)", single=True),
    "ReduceMean": Case("z = ReduceMean <axes = [1, 2]> (x)"),
    "Resize": Case('z = Resize <mode = "linear"> (x, , f)', {"f": np.array([1, 1, 2, 1.5], np.float32)}, single=True),
    "Gather": Case("z = Gather <axis = 3> (x, i)", {"i": np.array([2, 0, 0])}),
    "CumSum": Case("z = CumSum (x, i)", {"i": np.array(2)}),
    "Concat, Slice, Reshape": Case(
        "p = Concat <axis = 1> (x, x)  q = Slice (p, i, j, i)  z = Reshape (q, r)",
        {"i": np.array([1]), "j": np.array([5]), "r": np.array([0, -1, 2])},
    ),
}
CASES = RESCALED | PRODUCTS | COMPETING | FORMULAS | LINEAR
