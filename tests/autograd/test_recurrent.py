"""Gradients of LSTM, GRU and RNN: every attribute, every operand, every result.

onnxruntime has no float64 kernels for them and onnx's reference evaluator leaves out lengths, clip and most activation
functions. The truth is the operator reference written step by step in torch, which must also equal what onnxruntime
computes forward; and torch's own layers, where ONNX and torch mean the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from explainsvc.autograd.differentiate import differentiate
from explainsvc.errors import NotDifferentiable
from tests.autograd.harness import Case, build, check, emitted, torch_gradients, wanted
from tests.autograd.recurrent_truth import DEFAULTS, FUNCTIONS, recurrent
from tests.autograd.rows import both, inside, normal, without_ranks

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
RESULTS = {"LSTM": 3, "GRU": 2, "RNN": 2}
STEPS, BATCH, SIZE, HIDDEN = 5, 3, 2, 4


def case(
    op_type: str, output: int = 0, *, lens: Any = None, skip: tuple[int, ...] = (), scale: float = 1, **attributes: Any
) -> Case:
    """All operands of the operator but those in ``skip``; ``scale`` keeps unbounded functions from exploding."""
    d, gates = 2 if attributes.get("direction") == "bidirectional" else 1, GATES[op_type] * HIDDEN
    state = (d, BATCH, HIDDEN)
    operands = [
        normal(STEPS, BATCH, SIZE), scale * inside(d, gates, SIZE), scale * inside(d, gates, HIDDEN, seed=1),
        inside(d, 2 * gates, seed=2),
        None if lens is None else np.array(lens, np.int32), normal(*state, seed=3),
        *([normal(*state, seed=4), inside(d, 3 * HIDDEN, seed=5)] if op_type == "LSTM" else []),
    ]  # fmt: skip
    operands = [None if i in skip else o for i, o in enumerate(operands)]
    while operands[-1] is None:
        operands.pop()
    truth = recurrent(op_type, attributes, output)
    return Case(
        op_type, operands, {"hidden_size": HIDDEN, **attributes}, torch=truth, outputs=RESULTS[op_type], output=output,
        finite_differences=False, name=f"{op_type}[{output}]{'~lens' if lens else ''}-{skip}-{attributes}",
    )  # fmt: skip


def alike(*op_types: str, **options: Any) -> list[Case]:
    """The case for every result of these operators."""
    return [case(o, k, **options) for o in op_types or GATES for k in range(RESULTS[o])]


LENGTHS = [2, 5, 1]
BIDIRECTIONAL = {"direction": "bidirectional"}
ROWS = [
    *alike(),
    *alike(skip=(3, 4, 5, 6, 7)),
    *alike(direction="reverse"),
    *alike(**BIDIRECTIONAL),
    *alike(lens=LENGTHS),
    *alike(lens=LENGTHS, direction="reverse"),
    *alike(lens=[3, 0, 5], **BIDIRECTIONAL),
    *alike(lens=LENGTHS, **BIDIRECTIONAL),
    *alike("GRU", linear_before_reset=1),
    *alike("GRU", linear_before_reset=1, lens=LENGTHS, **BIDIRECTIONAL),
    *alike("LSTM", input_forget=1, skip=(7,)),
    *alike("LSTM", input_forget=1, lens=LENGTHS),
    *alike("LSTM", skip=(6, 7)),
    *alike("LSTM", skip=(3, 5)),
    *alike(clip=0.4),
    *(case(o, scale=0.2, activations=[name] * len(DEFAULTS[o])) for o in GATES for name in FUNCTIONS),
    case("LSTM", activations=["HardSigmoid", "ScaledTanh", "Affine"], activation_alpha=[0.3, 1.5, 0.7],
         activation_beta=[0.4, 0.6, 0.1]),
    case("GRU", activations=["HardSigmoid", "LeakyRelu", "Sigmoid", "Elu"], activation_alpha=[0.3, 0.2, 0.7],
         activation_beta=[0.4], **BIDIRECTIONAL),
    case("RNN", activations=["ScaledTanh"], activation_alpha=[0.8], activation_beta=[0.5], clip=0.5),
    case("RNN", activations=["Tanh", "LeakyRelu"], activation_alpha=[0.3], **BIDIRECTIONAL),
    case("GRU", activations=["sigmoid", "softSign"]),
]  # fmt: skip


@pytest.mark.parametrize("row", both(*ROWS), ids=str)
def test_gradients_of_all_operands(row: Case) -> None:
    """Every operand and result, with static and symbolic shapes, equals autograd through the step-by-step form."""
    check(row)
    _forward_is_the_same(row)


def _forward_is_the_same(row: Case) -> None:
    """What onnxruntime computes is what the truth computes."""
    import torch

    session = ort.InferenceSession(build(row, np.float32).SerializeToString(), providers=["CPUExecutionProvider"])
    arrays = [None if o is None else o.astype(np.float32 if o.dtype.kind == "f" else o.dtype) for o in row.operands]
    (y,) = session.run(None, {f"x{i}": a for i, a in enumerate(arrays) if a is not None})
    assert row.torch is not None
    expected = row.torch(*(None if a is None else torch.tensor(a) for a in arrays))
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-4, atol=2e-5)


def torch_layer(op_type: str, direction: str = "forward") -> Case:
    """torch's own layer: its gates stand in another order (i f c o; r z n), and its GRU resets after the product."""
    import torch

    layer = getattr(torch.nn, op_type)
    order = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2], "RNN": [0]}[op_type]  # ONNX gate k is torch gate order[k]
    given = case(op_type, direction=direction, skip=(7,), **({"linear_before_reset": 1} if op_type == "GRU" else {}))

    def run(x: Any, w: Any, r: Any, b: Any, _: Any, h0: Any, c0: Any = None) -> Any:
        module = layer(SIZE, HIDDEN, bidirectional=direction == "bidirectional").double()
        weights = {}
        for d, suffix in enumerate(["", "_reverse"][: len(w)]):
            for name, t in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), (w[d], r[d], *b[d].chunk(2)), strict=True):
                gates = t.chunk(len(order))
                weights[f"{name}_l0{suffix}"] = torch.cat([gates[order.index(k)] for k in range(len(order))])
        y, _ = torch.func.functional_call(module, weights, (x, (h0, c0) if op_type == "LSTM" else h0))
        return y.reshape(STEPS, BATCH, len(w), HIDDEN).transpose(1, 2)

    return replace(given, torch=run, name=f"torch.nn.{op_type} {direction}")


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("op_type", GATES)
def test_torch_layers_agree(op_type: str, direction: str) -> None:
    """torch.nn.LSTM, GRU and RNN with the same weights have the same results and gradients."""
    row = torch_layer(op_type, direction)
    check(row)
    _forward_is_the_same(row)


