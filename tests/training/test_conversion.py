"""A model as a torch module: the same function, the same gradient, trained weights back in ONNX, typed refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from onnx2torch.node_converters import registry

import explainsvc
from explainsvc.errors import NotTrainable
from explainsvc.training.conversion import trainable
from explainsvc.training.converters.operator import OPERANDS
from explainsvc.training.trainable import Trainable
from tests import models
from tests.models import Array, build, numbers, weights

TOLERANCE = 1e-4
FLOAT_MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "mlp": models.mlp, "gelu": lambda: models.mlp(activation="Elu", end="Softmax"), "matmul_mlp": models.matmul_mlp,
    "quadratic": models.quadratic, "cube": models.cube, "cnn": models.cnn, "nhwc": models.nhwc, "scaled": models.scaled,
    "two_by_two": models.two_by_two, "without_batch": models.without_batch, "mixing": models.mixing, "opset7": models.opset7,
    "functions": models.functions,
}  # fmt: skip


def inputs_of(model: explainsvc.Model, seed: int = 5) -> dict[str, Array]:
    """Two items for every float input."""
    shapes = {i.name: [d if isinstance(d, int) else 2 for d in i.shape or ()] for i in model.inputs}
    return {name: numbers(*shape, seed=seed) for name, shape in shapes.items()}


def tensors(feeds: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    """The same numbers for torch, wanting gradients."""
    return {name: torch.from_numpy(a.copy()).requires_grad_(a.dtype.kind == "f") for name, a in feeds.items()}


def close(found: Array, expected: Array, tolerance: float = TOLERANCE) -> bool:
    """Within the tolerance of the largest magnitude."""
    return found.shape == expected.shape and bool(np.abs(found - expected).max() <= tolerance * np.abs(expected).max())


def moved(found: Trainable, feeds: Mapping[str, Array]) -> Trainable:
    """After one step of gradient descent, in train mode, on the squares of its outputs."""
    found.module.train()
    step = torch.optim.SGD(found.module.parameters(), lr=0.05)
    torch.stack([value.square().mean() for value in found(tensors(feeds)).values()]).sum().backward()
    step.step()
    found.module.eval()
    return found


@pytest.mark.parametrize("make", FLOAT_MODELS.values(), ids=FLOAT_MODELS)
def test_forward_and_gradient_are_the_models(make: Callable[[], onnx.ModelProto]) -> None:
    """The module's outputs are onnxruntime's, and its gradient at the inputs is the one that we emit."""
    model = explainsvc.load(make())
    feeds = inputs_of(model)
    truth = model.predict(feeds)
    given = tensors(feeds)
    found = trainable(model)(given)
    assert found.keys() == truth.keys()
    assert all(close(found[name].detach().numpy(), truth[name]) for name in truth)
    output = model.default_output
    seed = numbers(*truth[output].shape, seed=6)
    own = model.explain(feeds, "gradient", target={"output": output, "seed": seed}).values
    (found[output] * torch.from_numpy(seed)).sum().backward()
    assert own
    assert all(close(given[name].grad.numpy(), values) for name, values in own.items())


@pytest.mark.parametrize("make", FLOAT_MODELS.values(), ids=FLOAT_MODELS)
def test_trained_weights_go_back_into_onnx(make: Callable[[], onnx.ModelProto]) -> None:
    """After a step of an optimiser the graph computes in onnxruntime what the module computes, and something else than before."""
    model = explainsvc.load(make())
    feeds = inputs_of(model)
    found = moved(trainable(model), feeds)
    after = explainsvc.load(found.to_onnx()).predict(feeds)
    computed = found(tensors(feeds))
    assert all(close(after[name], computed[name].detach().numpy()) for name in after)
    before = model.predict(feeds)
    assert not all(close(after[name], before[name]) for name in after)


@pytest.mark.parametrize("make", [models.mlp, models.matmul_mlp, models.cnn], ids=["mlp", "matmul_mlp", "cnn"])
def test_weights_are_onnxs_numbers(make: Callable[[], onnx.ModelProto]) -> None:
    """Untrained, every learned tensor is its initializer bit for bit, layout included; nothing float of a layer is missing."""
    proto = make()
    found = trainable(explainsvc.load(proto)).weights()
    assert found.keys() == {t.name for t in proto.graph.initializer}
    for tensor in proto.graph.initializer:
        np.testing.assert_array_equal(found[tensor.name], numpy_helper.to_array(tensor))


def test_learned_tensors_are_parameters_and_the_rest_are_buffers() -> None:
    """A MatMul+Add network has a parameter for each weight and bias, and its constants are no parameters."""
    graph = """g (float[N, 4] x) => (float[N, 1] y) {
      m = MatMul (x, w)  a = Add (m, b)  h = Mul (a, half)  r = Relu (h)  n = MatMul (r, v)  y = Add (n, c)
    }"""
    given = {"w": weights("w", 4, 5), "b": weights("b", 5), "v": weights("v", 5, 1), "c": weights("c", 1)}
    found = trainable(explainsvc.load(build(graph, given | {"half": np.array(0.5, np.float32)})))
    parameters = {found.tensors[name]: p for name, p in found.module.named_parameters()}
    assert parameters.keys() == given.keys()
    assert all(p.requires_grad for p in parameters.values())
    assert not any(b.requires_grad for b in found.module.buffers())


def test_one_initializer_is_one_parameter_however_often_it_is_used() -> None:
    """Tied weights, once as they are and once transposed, stay tied: the parameter's gradient is the sum of both uses'."""
    graph = "g (float[N, 4] x) => (float[N, 4] y) { a = MatMul (x, w)  t = Tanh (a)  y = Gemm <transB = 1> (t, w) }"
    w, x = weights("w", 4, 3), numbers(2, 4)
    found = trainable(explainsvc.load(build(graph, {"w": w})))
    (parameter,) = found.module.parameters()
    found({"x": torch.from_numpy(x)})["y"].sum().backward()
    own = torch.from_numpy(w.copy()).requires_grad_()
    (torch.tanh(torch.from_numpy(x) @ own) @ own.T).sum().backward()
    np.testing.assert_allclose(parameter.grad, own.grad, rtol=1e-5)
    again = explainsvc.load(moved(found, {"x": x}).to_onnx()).predict({"x": x})["y"]
    assert close(again, found({"x": torch.from_numpy(x)})["y"].detach().numpy())


def test_weights_in_constant_nodes_are_learned() -> None:
    """A weight that an exporter wrote as a Constant node is a parameter like an initializer."""
    nodes = [
        helper.make_node("Constant", [], ["w"], "weight", value=numpy_helper.from_array(weights("w", 4, 3))),
        helper.make_node("MatMul", ["x", "w"], ["y"], "layer"),
    ]
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2, k]) for n, k in (("x", 4), ("y", 3)))
    proto = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    feeds = {"x": numbers(2, 4)}
    found = moved(trainable(explainsvc.load(proto)), feeds)
    (name,) = found.weights()
    assert not np.array_equal(found.weights()[name], weights("w", 4, 3))
    assert close(explainsvc.load(found.to_onnx()).predict(feeds)["y"], feeds["x"] @ found.weights()[name])


def test_batch_normalization_trains_as_such() -> None:
    """In train mode it normalises by the batch and moves its statistics as torch's layer does; they go back into ONNX."""
    graph = (
        "g (float[N, 3, 5] x) => (float[N, 3, 5] y) { y = BatchNormalization <momentum = 0.8, epsilon = 0.01> (x, s, b, m, v) }"
    )
    given = {"s": weights("s", 3), "b": weights("b", 3), "m": weights("m", 3), "v": 1 + weights("v", 3) ** 2}
    found = trainable(explainsvc.load(build(graph, given)))
    layer = torch.nn.BatchNorm1d(3, eps=0.01, momentum=0.2)
    own = dict(zip("sbmv", (layer.weight, layer.bias, layer.running_mean, layer.running_var), strict=True))
    for name, tensor in own.items():
        tensor.data.copy_(torch.from_numpy(given[name]))
    x = torch.from_numpy(numbers(4, 3, 5))
    found.module.train()
    np.testing.assert_allclose(found({"x": x})["y"].detach(), layer(x).detach(), rtol=1e-5, atol=1e-6)
    found.module.eval()
    for name, tensor in own.items():
        np.testing.assert_allclose(found.weights()[name], tensor.detach(), rtol=1e-5)
    assert {found.tensors[name] for name, _ in found.module.named_parameters()} == {"s", "b"}
    after = explainsvc.load(found.to_onnx()).predict({"x": x.numpy()})["y"]
    assert close(after, layer.eval()(x).detach().numpy())


