"""A batch frozen at 1 is opened where items stay apart, and only there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import explainsvc
from explainsvc.graph.passes import PassInfo
from explainsvc.model import Model
from tests import models
from tests.graph.exports import EXPORTERS, Grouped, Scaled, exported, seeded
from tests.models import Array


def opening(model: Model) -> PassInfo:
    """What the pass did."""
    return next(p for p in model.prepared.passes if p.name == "open_batch")


def leading(proto: onnx.ModelProto) -> list[str | int]:
    """Axis 0 of every input: its symbol, or its length."""
    dims = [v.type.tensor_type.shape.dim[0] for v in proto.graph.input]
    return [d.dim_param or d.dim_value for d in dims]


class Vision(nn.Module):
    """A vision transformer: patches, a class token, positions, one layer of torch's own, whose heads join the batch axis."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token, self.positions = (
            nn.Conv2d(3, 8, 4, 4),
            nn.Parameter(torch.zeros(1, 1, 8)),
            nn.Parameter(torch.zeros(1, 5, 8)),
        )
        self.layer, self.head = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu"), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 8, 8] → [N, 3]."""
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.positions
        y: Tensor = self.head(self.layer(tokens)[:, 0])
        return y


class Recurrent(nn.Module):
    """An LSTM whose initial state the exporter writes as zeros of one item, and the last step of a GRU over it, time first."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru, self.head = nn.LSTM(4, 5, batch_first=True, bidirectional=True), nn.GRU(10, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 6, 4] → [N, 2]."""
        y: Tensor = self.head(self.gru(self.lstm(x)[0].transpose(0, 1))[0][-1])
        return y


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript opset 17"])
@pytest.mark.parametrize(
    ("maker", "shape"),
    [(Scaled, (5, 8)), (Grouped, (5, 8)), (Vision, (3, 8, 8)), (Recurrent, (6, 4))],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_an_exported_network_takes_any_number_of_items(
    maker: Callable[[], nn.Module], shape: tuple[int, ...], exporter: str
) -> None:
    """Exported for one item, explained for three at once in one graph: the gradients are torch's own."""
    network = seeded(maker())
    model = explainsvc.load(exported(network, torch.zeros(1, *shape), EXPORTERS[exporter], frozen=True))
    assert opening(model).applied
    assert model.frozen_batch == 1
    assert leading(model.compile("gradient", {"output": "y"}).proto)[0] == "batch"
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(3))
    leaf = x.clone().requires_grad_(True)
    y = network(leaf)
    seed = np.random.default_rng(2).standard_normal(y.shape).astype(np.float32)
    (y * torch.from_numpy(seed)).sum().backward()
    np.testing.assert_allclose(model.predict({"x": x.numpy()})["y"], y.detach().numpy(), rtol=1e-4, atol=1e-5)
    values = model.explain({"x": x.numpy()}, target={"output": "y", "seed": seed}).values["x"]
    np.testing.assert_allclose(values, leaf.grad.numpy(), rtol=1e-3, atol=1e-5)


def frozen(graph: str, tensors: dict[str, Array] | None = None) -> Model:
    """A model of opset 17 in ONNX's text form."""
    return explainsvc.load(models.build(graph, tensors or {}, 17))


SIZES = """g (float[1, 2, 4, 4] x) => (float[1, 72] y) {
  r = Resize <mode = "linear"> (x, , , sizes)  h = Tanh (r)  y = Reshape (h, flat)
}"""


def test_sizes_of_a_resize_leave_the_batch_out() -> None:
    """Sizes of all axes become sizes of the others; four items get what each gets alone."""
    model = frozen(SIZES, {"sizes": np.array([1, 2, 6, 6]), "flat": np.array([1, -1])})
    assert opening(model).applied
    x = models.numbers(4, 2, 4, 4)
    target = {"output": "y", "seed": np.ones((4, 72), np.float32)}
    together = model.explain({"x": x}, target=target).values["x"]
    for item in range(4):
        single = {"output": "y", "seed": np.ones((1, 72), np.float32)}
        alone = model.explain({"x": x[item : item + 1]}, target=single).values["x"]
        np.testing.assert_allclose(together[item], alone[0], rtol=1e-5, atol=1e-7)


INFLUENCES = {
    "softmax over items": "s = Softmax <axis = 0> (x)  y = MatMul (s, w)",
    "mean over items": "m = ReduceMean <axes = [0], keepdims = 1> (x)  d = Add (x, m)  y = MatMul (d, w)",
    "first item": "f = Slice (x, zero, one, zero)  d = Add (x, f)  t = Tanh (d)  y = MatMul (t, w)",
    "running sum": "c = CumSum (x, zero0)  y = MatMul (c, w)",
    "squeezed": "q = Squeeze (x, zero)  t = Tanh (q)  u = Unsqueeze (t, zero)  y = MatMul (u, w)",
}


@pytest.mark.parametrize("name", INFLUENCES)
def test_items_that_influence_one_another_are_run_in_a_loop(name: str) -> None:
    """The pass is taken back with a note, and every item gets what it gets alone (negative control)."""
    tensors = {"w": models.weights("w", 4, 2), "zero": np.array([0]), "one": np.array([1]), "zero0": np.array(0)}
    graph = f"g (float[1, 4] x) => (float[1, 2] y) {{ {INFLUENCES[name]} }}"
    used = {n: a for n, a in tensors.items() if f" {n}," in graph or f" {n})" in graph}
    model = frozen(graph, used)
    assert not opening(model).applied
    assert "taken back" in opening(model).note
    assert model.frozen_batch == 1
    x = models.numbers(3, 4)
    together = model.explain({"x": x}, target=1)
    for item in range(3):
        alone = model.explain({"x": x[item : item + 1]}, target=1)
        np.testing.assert_array_equal(together.values["x"][item], alone.values["x"][0])
    np.testing.assert_array_equal(
        together.output_value, np.concatenate([model.predict({"x": x[i : i + 1]})["y"][:, 1] for i in range(3)])
    )


@pytest.mark.parametrize(
    ("proto", "batch"),
    [(models.cnn(batch="2"), 2), (models.cnn(), None), (models.without_batch(), None)],
    ids=["two", "open", "none"],
)
def test_other_batches_are_left_as_they_are(proto: onnx.ModelProto, batch: int | None) -> None:
    """A batch of two, an open one, and a model without any: nothing to do."""
    model = explainsvc.load(proto)
    assert not opening(model).applied
    assert opening(model).note == ""
    assert model.frozen_batch == batch


def test_a_model_with_other_weights_has_the_open_batch() -> None:
    """What re-initialisation makes of an opened model runs all items at once, and differently weighted."""
    model = explainsvc.load(models.cnn(batch="1"))
    name = next(n for n in model.graph.initializers if n.startswith("w5"))
    weight = model.graph.initializers[name].const_value.numpy()
    changed, x = model.with_weights({name: 2 * weight}), models.numbers(3, 2, 8, 8)
    assert (model.frozen_batch, changed.frozen_batch) == (1, None)
    before, after = (m.explain({"x": x}, target=1).values["x"] for m in (model, changed))
    np.testing.assert_allclose(after, 2 * before, rtol=1e-5, atol=1e-7)
