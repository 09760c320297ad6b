"""LRP in LSTM, GRU and RNN: in a product gate ⊙ signal the signal takes all relevance ("LRP-all").

Arras et al. 2017 (arXiv:1706.07206, section 3.1), Arras et al. 2019 (arXiv:1909.12114, section 2.3): gates are constants, sums
and linear layers have the ε-rule, activations pass relevance. As in the backward pass by gradients (``vjps.recurrent``) all
that does not depend on the arriving relevance is computed for all steps at once; the loop over time is linear in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from explainsvc.autograd import NodeView, Rule, Term
from explainsvc.autograd.recurrence import Direction, Recurrent, shifted, split, stacked
from explainsvc.autograd.scan import Terms, scan
from explainsvc.autograd.vjps.linear import product
from explainsvc.autograd.vjps.pointwise import total_of
from explainsvc.autograd.vjps.recurrent import Arriving, arguments, arriving, by, cell_states, plus, rows, times
from explainsvc.rules.lrp import refuse, stabilized


@dataclass(frozen=True)
class Damping:
    """ε, and whether biases take their share."""

    epsilon: float
    bias: bool

    def __call__(self, z: Term, bias: Term | None = None) -> Term:
        """z ± ε, the denominator of the ε-rule; ``bias``: what of z is bias."""
        return stabilized(z if self.bias or bias is None else z - bias, self.epsilon)


@dataclass(frozen=True)
class Sent:
    """Relevance of X and of the states at the start (hidden, cell), of one direction."""

    x: Term
    states: Terms


Step = tuple[Terms, Terms]
Cell = Callable[[NodeView, Direction, Arriving, Damping], Sent]


@cache
def lrp_recurrent(epsilon: float, bias: bool = True) -> Rule:
    """The rule of LSTM, GRU and RNN, of all their directions, for X and the initial states."""

    def rule(n: NodeView, *r: Term | None) -> list[Term | None]:
        if not set(n.asked) <= {0, 5, 6}:
            return refuse(n)
        node, cell = Recurrent(n), CELLS[n.op_type]
        sides = [cell(n, d, arriving(node, i, d, r), Damping(epsilon, bias)) for i, d in enumerate(node.directions())]
        result: list[Term | None] = [None] * len(n.node.inputs)
        x = total_of(node.in_order(sent.x, i) for i, sent in enumerate(sides))
        result[0] = None if x is None else node.plain(x)
        for operand in set(n.asked) - {0}:
            result[operand] = node.plain(stacked([sent.states[operand - 5] for sent in sides]))
        return [t if i in n.asked else None for i, t in enumerate(result)]

    return rule


def _rnn(_: NodeView, d: Direction, g: Arriving, damped: Damping) -> Sent:
    """H = f(X·Wᵀ + H₋₁·Rᵀ + b)."""
    share = d.within(1 / damped(arguments(d), total_of([d.wb, d.rb])))

    def step(rh: Term, gy: Term | None, share: Term, before: Term, behind: Term | None) -> Step:
        rh = plus(rh, gy)
        s = rh * share
        return (plus(before * product(s, d.r), times(rh, behind)),), (s,)

    start, (s,) = scan(step, [g.h], [g.y, share, d.before, d.behind], backwards=True)
    return Sent(d.x * product(s, d.w), start)


def _lstm(n: NodeView, d: Direction, g: Arriving, damped: Damping) -> Sent:
    """C = f C₋₁ + i c, H = o h(C): i, o and f are gates; c is the proposal, a layer of its own with an activation."""
    gate, propose, _ = d.activations
    coupled = n.attr("input_forget", 0) == 1
    p_i, _, p_f = (None, None, None) if d.p is None else split(d.p, 3)
    a_i, _, a_f, a_c = split(arguments(d), 4)
    proposed = propose(a_c).value
    before = shifted(cell_states(d, coupled, a_i, a_f, proposed), d.c0)
    i = gate(plus(a_i, times(before, p_i))).value
    f = 1 - i if coupled else gate(plus(a_f, times(before, p_f))).value
    old, new = f * before, i * proposed
    w_c, r_c = _last(d.w, 4), _last(d.r, 4)
    b_c = None if d.wb is None or d.rb is None else split(d.wb + d.rb, 4)[3]
    to_new = d.within(new / damped(old + new) / damped(a_c, b_c))
    to_old = d.kept(old / damped(old + new))

    def step(
        rh: Term, rc: Term, gy: Term | None, to_new: Term, to_old: Term, before: Term, inside: Term | None, behind: Term | None
    ) -> Step:
        rh = plus(rh, gy)
        rc = rc + (rh if inside is None else rh * inside)
        s = rc * to_new
        return (plus(before * product(s, r_c), times(rh, behind)), rc * to_old), (s,)

    sequences = [g.y, to_new, to_old, d.before, d.inside, d.behind]
    start, (s,) = scan(step, [g.h, g.c], sequences, backwards=True)
    return Sent(d.x * product(s, w_c), start)


def _gru(n: NodeView, d: Direction, g: Arriving, damped: Damping) -> Sent:
    """H = (1 − z) h + z H₋₁, h = g(a): z and r are gates.

    a = X·Whᵀ + (r H₋₁)·Rhᵀ + b, or with ``linear_before_reset`` X·Whᵀ + r (H₋₁·Rhᵀ + Rbh) + Wbh.
    """
    gate, squash = d.activations
    later = n.attr("linear_before_reset", 0) == 1
    r_zr, r_h = rows(d.r)
    x_z, x_r, x_h = split(by(d.x, d.w), 3)
    w_bz, w_br, w_bh = (None, None, None) if d.wb is None else split(d.wb, 3)
    r_bz, r_br, r_bh = (None, None, None) if d.rb is None else split(d.rb, 3)
    h_z, h_r = split(by(d.before, r_zr), 2)
    z = gate(plus(x_z + h_z, w_bz, r_bz)).value
    r = gate(plus(x_r + h_r, w_br, r_br)).value
    linear = by(d.before, r_h) * r if later else by(d.before * r, r_h)
    bias = total_of([w_bh, r * r_bh if later and r_bh is not None else r_bh])
    a = plus(x_h + linear, bias)
    old, new = z * d.before, (1 - z) * squash(a).value
    to_new = d.within(new / damped(old + new) / damped(a, bias))
    to_old = d.kept(old / damped(old + new))

    def step(rh: Term, gy: Term | None, to_new: Term, to_old: Term, before: Term, r: Term) -> Step:
        rh = plus(rh, gy)
        s = rh * to_new
        back = product(s * r, r_h) if later else product(s, r_h) * r
        return (rh * to_old + before * back,), (s,)

    start, (s,) = scan(step, [g.h], [g.y, to_new, to_old, d.before, r], backwards=True)
    return Sent(d.x * product(s, _last(d.w, 3)), start)


def _last(weight: Term, gates: int) -> Term:
    """The rows of the last of so many gates."""
    shape = None if weight.shape is None else (None, weight.shape[1])
    return weight.emit.ops("Split", weight, count=gates, shape=shape, axis=0, num_outputs=gates)[-1]


CELLS: dict[str, Cell] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
"""Recurrent operator → its cell."""
