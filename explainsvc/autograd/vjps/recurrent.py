"""LSTM, GRU, RNN: backpropagation through time.

The forward node stays as it is. A step's gates depend on x and the hidden state before it, which are both known (the
latter is Y moved by one), so they are computed again for all steps at once, and with them the derivatives of a step.
What remains for the loop over time is linear in the gradients of the states: a few products a step.

Equations and names are those of the ONNX operator reference; ``da`` is the gradient of the arguments of the gates.
Behind the end of a shorter sequence a step passes its states on and does nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from explainsvc.autograd.emit import Term
from explainsvc.autograd.recurrence import Direction, Recurrent, dim, joined, part, ranked, shifted, split, stacked, zeros
from explainsvc.autograd.registry import vjp_all
from explainsvc.autograd.scan import Terms, scan
from explainsvc.autograd.view import NodeView
from explainsvc.autograd.vjps.linear import product, tall, transposed
from explainsvc.autograd.vjps.pointwise import total_of


@dataclass(frozen=True)
class Arriving:
    """Gradients of Y, Y_h and Y_c of one direction, in its order of time; that of Y is None where nothing came."""

    y: Term | None
    h: Term
    c: Term


@dataclass(frozen=True)
class Leaving:
    """Gradients of X·Wᵀ + Wb, of H·Rᵀ + Rb, and of the states at the start (hidden, cell).

    ``fed``: (what R is multiplied with, gradient of the product) for each block of rows of R. ``peep``: the sequences
    that the peepholes are multiplied with, and the gradients of these products.
    """

    da_x: Term
    da_h: Term
    fed: Sequence[tuple[Term, Term]]
    states: Terms
    peep: Sequence[tuple[Term, Term]] = ()


Step = tuple[Terms, Terms]
Cell = Callable[[NodeView, Direction, Arriving], Leaving]


def plus(term: Term, *others: Term | None) -> Term:
    """``term`` plus those of the others that are there."""
    return sum((t for t in others if t is not None), start=term)


def times(term: Term, factor: Term | None) -> Term | None:
    """The product; None where there is no factor."""
    return None if factor is None else term * factor


def by(sequence: Term, weight: Term) -> Term:
    """A sequence times a transposed weight."""
    return product(sequence, transposed(weight))


def arguments(d: Direction) -> Term:
    """X·Wᵀ + H·Rᵀ + Wb + Rb for all steps."""
    return plus(by(d.x, d.w) + by(d.before, d.r), total_of([d.wb, d.rb]))


def _rnn(n: NodeView, d: Direction, g: Arriving) -> Leaving:
    """H = f(a)."""
    h = d.activations[0](arguments(d))
    slope = d.within(h.back(n.emit.zeros_like(d.y) + 1))

    def step(dh: Term, gy: Term | None, slope: Term, behind: Term | None) -> Step:
        dh = plus(dh, gy)
        da = dh * slope
        return (plus(product(da, d.r), times(dh, behind)),), (da,)

    start, (da,) = scan(step, [g.h], [g.y, slope, d.behind], backwards=True)
    return Leaving(da, da, [(d.before, da)], start)


def _lstm(n: NodeView, d: Direction, g: Arriving) -> Leaving:
    """C = f C₋₁ + i c, H = o h(C); with peepholes the gates read C₋₁ and C too. input_forget: f = 1 − i.

    onnxruntime clips the arguments of the gates, but not that of h.
    """
    gate, propose, squash = d.activations
    coupled = n.attr("input_forget", 0) == 1
    p_i, p_o, p_f = (None, None, None) if d.p is None else split(d.p, 3)
    a_i, a_o, a_f, a_c = split(arguments(d), 4)
    new = propose(a_c)
    c = cell_states(d, coupled, a_i, a_f, new.value)
    before = shifted(c, d.c0)
    i, o = gate(plus(a_i, times(before, p_i))), gate(plus(a_o, times(c, p_o)))
    f = None if coupled else gate(plus(a_f, times(before, p_f)))
    h = replace(squash, clip=None)(c)

    to_i = i.back(new.value - before if f is None else new.value)
    to_o = o.back(h.value)
    to_f = n.emit.zeros_like(to_i) if f is None else f.back(before)
    slopes = d.within(joined(to_i, to_o, to_f, new.back(i.value)))
    c_of_h = d.within(plus(h.back(o.value), times(to_o, p_o)))
    c_of_c = d.kept(plus(1 - i.value if f is None else f.value, times(to_i, p_i), times(to_f, p_f)))

    def step(dh: Term, dc: Term, gy: Term | None, slopes: Term, c_of_h: Term, c_of_c: Term, behind: Term | None) -> Step:
        dh = plus(dh, gy)
        dc = dc + dh * c_of_h
        da = joined(dc, dh, dc, dc) * slopes
        return (plus(product(da, d.r), times(dh, behind)), dc * c_of_c), (da,)

    start, (da,) = scan(step, [g.h, g.c], [g.y, slopes, c_of_h, c_of_c, d.behind], backwards=True)
    da_i, da_o, da_f, _ = split(da, 4)
    return Leaving(da, da, [(d.before, da)], start, [(before, da_i), (c, da_o), (before, da_f)])


def cell_states(d: Direction, coupled: bool, a_i: Term, a_f: Term, new: Term) -> Term:
    """C after each step, which the node does not tell."""
    gate = d.activations[0]
    p_i, _, p_f = (None, None, None) if d.p is None else split(d.p, 3)

    def shares(a_i: Term, a_f: Term, new: Term, c: Term | None) -> tuple[Term, Term]:
        i = gate(a_i if c is None or p_i is None else a_i + c * p_i).value
        f = 1 - i if coupled else gate(a_f if c is None or p_f is None else a_f + c * p_f).value
        return f, i * new

    def step(c: Term, f: Term, gain: Term) -> Step:
        c = c * f + gain
        return (c,), (c,)

    def peeping(c: Term, a_i: Term, a_f: Term, new: Term) -> Step:
        return step(c, *shares(a_i, a_f, new, c))

    if d.p is None:
        return scan(step, [d.c0], shares(a_i, a_f, new, None))[1][0]
    return scan(peeping, [d.c0], [a_i, a_f, new])[1][0]


def _gru(n: NodeView, d: Direction, g: Arriving) -> Leaving:
    """H = (1 − z) h + z H₋₁."""
    return (_gru_linear if n.attr("linear_before_reset", 0) else _gru_default)(d, g)


def _gru_default(d: Direction, g: Arriving) -> Leaving:
    """h = g(X·Whᵀ + (r H₋₁)·Rhᵀ + Rbh + Wbh)."""
    gate, squash = d.activations
    r_zr, r_h = rows(d.r)
    x_z, x_r, x_h = split(plus(by(d.x, d.w), total_of([d.wb, d.rb])), 3)
    h_z, h_r = split(by(d.before, r_zr), 2)
    z, r = gate(x_z + h_z), gate(x_r + h_r)
    fed = d.before * r.value
    h = squash(x_h + by(fed, r_h))
    to_z, to_r, to_h = d.within(z.back(d.before - h.value)), r.back(d.before), d.within(h.back(1 - z.value))

    def step(dh: Term, gy: Term | None, to_z: Term, to_r: Term, to_h: Term, r: Term, kept: Term) -> Step:
        dh = plus(dh, gy)
        da_h = dh * to_h
        d_fed = product(da_h, r_h)
        da = joined(dh * to_z, d_fed * to_r)
        return (dh * kept + d_fed * r + product(da, r_zr),), (da, da_h)

    start, (da, da_h) = scan(step, [g.h], [g.y, to_z, to_r, to_h, r.value, d.kept(z.value)], backwards=True)
    whole = d.r.emit.op("Concat", da, da_h, shape=None if d.x.shape is None else (*d.x.shape[:2], dim(d.r, 0)), axis=-1)
    return Leaving(whole, whole, [(d.before, da), (fed, da_h)], start)


def _gru_linear(d: Direction, g: Arriving) -> Leaving:
    """h = g(X·Whᵀ + r (H₋₁·Rhᵀ + Rbh) + Wbh)."""
    gate, squash = d.activations
    x_z, x_r, x_h = split(plus(by(d.x, d.w), d.wb), 3)
    h_z, h_r, h_h = split(plus(by(d.before, d.r), d.rb), 3)
    z, r = gate(x_z + h_z), gate(x_r + h_r)
    h = squash(x_h + r.value * h_h)
    to_z, to_h = d.within(z.back(d.before - h.value)), d.within(h.back(1 - z.value))
    slopes = joined(to_z, r.back(to_h * h_h), to_h * r.value)

    def step(dh: Term, gy: Term | None, slopes: Term, kept: Term) -> Step:
        dh = plus(dh, gy)
        da = joined(dh, dh, dh) * slopes
        return (dh * kept + product(da, d.r),), (da, dh)

    start, (da, dh) = scan(step, [g.h], [g.y, slopes, d.kept(z.value)], backwards=True)
    da_z, da_r, _ = split(da, 3)
    return Leaving(joined(da_z, da_r, dh * to_h), da, [(d.before, da)], start)


def rows(r: Term) -> tuple[Term, Term]:
    """Of a GRU: the rows of R of the gates z and r, and those of h."""
    hidden = dim(r, 1)
    r_z, r_r, r_h = r.emit.ops("Split", r, count=3, shape=(hidden, hidden), axis=0, num_outputs=3)
    both = (2 * hidden if isinstance(hidden, int) else None, hidden)
    return r.emit.op("Concat", r_z, r_r, shape=both, axis=0), r_h


# The whole node: all directions, all operands ------------------------------------------------------------------------


def arriving(r: Recurrent, d: int, like: Direction, g: Sequence[Term | None]) -> Arriving:
    """What arrives at one direction, from the gradients of the node's results."""
    y, h, c = [*g, None, None][:3]
    own = None if y is None else like.within(r.in_order(part(r.plain_y(ranked(y, 4)), d, r.count, axis=1), d))
    states = (zeros(like.y) if s is None else like.started(part(r.plain(ranked(s, 3)), d, r.count)) for s in (h, c))
    return Arriving(own, *states)


