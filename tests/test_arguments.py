"""What people type, as values."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from explainsvc import arguments
from explainsvc.arguments import UsageError
from explainsvc.cards import Card, ParameterCard

CARD = Card(
    name="m",
    summary="",
    computes="",
    output="",
    parameters=(
        ParameterCard(name="epsilon", type="float", default=1e-6, description="", range=""),
        ParameterCard(name="layer", type="str", default="", description="", range=""),
        ParameterCard(name="baseline", type="value", default="zero", description="", range=""),
    ),
    needs="",
    cost="",
    properties="",
    limits="",
    source="",
    differs="",
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-1", -1),
        ("argmax", None),
        ("logits:argmax", {"output": "logits"}),
        ("logits:3", {"output": "logits", "index": 3}),
        ("probs:0:3", {"output": "probs:0", "index": 3}),
        ("[3, 5]", [3, 5]),
        ('{"output": "y", "index": 1, "against": 2}', {"output": "y", "index": 1, "against": 2}),
    ],
)
def test_target(text: str, value: object) -> None:
    """An index or the largest element, an output's name before it, or JSON."""
    assert arguments.target(text) == value


def test_target_seed_is_an_array() -> None:
    """The seed of a JSON target arrives as float32."""
    seed = arguments.target('{"output": "y", "seed": [[0, 0.5]]}')["seed"]
    assert (seed.dtype, seed.shape) == (np.float32, (1, 2))


@pytest.mark.parametrize("text", ["three", "y:", "{", "1.5", '{"seed": [["a"]]}', '{"seed": [[1], [2, 3]]}'])
def test_target_refusals(text: str) -> None:
    """Anything else is a usage error."""
    with pytest.raises(argparse.ArgumentTypeError, match=r"neither|not JSON|not an array"):
        arguments.target(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("epsilon=1e-6", 1e-6),
        ("layer=3", "3"),
        ("layer=a=b", "a=b"),
        ("baseline=0.5", 0.5),
        ("baseline=mean", "mean"),
        ("baseline=[1, 2]", [1, 2]),
        ("unknown=true", True),
        ("unknown=None", None),
        ("unknown=[1", "[1"),
    ],
)
def test_parameters_follow_the_card(text: str, value: object) -> None:
    """A str stays text; everything else is JSON where it is JSON."""
    parsed = arguments.typed(CARD, [arguments.parameter(text)])
    assert list(parsed.values()) == [value]


def test_array_parameter_from_file(tmp_path: Path) -> None:
    """A parameter that may be an array is read from an .npy."""
    path = tmp_path / "b.npy"
    np.save(path, np.arange(3.0))
    np.testing.assert_array_equal(arguments.typed(CARD, [("baseline", str(path))])["baseline"], [0, 1, 2])


def test_audit_parameters_name_their_method() -> None:
    """NAME.KEY=VALUE is sorted by NAME; a bare KEY is refused with the right spelling."""
    assert arguments.by_name({"m": CARD}, [("m.layer", "7"), ("c.order", "independent")]) == {
        "m": {"layer": "7"},
        "c": {"order": "independent"},
    }
    with pytest.raises(UsageError, match=r"write NAME\.order=x"):
        arguments.by_name({}, [("order", "x")])


def test_numbers() -> None:
    """Numbers may be fractions, sizes are HEIGHTxWIDTH."""
    assert arguments.number("1/4") == 0.25
    assert arguments.numbers("0.5,1/2,2") == (0.5, 0.5, 2.0)
    assert arguments.size("224x112") == (224, 112)


@pytest.mark.parametrize(("parse", "text"), [("number", "1/0"), ("number", "x"), ("size", "224"), ("size", "0x3")])
def test_number_refusals(parse: str, text: str) -> None:
    """What is no number is a usage error."""
    with pytest.raises(argparse.ArgumentTypeError, match=r"not|positive|neither"):
        getattr(arguments, parse)(text)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    """No Python object is ever unpickled from a file."""
    path = tmp_path / "evil.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UsageError, match="without Python objects"):
        arguments.read_inputs(str(path))


@pytest.mark.parametrize("data", [b"", b"text", b"PK\x03\x04 torn"])
def test_unreadable_inputs(tmp_path: Path, data: bytes) -> None:
    """A torn or foreign file is named and refused."""
    path = tmp_path / "x.npz"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"x\.npz is not a NumPy file"):
        arguments.read_inputs(str(path))


def test_lines_of_a_file(tmp_path: Path) -> None:
    """One token a line: blanks and empty lines stay, line ends of either kind do not, nor does the last of them."""
    path = tmp_path / "tokens.txt"
    path.write_bytes("the\r\n\n cat\u2028\n\u4f60\n".encode())
    assert arguments.read_lines(str(path)) == ["the", "", " cat\u2028", "\u4f60"]
    path.write_bytes(b"")
    assert arguments.read_lines(str(path)) == []
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not text in UTF-8"):
        arguments.read_lines(str(path))
    with pytest.raises(UsageError, match="no such file"):
        arguments.read_lines(str(tmp_path / "missing.txt"))


def test_methods_are_at_least_one() -> None:
    """A list of names; none is a usage error."""
    assert arguments.methods("a, b,c") == ["a", "b", "c"]
    with pytest.raises(argparse.ArgumentTypeError, match="names no method"):
        arguments.methods(",")
