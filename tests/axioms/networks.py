"""Small random networks, and what is made of them to ask for an axiom: all weights and inputs come from a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import numpy as np

import explainsvc
from tests import models
from tests.models import Array

INPUT = "x"


@dataclass
class Script:
    """A graph in ONNX's text form while it is written."""

    lines: list[str] = field(default_factory=list)
    tensors: dict[str, Array] = field(default_factory=dict)

    def op(self, op_type: str, *operands: str | Array, **attributes: object) -> str:
        """Adds a node; arrays become initializers. The name of its result."""
        names = [o if isinstance(o, str) else self.tensor(o) for o in operands]
        written = ", ".join(f"{name} = {value}" for name, value in attributes.items())
        result = f"v{len(self.lines)}"
        self.lines.append(f"[n{len(self.lines)}] {result} = {op_type} {f'<{written}>' if written else ''} ({', '.join(names)})")
        return result

    def tensor(self, array: Array) -> str:
        """Adds an initializer."""
        name = f"t{len(self.tensors)}"
        self.tensors[name] = array
        return name

    def model(self, shape: tuple[int, ...], outputs: dict[str, str]) -> explainsvc.Model:
        """The model of x [N, *shape] with outputs [N, 3] by their names, each one a value of the script."""
        last = [f"{name} = Identity ({value})" for name, value in outputs.items()]
        declared = ", ".join(f"float[N, 3] {name}" for name in outputs)
        sizes = ", ".join(map(str, shape))
        text = f"g (float[N, {sizes}] {INPUT}) => ({declared}) {{\n" + "\n".join([*self.lines, *last]) + "\n}"
        return explainsvc.load(models.build(text, self.tensors, opset=18))


@dataclass(frozen=True)
class Spelling:
    """How a body writes what it computes: the plain way, or another one for the same function."""

    other: bool = False

    def dense(self, s: Script, x: str, w: Array, b: Array | None) -> str:
        """x·w + b as Gemm; or as the sum of x·(w/4) and x·(3w/4), b added last."""
        if not self.other:
            return s.op("Gemm", x, w, *([] if b is None else [b]))
        both = s.op("Add", s.op("MatMul", x, w / 4), s.op("MatMul", x, w * 3 / 4))
        return both if b is None else s.op("Add", both, b)

    def activation(self, s: Script, kind: str, z: str) -> str:
        """The activation; or Relu as Relu(2z)/2, Tanh and Sigmoid by one another."""
        two, half, one = (np.array(c, np.float32) for c in (2, 0.5, 1))
        if not self.other or not kind:
            return s.op(kind, z) if kind else z
        if kind == "Relu":
            return s.op("Mul", s.op("Relu", s.op("Mul", z, two)), half)
        if kind == "Tanh":
            return s.op("Sub", s.op("Mul", s.op("Sigmoid", s.op("Mul", z, two)), two), one)
        return s.op("Mul", s.op("Add", s.op("Tanh", s.op("Mul", z, half)), one), half)

    def convolution(self, s: Script, x: str, w: Array, b: Array | None) -> str:
        """A 3×3 convolution; or, half of its kernels' weights and then the other half, b added last."""
        pads = {"pads": [1, 1, 1, 1]}
        if not self.other:
            return s.op("Conv", x, w, *([] if b is None else [b]), **pads)
        both = s.op("Add", s.op("Conv", x, w / 4, **pads), s.op("Conv", x, w * 3 / 4, **pads))
        return both if b is None else s.op("Add", both, b.reshape(1, -1, 1, 1))


PLAIN, OTHER = Spelling(), Spelling(other=True)
Body = Callable[[Script, str, int, Spelling], str]
"""(script, input, seed, spelling) → the value [N, 3] of the network."""


def dense_weights(seed: int) -> list[tuple[Array, Array]]:
    """w [in, out] and b of two to four layers of random widths."""
    rng = np.random.default_rng(seed)
    sizes = [DENSE[0], *rng.integers(4, 9, int(rng.integers(1, 4))), 3]
    return [(normal(rng, n, m, scale=1.5 / np.sqrt(n)), normal(rng, m, scale=0.3)) for n, m in pairwise(sizes)]