def _gradient(r: Recurrent, operand: int, sides: Sequence[tuple[Direction, Leaving]]) -> Term:
    """The gradient of one operand from all directions."""
    if operand == 0:
        total = total_of(r.in_order(product(out.da_x, d.w), i) for i, (d, out) in enumerate(sides))
        assert total is not None
        return r.plain(total)
    terms = stacked([_of_direction(operand, d, out) for d, out in sides])
    return r.plain(terms) if operand in (5, 6) else terms


def _of_direction(operand: int, d: Direction, out: Leaving) -> Term:
    """The gradient of one operand, but X, from one direction."""
    match operand:
        case 1:
            return _weight([(d.x, out.da_x)])
        case 2:
            return _weight(out.fed)
        case 3:
            return joined(_over_time(out.da_x), _over_time(out.da_h))
        case 7:
            return joined(*(_over_time(x * g) for x, g in out.peep))
    return out.states[operand - 5]


def _weight(pairs: Sequence[tuple[Term, Term]]) -> Term:
    """Gradients of the blocks of rows of a weight that these sequences are multiplied with."""
    blocks = [product(transposed(tall(g)), tall(x)) for x, g in pairs]
    return blocks[0] if len(blocks) == 1 else blocks[0].emit.op("Concat", *blocks, axis=0)


def _over_time(term: Term) -> Term:
    """The sum over time and batch, of a sequence: a vector."""
    return term.emit.sum(term, [0, 1], keepdims=False)


def _register(op_type: str, cell: Cell) -> None:
    @vjp_all(op_type)
    def rule(n: NodeView, *g: Term | None) -> dict[int, Term]:
        r = Recurrent(n)
        sides = [(d, cell(n, d, arriving(r, i, d, g))) for i, d in enumerate(r.directions())]
        return {operand: _gradient(r, operand, sides) for operand in n.asked}


for _op_type, _cell in {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}.items():
    _register(_op_type, _cell)
