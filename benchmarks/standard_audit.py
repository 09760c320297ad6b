"""``python -m benchmarks.standard_audit MODEL PHOTOGRAPH…``: how long the preset ``standard`` takes, and until its first row."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import explainsvc
from benchmarks import results
from explainsvc.checks.presets import PRESETS
from explainsvc.checks.rows import Row
from explainsvc.images import Preprocessing, preprocess

CAFFE = Preprocessing(scale=1, mean=(104, 117, 123), bgr=True)
"""What SqueezeNet was trained on."""
HEADER = ["part", "wall, s", "processor, s", "rows"]
LEGEND = """\
The preset `standard` on SqueezeNet and photographs, from the loaded model to the last row. Wall and processor time.
"""


@dataclass
class Clock:
    """Wall and processor seconds since it was made, and the rows of every check in them."""

    start: float = field(default_factory=time.perf_counter)
    busy: float = field(default_factory=time.process_time)
    lines: list[list[str]] = field(default_factory=list)

    def note(self, part: str, rows: str = "") -> None:
        """A line of the table, from the start on, printed as soon as it is known."""
        wall, busy = time.perf_counter() - self.start, time.process_time() - self.busy
        self.lines.append([part, f"{wall:.1f}", f"{busy:.1f}", rows])
        print(f"| {' | '.join(self.lines[-1])} |", flush=True)


def photographs(model: explainsvc.Model, paths: Sequence[Path], how: Preprocessing) -> Mapping[str, NDArray[np.float32]]:
    """All pictures as one batch of the model's only input."""
    (entry,) = model.inputs
    tensors = [preprocess(path, entry.shape, entry.dtype, how).tensor for path in paths]
    return {entry.name: np.concatenate(tensors)}


def measure(model: explainsvc.Model, feeds: Mapping[str, NDArray[np.float32]]) -> Clock:
    """The whole audit; a line when a check is through."""
    plan, clock, count, check = PRESETS["standard"], Clock(), 0, ""
    for row in _rows(model, feeds):
        if not count:
            clock.note("first row")
        elif row.check != check:
            clock.note(check, str(count))
        count, check = count + 1, row.check
    clock.note(f"{check}, {len(plan.methods)} methods: all", str(count))
    return clock


def _rows(model: explainsvc.Model, feeds: Mapping[str, NDArray[np.float32]]) -> Iterator[Row]:
    plan = PRESETS["standard"]
    return model.audit_rows(feeds, methods=list(plan.methods), checks=list(plan.checks), parameters=plan.parameters)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """onnxruntime's threads for what is made within."""
    before = os.environ.get("EXPLAINSVC_THREADS")
    os.environ["EXPLAINSVC_THREADS"] = str(count)
    yield
    os.environ.pop("EXPLAINSVC_THREADS") if before is None else os.environ.update(EXPLAINSVC_THREADS=before)


def main() -> None:
    """Measures and prints a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.standard_audit", description=__doc__)
    parser.add_argument("model", type=Path, help="SqueezeNet as ONNX, its input in BGR, 0…255 less the mean")
    parser.add_argument("photographs", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    print(results.machine(args.threads), LEGEND, results.table(HEADER, []), sep="\n\n", flush=True)
    with threads(args.threads):
        model = explainsvc.load(args.model)
        measure(model, photographs(model, args.photographs, CAFFE))


if __name__ == "__main__":
    main()
