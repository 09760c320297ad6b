"""Picture files in, drawings out: decoded and drawn by the worker as this process would."""

from __future__ import annotations

import io
import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

import explainsvc
from explainpb.v1 import explanation_service_pb2 as pb
from explainpb.v1 import model_service_pb2
from explainpb.v1.audit_service_pb2_grpc import AuditServiceStub
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from explainpb.v1.model_service_pb2_grpc import ModelServiceStub
from explainsvc import cli, errors
from explainsvc.client import Client
from explainsvc.codec.audits import AuditQuestion, to_audit_request
from explainsvc.codec.books import from_ledger
from explainsvc.codec.pictures import from_preprocessing, to_images
from explainsvc.codec.questions import Question
from explainsvc.codec.results import from_row
from explainsvc.codec.tensors import from_named
from explainsvc.drawings import Answers, Given, Wishes
from explainsvc.explanation_client import Asked
from explainsvc.images import Preprocessing, preprocess
from tests.service import models
from tests.service.processes import workers
from tests.service.test_loopback import assert_equal

PIXELS = np.random.default_rng(1).integers(0, 256, (9, 12, 3), np.uint8)


def encoded(form: str, pixels: np.ndarray = PIXELS) -> bytes:
    """The pixels as a file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def header(width: int, height: int) -> bytes:
    """A PNG that claims a size, and has a few bytes for it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


PROFILES = [
    Preprocessing(),
    Preprocessing(1 / 255, (0.5,), (0.25,), resize="stretch"),
    Preprocessing(1.0, (104.0,), bgr=True, resize="pad", layout="nchw"),
    Preprocessing(shorter=8, channels=1),
]


@pytest.mark.parametrize("how", PROFILES, ids=str)
def test_files_are_the_tensors_that_they_become(client: Client, digest: str, how: Preprocessing) -> None:
    """A JPEG and a PNG, with any profile, are explained as the batch of their tensors."""
    files = [encoded("JPEG"), encoded("PNG")]
    asked = Asked(digest, Question("gradient", 1), images={"": files}, preprocessing=how)
    x = np.concatenate([preprocess(data, ("batch", 1, 6, 6), how=how).tensor for data in files])
    assert x.shape == (2, 1, 6, 6)
    assert_equal(client.explain(digest, {"x": x}, target=1), client.explanations.explain(asked))


def test_files_in_other_requests(client: Client, address: str, digest: str) -> None:
    """Predict, GetLedger and CreateAudit take files as Explain does."""
    files = [encoded("PNG", pixels) for pixels in (PIXELS, PIXELS[::-1].copy(), PIXELS[:, ::-1].copy())]
    x = {"x": np.concatenate([preprocess(data, ("batch", 1, 6, 6)).tensor for data in files])}
    images = to_images({"x": files}, None)
    question = AuditQuestion(methods=["gradient"], checks=["continuity"])
    with grpc.insecure_channel(address) as channel:
        stub = ExplanationServiceStub(channel)
        outputs = from_named(stub.Predict(pb.PredictRequest(model_digest=digest, images=images)).outputs)
        asked = pb.GetLedgerRequest(model_digest=digest, images=images, method="lrp_epsilon")
        books = from_ledger(stub.GetLedger(asked).ledger)
        request = to_audit_request(digest, {}, question, keep_running=False)
        request.images.extend(images)
        *_, last = AuditServiceStub(channel).CreateAudit(request)
    np.testing.assert_array_equal(outputs["y"], client.predict(digest, x)["y"])
    assert books.to_json() == client.ledger(digest, x, "lrp_epsilon").to_json()
    report = client.audit(digest, x, methods=["gradient"], checks=["continuity"])
    assert [from_row(row).to_json() for row in last.finished.rows] == [row.to_json() for row in report.rows]


