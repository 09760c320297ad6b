"""Reading models: where they come from, what is refused and how."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import explainsvc
from explainsvc.errors import ExplainsvcError, ExternalDataForbidden, ModelMalformed, ModelUnsupported
from explainsvc.graph import passes
from tests import models

X = models.numbers(3, 6)


def predicted(model: explainsvc.Model) -> models.Array:
    """The model's answer on X."""
    return model.predict({"x": X})["y"]


def complete(error: ExplainsvcError) -> None:
    """An error says what was wrong, and what was expected or what to do."""
    assert error.what
    assert error.expected or error.to_do


def test_path_bytes_and_proto_are_one_model(tmp_path: Path) -> None:
    """The three ways in give one digest, that of the file's bytes, and the same answer."""
    raw = models.mlp().SerializeToString(deterministic=True)
    path = tmp_path / "model.onnx"
    path.write_bytes(raw)
    loaded = [explainsvc.load(source) for source in (path, str(path), raw, onnx.ModelProto.FromString(raw))]
    assert {model.digest for model in loaded} == {hashlib.sha256(raw).hexdigest()}
    for model in loaded[1:]:
        np.testing.assert_array_equal(predicted(model), predicted(loaded[0]))


def test_a_given_proto_is_not_changed() -> None:
    """Loading copies: the caller's proto keeps its external data outside."""
    proto, files = models.external()
    before = proto.SerializeToString(deterministic=True)
    explainsvc.load(proto, external_data=files)
    assert proto.SerializeToString(deterministic=True) == before


def test_external_data_beside_and_by_bytes_are_one_model(tmp_path: Path) -> None:
    """External data is found beside the file or taken from the caller; answer and digest are the same."""
    proto, files = models.external("sub/weights.bin")
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights.bin").write_bytes(files["sub/weights.bin"])
    beside, given = explainsvc.load(path), explainsvc.load(path.read_bytes(), external_data=files)
    assert beside.digest == given.digest
    assert beside.size_bytes == given.size_bytes == len(path.read_bytes()) + len(files["sub/weights.bin"])
    np.testing.assert_array_equal(predicted(beside), predicted(explainsvc.load(models.mlp())))


def test_digest_covers_the_external_data() -> None:
    """Other weights in the external file are another model; files that the model does not use are not part of it."""
    proto, files = models.external()
    changed = {"weights.bin": bytes(len(files["weights.bin"]))}
    plain = explainsvc.load(proto, external_data=files).digest
    assert explainsvc.load(proto, external_data=changed).digest != plain
    assert explainsvc.load(proto, external_data=files | {"notes.txt": b"hello"}).digest == plain


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    """A file that is not there is an error that names it, from a path as from bytes."""
    proto, _ = models.external("lost.bin")
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    for source in (tmp_path / "model.onnx", proto):
        with pytest.raises(ExternalDataForbidden, match=r"lost\.bin") as caught:
            explainsvc.load(source)
        complete(caught.value)


@pytest.mark.parametrize("location", ["../secret", "a/../../secret", "/etc/hostname", "..\\secret", "C:secret", "", "a\0b"])
def test_external_data_outside_is_refused(tmp_path: Path, location: str) -> None:
    """A location that is absolute or climbs out is refused before any file is opened, whoever supplies the bytes."""
    proto, files = models.external(location)
    (tmp_path / "secret").write_bytes(files[location])
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner" / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    for source, given in ((path, None), (proto, files)):
        with pytest.raises(ExternalDataForbidden) as caught:
            explainsvc.load(source, external_data=given)
        complete(caught.value)


def test_a_link_to_outside_is_refused(tmp_path: Path) -> None:
    """A symbolic link beside the model does not lead out of its folder."""
    proto, files = models.external()
    (tmp_path / "secret").write_bytes(files["weights.bin"])
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "weights.bin").symlink_to(tmp_path / "secret")
    (tmp_path / "inner" / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ExternalDataForbidden, match="link") as caught:
        explainsvc.load(tmp_path / "inner" / "model.onnx")
    complete(caught.value)


