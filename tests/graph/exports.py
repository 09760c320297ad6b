"""Small torch modules as both of torch's exporters write them."""

from __future__ import annotations

import io
import warnings
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

EXPORTERS: dict[str, dict[str, Any]] = {
    "dynamo": {},
    "dynamo opset 18": {"opset_version": 18},
    "torchscript opset 14": {"dynamo": False, "opset_version": 14},
    "torchscript opset 17": {"dynamo": False, "opset_version": 17},
}


def exported(network: nn.Module, x: Tensor, options: dict[str, Any], frozen: bool = False) -> onnx.ModelProto:
    """x → y; axis 0 is open unless ``frozen``."""
    names: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"], "verbose": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both exporters warn about themselves
        if options.get("dynamo", True):
            shapes = None if frozen else ({0: torch.export.Dim.DYNAMIC},)
            program = torch.onnx.export(network, (x,), dynamic_shapes=shapes, **names, **options)
            assert program is not None
            return program.model_proto
        file, axes = io.BytesIO(), None if frozen else {"x": {0: "N"}, "y": {0: "N"}}
        torch.onnx.export(network, (x,), file, dynamic_axes=axes, **names, **options)
    return onnx.load_from_string(file.getvalue())


class Scaled(nn.Module):
    """Causal attention of torch's own function, with a residual sum, LayerNorm and a feed-forward layer: one block of GPT."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.qkv, self.out, self.up, self.down = nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 5, 8] → [N, 5, 8]."""
        parts = [p.unflatten(2, (2, 4)).transpose(1, 2) for p in self.qkv(self.norm(x)).chunk(3, 2)]
        heads = functional.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.out(heads.transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Grouped(nn.Module):
    """Attention by hand: rotary positions, two query heads a key head, a mask by −1e4; RMSNorm and a SiLU gate: one block of Llama."""  # noqa: E501

    cos: Tensor
    sin: Tensor
    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = nn.Linear(8, 8), nn.Linear(8, 4), nn.Linear(8, 4), nn.Linear(8, 8, bias=False)
        self.gate, self.up, self.down = (nn.Linear(*n, bias=False) for n in ((8, 16), (8, 16), (16, 8)))
        self.weight = nn.Parameter(torch.rand(8) + 0.5)
        angles = torch.outer(torch.arange(5.0), torch.tensor([1.0, 0.1])).repeat(1, 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        self.register_buffer("mask", torch.full((5, 5), -1e4).triu(1))

    def rotated(self, x: Tensor) -> Tensor:
        """Halves of each head turned by its position's angles."""
        a, b = x.chunk(2, -1)
        return x * self.cos + torch.cat((-b, a), -1) * self.sin

    def norm(self, x: Tensor) -> Tensor:
        """Root mean square."""
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 5, 8] → [N, 5, 8]."""
        h = self.norm(x)
        q, k, v = (p(h).unflatten(2, (-1, 4)).transpose(1, 2) for p in (self.q, self.k, self.v))
        k, v = (p[:, :, None].expand(-1, -1, 2, -1, -1).flatten(1, 2) for p in (self.rotated(k), v))
        weights = functional.softmax(self.rotated(q) @ k.transpose(2, 3) / 2 + self.mask, -1)
        x = x + self.out((weights @ v).transpose(1, 2).flatten(2))
        h = self.norm(x)
        return x + self.down(functional.silu(self.gate(h)) * self.up(h))


def seeded(network: nn.Module) -> nn.Module:
    """In evaluation mode, every parameter off its special value (ones and zeros of normalisations)."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.data = parameter.data + 0.2 * torch.randn_like(parameter)
    return network.eval()