def test_dropout_drops_in_train_mode_only() -> None:
    """A Dropout of the graph zeroes its share and scales the rest while training, and is the identity otherwise."""
    graph = """g (float[N, 400] x) => (float[N, 400] y) {
      h = Mul (x, scale)  d, mask = Dropout (h, ratio)  y = Identity (d)
    }"""
    proto = build(graph, {"scale": np.ones(400, np.float32) * 2, "ratio": np.array(0.25, np.float32)})
    found, ones = trainable(explainsvc.load(proto)), {"x": torch.ones(50, 400)}
    assert bool((found(ones)["y"] == 2).all())
    found.module.train()
    torch.manual_seed(0)
    dropped = found(ones)["y"].detach()
    assert set(np.unique(dropped.numpy().round(5))) == {0.0, np.float32(8 / 3).round(5)}
    assert abs(float((dropped == 0).float().mean()) - 0.25) < 0.02  # 20,000 draws: six standard deviations


def test_half_precision_trains_in_float32() -> None:
    """A model in float16 becomes one of float32 whose outputs differ by what half precision rounds."""
    model = explainsvc.load(models.half())
    x = numbers(2, 6)
    found = trainable(model)
    assert {p.dtype for p in found.module.parameters()} == {torch.float32}
    computed = found({"x": torch.from_numpy(x)})["y"].detach().numpy()
    assert close(model.predict({"x": x.astype(np.float16)})["y"].astype(np.float32), computed, 1e-2)


