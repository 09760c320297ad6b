"""LSTM, GRU and RNN as the ONNX operator reference writes them, step by step, on torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Relu": lambda x: x.relu(),
    "Tanh": lambda x: x.tanh(),
    "Sigmoid": lambda x: x.sigmoid(),
    "Affine": lambda x, a, b: a * x + b,
    "LeakyRelu": lambda x, a: torch.where(x >= 0, x, a * x),
    "ThresholdedRelu": lambda x, a: torch.where(x >= a, x, 0.0),
    "ScaledTanh": lambda x, a, b: a * torch.tanh(b * x),
    "HardSigmoid": lambda x, a, b: torch.clamp(a * x + b, 0, 1),
    "Elu": lambda x, a: torch.where(x >= 0, x, a * (torch.exp(x) - 1)),
    "Softsign": lambda x: x / (1 + x.abs()),
    "Softplus": F.softplus,
}
DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
WITH_ALPHA = {"Affine": 0.0, "LeakyRelu": 0.01, "ThresholdedRelu": 0.0, "ScaledTanh": 0.0, "HardSigmoid": 0.2, "Elu": 1.0}
WITH_BETA = {"Affine": 0.0, "ScaledTanh": 0.0, "HardSigmoid": 0.5}
"""Parameters where the node gives none, by onnxruntime: it has 0 where ONNX has 1."""


def recurrent(op_type: str, attributes: Mapping[str, Any], output: int) -> Callable[..., Any]:
    """The operator as a function of its operands in ONNX order, giving result ``output``."""

    def run(x: Any, w: Any, r: Any, b: Any = None, lens: Any = None, h0: Any = None, c0: Any = None, p: Any = None) -> Any:
        if attributes.get("layout"):
            x, h0, c0 = (None if t is None else t.transpose(0, 1) for t in (x, h0, c0))
        steps, batch, _ = x.shape
        count, hidden = r.shape[0], r.shape[2]
        zeros = x.new_zeros(count, batch, hidden)
        b = x.new_zeros(count, 2 * r.shape[1]) if b is None else b
        p = x.new_zeros(count, 3 * hidden) if p is None else p
        lens = torch.full((batch,), steps) if lens is None else lens
        h0, c0 = (zeros if t is None else t for t in (h0, c0))
        functions = _functions(op_type, attributes, count)
        step = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}[op_type]
        items: list[Any] = []
        for d in range(count):
            backwards = d == 1 or attributes.get("direction") == "reverse"
            for k in range(batch):
                order = range(int(lens[k]) - 1, -1, -1) if backwards else range(int(lens[k]))
                h, c = h0[d, k], c0[d, k]
                states = [torch.zeros_like(h)] * steps
                for t in order:
                    h, c = step(x[t, k] @ w[d].T, h, c, r[d], b[d], p[d], functions[d], attributes)
                    states[t] = h
                begun = float(lens[k] > 0)  # onnxruntime's final state of an empty sequence is zero
                items.append((torch.stack(states), h * begun, c * begun))
        ys, hs, cs = (torch.stack([item[i] for item in items]) for i in range(3))
        y = ys.reshape(count, batch, steps, hidden).permute(2, 0, 1, 3)
        h, c = hs.reshape(count, batch, hidden), cs.reshape(count, batch, hidden)
        if attributes.get("layout"):
            y, h, c = y.permute(2, 0, 1, 3), h.transpose(0, 1), c.transpose(0, 1)
        return (y, h, c)[output]

    return run


def _functions(op_type: str, attributes: Mapping[str, Any], count: int) -> list[list[Callable[[Any], Any]]]:
    names = list(attributes.get("activations", DEFAULTS[op_type] * count))
    alphas, betas = list(attributes.get("activation_alpha", [])), list(attributes.get("activation_beta", []))
    clip, found = attributes.get("clip"), []
    for name in names:
        name = next(known for known in FUNCTIONS if known.lower() == name.lower())
        parameters = [
            (given.pop(0) if given else table[name])
            for table, given in ((WITH_ALPHA, alphas), (WITH_BETA, betas)) if name in table
        ]  # fmt: skip

        def function(x: Any, clip: Any = clip, f: Any = FUNCTIONS[name], parameters: Any = tuple(parameters)) -> Any:
            return f(x if clip is None else x.clamp(-clip, clip), *parameters)

        found.append(function)
    each = len(found) // count
    return [found[d * each : (d + 1) * each] for d in range(count)]


def _rnn(x: Any, h: Any, c: Any, r: Any, b: Any, p: Any, functions: Any, attributes: Any) -> Any:
    wb, rb = b.chunk(2)
    return functions[0](x + h @ r.T + wb + rb), c


def _lstm(x: Any, h: Any, c: Any, r: Any, b: Any, p: Any, functions: Any, attributes: Any) -> Any:
    f, g, out = functions
    wb, rb = b.chunk(2)
    i, o, forget, new = (x + h @ r.T + wb + rb).chunk(4)
    p_i, p_o, p_f = p.chunk(3)
    i = f(i + p_i * c)
    forget = 1 - i if attributes.get("input_forget") else f(forget + p_f * c)
    c = forget * c + i * g(new)
    return f(o + p_o * c) * out(c, clip=None), c  # onnxruntime clips the arguments of the gates only


def _gru(x: Any, h: Any, c: Any, r: Any, b: Any, p: Any, functions: Any, attributes: Any) -> Any:
    f, g = functions
    x_z, x_r, x_h = x.chunk(3)
    r_z, r_r, r_h = r.chunk(3)
    w_bz, w_br, w_bh, r_bz, r_br, r_bh = b.chunk(6)
    z = f(x_z + h @ r_z.T + w_bz + r_bz)
    reset = f(x_r + h @ r_r.T + w_br + r_br)
    if attributes.get("linear_before_reset"):
        new = g(x_h + reset * (h @ r_h.T + r_bh) + w_bh)
    else:
        new = g(x_h + (reset * h) @ r_h.T + r_bh + w_bh)
    return (1 - z) * new + z * h, c