@pytest.mark.parametrize("op_type", GATES)
def test_without_static_ranks(op_type: str) -> None:
    """Not even ranks are declared: the operators' own are enough."""
    without_ranks(case(op_type, lens=LENGTHS, **BIDIRECTIONAL))


@pytest.mark.parametrize("op_type", GATES)
def test_a_node_with_one_result(op_type: str) -> None:
    """Only Y is listed."""
    check(replace(case(op_type), outputs=1))


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("op_type", GATES)
def test_all_results_are_used_or_only_the_last(op_type: str, direction: str) -> None:
    """Gradients from all results add up; a Y that the node does not give is asked from it."""
    rows = [case(op_type, k, direction=direction) for k in range(RESULTS[op_type])]
    seeds, total = {}, None
    for row in rows:
        _, gradients, seeds[row.output] = emitted(row)
        total = gradients[0] if total is None else total + gradients[0]
    proto = build(rows[0], np.float32)
    flat = [_dot(proto, f"y{k}", seed) for k, seed in seeds.items()]
    proto.graph.node.append(helper.make_node("Sum", flat, ["all"]))
    np.testing.assert_allclose(_input_gradient(proto, rows[0], "all"), total, rtol=1e-4, atol=1e-5)

    last = build(rows[-1], np.float32)
    names = last.graph.node[0].output
    names[:] = [""] * (len(names) - 1) + [names[-1]]
    expected = emitted(rows[-1])[1][0]
    np.testing.assert_allclose(_input_gradient(last, rows[-1], names[-1], seeds[rows[-1].output]), expected, rtol=1e-5)


