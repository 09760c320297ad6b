"""The command line: exit codes, one JSON object, one paragraph of error, and the numbers of the library."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

import explainsvc
from explainsvc import cli, demo
from explainsvc.demo.server import running_server
from explainsvc.report.render import attributions_png
from tests import models
from tests.models import numbers

DIGITS = str(Path(demo.__file__).with_name("digits.onnx"))
DATA = np.load(Path(demo.__file__).with_name("digits.npz"))
IMAGES = DATA["image"][:3]


@pytest.fixture
def npz(tmp_path: Path) -> str:
    """Three digits in an .npz under the input's name."""
    path = tmp_path / "in.npz"
    np.savez(path, image=IMAGES)
    return str(path)


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs one command line: (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(arguments)
        except SystemExit as stop:  # argparse's way out
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


Printed = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("command", ["methods", "checks"])
def test_cards(printed: Printed, command: str) -> None:
    """Cards are listed as text and as one JSON object, keyed by name."""
    registry = {"methods": explainsvc.methods, "checks": explainsvc.checks}[command]()
    code, text, _ = printed(command)
    assert code == 0
    assert all(f"{name}: " in text for name in registry)
    code, text, _ = printed(command, "--json")
    assert json.loads(text) == {name: card.to_json() for name, card in registry.items()}


def test_the_whole_card_of_one_method(printed: Printed) -> None:
    """Every heading and parameter of the methods named, and nothing else; an unknown name is refused with the known ones."""
    code, text, _ = printed("methods", "gradient", "rise")
    cards = explainsvc.methods()
    assert code == 0
    for name in ("gradient", "rise"):
        assert all(" ".join(getattr(cards[name], part).split()) in text for part in ("computes", "limits", "source", "differs"))
        assert all(p.description in text for p in cards[name].parameters)
    assert "lime:" not in text
    code, _, error = printed("methods", "nothing")
    assert code == 2
    assert "gradient" in error


def test_inspect(printed: Printed) -> None:
    """Inspect prints the model's facts; with --json exactly ModelInfo.to_json()."""
    info = explainsvc.load(DIGITS).info.to_json()
    code, text, _ = printed("inspect", DIGITS, "--json")
    assert (code, json.loads(text)) == (0, info)
    code, table, _ = printed("inspect", DIGITS, "--nodes")
    assert code == 0
    assert all(node.name in table for node in explainsvc.load(DIGITS).info.nodes)
    code, text, _ = printed("inspect", DIGITS)
    assert table.startswith(text.rstrip())
    assert code == 0
    assert all(word in text for word in (info["digest"], "image", "logits", "Conv", *info["methods"]))


def test_explain_writes_the_librarys_values(printed: Printed, npz: str, tmp_path: Path) -> None:
    """The .npz holds what Model.explain returns, for every item, target and parameter."""
    out = tmp_path / "out.npz"
    arguments = ["--method", "integrated_gradients", "--target", "logits:3", "-p", "steps=7", "--out", str(out)]
    code, text, _ = printed("explain", DIGITS, "--inputs", npz, *arguments)
    truth = explainsvc.load(DIGITS).explain({"image": IMAGES}, "integrated_gradients", 3, steps=7)
    assert code == 0
    assert str(out) in text
    np.testing.assert_array_equal(np.load(out)["image"], truth.values["image"])


def test_explain_json(printed: Printed, npz: str) -> None:
    """With --json stdout is the attribution as one object, and stderr is silent."""
    code, text, err = printed("explain", DIGITS, "--inputs", npz, "--method", "smoothgrad", "--seed", "5", "--json")
    truth = explainsvc.load(DIGITS).explain({"image": IMAGES}, "smoothgrad", seed=5)
    assert (code, err) == (0, "")
    assert json.loads(text) == json.loads(json.dumps(truth.to_json()))


def test_explain_photograph_as_heat_map(printed: Printed, tmp_path: Path) -> None:
    """An image file is preprocessed by the options and its map drawn as a PNG."""
    pixels = np.rint(IMAGES[0, 0] * 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    out, values = tmp_path / "map.png", tmp_path / "map.npz"
    for target in (out, values):
        arguments = (
            "--inputs",
            str(tmp_path / "digit.png"),
            "--method",
            "gradient",
            "--scale",
            "1/255",
            "--out",
            str(target),
        )
        assert printed("explain", DIGITS, *arguments)[0] == 0
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 10
    truth = explainsvc.load(DIGITS).explain({"image": (pixels[None, None] / 255).astype(np.float32)})
    np.testing.assert_allclose(np.load(values)["image"], truth.values["image"], rtol=1e-5, atol=1e-6)


def test_heat_maps_of_a_batch_are_numbered(printed: Printed, npz: str, tmp_path: Path) -> None:
    """Several items give several pictures, named by input and item."""
    assert printed("explain", DIGITS, "--inputs", npz, "--method", "gradient", "--out", str(tmp_path / "m.png"))[0] == 0
    assert sorted(path.name for path in tmp_path.glob("m*.png")) == [f"m-image-{item}.png" for item in range(3)]


def test_several_methods_as_json(printed: Printed, npz: str) -> None:
    """Several methods, listed or repeated, print one object with a list; each has its own parameters."""
    arguments = (
        "--method",
        "gradient,occlusion",
        "--method",
        "gradient,integrated_gradients",
        "-p",
        "integrated_gradients.steps=7",
    )
    code, text, err = printed("explain", DIGITS, "--inputs", npz, *arguments, "--target", "3", "--json")
    model = explainsvc.load(DIGITS)
    asked = {"gradient": {}, "occlusion": {}, "integrated_gradients": {"steps": 7}}
    truth = [model.explain({"image": IMAGES}, name, 3, **parameters).to_json() for name, parameters in asked.items()]
    assert (code, err) == (0, "")
    assert json.loads(text) == json.loads(json.dumps({"attributions": truth}))


def test_several_methods_to_files(printed: Printed, npz: str, tmp_path: Path) -> None:
    """An .npz has METHOD.INPUT; a .png per item has all methods; the text has a block each and the files once."""
    arguments = ("explain", DIGITS, "--inputs", npz, "--method", "gradient,occlusion", "--out")
    assert printed(*arguments, str(tmp_path / "out.npz"))[0] == 0
    found = np.load(tmp_path / "out.npz")
    for name in ("gradient", "occlusion"):
        truth = explainsvc.load(DIGITS).explain({"image": IMAGES}, name)
        np.testing.assert_array_equal(found[f"{name}.image"], truth.values["image"])
    assert sorted(found.files) == ["gradient.image", "occlusion.image"]
    code, text, _ = printed(*arguments, str(tmp_path / "m.png"))
    assert code == 0
    assert [line.split()[1] for line in text.splitlines() if line.startswith("method ")] == ["gradient", "occlusion"]
    assert text.count("m-image-1.png") == 1
    assert sorted(path.name for path in tmp_path.glob("m*.png")) == [f"m-image-{item}.png" for item in range(3)]


def test_tokens_and_renderings(printed: Printed, tmp_path: Path) -> None:
    """Ids are a strip with the given words; --render draws the same values as bars, --names names these."""
    onnx.save(models.embedding(), tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", ids=np.array([[3, 1, 4, 1, 5]]))
    (tmp_path / "words.txt").write_text("the\ncat\nsat\ndown\n!\n")
    common = ("explain", str(tmp_path / "m.onnx"), "--inputs", str(tmp_path / "x.npz"), "--method", "occlusion", "--target", "1")
    words, out = str(tmp_path / "words.txt"), tmp_path / "o.png"
    attribution = explainsvc.load(models.embedding()).explain({"ids": np.array([[3, 1, 4, 1, 5]])}, "occlusion", 1)
    values, title = {"occlusion": attribution.values["ids"][0]}, "occlusion of y[1]"
    assert printed(*common, "--out", str(out), "--tokens", words)[0] == 0
    assert out.read_bytes() == attributions_png(values, tokens=["the", "cat", "sat", "down", "!"], title=title)
    assert printed(*common, "--out", str(out), "--render", "bars", "--names", words)[0] == 0
    x = np.array([3, 1, 4, 1, 5])
    assert out.read_bytes() == attributions_png(values, kind="bars", x=x, names=["the", "cat", "sat", "down", "!"], title=title)


def test_compile_runs_in_a_bare_session(printed: Printed, npz: str, tmp_path: Path) -> None:
    """The saved graph gives explain's numbers in onnxruntime alone."""
    out = tmp_path / "explained.onnx"
    assert printed("compile", DIGITS, "--method", "gradient", "--out", str(out))[0] == 0
    onnx.checker.check_model(str(out))
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    seed = np.eye(10, dtype=np.float32)[[4, 4, 4]]
    values = session.run(["explain.image"], {"image": IMAGES, "explain.seed": seed})[0]
    truth = explainsvc.load(DIGITS).explain({"image": IMAGES}, "gradient", 4)
    np.testing.assert_allclose(values, truth.values["image"], rtol=1e-5, atol=1e-6)


def test_audit(printed: Printed, npz: str, tmp_path: Path) -> None:
    """An audit writes both reports, prints a verdict for each method, and exits 3 on a verdict asked for."""
    arguments = ("audit", DIGITS, "--inputs", npz, "--methods", "gradient,sobel", "--out", str(tmp_path / "report"))
    code, text, _ = printed(*arguments)
    assert code == 0
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    found = {verdict["verdict"] for verdict in document["verdicts"]}
    assert "<html" in (tmp_path / "report" / "report.html").read_text()
    assert all(word in text for word in ("gradient", "sobel", *found))
    assert printed(*arguments, "--fail-on", found.pop())[0] == 3
    unseen = {"sensitive", "insensitive", "inconclusive"} - {verdict["verdict"] for verdict in document["verdicts"]}
    assert printed(*arguments, *(f"--fail-on={verdict}" for verdict in unseen))[0] == 0


USAGE = {
    "no command": (),
    "unknown command": ("explode",),
    "no method": ("explain", DIGITS, "--inputs", "NPZ"),
    "unknown method": ("explain", DIGITS, "--inputs", "NPZ", "--method", "gradeint"),
    "unknown parameter": ("explain", DIGITS, "--inputs", "NPZ", "--method", "gradient", "-p", "stepps=3"),
    "ill-typed parameter": ("explain", DIGITS, "--inputs", "NPZ", "--method", "integrated_gradients", "-p", "steps=x"),
    "no such inputs": ("explain", DIGITS, "--inputs", "missing.npz", "--method", "gradient"),
    "unknown suffix": ("explain", DIGITS, "--inputs", "NPZ", "--method", "gradient", "--out", "map.gif"),
    "no such folder": ("explain", DIGITS, "--inputs", "NPZ", "--method", "gradient", "--out", "no/where.npz"),
    "target": ("explain", DIGITS, "--inputs", "NPZ", "--method", "gradient", "--target", "three"),
    "several methods with a bare parameter": (
        "explain",
        DIGITS,
        "--inputs",
        "NPZ",
        "--method",
        "gradient,occlusion",
        "-p",
        "steps=3",
    ),
    "a parameter of no method asked": (
        "explain",
        DIGITS,
        "--inputs",
        "NPZ",
        "--method",
        "gradient,sobel",
        "-p",
        "occlusion.window=3",
    ),
    "one unknown among several": ("explain", DIGITS, "--inputs", "NPZ", "--method", "gradient,gradeint"),
    "an empty list of methods": ("explain", DIGITS, "--inputs", "NPZ", "--method", ","),
    "compile several": ("compile", DIGITS, "--method", "gradient,sobel", "--out", "x.onnx"),
    "a rendering without a picture": ("explain", DIGITS, "--inputs", "NPZ", "--method", "gradient", "--render", "image"),
    "an unknown rendering": ("explain", DIGITS, "--inputs", "NPZ", "--method", "gradient", "--render", "pie", "--out", "m.png"),
    "a server for the demo": ("--server", "localhost:1", "demo"),
}
FAILURE = {
    "no such model": ("inspect", "missing.onnx"),
    "not ONNX": ("inspect", "NPZ"),
    "target out of range": ("explain", DIGITS, "--inputs", "NPZ", "--method", "gradient", "--target", "10"),
    "no such output": ("explain", DIGITS, "--inputs", "NPZ", "--method", "gradient", "--target", "logit:1"),
    "no server": ("--server", "localhost:1", "methods"),
}


@pytest.mark.parametrize(("code", "arguments"), [(2, a) for a in USAGE.values()] + [(1, a) for a in FAILURE.values()],
                         ids=[*USAGE, *FAILURE])  # fmt: skip
def test_errors(printed: Printed, npz: str, code: int, arguments: tuple[str, ...]) -> None:
    """Misuse exits 2 and failure 1; stdout stays empty; the error is one paragraph, never a traceback."""
    got, out, err = printed(*(npz if argument == "NPZ" else argument for argument in arguments))
    assert (got, out) == (code, "")
    assert err.startswith("explainsvc")
    assert err.count("\n") == 1


def test_wrong_inputs_are_named(printed: Printed, tmp_path: Path) -> None:
    """A misspelt input is a failure that names it and the right one."""
    np.savez(tmp_path / "x.npz", imgae=IMAGES)
    code, _, err = printed("explain", DIGITS, "--inputs", str(tmp_path / "x.npz"), "--method", "gradient")
    assert code == 1
    assert "imgae" in err
    assert '"image"' in err or "'image'" in err


def read(result: tuple[int, str, str]) -> tuple[int, object, str]:
    """What was printed, JSON as the values that it holds: their order is nobody's promise."""
    code, out, err = result
    return code, json.loads(out) if out.startswith("{") else out, err


def test_server_gives_the_same(printed: Printed, npz: str, tmp_path: Path) -> None:
    """Every command that --server takes prints and writes the same as in this process."""
    runs = [
        ("methods", "--json"),
        ("checks", "--json"),
        ("inspect", DIGITS, "--json"),
        ("explain", DIGITS, "--inputs", npz, "--method", "lrp_epsilon_plus", "-p", "epsilon=1e-4", "--json"),
        ("explain", DIGITS, "--inputs", npz, "--method", "gradient,occlusion", "-p", "occlusion.window=4", "--json"),
        ("compile", DIGITS, "--method", "gradient", "--out", str(tmp_path / "explained.onnx")),
        ("ledger", DIGITS, "--inputs", npz, "--method", "lrp_epsilon_plus", "--target", "3", "--json"),
        ("explain", DIGITS, "--method", "gradient,lrp_preset_b", "--dry-run", "--json"),
        ("audit", DIGITS, "--inputs", npz, "--methods", "gradient", "--out", str(tmp_path / "report")),
    ]
    with running_server() as address:
        for arguments in runs:
            there = printed("--server", address, *arguments)
            files = {path: path.read_bytes() for path in tmp_path.rglob("*.onnx")}
            assert read(there) == read(printed(*arguments))
            assert files == {path: path.read_bytes() for path in files}


def test_doctor(printed: Printed, tmp_path: Path) -> None:
    """On a machine that runs these tests everything that doctor tries works."""
    code, text, _ = printed("doctor", "--store", str(tmp_path / "store"), "--json")
    document = json.loads(text)
    assert (code, document["works"]) == (0, True)
    assert {finding["name"] for finding in document["findings"]} >= {"onnxruntime", "cpu", "worker", "sandbox", "store"}


def test_doctor_tells_what_fails(printed: Printed, tmp_path: Path) -> None:
    """A store that cannot be written is a failure with its reason; so is a worker that nothing confines."""
    (tmp_path / "file").write_text("")
    code, text, _ = printed("doctor", "--store", str(tmp_path / "file" / "store"), "--sandbox", "off")
    assert code == 1
    assert "NotADirectoryError" in text
    doors = ("read a file", "write a file", "list a folder", "listen on the network", "run a program", "start a process",
             "signal the server")  # fmt: skip
    assert all(f"{door} (it succeeded)" in text for door in doors)


def test_console_script() -> None:
    """The installed command is this module, and a closed pipe ends it quietly."""
    command = f"{sys.executable} -m explainsvc.cli methods | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 1)


def test_a_report_is_signed_verified_and_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger with the public key, the model and the inputs gets the report, and every number of it again."""
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem, public = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(secret)
    (tmp_path / "public.pem").write_bytes(key.public_key().public_bytes(pem, public))
    onnx.save(models.mlp(), tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=numbers(6, 6))
    (tmp_path / "plan.toml").write_text('methods = ["gradient"]\nseed = 5\n')
    model, x = str(tmp_path / "m.onnx"), str(tmp_path / "x.npz")
    out = str(tmp_path / "out")
    audit = ["audit", model, "--inputs", x, "--plan", str(tmp_path / "plan.toml"), "--out", out]
    assert cli.main([*audit, "--sign-key", str(tmp_path / "key.pem")]) == 0
    verified = str(tmp_path / "verified.json")
    assert cli.main(["verify", f"{out}/report.dsse.json", "--key", str(tmp_path / "public.pem"), "--out", verified]) == 0
    assert Path(verified).read_bytes() == Path(out, "report.json").read_bytes()
    assert json.loads(Path(verified).read_text())["header"]["seed"] == 5
    capsys.readouterr()
    assert cli.main(["replay", verified, model, "--inputs", x]) == 0
    assert "all equal" in capsys.readouterr().out
    forged = Path(verified).read_text().replace('"seed": 5', '"seed": 6')
    Path(verified).write_text(forged)
    assert cli.main(["replay", verified, model, "--inputs", x]) == 1
