"""Pictures: files that fill a model's inputs, and drawings of what came out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from explainpb.v1 import explanation_service_pb2 as pb
from explainpb.v1 import tensor_pb2
from explainsvc.arguments import UsageError
from explainsvc.attribution import Attribution
from explainsvc.codec.tensors import from_named
from explainsvc.drawings import Answers, Drawing, Given, Wishes
from explainsvc.errors import ExplainsvcError, InvalidInput, InvalidParameter, Violation
from explainsvc.images import FORMATS, Layout, Picture, Preprocessing, Resize, preprocess
from explainsvc.info import TensorInfo
from explainsvc.report.colors import Mode
from explainsvc.report.kinds import Kind

Array = npt.NDArray[Any]
RESIZES: dict[int, Resize] = {
    tensor_pb2.RESIZE_MODE_UNSPECIFIED: "cover",
    tensor_pb2.RESIZE_MODE_COVER: "cover",
    tensor_pb2.RESIZE_MODE_STRETCH: "stretch",
    tensor_pb2.RESIZE_MODE_PAD: "pad",
}
LAYOUTS: dict[int, Layout | None] = {
    tensor_pb2.IMAGE_LAYOUT_UNSPECIFIED: None,
    tensor_pb2.IMAGE_LAYOUT_NCHW: "nchw",
    tensor_pb2.IMAGE_LAYOUT_NHWC: "nhwc",
}
ORDERS: dict[int, bool] = {
    tensor_pb2.CHANNEL_ORDER_UNSPECIFIED: False,
    tensor_pb2.CHANNEL_ORDER_RGB: False,
    tensor_pb2.CHANNEL_ORDER_BGR: True,
}
KINDS: dict[int, Kind | None] = {
    pb.PICTURE_KIND_UNSPECIFIED: None,
    pb.PICTURE_KIND_IMAGE: "image",
    pb.PICTURE_KIND_TOKENS: "tokens",
    pb.PICTURE_KIND_BARS: "bars",
    pb.PICTURE_KIND_SERIES: "series",
    pb.PICTURE_KIND_VOLUME: "volume",
}
MODES: dict[int, Mode | None] = {
    pb.COLOUR_MODE_UNSPECIFIED: None,
    pb.COLOUR_MODE_SIGNED: "signed",
    pb.COLOUR_MODE_ABSOLUTE: "absolute",
}
PICTURES, MOST_PICTURES = 16, 64
Asking = Any
"""A request with ``inputs`` and ``images``."""


def from_inputs(request: Asking, inputs: Sequence[TensorInfo]) -> Given:
    """The tensors of a request, those of its picture files among them, and what to draw beneath a map.

    Raises:
        InvalidInput: Tensors or pictures that are not well formed, unknown or repeated names; lists all violations.
    """
    feeds = from_named(request.inputs)
    violations: list[Violation] = []
    decoded = {}
    for named in request.images:
        try:
            tensor = _named(named.name, inputs)
        except InvalidInput as error:
            violations += error.violations
            continue
        if tensor.name in feeds or tensor.name in decoded:
            violations.append(Violation(f'images["{tensor.name}"]', "is given twice"))
            continue
        decoded[tensor.name] = _decoded(named, tensor, violations)
    if violations:
        raise InvalidInput("the pictures cannot be used", violations=violations)
    pictures = {name: list(values) for name, values in feeds.items() if values.ndim > 0}
    pictures |= {name: [one.rgb for one in found] for name, found in decoded.items()}
    feeds |= {name: np.concatenate([one.tensor for one in found]) for name, found in decoded.items()}
    layouts = {one.layout for found in decoded.values() for one in found}
    return Given(feeds, pictures, layouts.pop() if len(layouts) == 1 else None)


def _named(name: str, inputs: Sequence[TensorInfo]) -> TensorInfo:
    """The input of that name, or the only one."""
    found = [tensor for tensor in inputs if tensor.name == name or (not name and len(inputs) == 1)]
    if not found:
        names = ", ".join(tensor.name for tensor in inputs)
        wrong = Violation(f'images["{name}"]', f"is not an input of the model; inputs: {names}")
        raise InvalidInput("a picture for no input", violations=[wrong])
    return found[0]


def _decoded(named: tensor_pb2.NamedImages, tensor: TensorInfo, violations: list[Violation]) -> list[Picture]:
    """The items; what is wrong with some of them is added to ``violations``."""
    found: list[Picture] = []
    where = f'images["{tensor.name}"]'
    if not named.images:
        violations.append(Violation(where, "holds no picture"))
    for place, image in enumerate(named.images):
        try:
            how = from_preprocessing(image.preprocessing)
            found.append(preprocess(image.data, tensor.shape, tensor.dtype or "float32", how, FORMATS))
        except ExplainsvcError as error:
            inner = error.violations or [Violation("", str(error))]
            violations += [Violation(f"{where}[{place}]{v.field and '.'}{v.field}", v.description) for v in inner]
    if len({one.tensor.shape for one in found}) > 1:
        violations.append(Violation(where, "holds pictures of different sizes, and neither input nor profile says which"))
    return found


def from_preprocessing(message: tensor_pb2.Preprocessing) -> Preprocessing:
    """The profile.

    Raises:
        InvalidInput: Values that no profile has; lists all violations.
    """
    wrong = [
        Violation(f"preprocessing.{name}", f"is {getattr(message, name)}, a value that this version does not know")
        for name, known in (("resize", RESIZES), ("layout", LAYOUTS), ("channel_order", ORDERS))
        if getattr(message, name) not in known
    ]
    sizes = ("height", "width", "shorter_side", "channels")
    wrong += [Violation(f"preprocessing.{name}", "is negative") for name in sizes if getattr(message, name) < 0]
    if (message.height == 0) != (message.width == 0):
        wrong.append(Violation("preprocessing", "has one of height and width, expected both or neither"))
    if message.shorter_side and RESIZES.get(message.resize) != "cover":
        wrong.append(Violation("preprocessing.shorter_side", "is for RESIZE_MODE_COVER"))
    numbers = [*message.mean, *message.std, message.scale]
    if not np.isfinite(numbers).all():
        wrong.append(Violation("preprocessing", "holds numbers that are not finite"))
    if wrong:
        raise InvalidInput("the profile is not valid", violations=wrong)
    return Preprocessing(
        scale=message.scale if message.HasField("scale") else None,
        mean=tuple(message.mean) or (0.0,),
        std=tuple(message.std) or (1.0,),
        bgr=ORDERS[message.channel_order],
        layout=LAYOUTS[message.layout],
        channels=message.channels or None,
        size=(message.height, message.width) if message.height else None,
        resize=RESIZES[message.resize],
        shorter=message.shorter_side or None,
    )


def to_preprocessing(how: Preprocessing) -> tensor_pb2.Preprocessing:
    """The message of a profile."""
    height, width = how.size or (0, 0)
    return tensor_pb2.Preprocessing(
        resize=_number(RESIZES, how.resize),
        height=height,
        width=width,
        shorter_side=how.shorter or 0,
        scale=how.scale,
        mean=how.mean,
        std=how.std,
        channel_order=_number(ORDERS, how.bgr),
        layout=_number(LAYOUTS, how.layout),
        channels=how.channels or 0,
    )


def _number(table: Mapping[int, object], value: object) -> Any:
    """The first number that stands for a value."""
    return next(number for number, known in table.items() if known == value)


def drawn(message: pb.Rendering, attribution: Attribution, given: Given) -> tuple[list[pb.Picture], int]:
    """The pictures, and how many were left out.

    Raises:
        InvalidParameter: Wishes that do not fit the values.
    """
    wishes = _wishes(message)
    most = min(message.max_pictures or PICTURES, MOST_PICTURES)
    try:
        drawings = Answers([attribution], given, wishes).drawings()
        pictures = [_picture(drawing) for drawing in drawings[:most]]
    except (UsageError, InvalidInput) as error:
        wrong = Violation("render", str(error).replace("--", ""))
        raise InvalidParameter("the values cannot be drawn so", violations=[wrong]) from error
    return pictures, len(drawings) - len(pictures)


def check_rendering(message: pb.Rendering) -> None:
    """What can be told of the wishes alone; as :func:`drawn`."""
    _wishes(message)


def _wishes(message: pb.Rendering) -> Wishes:
    wrong = [
        Violation(f"render.{name}", f"is {getattr(message, name)}, a value that this version does not know")
        for name, known in (("kind", KINDS), ("mode", MODES))
        if getattr(message, name) not in known
    ]
    if not 0 <= message.percentile <= 100:
        wrong.append(Violation("render.percentile", f"is {message.percentile:g}, expected above 0 and up to 100"))
    if message.max_pictures < 0:
        wrong.append(Violation("render.max_pictures", "is negative"))
    if wrong:
        raise InvalidParameter("the rendering is not valid", violations=wrong)
    return Wishes(
        kind=KINDS[message.kind],
        tokens=list(message.tokens) or None,
        names=list(message.names) or None,
        mode=MODES[message.mode],
        percentile=message.percentile or None,
        bare=message.without_input,
    )


def _picture(drawing: Drawing) -> pb.Picture:
    kind = _number(KINDS, drawing.kind)
    return pb.Picture(input=drawing.input, item=str(drawing.item), kind=kind, png=drawing.png())


def to_images(images: Mapping[str, Iterable[bytes]], how: Preprocessing | None) -> list[tensor_pb2.NamedImages]:
    """Picture files per input, all by one profile."""
    profile = None if how is None else to_preprocessing(how)
    return [
        tensor_pb2.NamedImages(name=name, images=[tensor_pb2.EncodedImage(data=data, preprocessing=profile) for data in files])
        for name, files in images.items()
    ]