def _dot(proto: onnx.ModelProto, name: str, seed: Any) -> str:
    """Appends ⟨seed, value⟩."""
    proto.graph.initializer.append(numpy_helper.from_array(seed, f"seed.{name}"))
    proto.graph.node.append(helper.make_node("Mul", [name, f"seed.{name}"], [f"{name}.weighed"]))
    proto.graph.node.append(helper.make_node("ReduceSum", [f"{name}.weighed"], [f"{name}.dot"], keepdims=0))
    return f"{name}.dot"


def _input_gradient(proto: onnx.ModelProto, row: Case, output: str, seed: Any = None) -> Any:
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    session = ort.InferenceSession(differentiate(proto, ["x0"]).SerializeToString(), providers=["CPUExecutionProvider"])
    seed = np.ones((), np.float32) if seed is None else seed
    return session.run(["explain.x0"], _floats(row) | {"explain.seed": seed})[0]


def _floats(row: Case) -> dict[str, Any]:
    typed = {f"x{i}": o for i, o in enumerate(row.operands) if o is not None}
    return {name: o.astype(np.float32) if o.dtype.kind == "f" else o for name, o in typed.items()}


@pytest.mark.parametrize("lens", [None, LENGTHS], ids=["", "lens"])
@pytest.mark.parametrize("op_type", GATES)
def test_layout_of_the_batch_first(op_type: str, lens: Any) -> None:
    """layout = 1, which onnxruntime refuses to run: the node is replaced by transposed operands before the run."""
    for k in range(RESULTS[op_type]):
        row = case(op_type, k, lens=lens, layout=1, **BIDIRECTIONAL)
        operands = [o.swapaxes(0, 1) if i in (0, 5, 6) else o for i, o in enumerate(row.operands)]
        row = replace(row, operands=operands)
        names = {i: f"x{i}" for i in wanted(row)}
        explained = _time_first(differentiate(build(row, np.float32), list(names.values())))
        session = ort.InferenceSession(explained.SerializeToString(), providers=["CPUExecutionProvider"])
        shape = [(BATCH, STEPS, 2, HIDDEN), (BATCH, 2, HIDDEN), (BATCH, 2, HIDDEN)][k]
        seed = normal(*shape).astype(np.float32)
        found = session.run([f"explain.{n}" for n in names.values()], _floats(row) | {"explain.seed": seed})
        for gradient, expected in zip(found, torch_gradients(row, seed).values(), strict=True):
            np.testing.assert_allclose(gradient, expected, rtol=2e-4, atol=2e-5)


def _time_first(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The forward node with layout 0 between Transposes; no other node changes."""
    at, node = next((i, n) for i, n in enumerate(proto.graph.node) if n.op_type in GATES)
    states = {i: f"{node.input[i]}.plain" for i in (0, 5, 6) if i < len(node.input) and node.input[i]}
    before = [helper.make_node("Transpose", [node.input[i]], [name], perm=[1, 0, 2]) for i, name in states.items()]
    perms = [[2, 0, 1, 3], [1, 0, 2], [1, 0, 2]]
    given = [(i, name) for i, name in enumerate(node.output) if name]
    after = [helper.make_node("Transpose", [f"{name}.plain"], [name], perm=perms[i]) for i, name in given]
    for i, name in states.items():
        node.input[i] = name
    node.output[:] = [name and f"{name}.plain" for name in node.output]
    kept = [a for a in node.attribute if a.name != "layout"]
    del node.attribute[:]
    node.attribute.extend(kept)
    nodes = [*proto.graph.node[:at], *before, node, *after, *proto.graph.node[at + 1 :]]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto


def test_saturated_gates_keep_their_gradient() -> None:
    """1 − tanh² has no digits left at |a| = 9 in float32; the emitted slope has them all."""
    row = case("RNN", skip=(3, 5))
    row = replace(row, operands=[row.operands[0], np.full((1, HIDDEN, SIZE), 4.0), np.zeros((1, HIDDEN, HIDDEN))], wanted=[0])
    _, gradients, seed = emitted(row)
    np.testing.assert_allclose(gradients[0], torch_gradients(row, seed)[0], rtol=1e-4, atol=0)


def test_an_unknown_activation_is_refused_by_name() -> None:
    """The error names the node and the function."""
    with pytest.raises(NotDifferentiable, match=r'"it" \(RNN\).*Swish'):
        differentiate(build(case("RNN", activations=["Swish"]), np.float32), ["x0"])
