"""Rulebooks as data: every preset written out gives its own map; what is wrong in a row is said row by row."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import explainsvc
from explainsvc.errors import InvalidParameter, NotDifferentiable
from explainsvc.rules import lrp_presets as presets
from explainsvc.rules.lrp_rulebooks import Table
from explainsvc.rules.lrp_table import RULES
from explainsvc.rules.rulebook_file import as_data, read_rulebook
from tests import models
from tests.methods import dense
from tests.methods.test_lrp_rules import OPTIONS, close
from tests.models import Array, numbers

CNN, X = explainsvc.load(models.cnn()), numbers(2, 2, 8, 8)
BOX = {"low": [-4.0, -3.5], "high": 5.0}
WRITTEN: dict[str, Table] = {name: make() for name, make in presets.PRESETS.items()} | {
    "lrp_z_box": presets.z_box(**BOX),
    "lrp_epsilon_gamma_box": presets.epsilon_gamma_box(**BOX, epsilon=1e-6, gamma=0.25, form="add_positive"),
    "beta_smooth": presets.beta_smooth(10.0),
}
"""Every preset with the default parameters of its method."""


def test_every_preset_is_written_out() -> None:
    """All LRP methods and zennit's composites have a data form."""
    assert set(WRITTEN) == set(OPTIONS) | {"excitation_backprop", "deep_taylor", "beta_smooth"}


@pytest.mark.parametrize("text", [json.dumps, str, None], ids=["JSON", "preset's name", "objects"])
@pytest.mark.parametrize("method", WRITTEN)
def test_the_data_form_of_a_preset_reproduces_it(method: str, text: Any) -> None:
    """Bit by bit, through JSON text or plain lists and dicts, whatever biases count."""
    data: Any = as_data(WRITTEN[method])
    assert read_rulebook(data) == WRITTEN[method]
    given = data if text is None else text(data) if text is json.dumps else method
    if given == method and method not in presets.PRESETS:
        return  # needs bounds, and is written out
    own = BOX if "box" in method else {}
    for bias in ("counted", "ignored"):
        fixed = {} if method in ("deep_taylor", "beta_smooth") else {"bias": bias}
        expected = CNN.explain({"x": X}, method, target=[0, 2], **own, **fixed)
        found = CNN.explain({"x": X}, "lrp", target=[0, 2], rulebook=given, bias=bias)
        assert np.array_equal(found.values["x"], expected.values["x"])
        assert np.abs(found.values["x"]).max() > 0


TOML = """
output = "value"
preset = "lrp_epsilon_plus"

[[rows]]
rule = "lrp_z_box"
operators = ["Conv"]
position = "first"
parameters = {low = -4, high = 5}

[[rows]]
rule = "lrp_gamma"
nodes = "[lr]*"            # left and right
operators = "convolution"
parameters = {gamma = 0.25, form = "add_positive"}

[[rows]]
rule = "lrp_0"
position = "last"
parameters = {bias = "counted"}
"""


@pytest.mark.parametrize("bias", [True, False])
def test_rows_are_taken_in_order_by_operator_name_and_position(bias: bool) -> None:
    """A file in TOML: z^B first, γ at two convolutions by name, LRP-0 with its bias last, and the preset's z⁺ for the rest."""
    found = CNN.explain({"x": X}, "lrp", [0, 2], rulebook=TOML, bias="counted" if bias else "ignored").values["x"]
    plus, gamma = dense.z_plus_rule(bias), dense.gamma_rule(0.8, bias)
    sizes = {4 * 8 * 8: plus, 2 * 16: gamma, 3 * 16: gamma}

    def conv(layer: dense.Layer, a: Array, r: Array) -> Array:
        return sizes[layer.w.shape[1]](layer, a, r)

    for item, target in enumerate([0, 2]):
        close(found[item], dense.cnn_relevance(X[item], target, dense.z_box_rule(-4, 5), conv, dense.zero_rule()))


