"""What a method is: a card, Params, and either a program (emits into the explained graph) or a function (runs graphs)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from explainsvc.autograd import Rulebook, Term
from explainsvc.autograd.shapes import Array
from explainsvc.cards import Card
from explainsvc.explained import Builder
from explainsvc.target import ResolvedTarget, resolve_target

if TYPE_CHECKING:
    from explainsvc.model import Model

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what)."""


@dataclass(frozen=True)
class Estimate:
    """What a result that is a mean of independent samples would be if the sampling ended now.

    Attributes:
        samples: So far.
        total: In the end.
        values: Input → their mean, of the input's shape.
        standard_errors: Input → the standard error of every element of it.
    """

    samples: int
    total: int
    values: Mapping[str, Array]
    standard_errors: Mapping[str, Array]


Watch = Callable[[int, int, Callable[[], Estimate]], None]
"""Called with (samples, total, estimate) after every sample from the second on; nothing is computed unless it asks for it."""


def silent(*_: object, **__: object) -> None:
    """The progress of work that nobody watches."""


@dataclass(frozen=True)
class Result:
    """What a method returns before it becomes an Attribution; see there for the fields.

    Arrays among the ``parameters`` count items along axis 0; all else is of the whole request.
    ``output`` is the explained value as the graph of a method that is one graph gave it. ``zeros_told`` says that the caveats
    already tell of maps that are zero everywhere.
    """

    values: dict[str, Array]
    baseline_value: Array | None = None
    residual: Array | None = None
    caveats: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    output: Array | None = None
    zeros_told: bool = False


@dataclass(frozen=True)
class Request:
    """One explanation to compute: checked feeds, the inputs wanted, the resolved target.

    ``first``: the number of the first item among those that the user gave; not 0 where they are explained in groups.
    ``watch``: hears of the estimates on the way, of methods that are means of samples.
    ``known``: the explained value for these feeds, where it was computed already.
    ``largest``: the target is the largest element, which the explained graph finds itself; of ``target`` only the output counts.
    """

    model: Model
    feeds: dict[str, Array]
    wanted: tuple[str, ...]
    target: ResolvedTarget
    seed: int
    progress: Progress
    first: int = 0
    watch: Watch = silent
    known: Array | None = None
    largest: bool = False

    @property
    def batched(self) -> bool:
        """Whether axis 0 counts items."""
        return self.model.batched(self.feeds) and self.target.seed.ndim > 0

    def has_items(self, name: str) -> bool:
        """Whether axis 0 of this input counts the items of the target; not so for an input that all items share."""
        leads = self.batched and self.model.leads_with_items(name)
        return leads and len(self.feeds[name]) == len(self.target.seed)

    def item_shape(self, name: str) -> tuple[int, ...]:
        """The shape of one item of an input; all of it where the items share it."""
        x = self.feeds[name]
        return x.shape[1:] if self.has_items(name) else x.shape

    def parts(self, size: int) -> Iterator[Request]:
        """The request in groups of at most ``size`` items, for where items do not mix."""
        count = len(self.target.seed)
        for start in range(0, count, size):
            group = slice(start, start + size)
            yield self.on(
                {n: a[group] if a.ndim and len(a) == count else a for n, a in self.feeds.items()}, self.target.seed[group]
            )

    def excess(self, values: Mapping[str, Array], claimed: Array) -> Array:
        """Σ values − ``claimed`` per item, float64 [batch]; [1] over all items where an explained input is shared by them."""
        alone = self.batched and all(self.has_items(n) for n in values)
        sums = [v.astype(np.float64).reshape(len(claimed) if alone else 1, -1).sum(axis=1) for v in values.values()]
        return np.asarray(np.sum(sums, axis=0) - (claimed if alone else claimed.sum(keepdims=True)))

    def told(self, output: Array) -> Request:
        """The request, its target the largest element of this value where that was asked for."""
        if not self.largest:
            return self
        return replace(self, target=resolve_target(None, self.target.output, lambda _: output, self.batched), largest=False)

    def on(self, feeds: Mapping[str, Array], seed: Array | None = None) -> Request:
        """The same request on other feeds (and another seed of the target)."""
        target = self.target if seed is None else replace(self.target, seed=seed, index=None)
        return replace(self, feeds=dict(feeds), target=target, known=None)


@dataclass(frozen=True)
class Method:
    """A method as the registry holds it.

    Attributes:
        card: What it computes.
        params: Dataclass of its parameters.
        program: ``(builder, params) -> {input: term}``, for methods that are one graph.
        run: ``(request, params) -> Result``, for all others.
        inner: ``params -> method``, for wrappers: the method that they run, which decides where a default target starts.
        rulebook: ``(builder, params) -> rulebook`` of its backward pass, for programs that replace the vjp at some nodes.
        complete: "output" when Σ values = S is claimed, "difference" when = S − S(baseline), else "".
        from_logit: Whether a default target starts before the final Softmax, as the source defines the method.
        caveats: Known properties of the maps.
        family: Decides how applicability is found out.
        whole_batch: Whether the values of an item depend on the other items of the request, which must not be split then.
        requires: ``(model, output, inputs) -> None``; raises why the method, with its default parameters, does not apply to
            these inputs of a model, as far as its graph and declared shapes tell. `inspect` asks it.
        reports: Whether ``run`` runs the program's graph once, and only says more of its result.
    """

    card: Card
    params: type
    program: Callable[[Builder, Any], Mapping[str, Term]] | None = None
    run: Callable[[Request, Any], Result] | None = None
    inner: Callable[[Any], Method] | None = None
    rulebook: Callable[[Builder, Any], Rulebook] | None = None
    complete: Literal["", "output", "difference"] = ""
    from_logit: bool = False
    caveats: tuple[str, ...] = ()
    family: Literal["graph", "sampling", "perturbation", "control"] = "graph"
    whole_batch: bool = False
    requires: Callable[[Model, str, Sequence[str]], None] | None = None
    reports: bool = False

    @property
    def one_run(self) -> bool:
        """Whether all comes from one run of one graph, which tells the explained value, too."""
        return self.run is None or self.reports
