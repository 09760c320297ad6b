"""docs/operators.md is true, and no derivative goes untested."""

from __future__ import annotations

import re
from functools import cache

from explainsvc.autograd import known_operators
from tests.autograd.collected import IN_MODELS, case_rows
from tests.house.repository import ROOT

PAGE = (ROOT / "docs/operators.md").read_text(encoding="utf-8")


@cache
def rows() -> set[str]:
    """The operators that have case rows."""
    return set(case_rows())


def line(operator: str) -> list[str]:
    """The cells of an operator's first line."""
    (found, *_) = re.findall(rf"^\| `{re.escape(operator)}` \|.*$", PAGE, re.MULTILINE)
    return [cell.strip() for cell in found.strip("|").split("|")]


def rule(method: str, operator: str) -> str:
    """The cell of a method and an operator, in the table of rules or of presets."""
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE):
        table = [[cell.strip() for cell in row.strip("|").split("|")] for row in part.splitlines() if row.startswith("|")]
        columns = [k for k, heading in enumerate(table[0] if table else []) if method in heading.split(", ")]
        for row in table:
            if columns and row[0] == f"`{operator}`":
                return row[columns[0]]
    raise AssertionError((method, operator))


def test_every_derivative_has_a_row() -> None:
    """An operator in the vjp table has a case row in tests/autograd, or a test file that is named for it."""
    derived = {name for name, kind in known_operators().items() if kind != "stop"}
    assert derived - rows() - IN_MODELS.keys() == set()


def test_what_models_test_is_there() -> None:
    """The files that test an operator in whole models do name it, and no row has made them superfluous."""
    assert [name for name, file in IN_MODELS.items() if name not in (ROOT / "tests" / file).read_text(encoding="utf-8")] == []
    assert rows() & IN_MODELS.keys() == set()


def test_lines_of_the_page() -> None:
    """Versions as ONNX's changelog has them, attributes as its definition, rules as the papers put them."""
    conv = line("Conv")
    assert conv[1:3] == ["1, 11, 22", "vjp"]
    assert set(conv[3].split(", ")) | set(conv[4].split(", ")) == {
        "auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"
    }  # fmt: skip
    assert rule("lrp_epsilon_plus_flat", "Conv") == "lrp_flat at the first layer, else lrp_z_plus"
    assert rule("LRP presets", "Conv") == "by preset"
    assert rule("guided_backprop", "Relu") == "guided_relu"
    assert rule("deconvnet", "Clip") == "deconvnet_relu"
    assert rule("guided_backprop", "Gelu") == rule("deconvnet", "Gelu") == "refused"
    assert rule("LRP presets", "Softmax") == "refused"
    assert rule("attn_lrp", "Softmax") == "lrp_softmax"
    assert line("LSTM")[4] == "layout"  # onnxruntime runs no other
    assert line("If")[2] == "control"
    assert "`RotaryEmbedding`" in PAGE.partition("## Operators expanded into a body")[2]