@pytest.mark.parametrize("cut", [1, 10_000])
def test_a_range_beyond_the_file_is_refused(cut: int) -> None:
    """External data that is too short for its tensors is an error, not zeros."""
    proto, files = models.external()
    short = files["weights.bin"][:-cut]
    with pytest.raises(ExternalDataForbidden, match="do not exist") as caught:
        explainsvc.load(proto, external_data={"weights.bin": short})
    complete(caught.value)


@pytest.mark.parametrize("key", ["offset", "length"])
def test_a_place_that_is_no_number_is_malformed(key: str) -> None:
    """Offset and length of external data are text in the file."""
    proto, files = models.external()
    tensor = next(t for t in proto.graph.initializer if t.external_data)
    kept = [entry for entry in tensor.external_data if entry.key != key]
    del tensor.external_data[:]
    tensor.external_data.extend(kept)
    tensor.external_data.add(key=key, value="Loop")
    with pytest.raises(ModelMalformed, match="Loop") as caught:
        explainsvc.load(proto, external_data=files)
    complete(caught.value)


def _in_branch(tensor: TensorProto) -> list[onnx.NodeProto]:
    """A node with a subgraph that holds the tensor."""
    out = helper.make_tensor_value_info("k", TensorProto.FLOAT, [2])
    body = helper.make_graph([helper.make_node("Identity", ["t"], ["k"])], "body", [], [out], [tensor])
    flag = helper.make_node("Constant", [], ["flag"], value=numpy_helper.from_array(np.array(True)))
    return [flag, helper.make_node("If", ["flag"], ["k"], then_branch=body, else_branch=body)]


def _in_constant(tensor: TensorProto) -> list[onnx.NodeProto]:
    """A Constant node that holds the tensor."""
    return [helper.make_node("Constant", [], ["k"], value=tensor)]


@pytest.mark.parametrize("in_function", [False, True], ids=["graph", "function"])
@pytest.mark.parametrize("holder", [_in_branch, _in_constant])
def test_external_tensors_are_found_wherever_they_hide(holder: object, in_function: bool) -> None:
    """Tensors in attributes, subgraphs and functions are read from the given bytes, and refused when they point outside."""
    assert callable(holder)
    for location, allowed in (("k.bin", True), ("../k.bin", False)):
        tensor = numpy_helper.from_array(np.zeros(2, np.float32), "t")
        models.point_outside(tensor, location, 0, 8)
        nodes = [*holder(tensor), helper.make_node("Add", ["x", "k"], ["y"])]
        value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 2]) for n in "xy"]
        opset = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        functions = [helper.make_function("local", "shift", ["x"], ["y"], nodes, opset[:1])] if in_function else []
        graph = [helper.make_node("shift", ["x"], ["y"], domain="local")] if in_function else nodes
        proto = helper.make_model(helper.make_graph(graph, "g", value[:1], value[1:]), opset_imports=opset,
                                  functions=functions, ir_version=9)  # fmt: skip
        files = {location: np.array([1, -1], np.float32).tobytes()}
        if not allowed:
            with pytest.raises(ExternalDataForbidden):
                explainsvc.load(proto, external_data=files)
            continue
        answer = explainsvc.load(proto, external_data=files).predict({"x": np.zeros((1, 2), np.float32)})["y"]
        np.testing.assert_array_equal(answer, [[1, -1]])


NOT_ONNX = {
    "empty": b"",
    "text": b"this is not a model",
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00",
    "cut": models.mlp().SerializeToString()[:-100],
    "cut short": models.mlp().SerializeToString()[:40],
    "no graph": onnx.ModelProto(ir_version=9).SerializeToString(),
    "empty graph": helper.make_model(onnx.GraphProto()).SerializeToString(),
}


@pytest.mark.parametrize("raw", NOT_ONNX.values(), ids=NOT_ONNX.keys())
def test_what_is_not_onnx_is_malformed(tmp_path: Path, raw: bytes) -> None:
    """Bytes that are no complete model are refused as malformed, from a path too, where the error names the file."""
    path = tmp_path / "thing.onnx"
    path.write_bytes(raw)
    for source in (raw, path):
        with pytest.raises(ModelMalformed) as caught:
            explainsvc.load(source)
        complete(caught.value)


