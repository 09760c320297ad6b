"""LRP of transformers against lxt, the library of AttnLRP's authors, in float64; fused models against themselves unfused."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import explainsvc
from tests.graph.exports import EXPORTERS, Grouped, Scaled, exported, seeded
from tests.models import Array, numbers
from tests.parity import test_onnxruntime_optimizer as optimised
from tests.parity.agreement import EXPORTERS as ARCHITECTURE_EXPORTERS
from tests.parity.architectures import ARCHITECTURES
from tests.parity.networks import distance

METHODS = {"attn_lrp": False, "cp_lrp": True}
LIMIT = 1e-5


def logit(shape: tuple[int, ...]) -> Array:
    """Class 1, of the last position where there are several."""
    seed = np.zeros(shape, np.float32)
    seed[(..., -1, 1) if len(shape) == 3 else (..., 1)] = 1
    return seed


@cache
def lxt() -> Any:
    """The peer; not everyone has it."""
    pytest.importorskip("lxt.explicit.functional")
    from tests.parity import lrp_lxt

    return lrp_lxt


@pytest.mark.filterwarnings("ignore")  # transformers warns about its own configuration
@pytest.mark.parametrize("exporter", ARCHITECTURE_EXPORTERS)
@pytest.mark.parametrize("name", ["BERT", "GPT-2", "Llama", "ViT"])
def test_transformers_equal_lxt(name: str, exporter: str) -> None:
    """Whole maps of both methods: LayerNorm, RMSNorm, GELU, SwiGLU, rotary positions, causal and padding masks."""
    architecture = ARCHITECTURES[name]
    feeds = architecture.feeds(2)
    model = explainsvc.load(ARCHITECTURE_EXPORTERS[exporter](architecture, 18 if exporter == "dynamo" else 17))
    seed = logit(model.predict(feeds)["y"].shape)
    wanted = next(iter(feeds))
    for method, held in METHODS.items():
        found = model.explain(feeds, method, {"output": "y", "seed": seed}, inputs=[wanted])
        expected = lxt().relevance(architecture.network(), feeds, seed, held)
        assert distance(found.values[wanted], expected) < LIMIT, method


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("method", METHODS)
def test_a_block_equals_lxt(method: str, exporter: str) -> None:
    """torch's own attention function, causal, with a random seed at every position."""
    network, x, seed = seeded(Scaled()), numbers(2, 5, 8), numbers(2, 5, 8, seed=1)
    model = explainsvc.load(exported(network, torch.tensor(x), EXPORTERS[exporter]))
    found = model.explain({"x": x}, method, {"output": "y", "seed": seed}).values["x"]
    assert distance(found, lxt().relevance(network, {"x": x}, seed, METHODS[method])) < LIMIT


@pytest.mark.parametrize("block", [Scaled, Grouped])
def test_conservative_propagation_keeps_the_output(block: type[torch.nn.Module]) -> None:
    """Without biases nothing is lost, from the result to the input of a block; AttnLRP's Softmax does not keep the sum."""
    network, x = seeded(block()), numbers(2, 5, 8)
    for name, parameter in network.named_parameters():
        if "bias" in name:
            parameter.data.zero_()
    model = explainsvc.load(exported(network, torch.tensor(x), {}))
    found = model.explain({"x": x}, "cp_lrp", {"output": "y", "index": (3, 2)})
    np.testing.assert_allclose(found.residual, 0, atol=1e-5)
    assert np.abs(model.explain({"x": x}, "attn_lrp", {"output": "y", "index": (3, 2)}).residual).max() > 1e-3


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("network", [optimised.bert, optimised.t5, optimised.llama])
def test_fused_models_have_the_relevance_of_the_unfused(network: Any, tmp_path: Path) -> None:
    """What onnxruntime's session and its tool make of a model: attention, norms with their sum, biased GELU in one operator."""
    torch.manual_seed(0)
    module = optimised.Embedded(network()).eval()
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[1, 4:] = 0
    e = torch.randn(2, 6, optimised.WIDTH)
    optimised.exported(module, (e, mask), tmp_path / "model.onnx")
    kind = network.__name__.replace("llama", "bert")
    fused = [optimised.by_session(tmp_path / "model.onnx"), optimised.by_tool(tmp_path / "model.onnx", kind)]
    feeds, seed = {"e": e.numpy(), "mask": mask.numpy()}, numbers(2, 6, optimised.WIDTH)
    for method in METHODS:
        plain, *others = (
            explainsvc.load(source).explain(feeds, method, {"output": "y", "seed": seed}, inputs=["e"]).values["e"]
            for source in (tmp_path / "model.onnx", *fused)
        )
        assert max(distance(other, plain) for other in others) < LIMIT, method
