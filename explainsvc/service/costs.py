"""What a request costs, in units of about one forward pass of one item, as far as the request itself tells.

A card says what a method costs: so many passes, ``steps`` or ``samples`` times, a feature, a row of background data. The price
is these numbers multiplied, before anything runs and without the model: an upper bound where features may be grouped.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value

from explainpb.inference import inference_service_pb2 as oip
from explainpb.v1 import audit_service_pb2 as audit
from explainpb.v1 import explanation_service_pb2 as explanation
from explainpb.v1 import model_service_pb2 as model
from explainsvc.check import Check, Work
from explainsvc.checks import find_check
from explainsvc.checks.plan import DEFAULT_CHECKS
from explainsvc.codec import options
from explainsvc.codec.audits import written_out
from explainsvc.errors import ExplainsvcError
from explainsvc.method import Method
from explainsvc.methods import find_method

if TYPE_CHECKING:
    from explainsvc.model import Model

READ = 1.0
"""What only reads from the store, or waits."""
BUILD = 20.0
"""A graph derived and a session made."""
INSPECT = 100.0
"""Every method tried on one graph."""
MIB = 2.0**20
UNITS = 16
"""Of a model that nobody has looked into: the steps of a walk over its parameters."""
CHANNELS = 1000
"""Of a layer, or classes of an output, where a method takes a pass for each and nobody has looked into the model."""
FEATURES_OF_A_SUBSET = 20
"""Beyond so many features `exact_shap` is refused by its own limit; 2^20 is the largest price."""
LARGEST = 1e15
PER_FEATURE = frozenset({"feature_ablation", "feature_permutation", "occlusion", "sampling_shap", "max_shap"})
PER_CHANNEL = frozenset({"ablation_cam", "score_cam"})
COUNTS = ("steps", "samples", "classes")
UNSEEN = cast("Model", None)
"""Stands for the model where a check counts its work; only walks over the parameters would look at it."""


@dataclasses.dataclass(frozen=True)
class Size:
    """Of a request's inputs: items, and elements of one item."""

    items: int = 1
    elements: int = 1


PICTURE = Size(1, 3 * 224 * 224)
"""A picture file has as many elements as the model says, whom nobody asks here."""


def _size(request: Any) -> Size:
    """Of a request's tensors and picture files."""
    size, pictures = size_of(request.inputs), max((len(named.images) for named in request.images), default=0)
    elements = size.elements + PICTURE.elements * len(request.images) if pictures else size.elements
    return Size(max(size.items, pictures), elements)


def size_of(inputs: Any) -> Size:
    """Of named tensors; what their shapes claim counts no further than the bytes that came with them."""
    return _together((named.tensor.shape, max(len(named.tensor.data), len(named.tensor.strings))) for named in inputs)


def _infer_size(request: oip.ModelInferRequest) -> Size:
    """Of the inputs of ModelInfer, typed or raw."""
    raw = itertools.chain(map(len, request.raw_input_contents), itertools.repeat(0))
    typed = (sum(len(field) for _, field in given.contents.ListFields()) for given in request.inputs)
    return _together((given.shape, a + b) for given, a, b in zip(request.inputs, raw, typed, strict=False))