def test_a_row_overrides_what_all_rulebooks_share() -> None:
    """Relevance of an activation by its gradient, of sums by shares without their constants, and a refusal where asked for."""
    x, model = numbers(2, 6), explainsvc.load(models.mlp(activation="Tanh"))
    gradient = [{"rule": "gradient"}]
    own = model.explain({"x": x}, "lrp", 1, rulebook={"rows": gradient, "output": "one"}).values["x"]
    assert np.array_equal(own, model.explain({"x": x}, "gradient", 1).values["x"])
    with pytest.raises(explainsvc.errors.NotDifferentiable, match="Tanh"):
        model.explain({"x": x}, "lrp", 1, rulebook={"rows": [{"rule": "refuse", "operators": ["Tanh"]}], "preset": "lrp_0"})


WRONG: dict[str, tuple[Any, str, str]] = {
    "unknown rule": ([{"rule": "lrp_delta"}], "rows[0].rule", "lrp_z_plus"),
    "no rule": ([{"operators": "Conv"}], "rows[0].rule", "is missing"),
    "unknown key": ([{"rule": "lrp_0", "opeators": "Conv"}], "rows[0].opeators", "operators"),
    "unknown operator": ([{"rule": "lrp_0", "operators": ["Konv"]}], "rows[0].operators", "convolution"),
    "operator of another rule": ([{"rule": "lrp_z_plus", "operators": ["Relu"]}], "rows[0].operators", "not defined for Relu"),
    "unknown parameter": ([{"rule": "lrp_0", "parameters": {"gamma": 1}}], "rows[0].parameters.gamma", "not a parameter"),
    "range": ([{"rule": "lrp_epsilon", "parameters": {"epsilon": -1}}], "rows[0].parameters.epsilon", "≥ 0"),
    "together": ([{"rule": "lrp_alpha_beta", "parameters": {"alpha": 3}}], "rows[0].parameters.alpha", "alpha − beta"),
    "bounds": ([{"rule": "lrp_z_box", "parameters": {"low": 2, "high": 1}}], "rows[0].parameters.low", "nowhere above high"),
    "position": ([{"rule": "lrp_0", "position": "second"}], "rows[0].position", "first"),
    "position of a sum": ([{"rule": "share", "position": "first"}], "rows[0].position", "linear layers"),
    "no table": ([3], "rows[0]", "an object"),
    "parameters": ([{"rule": "lrp_0", "parameters": 3}], "rows[0].parameters", "an object"),
    "nodes": ([{"rule": "lrp_0", "nodes": 3}], "rows[0].nodes", "a glob"),
    "rows": ({"rows": "lrp_0"}, "rows", "a list"),
    "too many rows": ([{"rule": "lrp_0"}] * 1001, "rows", "at most 1000"),
    "nothing": ([], "rows", "is empty"),
    "output": ({"rows": [{"rule": "lrp_0"}], "output": "two"}, "output", "relu"),
    "preset": ({"preset": "lrp_omega"}, "preset", "lrp_preset_a"),
    "preset as a list": ({"preset": ["lrp_0"]}, "preset", "lrp_preset_a"),
    "too deep": ("[" + " [" * 100_000, "", "neither"),
    "key": ({"rows": [{"rule": "lrp_0"}], "columns": 3}, "columns", "known"),
    "JSON": ('[{"rule": ', "", "neither"),
    "TOML": ("rows = lrp_0", "", "neither"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_where_it_is(what: str) -> None:
    """One violation, with the row and the key, and what is known or allowed."""
    given, where, text = WRONG[what]
    with pytest.raises(InvalidParameter) as caught:
        CNN.explain({"x": X}, "lrp", rulebook=given)
    (violation,) = caught.value.violations
    assert violation.field == ".".join(filter(None, ["parameters.rulebook", where]))
    assert text in violation.description


def test_every_wrong_row_is_listed() -> None:
    """Not only the first one."""
    rows = [entry for given, _, _ in list(WRONG.values())[:9] for entry in given]
    with pytest.raises(InvalidParameter) as caught:
        read_rulebook(rows)
    assert [v.field.split("[")[1][0] for v in caught.value.violations] == [str(k) for k in range(9)]


def test_a_name_that_no_node_has_is_refused() -> None:
    """A misspelt pattern would change nothing, and nothing would show it."""
    with pytest.raises(InvalidParameter, match='"konv1" matches no node'):
        CNN.explain({"x": X}, "lrp", rulebook={"preset": "lrp_0", "rows": [{"rule": "lrp_flat", "nodes": "konv1"}]})


UNCOVERED = """g (float[N, 4] x) => (float[N, 4] y) {
  [one] a = MatMul (x, w)  [act] b = Relu (a)  [two] c = MatMul (b, w)  [soft] y = Softmax (c)
}"""
"""Two linear layers and an operator that no row covers unasked."""


@pytest.mark.parametrize(
    ("rows", "output", "words"),
    [
        ([{"rule": "lrp_flat", "nodes": "two"}], "c", ('"one"', "MatMul, position first", '{"rule": "lrp_epsilon"}')),
        ([{"rule": "lrp_flat", "position": "first"}], "c", ('"two"', "MatMul, position last", "lrp_gamma")),
        ([{"rule": "lrp_flat"}], "y", ('"soft"', "Softmax, which has no position", "pass_through", '{"rule": "gradient"}')),
    ],
)
def test_a_node_that_no_row_covers_is_named(rows: Any, output: str, words: tuple[str, ...]) -> None:
    """The refusal says that a row is missing, at which node, of which operator and position, and how to add one."""
    model, x = explainsvc.load(models.build(UNCOVERED, {"w": models.weights("w", 4, 4)})), numbers(2, 4)
    target = {"output": output, "index": 1}
    with pytest.raises(NotDifferentiable, match="no row of the rulebook covers this node") as caught:
        model.explain({"x": x}, "lrp", target, rulebook=rows)
    assert all(word in str(caught.value) for word in (*words, "catch-all"))
    general = {"rule": "lrp_epsilon" if output == "c" else "gradient"}
    assert np.isfinite(model.explain({"x": x}, "lrp", target, rulebook=[*rows, general]).values["x"]).all()


def test_names_are_those_of_nodes_and_results() -> None:
    """A BatchNormalization folded into a convolution is found by the name of its result."""
    rows = [{"rule": "lrp_flat", "nodes": "n1", "operators": "Conv"}]
    found = CNN.explain({"x": X}, "lrp", rulebook={"rows": rows, "preset": "lrp_epsilon_plus"}).values["x"]
    assert np.array_equal(found, CNN.explain({"x": X}, "lrp_epsilon_plus_flat").values["x"])


def test_every_rule_has_a_row() -> None:
    """Each name of the table makes its rule with default parameters, or asks for what it needs when it is used."""
    for name, kind in RULES.items():
        made = kind.make(kind.params(), True)
        assert (made is None) == (name == "gradient")
        assert all(value is not None for value in asdict(kind.params()).values()) or name == "lrp_z_box"


def test_the_rest_works_without_lrp(tmp_path: Path) -> None:
    """A distribution without the files of LRP explains by everything else and does not list what it lacks."""
    copy = tmp_path / "explainsvc"
    shutil.copytree(Path(explainsvc.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    needing = [f for f in (copy / "methods").glob("*.py") if re.search(r"^from \S*\b_?lrp", f.read_text(), re.MULTILINE)]
    for file in [*(copy / "rules").glob("lrp*.py"), copy / "rules" / "rulebook_file.py", *needing]:
        file.unlink()
    script = """
import numpy as np, explainsvc
from explainsvc.cli import build_parser
from tests import models
assert build_parser() is not None
from explainsvc.demo.subject import METHODS as shown, MISSING as missing
assert len(shown) == 6 and "input_x_gradient" in shown, shown
assert list(missing) == ["lrp_epsilon_plus"], missing
names = sorted(explainsvc.methods())
assert not [n for n in names if "lrp" in n or n in ("deep_taylor", "excitation_backprop")], names
model = explainsvc.load(models.cnn())
assert model.info.methods["guided_backprop"] == ""
found = model.explain({"x": np.ones((1, 2, 8, 8), np.float32)}, "beta_smooth")
print(explainsvc.__file__, len(names), float(np.abs(found.values["x"]).max()) > 0)
"""
    root = Path(explainsvc.__file__).parent.parent
    path = os.pathsep.join([str(tmp_path), str(root), str(root / "protos")])
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[0] == str(copy / "__init__.py")
    assert run.stdout.split()[2] == "True"
