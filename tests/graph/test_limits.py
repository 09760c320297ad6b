"""Limits on load: what is refused before anything runs, how fast, and what still passes."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import explainsvc
from explainsvc.errors import ExternalDataForbidden, InvalidParameter, ModelLimitExceeded, ModelMalformed, ModelUnsupported
from explainsvc.graph import limits as limiting
from explainsvc.graph.limits import Limits
from explainsvc.graph.load import load_model
from explainsvc.graph.probe import probe_inputs
from explainsvc.runtime import new_session
from tests import models
from tests.graph import bombs
from tests.graph.bombs import BOOL, INT64, floats, ints, model, node, scalar, value

MEASURED = """
import json, resource, sys, time
import explainsvc
from explainsvc.errors import ExplainsvcError
from tests import models
explainsvc.load(models.mlp()).info  # whatever is imported or allocated late is there
before, found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
for path in sys.argv[1:]:
    start, reason = time.monotonic(), ""
    try:
        explainsvc.load(path)
    except ExplainsvcError as error:
        reason = error.REASON
    found.append([reason, time.monotonic() - start])
print(json.dumps([found, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]))
"""


def test_bombs_are_refused_at_once(tmp_path: Path) -> None:
    """Each of the four is valid ONNX of at most 1.5 kB; its refusal takes at most 2 seconds, and all of them 50 MB."""
    paths = []
    for name, make in bombs.BOMBS.items():
        proto = make()
        if name != "nested functions":  # the full check expands them
            onnx.checker.check_model(proto, full_check=True)
        paths.append(tmp_path / f"{name}.onnx")
        paths[-1].write_bytes(proto.SerializeToString())
        assert paths[-1].stat().st_size < 4000
    done = subprocess.run([sys.executable, "-c", MEASURED, *paths], capture_output=True, text=True, timeout=60, check=True)
    found, megabytes = json.loads(done.stdout)
    assert {reason for reason, _ in found} == {"MODEL_LIMIT_EXCEEDED"}
    assert max(seconds for _, seconds in found) < 2
    assert megabytes < 50


def sized(op_type: str, inputs: str, *stored: TensorProto, x: list[Any] | None = None, **attributes: Any) -> onnx.ModelProto:
    """One node on stored operands, and the input ``x`` where it has a shape."""
    return model([node(op_type, inputs, **attributes)], stored, [] if x is None else [value("x", x)])


BIG = 40_000
LARGE: dict[str, onnx.ModelProto] = {
    "Expand": sized("Expand", "x s", ints(BIG, BIG, name="s"), x=[1, 1]),
    "Expand of an open axis": sized("Expand", "x s", ints(BIG, BIG, name="s"), x=["n", 1]),
    "Expand of an unknown rank": model(
        [node("Gelu", "x", "z", domain="com.microsoft"), node("Expand", "z s")], [ints(BIG, BIG, name="s")], [value("x", [1, 1])],
        domains=["com.microsoft"],
    ),
    "Tile": sized("Tile", "x s", ints(BIG, BIG, name="s"), x=[1, 1]),
    "Tile of open axes": sized("Tile", "x s", ints(BIG, BIG, name="s"), x=["n", "m"]),
    "Pad": sized("Pad", "x s", ints(0, 0, BIG, BIG, name="s"), x=[1, 1]),
    "Pad of an open axis": sized("Pad", "x s", ints(0, 0, BIG, BIG, name="s"), x=["n", 1]),
    "Resize by sizes": sized("Resize", "x - - s", ints(1, 1, BIG, BIG, name="s"), x=[1, 1, 2, 2]),
    "Resize of open axes": sized("Resize", "x - s", floats(1, 1, BIG, BIG, name="s"), x=["n", 1, "h", "w"]),
    "Range": model([node("Range", "a b c")], [scalar(0, "a"), scalar(2**40, "b"), scalar(1, "c")], kind=INT64),
    "OneHot": model([node("OneHot", "x d v")], [scalar(2**40, "d"), floats(0, 1, name="v")], [value("x", [3], INT64)]),
    "RandomNormal": sized("RandomNormal", "", shape=[BIG, BIG]),
    "RandomUniform": sized("RandomUniform", "", shape=[BIG, BIG]),
    "HannWindow": sized("HannWindow", "n", scalar(2**40, "n")),
    "CenterCropPad": model([node("CenterCropPad", "x s")], [ints(BIG, BIG, name="s")], [value("x", [1, 1])], opset=20),
    "AffineGrid": model([node("AffineGrid", "x s")], [ints(1, 1, BIG, BIG, name="s")], [value("x", [1, 2, 3])], opset=20),
    "input": sized("Relu", "x", x=[BIG, BIG]),
    "MatMul": sized("MatMul", "x r", numpy_helper.from_array(np.ones((1, BIG), np.float32), "r"), x=[BIG, 1]),
    "ConvTranspose": sized("ConvTranspose", "x w", numpy_helper.from_array(np.ones((1, 1, 2, 2), np.float32), "w"),
                           x=[1, 1, 2, 2], strides=[BIG, BIG]),
    "Pad of com.microsoft": model(
        [node("Pad", "x s", domain="com.microsoft")], [ints(0, 0, BIG, BIG, name="s")], [value("x", [1, 1])],
        domains=["com.microsoft"],
    ),
}  # fmt: skip


def refused(proto: onnx.ModelProto, limits: Limits | None = None) -> ModelLimitExceeded:
    """The refusal of a model, by the loader alone: no onnxruntime."""
    with pytest.raises(ModelLimitExceeded) as caught:
        load_model(proto, limits=limits)
    assert caught.value.what
    assert caught.value.expected
    assert "EXPLAINSVC_LIMIT_" in caught.value.to_do
    return caught.value


@pytest.mark.parametrize("proto", LARGE.values(), ids=LARGE.keys())
def test_large_values_are_refused(proto: onnx.ModelProto) -> None:
    """A value over the limit is refused by name, whichever operator would make it."""
    assert 'node "y"' in refused(proto).where or 'input "x"' in refused(proto).where


def through(nodes: list[onnx.NodeProto], stored: list[TensorProto]) -> onnx.ModelProto:
    """A ConstantOfShape whose shape ``s`` is computed."""
    return model([*nodes, node("ConstantOfShape", "s")], stored)


def _doubling(times: int) -> onnx.ModelProto:
    names = ["v0", *(f"v{i}" for i in range(1, times)), "y"]
    nodes = [node("Concat", f"{a} {a}", b, axis=0) for a, b in itertools.pairwise(names)]
    return model(nodes, [ints(1, 2, name="v0")], kind=INT64)


def _in_function(argument: bool) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 17)]
    if argument:
        function = helper.make_function("f", "make", ["s"], ["y"], [node("ConstantOfShape", "s")], opsets)
        return model([node("make", "s", domain="f")], [ints(BIG, BIG, name="s")], [], [function], ["f"])
    inner = node("Constant", "", "s")
    inner.attribute.add(name="value_ints", ref_attr_name="size", type=onnx.AttributeProto.INTS)
    function = helper.make_function("f", "make", [], ["y"], [inner, node("ConstantOfShape", "s")], opsets, ["size"])
    return model([node("make", "", domain="f", size=[BIG, BIG])], [], [], [function], ["f"])


def _in_branch() -> onnx.ModelProto:
    body = helper.make_graph([node("ConstantOfShape", "s", "k")], "b", [], [value("k")])
    flag = value("x", [], BOOL)
    return model([node("If", "x", then_branch=body, else_branch=body)], [ints(BIG, BIG, name="s")], [flag])


COMPUTED = {
    "product": through([node("Mul", "a a", "s")], [ints(200, 200, name="a")]),
    "shape of a constant": through([node("Shape", "a", "b"), node("Mul", "b b", "s")],
                                   [numpy_helper.from_array(np.zeros((300, 300), np.float32), "a")]),
    "cast of a power": through([node("Pow", "a b", "c"), node("Cast", "c", "s", to=INT64)],
                               [floats(200, 200, name="a"), floats(2, name="b")]),
    "gather and concat": through([node("Gather", "a i", "b"), node("Concat", "b b", "s", axis=0)],
                                 [ints(1, BIG, name="a"), ints(1, name="i")]),
    "a sum too long to follow": through([node("ReduceSum", "a", "s", keepdims=1)], [ints(*[10_000_000] * 5000, name="a")]),
    "an operator that is not followed": through([node("Sin", "a", "b"), node("Cast", "b", "s", to=INT64)], [floats(1, name="a")]),
    "doubling": _doubling(40),
    "function argument": _in_function(argument=True),
    "attribute of a function": _in_function(argument=False),
    "branch": _in_branch(),
}  # fmt: skip


@pytest.mark.parametrize("proto", COMPUTED.values(), ids=COMPUTED.keys())
def test_computed_sizes_are_followed(proto: onnx.ModelProto) -> None:
    """A size that comes to pass through shape arithmetic, functions or branches is found all the same."""
    assert refused(proto).where


def test_many_folded_values_add_up() -> None:
    """Values computed from constants are each small enough and together too much."""
    nodes = [node("ConstantOfShape", "s", f"v{i}") for i in range(100)] + [node("Sum", " ".join(f"v{i}" for i in range(100)))]
    assert "from constants" in refused(model(nodes, [ints(4000, 4000, name="s")])).what


def loop(
    count: TensorProto | None, condition: TensorProto | None, body: list[onnx.NodeProto], names: str = "i c a d b"
) -> onnx.ModelProto:
    """A loop over one state; the body makes ``d`` (go on) and ``b`` (state) from ``i``, ``c`` and ``a``."""
    i, c, a, d, b = names.split()
    graph = helper.make_graph(body, "body", [value(i, [], INT64), value(c, [], BOOL), value(a, [1])],
                              [value(d, [], BOOL), value(b, [1])])  # fmt: skip
    operands = f"{'-' if count is None else 'n'} {'-' if condition is None else 't'} x"
    return model([node("Loop", operands, body=graph)], [t for t in (count, condition) if t is not None], [value("x", [1])])


TRUE = scalar(True, "t", np.bool_)
STEP = node("Relu", "a", "b")
GO_ON, FALL = node("Identity", "c", "d"), [node("ReduceSum", "a", "z", keepdims=0), node("Cast", "z", "d", to=BOOL)]
ALWAYS = node("Constant", "", "d", value=scalar(True, "k", np.bool_))
ENDLESS: dict[str, onnx.ModelProto] = {
    "no count, no condition": loop(None, None, [ALWAYS, STEP]),
    "no count, constant condition": loop(None, TRUE, [ALWAYS, STEP]),
    "no count, not not true": loop(None, TRUE, [node("Not", "c", "n"), node("Not", "n", "d"), STEP]),
    "a large count": loop(scalar(2**60, "n"), TRUE, [GO_ON, STEP]),
    "a large count, no condition": loop(scalar(10**7, "n"), None, [ALWAYS, STEP]),
}
TO_ZERO = node("Sub", "a a", "b")
ENDING: dict[str, onnx.ModelProto] = {
    "a small count": loop(scalar(3, "n"), TRUE, [GO_ON, STEP]),
    "a condition that the body computes": loop(None, TRUE, [*FALL, TO_ZERO]),
    "a large count and a condition": loop(scalar(2**63 - 1, "n"), TRUE, [*FALL, TO_ZERO]),
}


@pytest.mark.parametrize("proto", ENDLESS.values(), ids=ENDLESS.keys())
def test_endless_loops_are_refused(proto: onnx.ModelProto) -> None:
    """A loop that only its count could end has a small count, or is refused."""
    assert "(Loop)" in refused(proto).where


@pytest.mark.parametrize("proto", ENDING.values(), ids=ENDING.keys())
def test_loops_that_end_are_loaded(proto: onnx.ModelProto) -> None:
    """While loops, and for loops of modest counts, run."""
    assert explainsvc.load(proto).predict({"x": np.zeros(1, np.float32)})["y"] == 0


def test_loops_that_only_some_inputs_end_are_not_waited_for() -> None:
    """A while loop that our guesses at inputs never end is broken off: the model has no probe input, and runs on real ones."""
    session = new_session(loop(None, TRUE, [*FALL, STEP]).SerializeToString())
    assert session.run({"x": np.zeros(1, np.float32)})["y"] == 0
    assert probe_inputs(session, seconds=0.5) is None


def test_nested_loops_multiply() -> None:
    """A thousand iterations of ten thousand are ten million."""
    body = [node("Identity", "c2", "d2"), node("Relu", "a2", "b2")]
    inner = loop(scalar(10_000, "n"), TRUE, body, "i2 c2 a2 d2 b2")
    (call,), stored = inner.graph.node, list(inner.graph.initializer)
    call.input[2], call.output[0] = "a", "b"
    outer = loop(scalar(1000, "m"), TRUE, [GO_ON, call])
    outer.graph.node[0].input[0] = "m"
    outer.graph.initializer.extend(t for t in stored if t.name == "n")
    assert "10,000,000" in refused(outer).what


def test_functions_that_call_themselves_are_malformed() -> None:
    """Recursion, direct or through another function, is refused and not followed."""
    for names in (["f0"], ["f0", "f1"]):
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
        functions = [
            helper.make_function("f", name, ["x"], ["y"], [node(names[i - 1], "x", domain="f")], opsets)
            for i, name in enumerate(names)
        ]
        proto = model([node("f0", "x", domain="f")], [], [value("x", [1])], functions, ["f"])
        with pytest.raises(ModelMalformed, match="calls itself"):
            load_model(proto)


def nested_branches(depth: int) -> onnx.ModelProto:
    """If within If."""
    nodes = [node("Relu", "x", "y0")]
    for level in range(depth):
        graph = helper.make_graph(nodes, "b", [], [value(f"y{level}")])
        nodes = [node("If", "c", f"y{level + 1}", then_branch=graph, else_branch=graph)]
    nodes.append(node("Identity", f"y{depth}"))
    return model(nodes, [], [value("x", [1]), value("c", [], BOOL)])


SMALL = models.mlp()
RAW = len(SMALL.SerializeToString())
STORED = sum(4 * int(np.prod(t.dims)) for t in SMALL.graph.initializer)


@pytest.mark.parametrize(
    ("proto", "limits"),
    [
        (SMALL, Limits(file_bytes=RAW - 1)),
        (SMALL, Limits(nodes=len(SMALL.graph.node) - 1)),
        (SMALL, Limits(initializer_bytes=STORED - 1)),
        (SMALL, Limits(value_bytes=8)),
        (bombs.nested_functions(2, 4), Limits(expanded_nodes=20)),
        (bombs.nested_functions(2, 4), Limits(subgraph_depth=3)),
        (nested_branches(4), Limits(subgraph_depth=3)),
        (ENDING["a small count"], Limits(loop_trips=2)),
        (sized("ConstantOfShape", "s", ints(100, name="s")), Limits(folded_bytes=300)),
    ],
    ids=["file", "nodes", "initializers", "values", "expansion", "calls", "branches", "trips", "folded"],
)
def test_every_limit_is_configurable(proto: onnx.ModelProto, limits: Limits) -> None:
    """What the defaults let pass, a lower limit refuses, and its refusal names it."""
    load_model(proto)
    changed = [f for f, a, b in zip(vars(limits), vars(limits).values(), vars(Limits()).values(), strict=True) if a != b]
    assert changed[0] in refused(proto, limits).to_do


def test_opsets_and_domains_are_configurable() -> None:
    """The range of opsets and the list of domains can be narrowed, or a domain allowed: onnxruntime has the next word."""
    opset = SMALL.opset_import[0].version
    for limits in (Limits(oldest_opset=opset + 1), Limits(newest_opset=opset - 1), Limits(domains=("ai.onnx.ml",))):
        with pytest.raises(ModelUnsupported):
            load_model(SMALL, limits=limits)
    custom = model([node("Strange", "x", domain="acme")], [], [value("x", [1])], domains=["acme"])
    with pytest.raises(ModelUnsupported, match="domain"):
        load_model(custom)
    load_model(custom, limits=Limits(domains=("acme",)))


def test_domains_are_those_of_onnxruntime() -> None:
    """The domains that are allowed by default are the ones for which the installed onnxruntime has operators."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    registered = {schema.domain or "ai.onnx" for schema in state.get_all_operator_schema()}
    assert set(Limits().domains) == registered, ort.__version__


