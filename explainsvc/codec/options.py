"""What is asked of an explanation where a protocol has nothing but named values for it: ``explain_method`` and its kin.

``explain_`` comes before ``method``, ``target``, ``seed``, ``inputs``, ``straight_through``, or any parameter of the method.
A text is read as JSON wherever something else than a text is expected; it never names a file.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from explainpb.inference import inference_service_pb2 as oip
from explainpb.v1 import explanation_service_pb2 as pb
from explainpb.v1 import tensor_pb2
from explainsvc import arguments
from explainsvc.codec.questions import Question, to_fields
from explainsvc.errors import InvalidParameter, TargetOutOfRange, UnknownMethod, Violation
from explainsvc.methods import find_method

PREFIX = "explain_"
TEXTUAL = frozenset({"str", "table"})
"""Types of parameters that are texts."""
LONGEST_TEXT = 2**16
"""Of a value: what is longer is an array, and others would wait while it is read."""
LARGEST_SEED = 2**63 - 1
Options = Mapping[str, Any]
"""Names without ``explain_`` → values."""


def from_infer_parameters(parameters: Mapping[str, oip.InferParameter]) -> dict[str, Any]:
    """The options among the parameters of ModelInfer; empty where nothing is to be explained.

    Raises:
        InvalidParameter: A parameter is none of ours, or holds nothing; lists all violations.
    """
    return from_values({name: _plain(value) for name, value in parameters.items()})


def _plain(parameter: oip.InferParameter) -> Any:
    kind = parameter.WhichOneof("parameter_choice")
    return None if kind is None else getattr(parameter, kind)


def from_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same of plain values."""
    violations = [
        Violation(f'parameters["{name[:80]}"]', f"is not known; expected names that begin with {PREFIX}")
        for name in values
        if not name.startswith(PREFIX) or name == PREFIX
    ]
    violations += [
        Violation(f'parameters["{name[:80]}"]', wrong) for name, value in values.items() if (wrong := _unusable(value))
    ]
    if violations:
        raise InvalidParameter("the parameters of the request are not known", violations=violations)
    return {name.removeprefix(PREFIX): value for name, value in values.items()}


def _unusable(value: Any) -> str:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"is longer than {LONGEST_TEXT} characters; send arrays by Explain"
    return "holds no value" if value is None else ""


def to_request(digest: str, inputs: Iterable[tensor_pb2.NamedTensor], options: Options) -> pb.ExplainRequest:
    """The request that the options ask for.

    Raises:
        InvalidParameter: Options that cannot be read; lists all violations.
        TargetOutOfRange: The target cannot be read.
    """
    given = dict(options)
    violations: list[Violation] = []

    def taken(name: str, read: Callable[[Any], Any], default: Any) -> Any:
        try:
            return read(given.pop(name)) if name in given else default
        except ValueError as error:
            violations.append(Violation(f'parameters["{PREFIX}{name}"]', str(error)))
            return default

    method = taken("method", _text, "gradient")
    target = target_of(given.pop("target", None))
    seed, wanted = taken("seed", _seed, 0), taken("inputs", _names, ())
    straight = taken("straight_through", _flag, False)
    if violations:
        raise InvalidParameter("the options of the explanation cannot be read", violations=violations)
    question = Question(method, target, wanted, parameters_of(method, given), straight)
    try:
        return pb.ExplainRequest(**to_fields(digest, question), inputs=inputs, seed=seed)
    except (UnicodeEncodeError, RecursionError) as error:
        raise InvalidParameter("the options of the explanation cannot be read", where="parameters") from error


def parameters_of(method: str, given: Options) -> dict[str, Any]:
    """The method's parameters: texts are read as the method's card has their types."""
    try:
        kinds = {parameter.name: parameter.type for parameter in find_method(method).card.parameters}
    except UnknownMethod:
        kinds = {}
    return {name: _value(value, kinds.get(name, "")) for name, value in given.items()}


def _value(value: Any, kind: str) -> Any:
    return value if kind in TEXTUAL or not isinstance(value, str) else _json_or_text(value)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def target_of(given: Any) -> Any:
    """``argmax``, an index, ``output:index``, or JSON as on the command line.

    Raises:
        TargetOutOfRange: It is none of these.
    """
    try:
        target = arguments.target(given) if isinstance(given, str) else given
        to_fields("", Question("", target))
    except (argparse.ArgumentTypeError, TypeError, ValueError, OverflowError, RecursionError) as error:
        expected = 'argmax, an index, OUTPUT:INDEX, or JSON such as {"output": "y", "index": 3, "against": 5}'
        raise TargetOutOfRange(f"{str(given)[:80]!r} is no target", where="target", expected=expected) from error
    return target


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is {value!r:.80}, expected a text")
    return value


def _seed(value: Any) -> int:
    number = _json_or_text(value) if isinstance(value, str) else value
    if isinstance(number, float) and math.isfinite(number) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= LARGEST_SEED:
        raise ValueError(f"is {value!r:.80}, expected an integer from 0 to 2^63 - 1")
    return number


def _names(value: Any) -> Sequence[str]:
    names = arguments.names(value) if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"is {value!r:.80}, expected names of inputs, separated by commas")
    return names


def _flag(value: Any) -> bool:
    flag = _json_or_text(value) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        raise ValueError(f"is {value!r:.80}, expected true or false")
    return flag
