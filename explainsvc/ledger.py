"""The ledger of relevance: what every node received, handed on, and lost to biases and stabilisers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial, reduce
from itertools import count
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from explainsvc.attribution import target_json, versions
from explainsvc.autograd import NodeView, Rule, Rulebook, Term, gradient_rulebook
from explainsvc.autograd.shapes import Array
from explainsvc.autograd.survey import treatment
from explainsvc.cards import plain, read_params, recorded
from explainsvc.dry_run import treatment_by
from explainsvc.engine import hold_against, require_working_opset, seed_type
from explainsvc.errors import InvalidInput, MethodNotApplicable
from explainsvc.explained import SEED, Builder, explained_graph, prefix_in
from explainsvc.inputs import check_feeds
from explainsvc.inspection import target_name, wanted_inputs
from explainsvc.method import Method, Request, silent
from explainsvc.methods import find_method
from explainsvc.nodes import operator_name
from explainsvc.rest import inner_values, of_the_whole, rest_at
from explainsvc.runtime import new_session
from explainsvc.target import ResolvedTarget, Target, resolve_target

if TYPE_CHECKING:
    from explainsvc.model import Model

BOOK = "ledger."
BIASED = {"Conv": (2,), "ConvTranspose": (2,), "Gemm": (2,), "Add": (0, 1), "Sub": (0, 1)}
"""Operator → operands that are a bias where they do not lead to the input."""


@dataclass(frozen=True)
class Account:
    """One node: all numbers are sums over all elements and items, in units of S.

    Attributes:
        node: Its name.
        operator: ``Conv``, ``com.microsoft::Attention``.
        results: Names of its results.
        rule: Name of its rule.
        received: Relevance of its results.
        handed_on: What its operands that lead to the input got, by operand.
        bias: What its bias took.
        rest: What ε took, or had nobody to go to: received − Σ handed_on − bias.
    """

    node: str
    operator: str
    results: tuple[str, ...]
    rule: str
    received: float
    handed_on: Mapping[str, float]
    bias: float
    rest: float

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings."""
        document: dict[str, Any] = plain(asdict(self))
        return document