def test_the_file_is_measured_before_it_is_read(tmp_path: Path) -> None:
    """A file over the limit need not even be ONNX to be refused for its size."""
    path = tmp_path / "large.onnx"
    path.write_bytes(b"zebra" * 1000)
    for source in (path, path.read_bytes()):
        with pytest.raises(ModelLimitExceeded, match="at most 100 bytes"):
            explainsvc.load(source, limits=Limits(file_bytes=100))


def test_external_data_counts(tmp_path: Path) -> None:
    """External data is part of the size, and one range that a thousand tensors share is a thousand copies."""
    proto, files = models.external()
    size = len(proto.SerializeToString()) + len(files["weights.bin"])
    load_model(proto, files, Limits(file_bytes=size))
    with pytest.raises(ModelLimitExceeded, match=f"at most {size - 1} bytes"):
        load_model(proto, files, Limits(file_bytes=size - 1))
    shared = model([node("Relu", "x")], [], [value("x", [1])])
    for index in range(1000):
        tensor = TensorProto(name=f"t{index}", data_type=TensorProto.FLOAT, dims=[1])
        models.point_outside(tensor, "weights.bin", 0, 4_000)
        shared.graph.initializer.append(tensor)
    assert refused_files(shared, {"weights.bin": bytes(4_000)}, Limits(initializer_bytes=1_000_000)) is not None


