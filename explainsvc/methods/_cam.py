"""What the class-activation methods share: the layer, its activation and gradient, the map's way up to the input's size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir

from explainsvc.autograd import Emitter, Term
from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.engine import attribute
from explainsvc.errors import MethodNotApplicable
from explainsvc.explained import Builder, find_value
from explainsvc.graph.following import CHANNELS, ITEMS, ONE, Labels, Tokens
from explainsvc.graph.spatial import default_layer, positions, spatial_values
from explainsvc.method import Method, Request, Result

INSTEAD = "Use gradient or occlusion"


@dataclass(frozen=True)
class LayerParams:
    """The layer."""

    layer: str = param("", "str", "name of the tapped value; empty: the last one with positions; of a transformer, see Needs")


@dataclass(frozen=True)
class MapParams(LayerParams):
    """The layer, and whether negative evidence is cut off."""

    relu: bool = param(True, "bool", "keep only positive evidence")


@dataclass(frozen=True)
class Layer:
    """A value with channels and positions, and how its axes lie over every wanted input."""

    value: ir.Value
    over: Mapping[str, Labels]

    @property
    def name(self) -> str:
        """As users write it."""
        return self.value.name or ""

    @property
    def labels(self) -> Labels:
        """Its axes over the first wanted input."""
        return next(iter(self.over.values()))

    @property
    def order(self) -> tuple[int, ...]:
        """Its axes: items, channels, positions, then those of length 1."""
        lead = [next(a for a, label in enumerate(self.labels) if label in kinds) for kinds in ((ITEMS, ONE), (CHANNELS,))]
        spread = [a for a, label in enumerate(self.labels) if isinstance(label, (int, Tokens))]
        return (*lead, *spread, *(a for a, label in enumerate(self.labels) if label is None))

    @property
    def tokens(self) -> Tokens | None:
        """Where its positions are flattened: how."""
        return next((label for label in self.labels if isinstance(label, Tokens)), None)

    @property
    def extent(self) -> int:
        """How many axes its positions have."""
        return len(positions(self.labels))

    def places(self, name: str) -> tuple[int, ...]:
        """The axes of an input that the positions run along."""
        return positions(self.over[name])

    def has_items(self, name: str) -> bool:
        """Whether axis 0 of an input counts the layer's items."""
        return ITEMS in self.over[name]


def cam_layer(b: Builder, name: str, method: str) -> Layer:
    """The tapped value: the one named, or the default of :func:`default_layer`.

    Raises:
        MethodNotApplicable: The model has no activations that lie over the inputs, or the named value is none, or which one
            to take is not clear.
        TargetOutOfRange: No value has this name.
    """
    path = b.path()
    spots = {n: spatial_values(path, wanted.value) for n, wanted in b.wanted.items()}
    first = next((n for n, found in spots.items() if found), None)
    if name:
        value: ir.Value | None = find_value(b.graph, name, "parameters.layer")
    else:
        value = None if first is None else default_layer(path, b.wanted[first].value, b.target.value)
    if value is None or first is None or value not in spots[first]:
        raise _no_layer(name, method, [] if first is None else list(spots[first]))
    for n, found in spots.items():
        if value not in found or len(positions(found[value])) != len(positions(spots[first][value])):
            raise MethodNotApplicable(
                f'"{value.name}" does not lie over it', where=f'method {method}, input "{n}"',
                expected="an input whose axes can be followed to the layer's positions",
                to_do=f'Explain inputs=["{first}"] only, or use gradient or occlusion',
            )  # fmt: skip
    return Layer(value, {n: found[value] for n, found in spots.items()})


def _no_layer(name: str, method: str, candidates: list[ir.Value]) -> MethodNotApplicable:
    known = ", ".join(f'"{v.name}"' for v in candidates[-5:])
    found = f'"{name}" has none' if name else "it is not clear which ones" if candidates else "there are none"
    return MethodNotApplicable(
        f"{method} needs activations with spatial extent, [N, C, H, W] or tokens of patches, over the input; {found}",
        where="parameters.layer" if name or candidates else "model",
        expected=f"a value such as {known}" if known else "a model with convolutions between the input and the target",
        to_do=f"Name one of them as layer, or use {INSTEAD[4:]}" if known else INSTEAD,
    )


def in_front(b: Builder, layer: Layer, term: Term) -> Term:
    """The layer, or its gradient, as [items, channels, positions…]; class tokens left out, a row of tokens opened to its grid."""
    order, e = layer.order, b.emit
    if order != tuple(range(len(order))):
        dims = None if term.shape is None else tuple(term.shape[a] for a in order)
        term = e.op("Transpose", term, perm=list(order), shape=dims)
    ones = [a for a, axis in enumerate(order) if layer.labels[axis] is None]
    if ones:
        dims = None if term.shape is None else term.shape[: ones[0]]
        term = e.op("Squeeze", term, e.ints(ones), shape=dims)
    return term if layer.tokens is None else _opened(b, term, layer.tokens)


def _opened(b: Builder, term: Term, tokens: Tokens) -> Term:
    """[N, C, tokens] → [N, C, grid…]; what comes before or after the grid's h·w tokens is left out."""
    e, i64 = b.emit, ir.DataType.INT64
    sizes = e.op("Gather", e.shape(e.term(tokens.grid)), e.ints(tokens.axes), dtype=i64, shape=(len(tokens.axes),))
    if tokens.before or tokens.after:
        count = e.op("ReduceProd", sizes, e.ints([0]), dtype=i64, shape=(1,))
        start = e.op("Gather", e.shape(term), e.ints([2]), dtype=i64, shape=(1,)) - count if tokens.before else e.ints([0])
        term = e.op("Slice", term, start, start + count, e.ints([2]))
    lead = e.op("Concat", e.ints([0, 0]), sizes, dtype=i64, axis=0)
    return e.op("Reshape", term, lead, shape=(None, None, *[None] * len(tokens.axes)))