def _together(inputs: Iterable[tuple[Sequence[int], int]]) -> Size:
    """Of several inputs: the shape of each, and the bytes or elements that came with it."""
    items, elements = 1, 0
    for shape, came in inputs:
        present = max(1, came)
        length = max(1, min(shape[0], present)) if shape else 1
        items = max(items, length)
        elements += max(1, min(math.prod(max(1, n) for n in shape[1:]), present // length))
    return Size(items, max(1, elements))


def passes(name: str, given: Mapping[str, Any], size: Size, rows: int = 1) -> float:
    """Passes of one explanation of one item; 1 for a method that will be refused."""
    try:
        method = find_method(name)
    except ExplainsvcError:
        return READ
    if method.family == "control":
        return READ
    price = 1.0 if method.family == "perturbation" else 2.0
    for count in COUNTS:
        number = _number(method, count, given)
        price *= number if number > 0 else _chosen(count, size)
    price *= size.elements if name in PER_FEATURE else CHANNELS if name in PER_CHANNEL else 1
    price *= 2.0 ** min(size.elements, FEATURES_OF_A_SUBSET) if name == "exact_shap" else 1
    price *= rows if "background" in _defaults(method.params) else 1
    if method.inner is not None:
        base = given.get("base", "gradient")
        price *= passes(base, {}, size) / 2 if isinstance(base, str) and base != name else 1
    return min(price, LARGEST)


def _chosen(count: str, size: Size) -> float:
    """What a method takes where 0 leaves it the choice: `kernel_shap` 2 M + 2048 samples, `cgi` all classes."""
    return 2.0 * size.elements + 2048 if count == "samples" else float(CHANNELS)


@cache
def _defaults(params: type) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(params)}


def _number(entry: Method | Check, name: str, given: Mapping[str, Any]) -> float:
    """A number of its parameters, as given or by default; 1 where it has none of this name."""
    defaults = _defaults(entry.params)
    value = given.get(name, defaults[name]) if name in defaults else 1
    return min(float(value), LARGEST) if isinstance(value, (int, float)) and math.isfinite(value) else 1.0


def _rows(request: Any) -> int:
    """Of background data: an array, a list, or one of them for each input."""
    arrays = [array.tensor.shape for array in request.array_parameters if array.name.partition(".")[0] == "background"]
    fields = request.parameters.fields
    listed = _listed(fields["background"]) if "background" in fields else 1
    return max([1, listed, *(min(int(shape[0]), 10**9) for shape in arrays if shape)])


def _listed(value: Value) -> int:
    if value.HasField("struct_value"):
        return max([1, *(len(inner.list_value.values) for inner in value.struct_value.fields.values())])
    return max(1, len(value.list_value.values))


def explained(request: Any) -> float:
    """An explanation of all items."""
    size = _size(request)
    return size.items * passes(request.method, dict(request.parameters.items()), size, _rows(request))


def audited(request: audit.CreateAuditRequest) -> float:
    """Every method on every item, as often as the checks want it, and the forwards of the checks."""
    try:
        whole = written_out(request)
    except ExplainsvcError:
        return READ  # it is refused for that
    size = _size(whole)
    each = sum((passes(name, _plain(whole.parameters, name), size) for name in whole.methods), 0.0)
    price = each
    for name in whole.checks or DEFAULT_CHECKS:
        work = _work(name, _plain(whole.parameters, name))
        parts = work.per_method + work.shared / max(1, len(whole.methods))
        price += parts * (work.explanations * each + work.forwards * max(1, len(whole.methods)))
    return min(size.items * price, LARGEST)


def _plain(parameters: Any, name: str) -> dict[str, Any]:
    """The parameters of one method or check; what they hold of lists and objects costs nothing."""
    return dict(parameters[name].items()) if name in parameters else {}


def _work(name: str, given: Mapping[str, Any]) -> Work:
    """What a check has to do, by its own count."""
    try:
        check = find_check(name)
    except ExplainsvcError:
        return Work(0)
    if check.family == "randomization":
        return Work(UNITS, UNITS, _number(check, "samples", given))
    numbers = {count: max(1, round(_number(check, count, given))) for count in COUNTS if count in given}
    return check.work(UNSEEN, check.params(**numbers))


def uploaded(request: model.UploadModelRequest) -> float:
    """Its announced bytes in MiB, and loading it once; chunks are paid for by their header."""
    if request.WhichOneof("part") != "header":
        return 0.0
    sizes = [request.header.size_bytes, *(file.size_bytes for file in request.header.external_data)]
    return BUILD + sum(max(0, size) for size in sizes) / MIB


def predicted(request: explanation.PredictRequest) -> float:
    """A forward an item."""
    return float(_size(request).items)


def inferred(request: oip.ModelInferRequest) -> float:
    """A forward an item, and the explanation where one is asked for."""
    size = _infer_size(request)
    try:
        asked = options.from_infer_parameters(request.parameters)
        explain = options.to_request("", (), asked) if asked else None
    except ExplainsvcError:
        return READ  # it is refused for that
    price = float(size.items)
    if explain is not None:
        price += size.items * passes(explain.method, dict(explain.parameters.items()), size, _rows(explain))
    return price


PRICES: dict[str, Callable[[Any], float]] = {
    explanation.ExplainRequest.DESCRIPTOR.full_name: explained,
    explanation.ExplainStreamRequest.DESCRIPTOR.full_name: lambda request: explained(request.request),
    explanation.ExplainBatchRequest.DESCRIPTOR.full_name: lambda request: explained(request.request),
    explanation.PredictRequest.DESCRIPTOR.full_name: predicted,
    explanation.CompileExplanationRequest.DESCRIPTOR.full_name: lambda _: BUILD,
    explanation.GetLedgerRequest.DESCRIPTOR.full_name: lambda request: BUILD + explained(request),
    explanation.DryRunRequest.DESCRIPTOR.full_name: lambda _: BUILD,
    model.UploadModelRequest.DESCRIPTOR.full_name: uploaded,
    model.InspectModelRequest.DESCRIPTOR.full_name: lambda _: INSPECT,
    audit.CreateAuditRequest.DESCRIPTOR.full_name: audited,
    oip.ModelInferRequest.DESCRIPTOR.full_name: inferred,
    oip.ModelMetadataRequest.DESCRIPTOR.full_name: lambda _: BUILD,
}
"""Full name of a request → its price; of all others ``READ``."""


def price(request: Message) -> float:
    """The cost units of a request."""
    named = PRICES.get(request.DESCRIPTOR.full_name)
    return READ if named is None else named(request)