def refused_files(proto: onnx.ModelProto, files: dict[str, bytes], limits: Limits) -> ModelLimitExceeded:
    """The refusal of a model with external data."""
    with pytest.raises(ModelLimitExceeded) as caught:
        load_model(proto, files, limits)
    return caught.value


def test_uploads_have_flat_names() -> None:
    """Where folders are not allowed, external data in one is refused by name."""
    proto, files = models.external("sub/weights.bin")
    load_model(proto, files)
    with pytest.raises(ExternalDataForbidden, match="flat"):
        load_model(proto, files, Limits(nested_external_data=False))


def _claiming() -> TensorProto:
    return TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[10_000, 10_000], raw_data=b"1234")


def test_tensors_hold_what_they_declare() -> None:
    """A tensor of four bytes that claims a hundred million elements is malformed; one of negative size too."""
    for tensor in (_claiming(), TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[-1], raw_data=b"1234"),
                   TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[3], float_data=[1.0])):  # fmt: skip
        with pytest.raises(ModelMalformed, match='tensor "t"'):
            load_model(model([node("Relu", "x")], [tensor], [value("x", [1])]))


def test_sparse_external_data_is_refused() -> None:
    """A sparse tensor must lie inside the model, its values and its indices, whether or not there is such a file."""
    for part in ("values", "indices"):
        proto = sized("Relu", "x", x=[2])
        stored = helper.make_sparse_tensor(floats(1.0, name="s"), ints(0, name="i"), [4])
        tensor = getattr(stored, part)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")
        proto.graph.sparse_initializer.append(stored)
        with pytest.raises(ExternalDataForbidden, match="sparse"):
            load_model(proto, {"weights.bin": bytes(64)})


