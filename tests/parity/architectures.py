"""Architectures of torchvision and transformers with random weights, and what they are fed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torchvision
import transformers

from tests.models import Array, numbers

Network = torch.nn.Module
Axes = dict[str, dict[int, str]]
"""Input → its open axes and their names."""


class Called(torch.nn.Module):
    """A network as a function of tensors alone that gives one tensor: what an exporter wants."""

    def __init__(self, network: Network, call: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.network, self.call = network, call

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        """``call(network, *x)``."""
        return self.call(self.network, *x)


@dataclass(frozen=True, eq=False)
class Architecture:
    """A network in evaluation mode, what it is fed (N items), and which axes an export leaves open.

    Attributes:
        network: Builds it; the same weights every time.
        feeds: Number of items → its inputs, in the order of its arguments. The float ones are explained.
        axes: The open axes of every input.
        smooth: Without kinks (ReLU, max-pooling), where float32 and float64 may open different sides.
    """

    network: Callable[[], Network]
    feeds: Callable[[int], dict[str, Array]]
    axes: Axes
    smooth: bool


# torchvision ----------------------------------------------------------------------------------------------------------


def vision(name: str, size: int = 64, **options: Any) -> Network:
    """A torchvision classifier. Its BatchNorms hold the statistics of noise, as training would have left them."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # googlenet and inception_v3 announce a change of their initialisation
        network: Network = getattr(torchvision.models, name)(weights=None, **options)
    settled(network.eval(), size)
    return Called(network, lambda net, x: net(x)).eval()


def settled(network: Network, size: int) -> None:
    """BatchNorms take on the statistics of one batch of noise, and scales and shifts of their own."""
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.data.uniform_(0.5, 1.0)
        norm.bias.data.normal_(0, 0.1)
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        network(torch.randn(4, 3, size, size))
    network.eval()


def images(size: int) -> Callable[[int], dict[str, Array]]:
    """x [N, 3, size, size]."""
    return lambda items: {"x": numbers(items, 3, size, size)}


IMAGE: Axes = {"x": {0: "N"}}


def _vision(name: str, size: int = 64, smooth: bool = False, **options: Any) -> Architecture:
    return Architecture(lambda: vision(name, size, **options), images(size), IMAGE, smooth)


def small_swin() -> Network:
    """Swin (v1) with two stages: shifted windows, patch merging, relative positions."""
    torch.manual_seed(0)
    network = torchvision.models.SwinTransformer(
        [4, 4], embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4], num_classes=20
    )
    return Called(network, lambda net, x: net(x)).eval()


def small_vit() -> Network:
    """torchvision's ViT with three narrow layers on 64 pixels."""
    torch.manual_seed(0)
    network = torchvision.models.VisionTransformer(64, 16, 3, 4, 48, 96, num_classes=20)
    torch.nn.init.normal_(network.heads[0].weight)  # it starts at zero
    return Called(network, lambda net, x: net(x)).eval()


def full_vit() -> Network:
    """vit_b_16 at its own 224 pixels."""
    torch.manual_seed(0)
    network = torchvision.models.vit_b_16(weights=None)
    torch.nn.init.normal_(network.heads[0].weight)  # it starts at zero
    return Called(network, lambda net, x: net(x)).eval()


# transformers ---------------------------------------------------------------------------------------------------------

WIDTH, TOKENS, VOCABULARY = 32, 7, 50


def tokens(items: int, seed: int = 0) -> Array:
    """Token numbers [N, tokens]."""
    return np.random.default_rng([seed, items]).integers(0, VOCABULARY, (items, TOKENS))


def mask(items: int) -> Array:
    """1 for a token, 0 for padding at the end; each item pads one token more than the one before."""
    kept = TOKENS - np.arange(items) % 4
    return (np.arange(TOKENS) < kept[:, None]).astype(np.int64)


def sentences(items: int) -> dict[str, Array]:
    """Embedded tokens and their mask."""
    return {"inputs_embeds": numbers(items, TOKENS, WIDTH), "attention_mask": mask(items)}


def utterances(items: int) -> dict[str, Array]:
    """A mel spectrogram, and the tokens that were heard so far, embedded, with their mask."""
    heard = numbers(items, TOKENS, WIDTH, seed=1)
    return {"input_features": numbers(items, 16, 64), "decoder_inputs_embeds": heard, "decoder_attention_mask": mask(items)}


