from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import explainsvc
from explainsvc.checks.parameter_randomization import NAME
from explainsvc.cli import main
from explainsvc.errors import InvalidParameter, MethodNotApplicable
from explainsvc.graph.layers import Unit
from explainsvc.model import Model
from explainsvc.randomisation import ALL_UNITS, Draws, all_random, blocks_of, names_of, randomised, scope_of, steps_of
from explainsvc.weights import ORDERS
from tests.checks.models import Array, built, cnn, numbers, pictures


def tensors(proto: onnx.ModelProto) -> dict[str, Array]:
    """The initializers of a file."""
    return {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}


def changed(before: onnx.ModelProto, after: onnx.ModelProto) -> set[str]:
    """Names of the initializers that differ."""
    old, new = tensors(before), tensors(after)
    return {name for name in old if not np.array_equal(old[name], new[name])}


HEAD, SECOND, FIRST = {"v", "d"}, {"w1", "b1"}, {"w0", "b0"}
CUMULATIVE = {
    "cascading": [set(), HEAD, HEAD | SECOND, HEAD | SECOND | FIRST],
    "bottom_up": [set(), FIRST, FIRST | SECOND, FIRST | SECOND | HEAD],
    "independent": [set(), HEAD, SECOND, FIRST, HEAD | SECOND | FIRST],
}


@pytest.mark.parametrize("order", ORDERS)
def test_step_k_changes_exactly_its_units(order: str) -> None:
    """From the output on, from the input on (both cumulative), or one at a time and all at the end; step 0 changes nothing."""
    model = cnn()
    untouched = randomised(model, step=0, order=order)
    steps = list(steps_of(model, Draws(order=order)))
    files = [randomised(model, step=step.number, order=order) for step in steps]
    assert [changed(untouched, file) for file in files] == CUMULATIVE[order]
    assert names_of(model, Draws(order=order)) == [step.name for step in steps]
    assert (steps[0].name, steps[-1].name) == ("", ALL_UNITS if order == "independent" else steps[-1].name)


def test_a_unit_gets_the_same_numbers_in_every_order_and_block() -> None:
    """Fully randomised is the same model however one came there."""
    model = cnn()
    draws = [{"order": order} for order in ORDERS] + [{"blocks": [["head", "first"]]}, {"blocks": '["second"]'}]
    ends = {randomised(model, **given).SerializeToString() for given in draws}
    assert len(ends) == 1


# Blocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("layer4.1.conv2", "layer4.1"),
        ("layer4.0.downsample.0", "layer4.0"),
        ("/layer4/layer4.1/conv2/Conv", "layer4.1"),
        ("encoder.layer.11.output.dense", "encoder.layer.11"),
        ("features.28", "features"),
        ("block5/conv1/BiasAdd", "block5"),
        ("fc", "fc"),
        ("node_conv2d_3", "node_conv2d_3"),
        ("layer1.0.conv1#2", "layer1.0"),
    ],
)
def test_a_scope_is_the_module_around_a_unit(name: str, scope: str) -> None:
    """Names as torch's and TensorFlow's exporters write them."""
    assert scope_of(name) == scope


def units(*names: str) -> tuple[Unit, ...]:
    """Units that have nothing but names."""
    return tuple(Unit(name, "Conv", ()) for name in names)


def grouped(names: tuple[str, ...], wanted: object) -> list[tuple[str, list[str]]]:
    """Name and units of every block."""
    return [(block.name, [unit.name for unit in block.units]) for block in blocks_of(units(*names), wanted)]


def test_blocks_keep_the_order_of_their_units() -> None:
    """By unit, by scope, and by a list whose order does not matter; what no entry names stays by itself."""
    names = ("fc", "layer2.1.conv", "layer2.0.conv", "layer20.0.conv", "conv1")
    assert grouped(names, "") == [(name, [name]) for name in names]
    assert grouped(names, "scope")[1:4] == [("layer2.1", [names[1]]), ("layer2.0", [names[2]]), ("layer20.0", [names[3]])]
    listed = [("fc", ["fc"]), ("layer2", [*names[1:3]]), ("conv1, layer20", [*names[3:]])]
    assert grouped(names, [["conv1", "layer20"], "layer2"]) == listed


@pytest.mark.parametrize("wanted", [["layer9"], ["fc", ["fc"]], [], "module", "[1", {"fc": 1}])
def test_wrong_blocks_are_refused(wanted: object) -> None:
    """No such unit, a unit twice, nothing, or no list."""
    with pytest.raises(InvalidParameter, match="blocks"):
        blocks_of(units("fc", "conv1"), wanted)