def test_sparse_tensors_count_as_dense() -> None:
    """A sparse tensor takes what its dimensions say once it is loaded."""
    values, indices = floats(1, name="w"), ints(5, name="i")
    proto = model([node("Add", "x w")], [], [value("x", [1])])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [100_000, 100_000]))
    assert "initializer_bytes" in refused(proto).to_do


@pytest.mark.parametrize("kind", [k for k in TensorProto.DataType.values() if k not in (0, 8)])
def test_every_type_has_a_size(kind: int) -> None:
    """The bytes of a tensor are those that onnx writes for it."""
    array = numpy_helper.from_array(np.zeros(8, helper.tensor_dtype_to_np_dtype(kind)), "t")
    assert array.data_type == kind
    assert limiting.declared_bytes(kind, [8]) == len(array.raw_data)


def test_limits_travel_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process writes into the environment, the next one reads; nonsense is refused, all of it together."""
    limits = replace(Limits(), nodes=7, domains=("ai.onnx", "acme"), nested_external_data=False)
    assert limiting.configured(limits.environment()) == limits
    monkeypatch.setenv("EXPLAINSVC_LIMIT_NODES", "1")
    refused(SMALL)
    with pytest.raises(InvalidParameter) as caught:
        limiting.configured({"EXPLAINSVC_LIMIT_NODES": "many", "EXPLAINSVC_LIMIT_VALUE_BYTES": "-1"})
    assert {v.field for v in caught.value.violations} == {"EXPLAINSVC_LIMIT_NODES", "EXPLAINSVC_LIMIT_VALUE_BYTES"}


def _vgg16() -> onnx.ModelProto:
    """VGG-16's dense layers: 500 MB of weights, zeros here."""
    shapes = [(4096, 25088), (4096, 4096), (1000, 4096)]
    stored = [numpy_helper.from_array(np.zeros(shape, np.float32), f"w{i}") for i, shape in enumerate(shapes)]
    nodes = [node("Gemm", f"{a} w{i}", b, transB=1) for i, (a, b) in enumerate([("x", "a"), ("a", "b"), ("b", "y")])]
    return model(nodes, stored, [value("x", ["n", 25088])])


def _causal_mask() -> onnx.ModelProto:
    """What exporters write for a causal mask of a symbolic length."""
    nodes = [node("Shape", "x", "s"), node("Gather", "s one", "n"), node("Unsqueeze", "n zero", "m"),
             node("Concat", "m m", "nn", axis=0), node("ConstantOfShape", "nn", "k"), node("Trilu", "k", "y")]  # fmt: skip
    return model(nodes, [scalar(1, "one"), ints(0, name="zero")], [value("x", ["batch", "sequence"])])


def _upscale() -> onnx.ModelProto:
    return sized("Resize", "x - s", floats(1, 1, 4, 4, name="s"), x=["n", 3, "h", "w"], mode="nearest")


LEGITIMATE: dict[str, Callable[[], onnx.ModelProto]] = {"VGG-16": _vgg16, "causal mask": _causal_mask, "upscaling": _upscale}


@pytest.mark.parametrize("make", LEGITIMATE.values(), ids=LEGITIMATE.keys())
def test_what_is_merely_large_is_loaded(make: Callable[[], onnx.ModelProto]) -> None:
    """Large weights, masks of symbolic lengths and fourfold upscaling pass."""
    load_model(make())
