"""Randomised models: the steps of a parameter randomisation, by unit or by block, and each as an ONNX file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from explainsvc.autograd.shapes import Array
from explainsvc.errors import InvalidParameter, MethodNotApplicable, Violation
from explainsvc.graph.layers import Unit
from explainsvc.graph.scopes import dotted
from explainsvc.model import Model
from explainsvc.weights import parameter_units, reinitialise, replace_weights

ALL_UNITS = "all units"
SCOPE = "scope"
_SEPARATORS = (".", "/")


@dataclass(frozen=True)
class Block:
    """Units that are re-initialised in one step."""

    name: str
    units: tuple[Unit, ...]


@dataclass(frozen=True)
class Step:
    """One step: which unit or block it re-initialised ("" at step 0), and all tensors that are random by then."""

    number: int
    name: str
    weights: Mapping[str, Array]


@dataclass(frozen=True)
class Draws:
    """How a model is randomised.

    Attributes:
        order: ``cascading``: units 1…k from the output side; ``bottom_up``: from the input side; ``independent``: only unit k,
            and at the end all.
        distribution: One of :data:`explainsvc.weights.DISTRIBUTIONS`.
        seed: Of the draws; see :func:`explainsvc.weights.reinitialise`.
        statistics: ``reset`` or ``kept``: those of BatchNormalization.
        blocks: See :func:`blocks_of`.
    """

    order: str = "cascading"
    distribution: str = "he_normal"
    seed: int = 0
    statistics: str = "reset"
    blocks: Any = ""

    def of(self, model: Model, unit: Unit) -> dict[str, Array]:
        """The unit's new numbers."""
        return reinitialise(model.prepared, unit, self.distribution, self.seed, self.statistics)


# Blocks -----------------------------------------------------------------------------------------------------------


def blocks_of(units: Sequence[Unit], wanted: Any) -> tuple[Block, ...]:
    """Units in blocks, both in their order: output side first.

    Args:
        units: As :func:`explainsvc.weights.parameter_units` gives them.
        wanted: "": each unit by itself; "scope": by the module that a name lies in (see :func:`scope_of`); or a list, or the
            text of one as JSON, whose entries are a scope or unit, or a list of such. Units that no entry names stay by
            themselves.

    Raises:
        InvalidParameter: An entry that names no unit, or one that another entry has.
    """
    names = {} if wanted in ("", SCOPE) else _listed(units, _read(wanted))
    groups: dict[str, list[Unit]] = {}
    for unit in units:
        alone = scope_of(unit.name) if wanted == SCOPE else unit.name
        groups.setdefault(names.get(unit.name, alone), []).append(unit)
    return tuple(Block(name, tuple(found)) for name, found in groups.items())


def scope_of(name: str) -> str:
    """The module that a unit lies in: its name less the last part, cut after the first part that is a number.

    ``layer4.1.conv2`` and ``layer4.0.downsample.0`` lie in ``layer4.1`` and ``layer4.0``, ``encoder.layer.11.output.dense`` in
    ``encoder.layer.11``; a name of one part is its own block.
    """
    path = re.sub(r"#\d+$", "", dotted(name))
    *parents, _ = re.split(r"[./]", path)
    for place, part in enumerate(parents):
        if part.isdigit():
            return ".".join(parents[: place + 1])
    return ".".join(parents) or name


def _read(wanted: Any) -> Sequence[Any]:
    """A list as it is, or out of its text."""
    try:
        found = json.loads(wanted) if isinstance(wanted, str) else wanted
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, (list, tuple)) or not found:
        raise _wrong(f'is {wanted!r}, expected "", "{SCOPE}" or a list of scopes')
    return found


def _listed(units: Sequence[Unit], wanted: Sequence[Any]) -> dict[str, str]:
    """Unit → block, for a list."""
    found: dict[str, str] = {}
    for place, entry in enumerate(wanted):
        scopes = [str(s) for s in entry] if isinstance(entry, (list, tuple)) else [str(entry)]
        for scope in scopes:
            inside = [u.name for u in units if _inside(u.name, scope)]
            if not inside:
                raise _wrong(f"names no unit: {scope!r}; there are {', '.join(u.name for u in units)}", place)
            if twice := [name for name in inside if name in found]:
                raise _wrong(f"{scope!r} has a unit that another block has: {twice[0]}", place)
            found |= dict.fromkeys(inside, ", ".join(scopes))
    return found


