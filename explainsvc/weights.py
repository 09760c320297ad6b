"""Re-initialising weights: unit by unit, by a declared distribution, with an independent seed per unit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import onnx_ir as ir

from explainsvc.autograd.backward import FLOATS
from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.graph import layers
from explainsvc.graph.layers import Parameter, Role, Unit
from explainsvc.graph.load import Loaded, digest_of
from explainsvc.graph.passes import Prepared
from explainsvc.model import Model

Distribution = Literal["he_normal", "glorot_uniform", "lecun_normal", "normal_same_std", "permute"]
Order = Literal["cascading", "bottom_up", "independent"]
Statistics = Literal["reset", "kept"]
DISTRIBUTIONS: tuple[str, ...] = get_args(Distribution)
ORDERS: tuple[str, ...] = get_args(Order)
STATISTICS: tuple[str, ...] = get_args(Statistics)

Draw = Callable[[np.random.Generator, Array, Parameter], Array]

NEUTRAL: dict[Role, float] = {"bias": 0.0, "shift": 0.0, "mean": 0.0, "scale": 1.0, "var": 1.0, "slope": 0.25}
"""What training starts from: He et al. 2015 start PRelu at 0.25; a normalisation starts as the identity."""
_NEVER_DRAWN = frozenset({"scale", "mean", "var", "slope"})
_MEASURED: frozenset[Role] = frozenset({"mean", "var"})
"""What a BatchNormalization knows of its training data."""


def parameter_units(model: Model) -> tuple[Unit, ...]:
    """The learned tensors of the prepared graph, grouped by layer, output side first."""
    return layers.parameter_units(model.graph, model.proto)


def replace_weights(model: Model, weights: Mapping[str, Array]) -> Model:
    """The model whose graph is the prepared graph of ``model`` with other numbers in some initializers.

    Args:
        model: Not changed.
        weights: Initializer name (of the prepared graph) → numbers of the same shape; they take on its type.

    Raises:
        InvalidParameter: Lists unknown names and wrong shapes.
    """
    require_fitting(model, weights)
    changed = _changed(model, weights)
    return Model(_file_of(changed), replace(model.prepared, model=changed, upcast=False, opened=None))


def file_with(model: Model, weights: Mapping[str, Array]) -> Loaded:
    """The file of :func:`replace_weights`."""
    return _file_of(_changed(model, weights))


def _changed(model: Model, weights: Mapping[str, Array]) -> ir.Model:
    changed = model.prepared.model.clone()
    known = initializers(changed.graph)
    for name, array in weights.items():
        old = known[name].const_value
        assert old is not None
        known[name].const_value = ir.Tensor(np.ascontiguousarray(array, old.dtype.numpy()), name=name)
    return changed


def _file_of(model: ir.Model) -> Loaded:
    proto = ir.to_proto(model)
    data = proto.SerializeToString()
    return Loaded(proto, digest_of(data), len(data))


def require_fitting(model: Model, weights: Mapping[str, Array]) -> None:
    """Weights must be of initializers that are there, and of their shapes.

    Raises:
        InvalidParameter: Lists unknown names and wrong shapes.
    """
    known = initializers(model.graph)
    violations = [v for name, array in weights.items() for v in _violations(name, np.asarray(array), known)]
    if violations:
        raise InvalidParameter("the weights do not fit the model", violations=violations)


def initializers(graph: ir.Graph) -> dict[str, ir.Value]:
    """Those of the graph and its subgraphs, by name."""
    found = {name: value for inner in graph.subgraphs() for name, value in inner.initializers.items()}
    return found | dict(graph.initializers)


def _violations(name: str, array: Array, known: Mapping[str, ir.Value]) -> list[Violation]:
    field = f'weights["{name}"]'
    if name not in known or known[name].const_value is None:
        return [Violation(field, "is not an initializer of the prepared graph")]
    tensor: Any = known[name].const_value
    shape = tuple(tensor.shape.numpy())
    wrong = f"is {list(array.shape)}, expected {list(shape)}"
    return [] if array.shape == shape else [Violation(f"{field}.shape", wrong)]


def weights_of(prepared: Prepared, unit: Unit) -> dict[str, Array]:
    """The unit's tensors as they are now."""
    known = initializers(prepared.model.graph)
    tensors = {p.name: known[p.name].const_value for p in unit.tensors}
    return {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}