@pytest.mark.parametrize("name", ["absent.onnx", ""])
def test_a_path_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    """A missing file or a folder gives a typed error with the path in it."""
    with pytest.raises(ModelMalformed) as caught:
        explainsvc.load(tmp_path / name)
    assert caught.value.where == str(tmp_path / name)
    complete(caught.value)


def _cyclic() -> onnx.ModelProto:
    return models.build("g (float[N, 2] x) => (float[N, 2] y) { a = Add (x, b)  b = Relu (a)  y = Relu (b) }")


def _dangling() -> onnx.ModelProto:
    return models.build("g (float[N, 2] x) => (float[N, 2] y) { y = Add (x, nowhere) }")


@pytest.mark.parametrize("make", [_cyclic, _dangling])
def test_what_the_checker_refuses_is_malformed(make: object) -> None:
    """A graph that is not sorted or reads what nothing makes is malformed."""
    assert callable(make)
    with pytest.raises(ModelMalformed) as caught:
        explainsvc.load(make())
    complete(caught.value)


def _operator(name: str, domain: str = "") -> onnx.ModelProto:
    proto = models.build("g (float[N, 2] x) => (float[N, 2] y) { [strange] y = Relu (x) }")
    proto.graph.node[0].op_type, proto.graph.node[0].domain = name, domain
    proto.opset_import.extend([helper.make_opsetid(domain, 1)] if domain else [])
    return proto


def _opset(version: int) -> onnx.ModelProto:
    proto = models.mlp()
    proto.opset_import[0].version = version
    return proto


def _bfloat_output() -> onnx.ModelProto:
    return models.build(f"g (float[N, 2] x) => (bfloat16[N, 2] y) {{ y = Cast <to = {TensorProto.BFLOAT16}> (x) }}")


def _declared(kind: str) -> onnx.ModelProto:
    """An inner value of a type that there is not, or that onnx_ir has no words for."""
    proto = models.build("g (float[N, 2] x) => (float[N, 2] y) { h = Relu (x)  y = Relu (h) }")
    declared = proto.graph.value_info.add(name="h").type
    if kind == "map":
        declared.map_type.key_type = TensorProto.INT64
        declared.map_type.value_type.tensor_type.elem_type = TensorProto.FLOAT
    else:
        declared.tensor_type.elem_type = 127
    return proto


UNSUPPORTED = {
    "inner value of no known type": (_declared("unknown"), "127"),
    "inner value that is said to be a map": (_declared("map"), "map"),
    "output that numpy cannot hold": (_bfloat_output(), "bfloat16"),
    "operator": (_operator("Frobnicate"), "Frobnicate"),
    "domain": (_operator("Relu", "acme.custom"), "acme.custom"),
    "opset from the future": (_opset(99), "99"),
    "opset zero": (_opset(0), "0"),
}


@pytest.mark.parametrize(("proto", "named"), UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_what_onnxruntime_cannot_run_is_unsupported(proto: onnx.ModelProto, named: str) -> None:
    """An unknown operator, domain or opset is refused by an error that names it."""
    with pytest.raises(ModelUnsupported, match=named) as caught:
        explainsvc.load(proto)
    complete(caught.value)


@pytest.mark.parametrize("kind", ["unknown", "map"])
def test_what_onnx_ir_cannot_read_is_unsupported(kind: str) -> None:
    """Also where onnxruntime does not mind: its own reason is passed on."""
    with pytest.raises(ModelUnsupported, match=r"onnx_ir cannot read it: .*(127|Map)") as caught:
        passes.read(_declared(kind))
    complete(caught.value)


def test_bfloat16_inside_is_run_in_float32() -> None:
    """Operators in bfloat16 between float ends are run and explained in float32, and the result says so."""
    graph = f"""g (float[N, 2] x) => (float[N, 2] y) {{
      h = Cast <to = {TensorProto.BFLOAT16}> (x)  [square] s = Mul (h, h)  y = Cast <to = 1> (s)
    }}"""
    x = np.array([[1.0, -3.0]], np.float32)
    found = explainsvc.load(models.build(graph)).explain({"x": x}, target=1)
    np.testing.assert_allclose(found.values["x"], [[0.0, -6.0]], atol=1e-6)
    assert any("float32" in caveat for caveat in found.caveats)
