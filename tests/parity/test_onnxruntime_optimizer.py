"""Transformers as onnxruntime's optimisers write them: the same gradients as torch's, of the network before all that."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import transformers
from onnxruntime.transformers import optimizer

import explainsvc
from tests.parity import networks

HEADS, WIDTH = 4, 32
OPSET = 14
"""Older than LayerNormalization, which onnxruntime's optimisers write nevertheless."""
EAGER: dict[str, Any] = {"attn_implementation": "eager"}


class Embedded(torch.nn.Module):
    """A transformer from embeddings and an attention mask on."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, e: Any, mask: Any) -> Any:
        """The last hidden state."""
        return self.model(inputs_embeds=e, attention_mask=mask).last_hidden_state


def bert() -> Any:
    """LayerNorm, GELU, full attention."""
    return transformers.BertModel(transformers.BertConfig(
        hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=HEADS, intermediate_size=64, vocab_size=50,
        **EAGER))  # fmt: skip


def t5() -> Any:
    """Root mean squares, relative positions."""
    return transformers.T5EncoderModel(transformers.T5Config(
        d_model=WIDTH, d_kv=8, num_layers=2, num_heads=HEADS, d_ff=64, vocab_size=50))  # fmt: skip


def llama() -> Any:
    """Root mean squares, rotary embeddings, grouped keys, gated SiLU."""
    return transformers.LlamaModel(transformers.LlamaConfig(
        hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=HEADS, num_key_value_heads=2, intermediate_size=64,
        vocab_size=50, use_cache=False, **EAGER))  # fmt: skip


def exported(network: Any, feeds: tuple[Any, Any], path: Path) -> None:
    """Writes the network as ONNX."""
    axes = {name: {0: "batch"} for name in ("e", "mask", "y")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, feeds, path, opset_version=OPSET, dynamo=False, input_names=["e", "mask"],
                          output_names=["y"], dynamic_axes=axes)  # fmt: skip


def by_session(path: Path) -> onnx.ModelProto:
    """What a session with extended optimisations writes."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path.with_suffix(".session.onnx"))
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)


def by_tool(path: Path, kind: str) -> onnx.ModelProto:
    """What onnxruntime.transformers.optimizer writes."""
    optimised = optimizer.optimize_model(str(path), model_type=kind, num_heads=HEADS, hidden_size=WIDTH, opt_level=0)
    written = io.BytesIO()
    optimised.model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    written.write(optimised.model.SerializeToString())
    return onnx.load_from_string(written.getvalue())


WRITTEN = {
    "bert": {"LayerNormalization", "Attention", "SkipLayerNormalization", "BiasGelu"},
    "t5": {"SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"},
    "llama": {"SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"},
}
"""What the tool makes of each: the test would be empty without them."""


@pytest.mark.parametrize("network", [bert, t5, llama])
def test_gradient_is_torchs(network: Any, tmp_path: Path) -> None:
    """Of embeddings, behind fused attention, norms and activations, with a padding mask."""
    torch.manual_seed(0)
    name, module = network.__name__, Embedded(network()).eval()
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[1, 4:] = 0
    e = torch.randn(2, 6, WIDTH)
    exported(module, (e, mask), tmp_path / "model.onnx")
    x = e.clone().requires_grad_()
    y = module(x, mask)
    seed = torch.randn_like(y)
    y.backward(seed)
    models = {
        "session": by_session(tmp_path / "model.onnx"),
        "tool": by_tool(tmp_path / "model.onnx", name.replace("llama", "bert")),
    }
    assert WRITTEN[name] <= {node.op_type for node in models["tool"].graph.node}
    for how, proto in models.items():
        found = explainsvc.load(proto).explain(
            {"e": e.numpy(), "mask": mask.numpy()}, method="gradient", inputs=["e"], target={"output": "y", "seed": seed.numpy()}
        )
        assert x.grad is not None
        scale = float(x.grad.abs().max())
        np.testing.assert_allclose(found.values["e"], x.grad.numpy(), rtol=1e-4, atol=1e-5 * scale, err_msg=how)


def test_a_fused_network_is_explained_as_before(tmp_path: Path) -> None:
    """Convolutions and dense layers fused with their activations: the same maps by every kind of rule, to the last digit."""
    plain = networks.exported(networks.vgg(), 16, networks.EXPORTS["torchscript"])
    onnx.save(plain, tmp_path / "model.onnx")
    fused = by_session(tmp_path / "model.onnx")
    assert {"FusedConv", "FusedGemm"} <= {node.op_type for node in fused.graph.node}
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    models = [explainsvc.load(proto) for proto in (plain, fused)]
    for method in ("gradient", "guided_backprop", "lrp_epsilon_plus", "grad_cam"):
        before, after = (model.explain({"x": x}, method, target=1).values["x"] for model in models)
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-7, err_msg=method)
