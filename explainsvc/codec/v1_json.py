"""KServe's and TensorFlow Serving's V1 protocol: instances ↔ inputs, and what comes out of them as JSON.

``instances``: one entry an item, which is the value of the only input, or an object by input. ``inputs``: whole tensors, by
input; the answer is then by output, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.json_format import MessageToDict

from explainpb.v1 import explanation_service_pb2 as pb
from explainsvc.codec import options
from explainsvc.codec.json_tensors import require_finite, to_array
from explainsvc.codec.tensors import from_named, from_tensor
from explainsvc.errors import InvalidInput, InvalidRequest, Violation
from explainsvc.info import TensorInfo

Array = npt.NDArray[Any]
ROWS, COLUMNS, PARAMETERS = "instances", "inputs", "parameters"
NUMBERS = ("output_value", "baseline_value", "residual")


@dataclass(frozen=True)
class Body:
    """A request, read: its inputs, its options, and how many instances it has; None where it has whole tensors."""

    feeds: Mapping[str, Array]
    options: options.Options
    instances: int | None


def from_body(body: Mapping[str, Any], inputs: Sequence[TensorInfo]) -> Body:
    """A request for a model with these inputs.

    Raises:
        InvalidInput, InvalidParameter, InvalidRequest: It is none; all violations of a kind are listed.
    """
    given = _options(body)
    if (ROWS in body) == (COLUMNS in body):
        wrong = Violation(ROWS, f"expected this or {COLUMNS}, and not both")
        raise InvalidRequest("the request has no usable inputs", violations=[wrong])
    if COLUMNS in body:
        return Body(_arrays(_by_input(body[COLUMNS], inputs, COLUMNS), inputs), given, None)
    rows = body[ROWS]
    if not isinstance(rows, list) or not rows:
        raise InvalidInput("the request has no instances", violations=[Violation(ROWS, "expected a list of at least one")])
    return Body(_arrays(_stacked(rows, inputs), inputs), given, len(rows))


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    """The options: at the top, or inside ``parameters``; there the prefix may be left out of no name."""
    inside = body.get(PARAMETERS, {})
    top = {name: value for name, value in body.items() if name.startswith(options.PREFIX)}
    violations = [
        Violation(name[:80], f"is not known; expected {ROWS}, {COLUMNS}, {PARAMETERS} or {options.PREFIX}…")
        for name in body
        if name not in (ROWS, COLUMNS, PARAMETERS) and name not in top
    ]
    if not isinstance(inside, dict):
        violations.append(Violation(PARAMETERS, "expected an object"))
    else:
        violations += [Violation(f"{PARAMETERS}.{name[:80]}", "is given twice") for name in sorted(inside.keys() & top.keys())]
    if violations:
        raise InvalidRequest("the request is none of this protocol", violations=violations)
    return options.from_values(top | inside)


def _by_input(given: Any, inputs: Sequence[TensorInfo], where: str) -> Mapping[str, Any]:
    """The value of each input: an object, or the value itself where there is one input."""
    if isinstance(given, dict):
        return given
    if len(inputs) == 1:
        return {inputs[0].name: given}
    names = ", ".join(tensor.name for tensor in inputs)
    raise InvalidInput("the inputs have no names", violations=[Violation(where, f"expected an object with {names}")])


def _stacked(rows: Sequence[Any], inputs: Sequence[TensorInfo]) -> dict[str, list[Any]]:
    """Input → its value in each instance."""
    named = [_by_input(row, inputs, f"{ROWS}[{place}]") for place, row in enumerate(rows)]
    names = dict.fromkeys(name for row in named for name in row)
    violations = [
        Violation(f"{ROWS}[{place}]", f"lacks {', '.join(sorted(names.keys() - row.keys()))!s:.80}")
        for place, row in enumerate(named)
        if row.keys() != names.keys()
    ]
    if violations:
        raise InvalidInput("the instances have different inputs", violations=violations)
    return {name: [row[name] for row in named] for name in names}


def _arrays(values: Mapping[str, Any], inputs: Sequence[TensorInfo]) -> dict[str, Array]:
    """As the model has their types; an unknown name is refused with all that is wrong with the tensors."""
    kinds = {tensor.name: tensor.dtype for tensor in inputs}
    arrays: dict[str, Array] = {}
    violations = []
    for name, value in values.items():
        try:
            arrays[name] = to_array(value, kinds.get(name, ""))
        except ValueError as error:
            violations.append(Violation(f'{COLUMNS}["{name[:80]}"]', str(error)))
    if violations:
        raise InvalidInput("the inputs are not well formed", violations=violations)
    return arrays


def to_predictions(response: pb.PredictResponse, instances: int | None) -> dict[str, Any]:
    """The answer to ``:predict``: an entry an instance, or by output where one has no entry for each."""
    outputs = from_named(response.outputs, "outputs")
    require_finite(outputs)
    listed = {name: array.tolist() for name, array in outputs.items()}
    if not _by_items(outputs.values(), instances):
        return {"predictions": listed}
    if len(listed) == 1:
        return {"predictions": next(iter(listed.values()))}
    return {"predictions": [dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)]}


def to_explanations(attribution: pb.Attribution, instances: int | None) -> dict[str, Any]:
    """The answer to ``:explain``: an entry an instance, or one for all; and what is needed to judge and repeat it."""
    values = from_named(attribution.values, "attributions")
    numbers = {name: from_tensor(getattr(attribution, name)) for name in NUMBERS if attribution.HasField(name)}
    require_finite(values | numbers)
    whole = {"attributions": {name: array.tolist() for name, array in values.items()}}
    whole |= {name: array.tolist() for name, array in numbers.items()}
    found: Any = whole
    if instances is not None and _by_items([*values.values(), *numbers.values()], instances):
        found = [_item(whole, place) for place in range(instances)]
    return {
        "explanations": found,
        "method": attribution.method,
        "output": attribution.target.output,
        "target": attribution.target.description,
        "parameters": MessageToDict(attribution.parameters),
        "seed": attribution.seed,
        "model_digest": attribution.model_digest,
        "caveats": list(attribution.caveats),
    }


def _item(whole: Mapping[str, Any], place: int) -> dict[str, Any]:
    item: dict[str, Any] = {"attributions": {name: array[place] for name, array in whole["attributions"].items()}}
    return item | {name: array[place] for name, array in whole.items() if name != "attributions"}


def _by_items(arrays: Any, instances: int | None) -> bool:
    return instances is not None and all(np.shape(array)[:1] == (instances,) for array in arrays)
