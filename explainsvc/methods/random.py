"""random: A control that looks at nothing: random numbers.

Computes: Independent draws per element: normal N(0, 1), uniform on [-1, 1), or bernoulli, 0 or 1 with probability 1/2.
Output: The input's shape; signed but for bernoulli; no unit.
Needs: Nothing.
Cost: None; the model is not run.
Properties: Independent of model, target and input; the same seed gives the same map.
Limits: Not an explanation. It shows what a check reports for maps that have no relation to the model.
Source: Hooker, Erhan, Kindermans, Kim 2019, arXiv:1806.10758, the random baseline of ROAR.
Differs: Three distributions; ROAR's is bernoulli.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.cards import param, read_card
from explainsvc.method import Method, Request, Result


@dataclass(frozen=True)
class Params:
    """Which numbers."""

    distribution: str = param("normal", "str", "what each element is drawn from", choices=("normal", "uniform", "bernoulli"))


def run(request: Request, p: Params) -> Result:
    """One map per wanted input, keyed by the seed and the input's name."""
    return Result({name: _draw(request.feeds[name], _generator(request.seed, name), p) for name in request.wanted})


def _generator(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng([seed % 2**64, *np.frombuffer(digest, "<u4").tolist()])


def _draw(like: Array, rng: np.random.Generator, p: Params) -> Array:
    dtype = like.dtype if like.dtype.kind == "f" else np.dtype(np.float32)
    if p.distribution == "bernoulli":
        return rng.integers(0, 2, like.shape).astype(dtype)
    numbers = rng.standard_normal(like.shape) if p.distribution == "normal" else rng.uniform(-1, 1, like.shape)
    return numbers.astype(dtype)


METHOD = Method(
    read_card("random", __doc__, Params),
    Params,
    run=run,
    caveats=("a control: random numbers, not an explanation",),
    family="control",
)