# Distributions ----------------------------------------------------------------------------------------------------


def _he_normal(rng: np.random.Generator, old: Array, p: Parameter) -> Array:
    """N(0, 2/fan_in): He et al. 2015, eq. 10."""
    return rng.normal(0.0, np.sqrt(2 / p.fan_in), old.shape)


def _lecun_normal(rng: np.random.Generator, old: Array, p: Parameter) -> Array:
    """N(0, 1/fan_in): LeCun et al. 1998, eq. 16."""
    return rng.normal(0.0, np.sqrt(1 / p.fan_in), old.shape)


def _glorot_uniform(rng: np.random.Generator, old: Array, p: Parameter) -> Array:
    """U(±√(6/(fan_in + fan_out))): Glorot & Bengio 2010, eq. 16."""
    bound = np.sqrt(6 / (p.fan_in + p.fan_out))
    return rng.uniform(-bound, bound, old.shape)


def _normal_same_std(rng: np.random.Generator, old: Array, _p: Parameter) -> Array:
    """N(0, σ²) with the tensor's own σ; its root mean square where all elements are equal."""
    std = float(old.astype(np.float64).std())
    return rng.normal(0.0, std if std > 0 else float(np.sqrt(np.mean(np.square(old, dtype=np.float64)))), old.shape)


def _permute(rng: np.random.Generator, old: Array, _p: Parameter) -> Array:
    """The same numbers in another order."""
    return rng.permutation(old.reshape(-1)).reshape(old.shape)


def _neutral(_rng: np.random.Generator, old: Array, p: Parameter) -> Array:
    return np.full(old.shape, NEUTRAL[p.role])


_DRAWS: dict[str, Draw] = {
    "he_normal": _he_normal, "glorot_uniform": _glorot_uniform, "lecun_normal": _lecun_normal,
    "normal_same_std": _normal_same_std, "permute": _permute,
}  # fmt: skip


def _draw_for(role: Role, distribution: str) -> Draw:
    """Weights by the distribution; biases are zero, unless it is ``normal_same_std``; normalisations are the identity.

    ``permute`` permutes every tensor, so that each keeps its multiset.
    """
    if role == "weight" or distribution == "permute":
        return _DRAWS[distribution]
    if distribution == "normal_same_std" and role not in _NEVER_DRAWN:
        return _normal_same_std
    return _neutral


def reinitialise(prepared: Prepared, unit: Unit, distribution: str, seed: int, statistics: str = "reset") -> dict[str, Array]:
    """New numbers for the unit's tensors.

    The generator is keyed by the seed and the unit's name: layers of the same shape get different numbers, and a unit
    gets the same ones in every order and in every block.

    Args:
        prepared: The graph that holds the old numbers.
        unit: One of :func:`parameter_units`.
        distribution: One of DISTRIBUTIONS.
        seed: Of the draws.
        statistics: ``kept``: mean and variance of a BatchNormalization that no pass folded stay as they were measured.
    """
    streams = seed_sequence(seed, unit.name).spawn(len(unit.tensors))
    old = weights_of(prepared, unit)
    return {
        p.name: _draw_for(p.role, distribution)(np.random.default_rng(stream), old[p.name], p).astype(old[p.name].dtype)
        for p, stream in zip(unit.tensors, streams, strict=True)
        if not (statistics == "kept" and p.role in _MEASURED)
    }


def seed_sequence(seed: int, key: str) -> np.random.SeedSequence:
    """An independent source of randomness per key: seed and sha256 of the key as entropy."""
    words = np.frombuffer(hashlib.sha256(key.encode()).digest(), "<u4").tolist()
    return np.random.SeedSequence([seed % 2**64, *words])


def coverage(model: Model, units: Sequence[Unit]) -> float:
    """Share of the float weights (tensors of more than one element) that belong to some unit."""
    sizes = {
        name: v.const_value.size
        for name, v in initializers(model.graph).items()
        if v.const_value is not None and v.dtype in FLOATS and v.const_value.size > 1
    }
    inside = sum(sizes.get(p.name, 0) for unit in units for p in unit.tensors)
    return inside / sum(sizes.values()) if sizes else 1.0
