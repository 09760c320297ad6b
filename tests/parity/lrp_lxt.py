"""The relevance of any torch network by lxt's explicit rules (Achtibat et al. 2024's own library), in float64.

Every function that the network calls is exchanged for lxt's: what a module computes need not be known.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers.activations import NewGELUActivation
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tests.models import Array
from tests.parity.agreement import tensors

functional: Any = import_module("lxt.explicit.functional")
rules: Any = import_module("lxt.explicit.rules")
EPSILON = 1e-13
"""lxt adds it without a sign, we with the sign of z: both are kept below what shows."""


def relevance(network: torch.nn.Module, feeds: Mapping[str, Array], seed: Array, held: bool = False) -> Array:
    """Relevance of the first feed where that of the result is ``seed`` ⊙ result; ``held``: attention weights are constants."""
    network = copy.deepcopy(network).double().requires_grad_(False)
    for module in network.modules():
        _written_out(module)
    leaf, *others = tensors(feeds, torch.float64)
    with Explicit(held):
        y = network(leaf.requires_grad_(), *others)
    (found,) = torch.autograd.grad(y, leaf, torch.tensor(seed, dtype=torch.float64) * y.detach())
    return np.asarray(found.numpy())


def _written_out(module: torch.nn.Module) -> None:
    """What transformers computes in several functions becomes one that has a rule."""
    if isinstance(module, transformers.PreTrainedModel):
        module.set_attn_implementation("eager")
    elif isinstance(module, LlamaRMSNorm):
        norm = {"weight": module.weight, "variance_epsilon": module.variance_epsilon}
        module.__dict__["forward"] = partial(functional.rms_norm_identity, **norm)
    elif isinstance(module, NewGELUActivation):
        module.__dict__["forward"] = partial(rules.identity, module.forward)


class Explicit(TorchFunctionMode):
    """Exchanges functions of torch for lxt's while the network runs."""

    def __init__(self, held: bool = False) -> None:
        super().__init__()
        self.held = held

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """lxt's function of the same name, where a tensor of the call leads to the input."""
        name = getattr(func, "__name__", "").strip("_")
        floats = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
        if name == "scaled_dot_product_attention":
            with self:
                return _attention(*args, **(kwargs or {}))
        if name in ("softmax", "silu") and floats and self.held:
            return func(args[0].detach(), *args[1:], **(kwargs or {}))
        chosen = RULES.get(name) if floats else None
        return func(*args, **(kwargs or {})) if chosen is None else chosen(func, *args, **(kwargs or {}))


def _linear(_: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    return functional.linear_epsilon(x, weight, bias, EPSILON)


def _addmm(_: Any, bias: Tensor, x: Tensor, weight: Tensor) -> Any:
    return functional.linear_epsilon(x, weight.T, bias, EPSILON)


def _matmul(_: Any, a: Tensor, b: Tensor) -> Any:
    if a.requires_grad and b.requires_grad:
        return functional.matmul(a, b, False, EPSILON)
    return rules.epsilon_lrp(torch.matmul, EPSILON, a, b)


def _add(_: Any, a: Any, b: Any) -> Any:
    dtype = next(v.dtype for v in (a, b) if isinstance(v, Tensor) and v.requires_grad)
    a, b = (torch.as_tensor(v, dtype=dtype) for v in (a, b))
    shape = torch.broadcast_shapes(a.shape, b.shape)
    return functional.add2(a.expand(shape), b.expand(shape), False, EPSILON)


def _mul(_: Any, a: Any, b: Any) -> Any:
    return functional.mul2(a, b)


def _divided(_: Any, a: Tensor, b: Any) -> Any:
    assert not (isinstance(b, Tensor) and b.requires_grad)
    return functional.mul2(a, 1 / b)


def _negated(_: Any, x: Tensor) -> Any:
    return functional.mul2(x, -1)


def _softmax(_: Any, x: Tensor, dim: int = -1, *_rest: Any, **options: Any) -> Any:
    return functional.softmax(x, options.get("dim", dim))


def _layer_norm(_: Any, x: Tensor, _shape: Any, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Any:
    return functional.layer_norm_grad_fn.apply(x, weight, bias, eps, EPSILON)


def _activation(func: Any, x: Tensor, *_rest: Any, **options: Any) -> Any:
    return rules.identity(partial(func, **{k: v for k, v in options.items() if k != "inplace"}), x)


def _conv(func: Any, x: Tensor, *rest: Any) -> Any:
    return rules.epsilon_lrp(lambda image: func(image, *rest), EPSILON, x)


def _mean(_: Any, x: Tensor, dim: int, keepdim: bool = False) -> Any:
    return rules.epsilon_lrp(lambda v: v.mean(dim, keepdim), EPSILON, x)


def _attention(q: Tensor, k: Tensor, v: Tensor, *_rest: Any, is_causal: bool = False, **_options: Any) -> Tensor:
    """softmax(q kᵀ/√d + mask) v, step by step."""
    scores = torch.matmul(q, k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    mask = torch.full(scores.shape[-2:], -torch.inf).triu(1) if is_causal else torch.zeros(())
    return torch.matmul(torch.softmax(scores + mask, -1), v)


RULES: dict[str, Callable[..., Any]] = {
    "linear": _linear, "addmm": _addmm, "matmul": _matmul, "add": _add, "iadd": _add, "mul": _mul, "div": _divided,
    "truediv": _divided, "neg": _negated, "softmax": _softmax, "layer_norm": _layer_norm, "conv2d": _conv, "mean": _mean,
    "gelu": _activation, "silu": _activation, "tanh": _activation,
}  # fmt: skip