def test_a_table_of_embeddings_is_learned() -> None:
    """Rows that ids look up get gradients, the others none."""
    found = trainable(explainsvc.load(models.embedding()))
    found({"ids": torch.tensor([[1, 1, 2, 3, 3]])})["y"].sum().backward()
    (table,) = found.module.parameters()
    assert (table.grad.abs().sum(1) > 0).tolist() == [False, True, True, True] + [False] * 6


def test_outputs_may_be_inputs_or_several_of_one_node() -> None:
    """Both parts of a Split, and an input handed through, come out under their names."""
    graph = """g (float[N, 4] x) => (float[N, 2] b, float[N, 2] a, float[N, 4] echo) {
      h = Mul (x, s)  a, b = Split <axis = 1> (h, sizes)  echo = Identity (x)
    }"""
    model = explainsvc.load(build(graph, {"s": weights("s", 4), "sizes": np.array([2, 2])}))
    feeds = {"x": numbers(3, 4)}
    found, truth = trainable(model)(tensors(feeds)), model.predict(feeds)
    assert list(found) == ["b", "a", "echo"]
    assert all(close(found[name].detach().numpy(), truth[name]) for name in truth)


def test_names_of_a_file_are_never_run_as_python() -> None:
    """torch.fx writes names of modules into source code: a node's name with a quote in it must not get there."""
    proto = models.linear()
    proto.graph.node[0].name = 'x"), print("run"), getattr(self, "x'
    model = explainsvc.load(proto)
    found, ones = trainable(model), np.ones((1, 4), np.float32)
    assert "print" not in str(found.module.code)
    assert close(found({"x": torch.from_numpy(ones)})["y"].detach().numpy(), model.predict({"x": ones})["y"])


def test_others_keep_onnx2torchs_own_converters() -> None:
    """Our forms of Conv and its like are of a domain of their own: registered for ONNX's stays what onnx2torch has."""
    ours = {key for key in registry._CONVERTER_REGISTRY if key.domain == OPERANDS}
    assert {key.operation_type for key in ours} >= {"Conv", "Gemm", "BatchNormalization", "MaxPool"}
    for op_type, version in (("Conv", 11), ("Gemm", 13), ("BatchNormalization", 15), ("MaxPool", 12), ("Slice", 13)):
        assert registry.get_converter(op_type, version).__module__.startswith("onnx2torch.")


UNKNOWN = "g (float[N, 4] x) => (float[N, 3] y) {{ m = MatMul (x, w)  [odd] y = {0} (m) }}"
REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "trees": (models.trees, "TreeEnsembleClassifier"),
    "nothing": (lambda: build("g (float[N, 4] x) => (float[N, 4] y) { y = Relu (x) }"), "nothing in it learns"),
    "refused by onnx2torch": (
        lambda: build(
            """g (float[N, 4] x) => (float[1, 3] y) {
              m = MatMul (x, w)  [odd] y = GatherND <batch_dims = 1> (m, i)
            }""", {"w": weights("w", 4, 3), "i": np.zeros((2, 1), np.int64)},
        ), "GatherND",
    ),
    "strings": (models.labelled, "word"),
    "operator": (lambda: build(UNKNOWN.format("Hardmax"), {"w": weights("w", 4, 3)}), "Hardmax"),
    "attribute": (
        lambda: build(
            """g (float[4, 2, 3] x) => (float[4, 1, 2, 5] y) {
              [cell] y = RNN <hidden_size = 5, clip = 0.1> (x, w, r)
            }""", {"w": weights("w", 1, 5, 3), "r": weights("r", 1, 5, 5)},
        ), "clip",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "word"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trained_is_refused_by_name(make: Callable[[], onnx.ModelProto], word: str) -> None:
    """The refusal names the operator, or says that nothing learns; one that is to blame is in its details."""
    with pytest.raises(NotTrainable, match=word) as caught:
        trainable(explainsvc.load(make()))
    assert caught.value.expected


def test_a_refusal_names_the_node() -> None:
    """Where and details say which node has no converter."""
    with pytest.raises(NotTrainable) as caught:
        trainable(explainsvc.load(REFUSED["operator"][0]()))
    assert "odd" in caught.value.where
    assert caught.value.details == {"operator": "Hardmax", "node": "odd"}


def test_integer_weights_are_refused() -> None:
    """A quantised model says that its weights are integers, though its dequantised twin could be converted."""
    graph = """g (float[N, 4] x) => (float[N, 3] y) {
      [dequantize] d = DequantizeLinear (w, s)  m = MatMul (x, d)  y = Add (m, b)
    }"""
    w = np.arange(-6, 6, dtype=np.int8).reshape(4, 3)
    with pytest.raises(NotTrainable, match="integers") as caught:
        trainable(explainsvc.load(build(graph, {"w": w, "s": np.array(0.1, np.float32), "b": weights("b", 3)})))
    assert caught.value.details["operator"] == "DequantizeLinear"