def _inside(name: str, scope: str) -> bool:
    return name == scope or any(name.startswith(scope.rstrip(s) + s) for s in _SEPARATORS)


def _wrong(words: str, place: int | None = None) -> InvalidParameter:
    field = "parameters.blocks" + ("" if place is None else f"[{place}]")
    return InvalidParameter("there are no such blocks", violations=[Violation(field, words)])


# Steps ------------------------------------------------------------------------------------------------------------


def steps_of(model: Model, draws: Draws) -> Iterator[Step]:
    """Step 0 with no changed tensor, then one per block; ``independent`` ends with all units at once.

    Raises:
        MethodNotApplicable: The model has no learned tensors.
        InvalidParameter: Blocks that do not fit the model.
    """
    blocks = blocks_of(learned_units(model), draws.blocks)
    yield Step(0, "", {})
    drawn: dict[str, Array] = {}
    for number, block in enumerate(reversed(blocks) if draws.order == "bottom_up" else blocks, 1):
        own = {name: array for unit in block.units for name, array in draws.of(model, unit).items()}
        drawn = own if draws.order == "independent" else drawn | own
        yield Step(number, block.name, drawn)
    if draws.order == "independent":
        yield Step(len(blocks) + 1, ALL_UNITS, all_random(model, draws))


def changes_of(model: Model, draws: Draws) -> list[frozenset[str]]:
    """The tensors that are random at each of :func:`steps_of`, before any is drawn."""
    blocks = blocks_of(learned_units(model), draws.blocks)
    names = [frozenset(p.name for unit in block.units for p in unit.tensors) for block in blocks]
    if draws.order == "independent":
        return [frozenset(), *names, frozenset().union(*names)]
    turned = names[::-1] if draws.order == "bottom_up" else names
    return [frozenset().union(*turned[:count]) for count in range(len(turned) + 1)]


def names_of(model: Model, draws: Draws) -> list[str]:
    """Those of :func:`steps_of`, before anything is drawn; errors as there."""
    names = [block.name for block in blocks_of(learned_units(model), draws.blocks)]
    ordered = names[::-1] if draws.order == "bottom_up" else names
    return ["", *ordered, *([ALL_UNITS] if draws.order == "independent" else [])]


def count_steps(model: Model, draws: Draws) -> int:
    """How many :func:`steps_of` gives, step 0 included."""
    return len(names_of(model, draws))


def all_random(model: Model, draws: Draws) -> dict[str, Array]:
    """New numbers for every unit: what the last step of every order has."""
    return {name: array for unit in learned_units(model) for name, array in draws.of(model, unit).items()}


def learned_units(model: Model) -> tuple[Unit, ...]:
    """The model's parameter units; MethodNotApplicable where it has none."""
    units = parameter_units(model)
    if not units:
        raise MethodNotApplicable(
            "the model has no learned tensors",
            where="parameter randomisation",
            expected="float weights in Conv, Gemm, MatMul, …",
            to_do="Models whose parameters are attributes (tree ensembles) cannot be randomised",
        )
    return units


def randomised(model: Model, *, step: int | None = None, unit: str | None = None, **draws: Any) -> onnx.ModelProto:
    """A randomised model as an ONNX file, the one that a report's step explains: equal sha256, equal numbers.

    Args:
        model: Not changed.
        step: Number of the step; default: the last one, at which all units are random.
        unit: Or the unit or block that the step re-initialised.
        draws: ``order``, ``distribution``, ``seed``, ``statistics``, ``blocks``: the fields of :class:`Draws`.

    Raises:
        InvalidParameter: There is no such step or unit.
        MethodNotApplicable: The model has no learned tensors.
    """
    wanted = Draws(**draws)
    last = count_steps(model, wanted) - 1
    number = last if step is None else step
    for found in steps_of(model, wanted):
        if found.number == number if unit is None else found.name == unit:
            return replace_weights(model, found.weights).proto
    given = Violation("step", f"is {step}, expected 0 … {last}") if unit is None else Violation("unit", f"is {unit!r}")
    raise InvalidParameter("there is no such step", violations=[given])
