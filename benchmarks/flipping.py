"""``python -m benchmarks.flipping``: what pixel flipping adds to the forwards that it needs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import explainsvc
from benchmarks import results
from benchmarks.networks import images, network
from benchmarks.subjects import subject_of
from benchmarks.timing import Times, rotate
from explainsvc.check import Check
from explainsvc.checks import find_check
from explainsvc.checks._flipping import MOST_ROWS
from explainsvc.checks.maps import GROUP_ELEMENTS

Array = NDArray[np.float32]
STEPS, ORDERS = 20, 3
HEADER = ["model", "inputs", "forwards", "their time, ms", "pixel_flipping", "target"]
LEGEND = f"""\
The whole check (ranking, perturbed inputs, forwards, rows with their intervals) as a multiple of the plain onnxruntime
forwards that it needs, of random inputs made beforehand: {ORDERS} orders (morf, lerf, random) of {STEPS} steps, and the
untouched input. Median over the rounds of the ratio within a round; in brackets fastest over fastest.
"""


def contestants(model: explainsvc.Model, feeds: Mapping[str, Array]) -> Mapping[str, Callable[[], object]]:
    """The check, and its forwards alone in batches of the same size."""
    ((name, x),) = feeds.items()
    check: Check = find_check("pixel_flipping")
    subject, params = subject_of(model, feeds, "gradient", "pixel_flipping"), find_check("pixel_flipping").params(steps=STEPS)
    rows = len(x) * (ORDERS * STEPS + 1)
    size = max(1, min(MOST_ROWS, GROUP_ELEMENTS // x[0].size) // len(x)) * len(x)
    batches = [size] * (rows // size) + ([rows % size] if rows % size else [])
    pool = np.concatenate([x] * -(-size // len(x)))[:size]

    def forwards() -> None:
        for batch in batches:
            model.value_of({name: pool[:batch]}, model.default_output)

    return {"forwards": forwards, "pixel_flipping": lambda: list(check.run(subject, params))}


def line(model: explainsvc.Model, feeds: Mapping[str, Array], label: str, budget: float) -> list[str]:
    """One row of the table."""
    times: Times = rotate(contestants(model, feeds), budget)
    count = len(next(iter(feeds.values())))
    ratio = f"{times.ratio('pixel_flipping', 'forwards'):.2f} ({times.best_ratio('pixel_flipping', 'forwards'):.2f})"
    forwards = count * (ORDERS * STEPS + 1)
    return [label, str(count), str(forwards), f"{1e3 * times.typical('forwards'):.0f}", ratio, "≤ 1.15"]


def digits(count: int) -> Array:
    """Noise [count, 1, 28, 28]."""
    return np.random.default_rng(0).random((count, 1, 28, 28), np.float32)


def main() -> None:
    """Measures and prints a Markdown table; a path of a model of pictures [N, 1, 28, 28] adds a line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flipping", description=__doc__)
    parser.add_argument("--networks", nargs="*", default=["resnet18"])
    parser.add_argument("--digits", type=Path, nargs="*", default=[], help="ONNX models of pictures [N, 1, 28, 28]")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 4], help="pictures of a network; default: 1 4")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    os.environ["EXPLAINSVC_THREADS"] = str(args.threads)
    print(results.machine(args.threads), LEGEND, results.table(HEADER, []), sep="\n\n", flush=True)
    for path in args.digits:
        model = explainsvc.load(path)
        for count in (10, 100):
            show(line(model, {model.inputs[0].name: digits(count)}, path.parent.name, args.seconds))
    for name in args.networks:
        model = explainsvc.load(network(name).onnx_path)
        for count in args.counts:
            show(line(model, {"x": images(count)}, name, args.seconds))


def show(cells: list[str]) -> None:
    """A line of the table, as soon as it is known."""
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
