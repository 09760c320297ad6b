"""LSTM, GRU and RNN, step by step, as the equations of ONNX's operators have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from explainsvc.errors import NotTrainable
from explainsvc.training.converters.operator import Call, Given, Tensor, operator, refuse_others

Activation = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], State]
"""(the input's share in the gates, state before) → state after; its first tensor is the result of the step."""
Cell = Callable[[Call, int, Tensor, Tensor, Given], Step]

_FUNCTIONS: dict[str, Activation] = {
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu, "softsign": F.softsign, "softplus": F.softplus,
    "hardsigmoid": lambda x: torch.clamp(0.2 * x + 0.5, 0, 1),
}  # fmt: skip
"""Those with ONNX's default parameters."""


def _activations(call: Call, default: Sequence[str], direction: int) -> list[Activation]:
    names = [name.lower() for name in call.get("activations") or [*default, *default]]
    own = names[direction * len(default) :][: len(default)]
    unknown = [name for name in own if name not in _FUNCTIONS]
    if unknown or call.get("activation_alpha") or call.get("activation_beta"):
        raise NotTrainable(f"its activations are {own}, or have parameters", expected=f"of {sorted(_FUNCTIONS)}")
    return [_FUNCTIONS[name] for name in own]


def _lstm_step(call: Call, direction: int, r: Tensor, bias: Tensor, p: Given) -> Step:
    """Gates in the order input, output, forget, cell; p are peepholes (Hochreiter & Schmidhuber 1997)."""
    f, g, h = _activations(call, ("Sigmoid", "Tanh", "Tanh"), direction)
    peeps = [torch.zeros_like(bias[: r.shape[-1]])] * 3 if p is None else list(p.chunk(3))

    def step(x: Tensor, state: State) -> State:
        before, cell = state
        i, o, forget, c = (x + before @ r.T + bias).chunk(4, -1)
        i, forget = f(i + peeps[0] * cell), f(forget + peeps[2] * cell)
        cell = forget * cell + i * g(c)
        return f(o + peeps[1] * cell) * h(cell), cell

    return step


def _gru_step(call: Call, direction: int, r: Tensor, bias: Tensor, _p: Given) -> Step:
    """Gates in the order update, reset, hidden (Cho et al. 2014); the bias is that of R only."""
    f, g = _activations(call, ("Sigmoid", "Tanh"), direction)
    size = r.shape[-1]
    r_gates, r_hidden, b_gates, b_hidden = r[: 2 * size], r[2 * size :], bias[: 2 * size], bias[2 * size :]

    def step(x: Tensor, state: State) -> State:
        (before,) = state
        z, reset = f(x[:, : 2 * size] + before @ r_gates.T + b_gates).chunk(2, -1)
        if call.get("linear_before_reset", 0):
            rest = reset * (before @ r_hidden.T + b_hidden)
        else:
            rest = (reset * before) @ r_hidden.T + b_hidden
        return ((1 - z) * g(x[:, 2 * size :] + rest) + z * before,)

    return step


def _rnn_step(call: Call, direction: int, r: Tensor, bias: Tensor, _p: Given) -> Step:
    """One gate (Elman 1990)."""
    (f,) = _activations(call, ("Tanh",), direction)
    return lambda x, state: (f(x + state[0] @ r.T + bias),)


def _run(
    call: Call, cell: Cell, x: Tensor, w: Tensor, r: Tensor, b: Given, lens: Given, given: Sequence[Given], p: Given = None
) -> tuple[Tensor, ...]:
    """All directions: the results of all steps [steps, directions, batch, hidden], and the final states."""
    refuse_others(call, clip=None, input_forget=0, layout=0)
    kind = call.get("direction", "forward")
    ys, finals = [], []
    for d, backwards in enumerate((False, True) if kind == "bidirectional" else (kind == "reverse",)):
        own, recurrent = (r.new_zeros(2, r.shape[1]) if b is None else b[d].reshape(2, -1)).unbind()
        state = tuple(x.new_zeros(x.shape[1], r.shape[-1]) if g is None else g[d] for g in given)
        step = cell(call, d, r[d], recurrent, None if p is None else p[d])
        y, state = _along_time(step, x @ w[d].T + own, state, lens, backwards)
        ys.append(y)
        finals.append(state)
    return torch.stack(ys, 1), *(torch.stack(states) for states in zip(*finals, strict=True))


def _along_time(step: Step, gates: Tensor, state: State, lens: Given, backwards: bool) -> tuple[Tensor, State]:
    """Items that have ended keep their state, and their results are zero; backwards, they wait until they begin."""
    steps = len(gates)
    results = [state[0]] * steps
    for t in reversed(range(steps)) if backwards else range(steps):
        after = step(gates[t], state)
        if lens is None:
            state, results[t] = after, after[0]
        else:
            runs = (t < lens)[:, None]
            state = tuple(torch.where(runs, new, old) for new, old in zip(after, state, strict=True))
            results[t] = torch.where(runs, after[0], torch.zeros_like(after[0]))
    return torch.stack(results), state


@operator("LSTM", since=7)
def lstm(
    call: Call, x: Tensor, w: Tensor, r: Tensor, b: Given = None, lens: Given = None,
    h: Given = None, c: Given = None, p: Given = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Results of all steps, last state and last cell."""
    return _run(call, _lstm_step, x, w, r, b, lens, (h, c), p)


@operator("GRU", since=7)
def gru(call: Call, x: Tensor, w: Tensor, r: Tensor, b: Given = None, lens: Given = None, h: Given = None) -> tuple[Tensor, ...]:
    """Results of all steps, and the last state."""
    return _run(call, _gru_step, x, w, r, b, lens, (h,))


@operator("RNN", since=7)
def rnn(call: Call, x: Tensor, w: Tensor, r: Tensor, b: Given = None, lens: Given = None, h: Given = None) -> tuple[Tensor, ...]:
    """Results of all steps, and the last state."""
    return _run(call, _rnn_step, x, w, r, b, lens, (h,))