def test_a_model_keeps_its_profile(
    client: Client, address: str, digest: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Files that come without a profile get the model's, in every request; one that comes with them stays; all can see it."""
    how, data = Preprocessing(1.0, (104.0,), (2.0,), bgr=True, resize="stretch"), encoded("PNG")
    bare, question = (
        Asked(digest, Question("gradient", 1), images={"x": [data]}),
        AuditQuestion(methods=["gradient"], checks=["continuity"]),
    )
    audit = to_audit_request(digest, {}, question, keep_running=False)
    audit.images.extend(to_images({"x": 3 * [data]}, None))
    default, kept = (client.explanations.explain(replace(bare, preprocessing=one)) for one in (Preprocessing(), how))
    assert not np.array_equal(default.values["x"], kept.values["x"])
    with grpc.insecure_channel(address) as channel:
        stub, audits = ExplanationServiceStub(channel), AuditServiceStub(channel)
        explicit = pb.PredictRequest(model_digest=digest, images=to_images({"x": [data]}, how))
        outputs = stub.Predict(explicit)
        rows = audits.CreateAudit(audit)
        before = [from_row(row).to_json() for row in [*rows][-1].finished.rows]
        try:
            client.set_preprocessing(digest, how)
            assert client.preprocessing(digest) == how
            inspected = ModelServiceStub(channel).InspectModel(model_service_pb2.InspectModelRequest(digest=digest))
            assert from_preprocessing(inspected.preprocessing) == how
            assert_equal(client.explanations.explain(bare), kept)
            assert_equal(client.explanations.stream(bare), kept)
            assert_equal(dict(client.explanations.batch({"a": bare}))["a"], kept)
            assert_equal(client.explanations.explain(replace(bare, preprocessing=Preprocessing())), default)
            assert stub.Predict(pb.PredictRequest(model_digest=digest, images=to_images({"x": [data]}, None))) == outputs
            after = [from_row(row).to_json() for row in [*audits.CreateAudit(audit)][-1].finished.rows]
            assert after != before
        finally:
            client.set_preprocessing(digest, None)
    assert client.preprocessing(digest) is None
    assert_equal(client.explanations.explain(bare), default)
    with pytest.raises(errors.InvalidInput, match="shorter_side"):
        client.set_preprocessing(digest, Preprocessing(resize="pad", shorter=3))
    (tmp_path / "linear.onnx").write_bytes(models.linear())
    command = ["--server", address, "preprocessing", str(tmp_path / "linear.onnx")]
    assert [cli.main([*command, "--mean", "0.5", "--bgr"]), cli.main([*command, "--forget"]), cli.main(command[2:])] == [0, 0, 2]
    shown, forgotten = capsys.readouterr().out.splitlines()
    assert ("mean=(0.5,)" in shown, "bgr=True" in shown, "nothing is kept" in forgotten) == (True, True, True)


def test_a_command_reads_a_picture_by_the_kept_profile(
    client: Client, address: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without options of pixels, and with the same ones; others are refused, and decide alone where nothing is kept."""
    how, (model, photo) = Preprocessing(1 / 255, (0.5,), (0.25,)), (tmp_path / "model.onnx", tmp_path / "photo.png")
    model.write_bytes(models.linear_of_pictures())
    photo.write_bytes(encoded("PNG"))
    digest = client.upload(str(model))
    command = [
        "--server",
        address,
        "explain",
        str(model),
        "--inputs",
        str(photo),
        "--method",
        "input_x_gradient",
        "--target",
        "1",
    ]
    same, other = ["--scale", "1/255", "--mean", "0.5", "--std", "0.25"], ["--mean", "0.25"]

    def values(*options: str) -> Any:
        assert cli.main([*command, "--json", *options]) == 0
        return json.loads(capsys.readouterr().out)["values"]

    plain, asked = values(), values(*same)
    assert plain != asked
    client.set_preprocessing(digest, how)
    try:
        assert values() == asked == values(*same)
        assert cli.main([*command, *other]) == 2
        assert "keeps another preprocessing with the model" in capsys.readouterr().err
    finally:
        client.set_preprocessing(digest, None)
    assert values() == plain


BAD: dict[str, tuple[list[bytes], str]] = {
    "a bomb": ([header(30_000, 30_000)], r'images\["x"\]\[0\].*900000000|30000 × 30000 pixels are too many'),
    "no image": ([encoded("PNG"), b"zebra"], r'images\["x"\]\[1\].*not an image'),
    "a format that strangers may not send": ([encoded("GIF")], "expected JPEG or PNG"),
    "half a file": ([encoded("PNG")[:-40]], "cannot be read"),
    "none": ([], "holds no picture"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(client: Client, digest: str, name: str) -> None:
    """What is no picture, or too large a one, is refused by its place in the request before it is decoded; no worker dies."""
    files, words = BAD[name]
    before = workers().keys()
    with pytest.raises(errors.InvalidInput, match=words):
        client.explanations.explain(Asked(digest, Question("gradient"), images={"x": files}))
    assert workers().keys() == before


def test_bad_profiles(client: Client, digest: str) -> None:
    """Everything wrong with a request's pictures is said at once."""
    data = encoded("PNG")
    asked = Asked(digest, Question("gradient"), {"x": models.image()["x"]}, {"x": [data], "z": [data]})
    with pytest.raises(errors.InvalidInput) as error:
        client.explanations.explain(asked)
    assert [v.field for v in error.value.violations] == ['images["x"]', 'images["z"]']
    how = Preprocessing(mean=(1.0, 2.0), shorter=2)
    with pytest.raises(errors.InvalidInput) as error:
        client.explanations.explain(Asked(digest, Question("gradient"), images={"x": [data]}, preprocessing=how))
    assert [v.field for v in error.value.violations] == ['images["x"][0].preprocessing.shorter_side']


def given(model: explainsvc.Model, feeds: dict[str, Any]) -> Answers:
    """The explanation by this process, to be drawn."""
    pictures = {name: list(values) for name, values in feeds.items()}
    return Answers([model.explain(feeds, "input_x_gradient", 1)], Given(feeds, pictures))


def test_drawings_are_those_of_the_library(client: Client, digest: str, cnn: explainsvc.Model) -> None:
    """The same PNG bytes as drawn here, per item; colours, percentile and kind are those asked for; the rest is counted."""
    x = models.image(3)
    asked = Asked(digest, Question("input_x_gradient", 1), x)
    found = client.explanations.draw(asked, pb.Rendering())
    drawings = given(cnn, x).drawings()
    assert [one.png for one in found] == [one.png() for one in drawings]
    assert [(one.input, one.item, one.kind) for one in found] == [("x", str(i), pb.PICTURE_KIND_IMAGE) for i in range(3)]
    wishes = Wishes(mode="absolute", percentile=80.0, bare=True)
    answers = Answers(given(cnn, x).attributions, given(cnn, x).given, wishes)
    asked_so = pb.Rendering(mode=pb.COLOUR_MODE_ABSOLUTE, percentile=80, without_input=True, max_pictures=1)
    (one,) = client.explanations.draw(asked, asked_so)
    assert one.png == answers.drawings()[0].png()
    assert one.png != found[0].png


def test_bars_and_tokens(client: Client) -> None:
    """A table is drawn as named bars, a sequence of ids as tokens with the texts given."""
    table = Asked(client.upload(models.linear()), Question("gradient", 1), {"x": np.ones((1, 4), np.float32)})
    (bars,) = client.explanations.draw(table, pb.Rendering(names=["age", "height", "weight", "pulse"]))
    words = Asked(client.upload(models.embedding()), Question("occlusion", 1), {"ids": np.ones((1, 5), np.int64)})
    (tokens,) = client.explanations.draw(words, pb.Rendering(tokens=["a", "zebra", "is", "no", "horse"]))
    assert (bars.kind, tokens.kind) == (pb.PICTURE_KIND_BARS, pb.PICTURE_KIND_TOKENS)
    for picture in (bars, tokens):
        assert min(Image.open(io.BytesIO(picture.png)).size) > 50
    with pytest.raises(errors.InvalidParameter, match=r"render: tokens: 2 lines for 1 items|render"):
        client.explanations.draw(table, pb.Rendering(tokens=["a"], kind=pb.PICTURE_KIND_BARS))
    with pytest.raises(errors.InvalidParameter, match=r"render\.percentile"):
        client.explanations.draw(table, pb.Rendering(percentile=101))