def activation_and_gradient(b: Builder, layer: Layer) -> tuple[Term, Term]:
    """A and ∂S/∂A, both [N, C, positions…]."""
    value = b.emit.term(layer.value)
    return in_front(b, layer, value), in_front(b, layer, b.backward_to(value))


def over_positions(layer: Layer) -> list[int]:
    """The axes of [N, C, positions…] to average or sum over."""
    return list(range(2, 2 + layer.extent))


def rectified(b: Builder, heat: Term, relu: bool) -> Term:
    """The map, its negative part cut off where ``relu``."""
    return b.emit.op("Relu", heat) if relu else heat


def weighted(b: Builder, alpha: Term, activation: Term, relu: bool) -> Term:
    """(Σ_k α_k A_k)⁺, [N, 1, positions…]."""
    return rectified(b, b.emit.sum(alpha * activation, [1]), relu)


def grad_cam_map(b: Builder, layer: Layer, relu: bool) -> Term:
    """Σ_k α_k A_k with α_k = mean over positions of ∂S/∂A_k; [N, 1, positions…] (Selvaraju et al. 2017, equations 1 and 2)."""
    a, gradient = activation_and_gradient(b, layer)
    return weighted(b, b.emit.mean(gradient, over_positions(layer)), a, relu)


def over_inputs(b: Builder, layer: Layer, heat: Term) -> dict[str, Term]:
    """[N, 1, positions…] over every wanted input."""
    return {name: to_input_size(b, heat, layer, name) for name in b.wanted}


def to_input_size(b: Builder, heat: Term, layer: Layer, name: str) -> Term:
    """[N, 1, positions…] upsampled linearly to the input's positions, the same along all its other axes."""
    wanted, places, e, i64 = b.wanted[name], layer.places(name), b.emit, ir.DataType.INT64
    size = e.op("Gather", e.shape(wanted), e.ints(places), dtype=i64)
    lead = e.op("Slice", e.shape(heat), e.ints([0]), e.ints([2]), dtype=i64)
    sizes = e.op("Concat", lead, size, dtype=i64, axis=0)
    up = e.op("Resize", heat, None, None, sizes, mode="linear", coordinate_transformation_mode="half_pixel")
    items = layer.has_items(name)
    flat = e.op("Squeeze", up, e.ints([1] if items else [0, 1]))
    lies = [*([0] if items else []), *places]
    order = sorted(range(len(lies)), key=lies.__getitem__)
    turned = flat if order == list(range(len(lies))) else e.op("Transpose", flat, perm=order)
    missing = [axis for axis in range(wanted.rank or 0) if axis not in lies]
    return e.expand_like(e.op("Unsqueeze", turned, e.ints(missing)) if missing else turned, wanted)


# Methods ----------------------------------------------------------------------------------------------------------------


def cam_method(
    name: str, docstring: str | None, params: type[LayerParams], heat: Callable[[Builder, Layer, Any], Term]
) -> Method:
    """The method whose map over the layer's positions, [N, 1, positions…], is ``heat``."""

    def program(b: Builder, p: Any) -> Mapping[str, Term]:
        layer = cam_layer(b, p.layer, name)
        return over_inputs(b, layer, heat(b, layer, p))

    return with_blank_maps_told(Method(read_card(name, docstring, params), params, program=program, from_logit=True))


def with_blank_maps_told(method: Method) -> Method:
    """The method, its graph run by a function that names the layer it took, and tells of maps that are zero everywhere."""

    def run(request: Request, p: Any) -> Result:
        result = attribute(method, p, request)
        known = request if result.output is None else request.told(result.output)
        found = told(known, result.values, cam_layer(reading(request), p.layer, method.card.name))
        return replace(found, output=result.output)

    return replace(method, run=run, reports=True)


def reading(request: Request) -> Builder:
    """The model's own graph, to look up values in; nothing is to be emitted into it."""
    return reading_graph(request.model.graph, request.target.output, request.wanted)


def reading_graph(graph: ir.Graph, output: str, inputs: Sequence[str]) -> Builder:
    """The same, of any graph."""
    emit = Emitter(graph)
    target = emit.term(find_value(graph, output))
    return Builder(emit, target, target, {name: emit.term(find_value(graph, name)) for name in inputs})


def told(request: Request, values: dict[str, Array], layer: Layer) -> Result:
    """A result with the layer that was taken, and a caveat where a map is zero everywhere."""
    caveats = blank_maps(request, values, layer.name)
    return Result(values, caveats=caveats, parameters={"layer": layer.name}, zeros_told=True)


def blank_maps(request: Request, values: Mapping[str, Array], layer: str) -> tuple[str, ...]:
    """A caveat where the map of an item is zero everywhere."""
    blank = []
    for name, value in values.items():
        rows = value if request.has_items(name) else value[None]
        if empty := [str(i) for i, row in enumerate(rows, start=request.first) if not row.any()]:
            items = ", ".join(empty)
            blank.append(
                f'the map of "{name}" is zero everywhere (items {items}): no evidence for the target is left at "{layer}"'
            )
    return tuple(blank)
