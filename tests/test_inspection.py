"""What inspect says about a model."""

from __future__ import annotations

import json

import onnx
import pytest

import explainsvc
from explainsvc.errors import ExplainsvcError
from explainsvc.methods import METHODS
from tests import models
from tests.models import numbers


def test_facts_are_those_of_the_file() -> None:
    """Operators, opsets, weights, size and digest are counted on the model as it was given."""
    proto = models.trees()
    proto.producer_name, proto.producer_version = "skl2onnx", "1.2"
    model = explainsvc.load(proto)
    info = model.info
    assert (info.producer, info.ir_version) == ("skl2onnx 1.2", 9)
    assert info.opsets == {"ai.onnx": 17, "ai.onnx.ml": 3}
    assert info.operators == {"ai.onnx.ml::TreeEnsembleClassifier": 1, "ai.onnx.ml::ZipMap": 1}
    assert info.size_bytes == len(proto.SerializeToString())
    assert info.digest == model.digest
    assert explainsvc.load(models.mlp()).info.parameters == 6 * 8 + 8 + 8 * 7 + 7 + 7 * 3 + 3


def test_the_record_is_plain_json() -> None:
    """Nothing in it needs Python to be read, a pass without a measured error included."""
    for make in (models.cnn, models.trees, models.labelled):
        assert json.loads(json.dumps(explainsvc.load(make()).info.to_json(), allow_nan=False))["digest"]


@pytest.mark.parametrize(
    ("proto", "reached"),
    [
        (models.mlp(), {"x": True}),
        (models.two_by_two(), {"a": True, "b": True}),
        (models.labelled(), {"x": True, "word": False}),
        (models.embedding(), {"ids": False}),
    ],
)
def test_differentiability_is_told_per_input(proto: onnx.ModelProto, reached: dict[str, bool]) -> None:
    """An empty reason where a gradient reaches the input, else words that name its type."""
    info = explainsvc.load(proto).info
    assert {name: reason == "" for name, reason in info.differentiable.items()} == reached


IMAGE = numbers(1, 2, 8, 8)
SUBJECTS = {"cnn": (models.cnn(), IMAGE), "mlp": (models.mlp(), numbers(1, 6)), "tree": (models.trees(), numbers(1, 2))}
SUBJECTS["tanh"] = (models.mlp(activation="Tanh"), numbers(1, 6))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SUBJECTS)
def test_applicability_is_what_explain_does(name: str, method: str) -> None:
    """A method that inspect calls applicable explains; one with a reason refuses with that reason."""
    proto, x = SUBJECTS[name]
    model = explainsvc.load(proto)
    reason = model.info.methods[method]
    options = {"samples": 2} if "samples" in {p.name for p in METHODS[method].card.parameters} else {}
    if method == "sobel" and name != "cnn":
        return  # whether an input is a picture shows in its values' shape
    if reason == "":
        assert model.explain({"x": x}, method, **options).values["x"].shape == x.shape
        return
    with pytest.raises(ExplainsvcError) as caught:
        model.explain({"x": x}, method, **options)
    assert str(caught.value) == reason


def test_units_are_named_after_the_source_output_side_first() -> None:
    """The learned layers of the model in the order in which a cascade destroys them."""
    units = explainsvc.load(models.cnn()).info.units
    assert [u for u in units if u.startswith("bn")] == []
    assert units == ("head", "right", "left", "conv2", "conv1")