def test_the_check_walks_block_by_block() -> None:
    """One step a block, named as it; the last step is that of the units one by one."""
    blocked = {NAME: {"blocks": [["head", "second"]]}}
    rows, alone = (cnn().audit(pictures(6), methods=["gradient"], parameters=given).rows for given in (blocked, {}))
    assert {row.step: row.unit for row in rows} == {0: "", 1: "head, second", 2: "first"}
    found, expected = ([r.mean for r in part if (r.method, r.measure) == ("gradient", "spearman")] for part in (rows, alone))
    assert found == [expected[0], *expected[2:]]


# Statistics -------------------------------------------------------------------------------------------------------


def normalised() -> Model:
    """x → BatchNormalization → y, which no pass can fold."""
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], "norm")
    values = {"s": numbers(3), "b": numbers(3, seed=1), "m": numbers(3, seed=2), "v": numbers(3, seed=3) ** 2}
    return explainsvc.load(built([node], ["n", 3, 4, 4], values))


def test_statistics_may_be_kept() -> None:
    """With ``kept`` mean and variance stay and only scale and bias start anew: y = (x − m) / √(v + ε)."""
    model, x = normalised(), numbers(2, 3, 4, 4)
    old = tensors(model.proto)
    after = explainsvc.load(randomised(model, statistics="kept")).predict({"x": x})["y"]
    mean, var = (old[name][:, None, None] for name in ("m", "v"))
    np.testing.assert_allclose(after, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)
    reset = explainsvc.load(randomised(model)).predict({"x": x})["y"]
    np.testing.assert_allclose(reset, x / np.sqrt(1 + 1e-5), rtol=1e-4, atol=1e-5)


# Files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_a_third_party_can_make_the_reports_models(order: str) -> None:
    """The sha256 of every step in header and rows is that of the file that ``randomised`` gives."""
    report = cnn().audit(pictures(6), methods=["gradient"], seed=3, parameters={NAME: {"order": order}})
    for made in report.header["checks"][NAME]["models"]:
        file = randomised(cnn(), step=made["step"], order=order, seed=3)
        assert hashlib.sha256(file.SerializeToString()).hexdigest() == made["sha256"]
    notes = [row.note for row in report.rows if row.measure == "sha256"]
    assert notes == [made["sha256"] for made in report.header["checks"][NAME]["models"]]
    assert len(set(notes)) == len(notes) == len(CUMULATIVE[order])


def test_the_file_gives_the_reports_numbers() -> None:
    """onnxruntime on the exported file disagrees with the untouched model as often as the report says."""
    model, x = cnn(), pictures(12)
    report = model.audit(x, methods=["gradient"])
    file = explainsvc.load(randomised(model, unit="second"))
    same = model.predict(x)["y"].argmax(axis=1) == file.predict(x)["y"].argmax(axis=1)
    (row,) = [r for r in report.rows if (r.unit, r.measure) == ("second", "argmax_agreement")]
    assert row.mean == pytest.approx(same.mean())


def test_no_such_step_is_refused() -> None:
    """Steps and units that do not exist, and a model without weights."""
    with pytest.raises(InvalidParameter, match="0 … 3"):
        randomised(cnn(), step=4)
    with pytest.raises(InvalidParameter, match="third"):
        randomised(cnn(), unit="third")
    tanh = explainsvc.load(built([helper.make_node("Tanh", ["x"], ["y"], "tanh")], ["n", 4], {}))
    with pytest.raises(MethodNotApplicable, match="no learned tensors"):
        all_random(tanh, Draws())


def test_the_command_writes_the_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All steps or one, with the digests beside them and on stdout; a step that does not exist is a usage error."""
    path = tmp_path / "model.onnx"
    onnx.save(cnn().proto, path)
    assert main(["randomise", str(path), "--seed", "3", "--out", str(tmp_path / "all")]) == 0
    lines = (tmp_path / "all" / "SHA256SUMS").read_text().splitlines()
    for number, line in enumerate(lines):
        data = (tmp_path / "all" / f"step-{number:03}.onnx").read_bytes()
        assert data == randomised(cnn(), step=number, seed=3).SerializeToString()
        assert line == f"{hashlib.sha256(data).hexdigest()}  step-{number:03}.onnx"
    assert len(lines) == 4
    assert "head" in capsys.readouterr().out
    assert main(["randomise", str(path), "--steps", "2", "--out", str(tmp_path / "one")]) == 0
    assert [p.name for p in sorted((tmp_path / "one").iterdir())] == ["SHA256SUMS", "step-002.onnx"]
    assert main(["randomise", str(path), "--steps", "9", "--out", str(tmp_path / "no")]) == 2
