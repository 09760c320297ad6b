"""What a demo explains (the built-in digits, or the user's model and picture), and what the server answered."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import explainsvc
from explainsvc.attribution import Attribution
from explainsvc.errors import InvalidParameter
from explainsvc.images import Preprocessing, preprocess
from explainsvc.report.report import Report

HERE = Path(__file__).parent
SHOWN = ("gradient", "integrated_gradients", "guided_backprop", "grad_cam", "lrp_epsilon_plus", "occlusion")
INSTEAD = {"lrp_epsilon_plus": "input_x_gradient"}
"""A distribution may leave out the LRP family."""


def at_hand(available: Container[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The methods to show, and those of SHOWN that this distribution does not have: method → what is shown instead."""
    missing = {method: INSTEAD.get(method, "") for method in SHOWN if method not in available}
    methods = [missing.get(method, method) for method in SHOWN]
    words = {
        method: f"this distribution is without it; {other or 'nothing'} is shown instead" for method, other in missing.items()
    }
    return tuple(method for method in methods if method in available), words


METHODS, MISSING = at_hand(explainsvc.methods())
DIGITS = (2, 3, 5, 8)
COSTLY = frozenset({"integrated_gradients", "occlusion"})
"""Tens to hundreds of forwards a map: left out of the check where each is a large network's."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Subject:
    """Inputs to explain and inputs to audit; ``pictures`` and ``names`` are per explained item."""

    title: str
    model: Path
    explained: Mapping[str, Array]
    audited: Mapping[str, Array]
    audited_methods: tuple[str, ...]
    pictures: Sequence[Array]
    names: Sequence[str]
    parameters: Mapping[str, Mapping[str, Any]]
    """method → what differs from its defaults."""


@dataclass(frozen=True)
class Findings:
    """All that the server answered."""

    subject: Subject
    info: Mapping[str, Any]
    outputs: Array
    attributions: Mapping[str, Attribution]
    refused: Mapping[str, str]
    """method → why it does not fit this model."""
    report: Report

    def values(self, method: str, item: int) -> Array:
        """One item's attributions of the only input."""
        (values,) = self.attributions[method].values.values()
        return np.asarray(values[item])


def digits() -> Subject:
    """Four held-out digits to explain, all that are committed to audit."""
    with np.load(HERE / "digits.npz") as data:
        images, labels = data["image"], data["label"]
    chosen = [int(np.flatnonzero(labels == digit)[0]) for digit in DIGITS]
    return Subject(
        title="Hand-written digits",
        model=HERE / "digits.onnx",
        explained={"image": images[chosen]},
        audited={"image": images},
        audited_methods=METHODS,
        pictures=[images[index] for index in chosen],
        names=[f"digit {labels[index]}" for index in chosen],
        parameters={"occlusion": {"window": 3, "stride": 1}},  # a stroke is three pixels wide
    )


def yours(
    model: str | os.PathLike[str],
    image: str | os.PathLike[str],
    inputs: Sequence[Mapping[str, Any]],
    how: Preprocessing | None,
) -> Subject:
    """The user's picture as the model's only input; ``inputs`` is the inspected model's list of them."""
    if len(inputs) != 1:
        raise InvalidParameter(
            f"the model has {len(inputs)} inputs",
            where="demo --image",
            expected="a model with one input, an image",
            to_do="Use `explainsvc explain` with an .npz that holds all inputs",
        )
    tensor = inputs[0]
    picture = preprocess(image, tuple(tensor["shape"]), tensor["dtype"], how)
    feeds = {tensor["name"]: picture.tensor}
    return Subject(
        title=f"{Path(image).name} by {Path(model).name}",
        model=Path(model),
        explained=feeds,
        audited=feeds,
        audited_methods=tuple(method for method in METHODS if method not in COSTLY),
        pictures=[picture.rgb],
        names=[Path(image).name],
        parameters={},
    )
