"""feature_permutation: How much the target falls when one feature comes from another item of the batch.

Computes: S(x_i) − mean over other items k of S(x_i with the feature's elements from x_k), for every feature and item i.
Output: Signed, the input's shape, in units of S; every element of a feature shows the feature's whole value.
Needs: Two items or more in the request, that come from one distribution; nothing of the model.
Cost: `samples` forwards per feature and item, stacked in batches.
Properties: No baseline to choose; exact over all other items when `samples` is their number or more. The mean over many items
is Breiman's permutation importance with the target in place of the loss.
Limits: Depends on the other items of the request; permuted features may contradict the rest of the item.
Source: Breiman 2001, Random Forests, Machine Learning 45, section 10; Fisher, Rudin, Dominici 2019, arXiv:1801.01489, section 3.
Differs: Every repeat is a cyclic shift along one random order, so that no item keeps its own feature nor meets another one
twice (captum draws one permutation that may leave items in place).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.axioms import exactly
from explainsvc.cards import param, read_card
from explainsvc.errors import InvalidInput, MethodNotApplicable, Violation
from explainsvc.features import partition
from explainsvc.method import Method, Request, Result
from explainsvc.variations import items_are_separable, per_variation, split_array, target_values

if TYPE_CHECKING:
    from explainsvc.model import Model


OTHER = "feature_ablation, which takes absent features from a baseline"


@dataclass(frozen=True)
class Params:
    """The features, and how often each is permuted."""

    samples: int = param(10, "int", "permutations per feature; at most one less than the items are useful", low=1, high=100_000)
    feature_mask: Any = param(None, "value", "features: element, pixel, column, token, superpixel, integers, {input: these}")
    batch_size: int = param(32, "int", "items per run", low=1)


def run(request: Request, p: Params) -> Result:
    """Mean drop over the permutations, feature by feature."""
    _require_items(request)
    features = partition(p.feature_mask, request)
    scored = _in_runs(request, p.batch_size)
    whole = scored(request)
    partners = permutations(len(whole), p.samples, request.seed)

    def permuted() -> Iterator[dict[str, Array]]:
        for j in range(features.count):
            for partner in partners:
                yield {n: np.where(mask == j, request.feeds[n][partner], request.feeds[n]) for n, mask in features.masks.items()}

    scores = per_variation(request, permuted(), scored, split_array, p.batch_size)
    drops = np.zeros((len(whole), features.count))
    for j in range(features.count):
        drops[:, j] = whole - np.mean(list(islice(scores, len(partners))), axis=0)
        request.progress(j + 1, features.count, "feature_permutation")
    return Result(features.spread(drops, request), parameters={"samples": len(partners)})


def _in_runs(request: Request, size: int) -> Callable[[Request], Array]:
    """S per item, of a batch that is too large for one run in several: the method needs all items at once, the model does not."""
    alone = request.model.stackable and all(request.has_items(name) for name in request.feeds)
    if len(request.target.seed) <= size or not alone or not items_are_separable(request):
        return target_values
    return lambda permuted: np.concatenate([target_values(part) for part in permuted.parts(size)])


def permutations(items: int, samples: int, seed: int) -> list[Array]:
    """Up to ``items`` − 1 permutations without fixed points, no two of which send an item to the same place."""
    order = np.random.default_rng(seed).permutation(items)
    found = []
    for shift in range(1, min(samples, items - 1) + 1):
        partner = np.empty(items, np.int64)
        partner[order] = np.roll(order, -shift)
        found.append(partner)
    return found


def _require_items(request: Request) -> None:
    """Two items or more, and every explained input has its own row for each.

    Raises:
        MethodNotApplicable: The model, or an explained input, has no axis that counts items.
        InvalidInput: There is one item.
    """
    shared = [n for n in request.wanted if not request.has_items(n)]
    if shared:
        raise _no_items(shared[0])
    if len(request.target.seed) < 2:
        violations = [Violation(f'inputs["{n}"].shape', "has 1 item") for n in request.wanted]
        raise InvalidInput("feature_permutation exchanges features between items", violations=violations,
                           expected="two items or more", to_do=f"Give more items, or use {OTHER}")  # fmt: skip


def requires(model: Model, output: str, inputs: Sequence[str]) -> None:
    """Every input has an axis that counts items."""
    shared = [n for n in inputs if not (model.stackable and model.leads_with_items(n))]
    if shared:
        raise _no_items(shared[0])


def _no_items(name: str) -> MethodNotApplicable:
    return MethodNotApplicable(
        "feature_permutation exchanges features between items",
        where=f'input "{name}"',
        expected="an axis 0 that counts items",
        to_do=f"Use {OTHER}",
    )


CLAIMS = exactly("dummy", "linearity", "implementation_invariance")
METHOD = Method(
    read_card("feature_permutation", __doc__, Params, CLAIMS),
    Params,
    run=run,
    family="perturbation",
    whole_batch=True,
    requires=requires,
)
