"""The graph of a gradient is a graph: differentiated once more, it gives torch's second derivative."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.compose
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F

from explainsvc.autograd.differentiate import differentiate
from tests.autograd.harness import Case, build
from tests.autograd.rows import ints, normal, positive

X = normal(3, 4)
VECTOR = normal(4, seed=1)

ROWS = [
    Case("Pow", [positive(3, 4), np.array(2.5)], torch=torch.pow),
    Case("Sqrt", [positive(3, 4)], torch=torch.sqrt),
    Case("Log", [positive(3, 4)], torch=torch.log),
    Case("Erf", [X], torch=torch.erf),
    Case("Atan", [X], torch=torch.atan),
    Case("Sinh", [X], torch=torch.sinh),
    Case("Elu", [X], torch=F.elu),
    Case("Sigmoid", [X], torch=torch.sigmoid),
    Case("Softplus", [X], torch=F.softplus),
    Case("Softsign", [X], torch=F.softsign),
    Case("Mish", [X], torch=F.mish),
    Case("Gelu", [X], torch=F.gelu),
    Case("Gelu", [X], {"approximate": "tanh"}, torch=lambda x: F.gelu(x, approximate="tanh")),
    Case("Softmax", [X], torch=lambda x: x.softmax(-1)),
    Case("LogSoftmax", [X], {"axis": 0}, torch=lambda x: x.log_softmax(0)),
    Case("ReduceL2", [X, ints(1)], constant=[1], wanted=[0], torch=lambda x, _: x.norm(dim=1, keepdim=True)),
    Case("ReduceProd", [X, ints(1)], constant=[1], wanted=[0], torch=lambda x, _: x.prod(1, keepdim=True)),
    Case("ReduceLogSumExp", [X], wanted=[0], torch=lambda x: x.logsumexp((0, 1), keepdim=True)),
    Case("LayerNormalization", [X, VECTOR], torch=lambda x, s: F.layer_norm(x, (4,), s)),
    Case("InstanceNormalization", [normal(2, 3, 4), normal(3), normal(3, seed=1)], wanted=[0],
         torch=lambda x, s, b: F.instance_norm(x, weight=s, bias=b)),
    Case("LpNormalization", [X], torch=F.normalize),
    Case("LRN", [normal(1, 4, 2, 2)], {"size": 3, "alpha": 0.7}, torch=lambda x: F.local_response_norm(x, 3, 0.7)),
]  # fmt: skip


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_second_derivative(case: Case) -> None:
    """∂⟨v, ∂⟨seed, y⟩/∂x⟩/∂x equals torch's double backward."""
    assert case.torch is not None
    once = onnx.compose.add_prefix(differentiate(build(case, np.float32), ["x0"]), "first.")
    twice = differentiate(once, ["first.x0", "first.explain.seed"], output="first.explain.x0")
    session = ort.InferenceSession(twice.SerializeToString(), providers=["CPUExecutionProvider"])
    arrays = [np.asarray(o, np.float32) if np.asarray(o).dtype.kind == "f" else o for o in case.operands]
    tensors = [torch.tensor(a, dtype=torch.float64 if a.dtype.kind == "f" else None) for a in arrays]
    x = tensors[0].requires_grad_()
    y = case.torch(*tensors)
    seed, v = (torch.tensor(normal(*t.shape, seed=s), requires_grad=True) for s, t in ((5, y), (6, x)))
    (slope,) = torch.autograd.grad(y, x, seed, create_graph=True)
    expected = torch.autograd.grad(slope, [x, seed], v, allow_unused=True)
    feeds: dict[str, Any] = {f"first.x{i}": a for i, a in enumerate(arrays) if i not in case.constant}
    given = {"first.explain.seed": seed.detach().numpy(), "explain.seed": v.detach().numpy()}
    feeds |= {name: a.astype(np.float32) for name, a in given.items()}
    found = session.run(["explain.first.x0", "explain.first.explain.seed"], feeds)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, np.zeros_like(ours) if theirs is None else theirs, rtol=2e-3, atol=2e-4)