@dataclass(frozen=True)
class Ledger:
    """The books of one explanation: all numbers are sums over all elements and items, in units of S.

    They close: ``start`` is the sum of ``at_inputs``, ``bias`` and ``rest``, but for ``rounding``.

    Attributes:
        method: Name of the method.
        target: What was explained.
        inputs: Names of the explained inputs.
        start: The relevance that the target starts with: S, or what the rulebook starts with in its place.
        accounts: One a node, from the target to the inputs.
        values: Name of every value on the way, target and inputs included → its relevance.
        parameters: In force, defaults included; JSON-able.
        model_digest: sha256 of the model.
        versions: explainsvc, onnxruntime and its provider, numpy, python.
        caveats: What a reader of the numbers must know.
    """

    method: str
    target: ResolvedTarget
    inputs: tuple[str, ...]
    start: float
    accounts: tuple[Account, ...]
    values: Mapping[str, float]
    parameters: Mapping[str, Any]
    model_digest: str
    versions: Mapping[str, str]
    caveats: tuple[str, ...]

    @property
    def at_inputs(self) -> dict[str, float]:
        """Explained input → what it got: the sum of its values in the explanation."""
        return {name: self.values.get(name, 0.0) for name in self.inputs}

    @property
    def bias(self) -> float:
        """What all biases took."""
        return sum(account.bias for account in self.accounts)

    @property
    def rest(self) -> float:
        """What ε took at all nodes, or had nobody to go to."""
        return sum(account.rest for account in self.accounts)

    @property
    def rounding(self) -> float:
        """What float32 made or lost between the nodes: start − Σ at_inputs − bias − rest."""
        return self.start - sum(self.at_inputs.values()) - self.bias - self.rest

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings; the four sums among them."""
        return {
            "method": self.method,
            "target": target_json(self.target),
            "start": self.start,
            "at_inputs": self.at_inputs,
            "bias": self.bias,
            "rest": self.rest,
            "rounding": self.rounding,
            "accounts": [account.to_json() for account in self.accounts],
            "values": dict(self.values),
            "parameters": dict(self.parameters),
            "model_digest": self.model_digest,
            "versions": dict(self.versions),
            "caveats": list(self.caveats),
        }


@dataclass(frozen=True)
class _Entry:
    """The terms of one account, each of shape [1]."""

    node: ir.Node
    rule: str
    received: Term
    handed_on: Mapping[str, Term]
    bias: Term | None

    @property
    def terms(self) -> list[Term]:
        """All of them, the bias last."""
        return [self.received, *self.handed_on.values(), *([] if self.bias is None else [self.bias])]


@dataclass(frozen=True)
class _Keeper(Builder):
    """A builder whose backward walk keeps the books."""

    starts: list[Term] = field(default_factory=list)
    entries: list[_Entry] = field(default_factory=list)

    def backward(self, rulebook: Rulebook = gradient_rulebook, seed: Term | None = None) -> dict[str, Term]:
        """See Builder."""
        self.starts.append(_total([self.seed if seed is None else seed]))
        return super().backward(partial(self._kept, rulebook), seed)

    def _kept(self, rulebook: Rulebook, n: NodeView) -> Rule:
        rule = rulebook(n)
        if rule is None:
            raise MethodNotApplicable(
                "the rulebook takes the gradient here, which shares out no relevance", where=n.where(),
                expected="a rule at every node", to_do="A dry run tells which row it was",
            )  # fmt: skip
        _, parameters = treatment_by(rulebook, n.node) or ("", {})
        return partial(self._booked, rule, treatment(n, rulebook), parameters.get("bias") == "counted")

    def _booked(self, rule: Rule, name: str, counts: bool, n: NodeView, *r: Term | None) -> Sequence[Term | None]:
        sent = rule(n, *r)
        handed: dict[str, list[Term]] = {}
        for k in n.asked:
            if (term := sent[k]) is not None:
                handed.setdefault(n.input(k).value.name or "", []).append(term)
        received = _total([t for t in r if t is not None])
        bias = _bias_share(rule, n, r) if counts else None
        self.entries.append(_Entry(n.node, name, received, {v: _total(terms) for v, terms in handed.items()}, bias))
        return sent


def _bias_share(rule: Rule, n: NodeView, r: Sequence[Term | None]) -> Term | None:
    """What the bias would get were it an input: the same shares, since it counts."""
    biases = [k for k in BIASED.get(n.op_type, ()) if n.has(k) and k not in n.asked]
    share = rule(replace(n, asked=(*n.asked, *biases)), *r)[biases[0]] if biases and n.asked else None
    return None if share is None else _total([share])


def _total(terms: Sequence[Term]) -> Term:
    """Σ over all elements of all terms, [1]."""
    return reduce(add, [t.emit.reshape(t.emit.op("ReduceSum", t, keepdims=0, shape=()), [1]) for t in terms])


def ledger(
    model: Model, feeds: Mapping[str, Any], /, method: str, target: Target = None, *, inputs: Sequence[str] | None = None,
    **parameters: Any,
) -> Ledger:  # fmt: skip
    """See :meth:`explainsvc.model.Model.ledger`."""
    found = _that_shares(find_method(method))
    params: Any = read_params(found.params, parameters, method)
    checked = check_feeds(feeds, model.inputs, model.frozen_batch)
    _require_whole_batches(model, checked)
    if inner := inner_values(model, inputs or ()):
        rest, at = rest_at(model, inner, checked)
        return of_the_whole(model, ledger(rest, at, method, target, inputs=inputs, **parameters))
    name, notes = target_name(model, found, target)
    resolved = resolve_target(target, name, cache(partial(model.value_of, checked)), model.batched(checked))
    wanted = wanted_inputs(model, inputs, found, name)
    start, accounts, values = _books(found, params, Request(model, checked, wanted, resolved, 0, silent))
    caveats = (*found.caveats, *notes, *model.caveats)
    return Ledger(method, resolved, wanted, start, accounts, values, recorded(params), model.digest, versions(), caveats)


def _that_shares(method: Method) -> Method:
    """A method whose values are shares of S by rules.

    Raises:
        MethodNotApplicable: It is none.
    """
    if method.program is None or method.rulebook is None or method.complete != "output":
        raise MethodNotApplicable(
            f"{method.card.name} shares out no relevance, of which a ledger could be kept",
            expected="a method whose values sum to the output by rules, such as lrp_epsilon_plus",
            to_do="`explainsvc methods` lists them",
        )
    return method


Books = tuple[float, tuple[Account, ...], dict[str, float]]
"""Start, accounts and values of a ledger."""


def _books(method: Method, params: Any, request: Request) -> Books:
    """The explained graph with the books as further outputs, run once."""
    model, target = request.model, request.target.output
    require_working_opset(model)
    keepers: list[_Keeper] = []
    prefix = prefix_in(model.graph)
    program = partial(_program, method, params, keepers, prefix + BOOK)
    graph = explained_graph(model.prepared.model, target, request.wanted, program, {})
    session = new_session(ir.to_proto(graph).SerializeToString())
    seed = request.target.seed.astype(seed_type(model, target))
    outputs = model.run(session, model.internal(request.feeds) | {prefix + SEED: seed})
    hold_against(model, request.feeds, outputs)
    return _closed(keepers[0], lambda k: float(np.sum(outputs[f"{prefix}{BOOK}{k}"], dtype=np.float64)))


def _require_whole_batches(model: Model, feeds: Mapping[str, Array]) -> None:
    """The runs of a fixed batch size are filled up with repeated items, which would be counted."""
    size = None if model.prepared.opened is not None else model.frozen_batch
    items = next((len(a) for a in feeds.values() if a.ndim > 0), 0)
    if size is not None and items % size != 0:
        raise InvalidInput(f"{items} items do not fill batches of {size}", expected="whole batches, since all items are summed")


def _program(method: Method, params: Any, keepers: list[_Keeper], book: str, b: Builder) -> Mapping[str, Term]:
    """The method's program with a keeper, whose terms become outputs in order."""
    keeper = _Keeper(b.emit, b.target, b.seed, b.wanted, b.prefix)
    keepers.append(keeper)
    assert method.program is not None
    results = method.program(keeper, params)
    for k, term in enumerate([*keeper.starts, *(t for entry in keeper.entries for t in entry.terms)]):
        b.emit.output(f"{book}{k}", term)
    return results


def _closed(keeper: _Keeper, number: Callable[[int], float]) -> Books:
    """The terms as numbers, in the order of :func:`_program`."""
    numbers = map(number, count())
    start = sum(next(numbers) for _ in keeper.starts)
    values: dict[str, float] = {keeper.target.value.name or "": start}
    accounts = []
    for entry in keeper.entries:
        received = next(numbers)
        handed = {name: next(numbers) for name in entry.handed_on}
        bias = 0.0 if entry.bias is None else next(numbers)
        for name, share in handed.items():
            values[name] = values.get(name, 0.0) + share
        results = tuple(v.name or "" for v in entry.node.outputs)
        rest = received - sum(handed.values()) - bias
        account = Account(entry.node.name or "", operator_name(entry.node), results, entry.rule, received, handed, bias, rest)
        accounts.append(account)
    return start, tuple(accounts), values
