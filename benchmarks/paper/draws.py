"""How far a similarity after full randomisation depends on the numbers that were drawn, and on what becomes of the biases."""

from __future__ import annotations

from collections.abc import Iterator

import explainsvc
from benchmarks.paper.audits import MPRT, Case
from benchmarks.paper.tables import cell, walk

DISTRIBUTIONS = {"he_normal": "0", "glorot_uniform": "0", "normal_same_std": "drawn"}
"""What biases become."""
SEEDS, INPUTS = (0, 1, 2), 60
METHODS = ("gradient", "guided_backprop")
HEADER = ("weights from", "biases", "seed", *(f"`{method}`, {what}" for method in METHODS for what in ("\\|map\\|", "signed")))


def lines(case: Case) -> Iterator[list[str]]:
    """Rank correlations of the cheap methods after the last step, for each distribution and seed."""
    model = explainsvc.load(case.path)
    feeds = {name: array[:INPUTS] for name, array in case.feeds.items()}
    for distribution, biases in DISTRIBUTIONS.items():
        for seed in SEEDS:
            own = {"distribution": distribution, "similarities": "spearman_abs,spearman"}
            report = model.audit(feeds, methods=METHODS, seed=seed, parameters={MPRT: own})
            ends = [walk(report, method, measure)[-1] for method in METHODS for measure in ("spearman_abs", "spearman")]
            yield [distribution, biases, str(seed), *map(cell, ends)]