def dense_body(activation: str, bias: bool) -> Body:
    """Dense layers with an activation between them."""

    def body(s: Script, x: str, seed: int, spelling: Spelling) -> str:
        layers = dense_weights(seed)
        for k, (w, b) in enumerate(layers):
            x = spelling.dense(s, x, w, b if bias else None)
            x = x if k == len(layers) - 1 else spelling.activation(s, activation, x)
        return x

    return body


def convolutional_body(activation: str, bias: bool, residual: bool = True) -> Body:
    """Convolution, activation, MaxPool (of ReLUs) or AveragePool, a residual sum, the mean over positions, a dense layer."""

    def body(s: Script, x: str, seed: int, spelling: Spelling) -> str:
        rng = np.random.default_rng(seed)
        width, channels = int(rng.integers(3, 6)), IMAGE[0]
        kernels = [normal(rng, width, n, 3, 3, scale=1.5 / np.sqrt(9 * n)) for n in (channels, width)]
        biases = [normal(rng, width, scale=0.3) if bias else None for _ in kernels]
        first = spelling.activation(s, activation, spelling.convolution(s, x, kernels[0], biases[0]))
        pool = "MaxPool" if activation == "Relu" else "AveragePool"
        pooled = s.op(pool, first, kernel_shape=[2, 2], strides=[2, 2])
        second = spelling.convolution(s, pooled, kernels[1], biases[1])
        joined = spelling.activation(s, activation, s.op("Add", second, pooled) if residual else second)
        mean = s.op("Flatten", s.op("GlobalAveragePool", joined))
        head = normal(rng, 3, scale=0.3)
        return spelling.dense(s, mean, normal(rng, width, 3), head if bias else None)

    return body


def gated_body(softmax: bool) -> Body:
    """A dense layer times the Sigmoid of another one, a Softmax, a dense layer: products and shares between elements."""

    def body(s: Script, x: str, seed: int, spelling: Spelling) -> str:
        rng = np.random.default_rng(seed)
        one, two, head = (normal(rng, n, m) for n, m in ((DENSE[0], 5), (DENSE[0], 5), (5, 3)))
        gate = spelling.activation(s, "Sigmoid", spelling.dense(s, x, two, normal(rng, 5)))
        gated = s.op("Mul", spelling.dense(s, x, one, normal(rng, 5)), gate)
        return spelling.dense(s, s.op("Softmax", gated, axis=1) if softmax else gated, head, None)

    return body


def largest_body(s: Script, x: str, seed: int, spelling: Spelling) -> str:
    """Three maxima, over four elements of the input each: as ReduceMax, or as Max of columns."""
    picks = [np.sort(np.random.default_rng([seed, k]).permutation(POOLED)[:4]) for k in range(3)]
    if not spelling.other:
        tops = [s.op("ReduceMax", s.op("Gather", x, p, axis=1), np.array([1]), keepdims=1) for p in picks]
    else:
        tops = [s.op("Max", *(s.op("Gather", x, np.array([i]), axis=1) for i in p[::-1])) for p in picks]
    return s.op("Concat", *tops, axis=1)


DENSE, IMAGE, POOLED = (6,), (2, 8, 8), 5
"""Shapes of one item; the maxima do not go over the last element."""
BODIES: dict[str, tuple[Body, tuple[int, ...]]] = {
    "dense ReLU": (dense_body("Relu", bias=True), DENSE),
    "dense ReLU bare": (dense_body("Relu", bias=False), DENSE),
    "dense Tanh": (dense_body("Tanh", bias=True), DENSE),
    "gated": (gated_body(softmax=True), DENSE),
    "gated linear": (gated_body(softmax=False), DENSE),
    "affine": (dense_body("", bias=True), DENSE),
    "largest": (largest_body, DENSE),
    "convolutional ReLU": (convolutional_body("Relu", bias=True), IMAGE),
    "convolutional ReLU bare": (convolutional_body("Relu", bias=False), IMAGE),
    "convolutional chain": (convolutional_body("Relu", bias=True, residual=False), IMAGE),
    "convolutional Tanh": (convolutional_body("Tanh", bias=True), IMAGE),
}


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    """Normal numbers, float32."""
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def items(kind: str, seed: int, count: int = 2) -> Array:
    """Inputs of a kind of network."""
    return normal(np.random.default_rng([seed, 1]), count, *BODIES[kind][1])