SENTENCE: Axes = {"inputs_embeds": {0: "N", 1: "T"}, "attention_mask": {0: "N", 1: "T"}}
UTTERANCE: Axes = {
    "input_features": {0: "N"}, "decoder_inputs_embeds": {0: "N", 1: "T"}, "decoder_attention_mask": {0: "N", 1: "T"},
}  # fmt: skip


def _built(kind: str, config: str, **options: Any) -> Network:
    """A model of transformers by the names of its class and its configuration's class."""
    torch.manual_seed(0)
    network: Network = getattr(transformers, kind)(getattr(transformers, config)(**options))
    for parameter in network.parameters():  # they start so small that every attention is even
        if parameter.ndim > 1:
            parameter.data *= 5
    return network.eval()


def _reading(network: Network) -> Network:
    return Called(network, lambda net, x, mask: net(inputs_embeds=x, attention_mask=mask, use_cache=False).logits).eval()


def bert() -> Network:
    """A classifier on BERT: GELU, LayerNorm, a pooler with tanh."""
    network = _built(
        "BertForSequenceClassification", "BertConfig", vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=64, num_labels=5,
    )  # fmt: skip
    return Called(network, lambda net, x, mask: net(inputs_embeds=x, attention_mask=mask).logits).eval()


def gpt2() -> Network:
    """GPT-2 with its head: causal mask, GELU by tanh."""
    sizes = {"vocab_size": VOCABULARY, "n_positions": 32, "n_embd": WIDTH, "n_layer": 2, "n_head": 4}
    return _reading(_built("GPT2LMHeadModel", "GPT2Config", **sizes))


def llama() -> Network:
    """Llama with its head: rotary positions, RMSNorm, SwiGLU, two key heads for four query heads."""
    network = _built(
        "LlamaForCausalLM", "LlamaConfig", vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    return _reading(network)


def vit() -> Network:
    """transformers' ViT with its head."""
    network = _built(
        "ViTForImageClassification", "ViTConfig", hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, image_size=32, patch_size=8, num_labels=5,
    )  # fmt: skip
    return Called(network, lambda net, x: net(pixel_values=x).logits).eval()


def whisper() -> Network:
    """Whisper with its head: convolutions in front of the encoder, a decoder with cross attention."""
    network = _built(
        "WhisperForConditionalGeneration", "WhisperConfig", vocab_size=VOCABULARY, num_mel_bins=16, d_model=WIDTH,
        encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64,
        decoder_ffn_dim=64, max_source_positions=32, max_target_positions=16, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=1,
    )  # fmt: skip

    def logits(net: Network, x: torch.Tensor, heard: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        found = net(input_features=x, decoder_inputs_embeds=heard, decoder_attention_mask=mask, use_cache=False)
        return found.logits

    return Called(network, logits).eval()


ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": _vision("resnet18"),
    "resnet50": _vision("resnet50"),
    "densenet121": _vision("densenet121"),
    "efficientnet_b0": _vision("efficientnet_b0", smooth=True),
    "mobilenet_v3_small": _vision("mobilenet_v3_small"),
    "convnext_tiny": _vision("convnext_tiny", smooth=True),
    "googlenet": _vision("googlenet", transform_input=True, init_weights=False, aux_logits=False),
    "inception_v3": _vision("inception_v3", 96, transform_input=True, init_weights=False, aux_logits=False),
    "vit_b_16, small": Architecture(small_vit, images(64), IMAGE, smooth=True),
    "vit_b_16": Architecture(full_vit, images(224), IMAGE, smooth=True),
    "swin_t, small": Architecture(small_swin, images(64), IMAGE, smooth=True),
    "swin_t": _vision("swin_t", 224, smooth=True),
    "BERT": Architecture(bert, sentences, SENTENCE, smooth=True),
    "GPT-2": Architecture(gpt2, sentences, SENTENCE, smooth=True),
    "Llama": Architecture(llama, sentences, SENTENCE, smooth=True),
    "ViT": Architecture(vit, images(32), IMAGE, smooth=True),
    "Whisper": Architecture(whisper, utterances, UTTERANCE, smooth=True),
}
