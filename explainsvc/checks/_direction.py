"""The direction of an attack on a map: the derivative of a distance D between maps, by differentiating the explained graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from explainsvc import engine
from explainsvc.autograd import Emitter, Term
from explainsvc.autograd.shapes import Array
from explainsvc.check import Explained, Subject
from explainsvc.checks._derived import derived
from explainsvc.checks._saliency import Pixels, mass_center, top
from explainsvc.checks._smoothing import smoothed
from explainsvc.checks.maps import groups, silent
from explainsvc.errors import MethodNotApplicable, NotDifferentiable
from explainsvc.explained import SEED, Builder, find_value, prefix_in
from explainsvc.method import Method, Request
from explainsvc.methods import find_method
from explainsvc.model import Model
from explainsvc.target import ResolvedTarget

DISTANCE = "distance"
WEIGHTS = "weights"
LEVEL = "its distance has no slope at the inputs: random signs take its place until it has"
TRANSFER = "the attack is one on the gradient, transferred: this method's own graph has no second derivative"


@dataclass(frozen=True)
class Aim:
    """∂D/∂x of one method's map.

    With the share of pixel weights w in a map m, s(w) = Σ w|m| / Σ|m|, the distances from the untouched map are −s(1 in its k
    most salient pixels) and Σ_axes s(place − its centre)² (Ghorbani et al. 2019, algorithm 1).

    Attributes:
        model: The smooth model's explained graph, with D as an output.
        prefix: Starts the names that were added to it.
        weights: The w, one per axis: {input: [item, *shape]}.
        seed: ``explain.seed`` of the explained graph.
        transferred: Whether it is the gradient's map, in place of the method's own.
    """

    model: Model
    prefix: str
    wanted: tuple[str, ...]
    weights: tuple[dict[str, Array], ...]
    seed: Array
    transferred: bool

    def at(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """∂D/∂x at these feeds (as the prepared graph takes them), zero where D does not depend on an input."""
        parts = [engine.run_graph("distance", None, _reached, self._request(feeds, g))[0] for g in groups(self.model, feeds)]
        return {
            name: np.concatenate([part[name] for part in parts]) if len(parts) > 1 else parts[0][name] for name in self.wanted
        }

    def is_level(self, feeds: Mapping[str, Array]) -> bool:
        """Whether D has no slope at all here: no direction to go but a random one."""
        return not any(np.nan_to_num(g).any() for g in self.at(feeds).values())

    def distance(self, feeds: Mapping[str, Array]) -> Array:
        """D, [item, 1]."""
        request = self._request(feeds, slice(None))
        return self.model.value_of(request.feeds, self.prefix + DISTANCE)

    def _request(self, feeds: Mapping[str, Array], group: slice) -> Request:
        added = {f"{self.prefix}{WEIGHTS}.{a}.{name}": w for a, own in enumerate(self.weights) for name, w in own.items()}
        whole = {**feeds, self.prefix + SEED: self.seed, **added}
        cut = whole if group == slice(None) else {name: array[group] for name, array in whole.items()}
        ones = np.ones((len(cut[self.wanted[0]]) if self.model.batched(feeds) else 1, 1), self.seed.dtype)
        return Request(self.model, cut, self.wanted, ResolvedTarget(self.prefix + DISTANCE, ones, None, "D"), 0, silent)


def _reached(builder: Builder) -> Mapping[str, Term]:
    return {name: builder.emit.zeros_like(term) for name, term in builder.wanted.items()} | builder.backward()


def aim_of(subject: Subject, e: Explained, pixels: Pixels, distance: str, k: int, beta: float) -> Aim:
    """The direction away from a method's map; that of the gradient where the method is not one graph with two derivatives.

    Args:
        subject: Its feeds are the untouched inputs.
        e: The method on them.
        pixels: Of its maps.
        distance: ``topk`` or ``mass_center``.
        k: Pixels of ``topk``.
        beta: Of the softplus.
    """
    smooth = smoothed(subject.model, beta)
    weights = _weights(subject, pixels, pixels.saliency(e.maps), distance, k)
    batched = subject.model.batched(subject.feeds)
    gradient = find_method("gradient")
    for method, params in ((e.method, e.params), (gradient, gradient.params())):
        try:
            aim = _aim(smooth, e, (method, params), weights, (distance, batched))
            aim.at(subject.model.internal(subject.feeds))
        except (NotDifferentiable, MethodNotApplicable):
            if method is gradient:
                raise
        else:
            return aim
    raise AssertionError("the gradient was tried last")


def _weights(subject: Subject, pixels: Pixels, saliency: Array, distance: str, k: int) -> tuple[dict[str, Array], ...]:
    if distance == "topk":
        planes = [top(saliency, k).astype(np.float64)]
    else:
        places = pixels.coordinates()
        centers = mass_center(saliency, places)
        planes = [np.nan_to_num(places[a] - centers[:, [a]]) for a in range(len(places))]
    feeds = subject.model.internal(subject.feeds)
    return tuple(
        {name: w.reshape(feeds[name].shape).astype(feeds[name].dtype) for name, w in pixels.spread(plane).items()}
        for plane in planes
    )


def _aim(
    smooth: Model, e: Explained, attacked: tuple[Method, object], weights: tuple[dict[str, Array], ...], kind: tuple[str, bool]
) -> Aim:
    method, params = attacked
    prefix = prefix_in(smooth.graph)
    graph = engine.build(smooth, method.card.name, params, engine.program_of(method, params), e.target.output, e.wanted)
    _append_distance(graph.graph, prefix, e.wanted, (len(weights), *kind))
    seed = e.target.seed.astype(engine.seed_type(smooth, e.target.output))
    return Aim(derived(smooth, graph), prefix, e.wanted, weights, seed, method is not e.method)


def _append_distance(graph: ir.Graph, prefix: str, wanted: tuple[str, ...], kind: tuple[int, str, bool]) -> None:
    """Writes D, [item, 1], as an output after the maps."""
    axes, distance, batched = kind
    emit = Emitter(graph)
    maps = {name: emit.term(find_value(graph, prefix + name)) for name in wanted}
    sizes = {name: emit.op("Abs", m, shape=m.shape) for name, m in maps.items()}

    def total(terms: Mapping[str, Term]) -> Term:
        sums = [emit.sum(emit.op("Flatten", t, axis=int(batched), shape=(None, None)), [1]) for t in terms.values()]
        result = sums[0]
        for other in sums[1:]:
            result = result + other
        return result

    mass = total(sizes)
    given = [{n: emit.input(f"{prefix}{WEIGHTS}.{a}.{n}", m.value) for n, m in maps.items()} for a in range(axes)]
    shares = [total({n: w[n] * sizes[n] for n in wanted}) / mass for w in given]
    if distance == "topk":
        emit.output(prefix + DISTANCE, -shares[0])
        return
    squares = [share * share for share in shares]
    result = squares[0]
    for other in squares[1:]:
        result = result + other
    emit.output(prefix + DISTANCE, result)