@cache
def network(kind: str, seed: int) -> explainsvc.Model:
    """A network with output y."""
    body, shape = BODIES[kind]
    s = Script()
    return s.model(shape, {"y": body(s, INPUT, seed, PLAIN)})


@cache
def spelled_twice(kind: str, seed: int) -> explainsvc.Model:
    """One function by two graphs: outputs y and other."""
    body, shape = BODIES[kind]
    s = Script()
    return s.model(shape, {"y": body(s, INPUT, seed, PLAIN), "other": body(s, INPUT, seed, OTHER)})


@cache
def combined(kind: str, seed: int, a: float, b: float) -> explainsvc.Model:
    """Two networks and their combination: outputs one, two and both = a·one + b·two."""
    body, shape = BODIES[kind]
    s = Script()
    one, two = (body(s, INPUT, seed + k, PLAIN) for k in (0, 1000))
    both = s.op("Add", *(s.op("Mul", v, np.array(c, np.float32)) for v, c in ((one, a), (two, b))))
    return s.model(shape, {"one": one, "two": two, "both": both})


@cache
def blind(kind: str, seed: int) -> explainsvc.Model:
    """A network that does not depend on the last element (of every channel), though its graph does: output y.

    The element is multiplied by 0, and enters a term that is 0 everywhere: relu(3u) − 3 relu(u), u a sum over all elements.
    """
    body, shape = BODIES[kind]
    s = Script()
    if kind == "largest":
        return s.model(shape, {"y": body(s, INPUT, seed, PLAIN)})
    mask = np.ones((1, *shape), np.float32)
    mask[(..., *[-1] * max(len(shape) - 1, 1))] = 0
    y = body(s, s.op("Mul", INPUT, mask), seed, PLAIN)
    weighed = s.op("Mul", INPUT, normal(np.random.default_rng([seed, 2]), 1, *shape))
    u = s.op("ReduceSum", s.op("Flatten", weighed), np.array([1]), keepdims=1)
    three, bend = np.array(3, np.float32), PLAIN.activation
    kink = "" if kind == "affine" else "Relu"
    nothing = s.op("Sub", bend(s, kink, s.op("Mul", u, three)), s.op("Mul", bend(s, kink, u), three))
    return s.model(shape, {"y": s.op("Add", y, nothing)})


@cache
def symmetric(kind: str, seed: int) -> explainsvc.Model:
    """A network that is the same when the first two elements (of every channel and row) change places: output y."""
    body, shape = BODIES[kind]
    s = Script()
    order = np.arange(shape[-1])
    order[:2] = [1, 0]
    swapped = s.op("Gather", INPUT, order, axis=len(shape))
    if kind == "largest":
        whole = s.op("ReduceMax", INPUT, np.array([1]), keepdims=1)
        return s.model(shape, {"y": s.op("Concat", whole, whole, whole, axis=1)})
    return s.model(shape, {"y": s.op("Add", *(body(s, v, seed, PLAIN) for v in (INPUT, swapped)))})


def paper_figure() -> explainsvc.Model:
    """Sundararajan et al. 2017, figure 7: f and g are one function of x_0 and x_1 ≥ 0 by two graphs; y = f − g + x_2.

    f = relu(relu(x_0) − 1 − relu(x_1)), g = relu(relu(x_0 − 1) − relu(x_1)).
    """
    s = Script()
    x0, x1, x2 = (s.op("Gather", INPUT, np.array([k]), axis=1) for k in range(3))
    one = np.array(1, np.float32)
    f = s.op("Relu", s.op("Sub", s.op("Sub", s.op("Relu", x0), one), s.op("Relu", x1)))
    g = s.op("Relu", s.op("Sub", s.op("Relu", s.op("Sub", x0, one)), s.op("Relu", x1)))
    y = s.op("Add", s.op("Sub", f, g), x2)
    return s.model((3,), {"y": s.op("Concat", f, g, y, axis=1)})
