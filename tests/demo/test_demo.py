from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from explainsvc.demo.run import run
from explainsvc.demo.server import running_server, wait_until_ready
from explainsvc.demo.show import WHAT_METHODS_DO, percent, probabilities
from explainsvc.demo.subject import DIGITS, HERE, METHODS, SHOWN, at_hand, digits
from explainsvc.errors import ExplainsvcError, InvalidParameter
from explainsvc.report.report import Report


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The whole demo, once: its folder and what it said."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    said: list[str] = []
    assert run(folder, say=said.append) == 0
    return folder, "\n".join(said)


def test_every_digit_is_drawn_by_every_method(demo: tuple[Path, str]) -> None:
    """Four digits by six methods, each a picture with more than one colour."""
    pictures = sorted((demo[0] / "maps").glob("*.png"))
    assert len(pictures) == len(DIGITS) * len(METHODS) == 24
    for path in pictures:
        assert len(Image.open(path).convert("RGB").getcolors(1 << 20) or []) > 20


def test_the_page_shows_what_was_found(demo: tuple[Path, str]) -> None:
    """The page holds the inputs and maps inline, the charts, and each method's name and verdict."""
    page = (demo[0] / "index.html").read_text()
    assert page.count("data:image/png;base64,") == len(DIGITS) * (1 + len(METHODS))
    assert page.count("<svg") >= 1 + len(METHODS) + len({"random", "sobel", "the model's output"})
    assert all(method in page for method in METHODS)


def test_the_terminal_says_the_verdicts_and_where_to_look(demo: tuple[Path, str]) -> None:
    """Each audited method's verdict and the page's path are printed."""
    report = Report.from_json(json.loads((demo[0] / "report.json").read_text()))
    assert {method for method, _ in report.verdicts} == set(METHODS)
    assert str(demo[0] / "index.html") in demo[1]
    for (method, _), verdict in report.verdicts.items():
        assert any(line.split()[:2] == [method, verdict] for line in demo[1].splitlines())


def test_the_digits_are_recognised(demo: tuple[Path, str]) -> None:
    """The prediction line of each digit names it first."""
    for digit in DIGITS:
        assert f"digit {digit}: class {digit} (" in demo[1]


def test_the_gradient_depends_on_the_weights_and_sobel_does_not(demo: tuple[Path, str]) -> None:
    """After full randomisation Sobel's maps are exactly the same; the gradient's are not."""
    report = Report.from_json(json.loads((demo[0] / "report.json").read_text()))
    last = max(row.step for row in report.rows)
    found = {row.method: row.mean for row in report.rows if row.step == last and row.measure == "spearman_abs"}
    assert found["sobel"] == pytest.approx(1.0)
    assert found["gradient"] < 0.5
    assert report.verdicts["gradient", "parameter_randomization"] == "sensitive"


def test_a_model_and_a_picture_of_ones_own(tmp_path: Path) -> None:
    """The user's image goes through the user's model."""
    image = digits().explained["image"][1, 0]
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(tmp_path / "three.png")
    said: list[str] = []
    assert run(tmp_path / "out", model=HERE / "digits.onnx", image=tmp_path / "three.png", say=said.append) == 0
    assert any("three.png: class 3 (" in line for line in said)
    assert (tmp_path / "out" / "maps" / "three.png-gradient.png").is_file()


def test_what_a_distribution_lacks_is_replaced_and_said() -> None:
    """Without LRP another method takes its place, which has words on the page too; what nothing replaces is left out."""
    assert at_hand(SHOWN) == (SHOWN, {})
    methods, words = at_hand({*SHOWN, "input_x_gradient"} - {"lrp_epsilon_plus"})
    assert methods == (*SHOWN[:4], "input_x_gradient", "occlusion")
    assert words == {"lrp_epsilon_plus": "this distribution is without it; input_x_gradient is shown instead"}
    assert set(methods) <= set(WHAT_METHODS_DO)
    assert at_hand(SHOWN[1:])[0] == SHOWN[1:]


def test_the_demo_says_what_was_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On the terminal and on the page."""
    monkeypatch.setattr("explainsvc.demo.run.MISSING", {"lrp_epsilon_plus": "another is shown instead"})
    monkeypatch.setattr("explainsvc.demo.run.METHODS", ("gradient", "input_x_gradient"))
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "black.png")
    said: list[str] = []
    assert run(tmp_path / "out", model=HERE / "digits.onnx", image=tmp_path / "black.png", say=said.append) == 0
    assert "left out   lrp_epsilon_plus: another is shown instead" in said
    assert "lrp_epsilon_plus was left out: another is shown instead" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize("given", [{"model": "m.onnx"}, {"image": "i.png"}])
def test_half_of_ones_own_is_refused(given: dict[str, Any], tmp_path: Path) -> None:
    """A model without an image, or the reverse, is an error before a server starts."""
    with pytest.raises(InvalidParameter, match="both --model and --image"):
        run(tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_the_server_is_gone_afterwards() -> None:
    """Its port is closed once the block ends."""
    with running_server() as address:
        host, port = address.rsplit(":", 1)
        socket.create_connection((host, int(port)), timeout=5).close()
    with pytest.raises(OSError, match=r".+"):
        socket.create_connection((host, int(port)), timeout=5)


def test_a_server_that_does_not_start_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    """The exit code and what it wrote are in the message."""
    log = tmp_path / "server.log"
    command = [sys.executable, "-c", "raise SystemExit('the store is locked')"]
    with log.open("wb") as sink:
        server = subprocess.Popen(command, stderr=sink)
    server.wait(30)
    with pytest.raises(ExplainsvcError, match=r"exit code 1.*the store is locked"):
        wait_until_ready(server, "127.0.0.1:1", log)


def test_logits_become_probabilities_and_probabilities_stay() -> None:
    """The softmax is exp(x)/Σexp, also for large logits; what sums to one already is left alone."""
    scores = np.array([[1000.0, 1001.0], [0.0, 0.0]])
    expected = 1 / (1 + np.exp(1.0))
    np.testing.assert_allclose(probabilities(scores), [[expected, 1 - expected], [0.5, 0.5]])
    given = np.array([[0.2, 0.8]])
    np.testing.assert_array_equal(probabilities(given), given)


def test_the_committed_picture_is_small() -> None:
    """The README's picture is below 300 kB."""
    assert (HERE.parent.parent / "docs" / "demo.png").stat().st_size < 300_000


@pytest.mark.parametrize(("share", "words"), [(1.0, ">99.9%"), (0.9994, "99.9%"), (0.25, "25.0%"), (1e-9, "<0.1%")])
def test_nothing_is_certain(share: float, words: str) -> None:
    """Softmax never reaches one or zero, so no percentage says it does."""
    assert percent(share) == words
