"""``python -m tests.parity.record [--opset N] [architecture …]``: architectures, exporters, opsets, into RECORD.md beside this.

Rows of architectures that are not named stay as they are.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from importlib import metadata
from pathlib import Path

import torch

import explainsvc
from explainsvc.errors import InvalidInput
from tests.parity.agreement import EXPORTERS, ITEMS, LIMIT, Truth, agreement, truth_of
from tests.parity.architectures import ARCHITECTURES, Architecture

RECORD = Path(__file__).with_name("RECORD.md")
EXPORTS = [*(("dynamo", opset) for opset in range(18, 24)), ("torchscript", 17), ("torchscript", 13)]
OPSETS = [opset for _, opset in EXPORTS]
VERSIONS = ("torch", "torchvision", "transformers", "onnx", "onnxscript", "onnxruntime", "numpy")
LARGE = {"vit_b_16", "swin_t"}
"""At their own 224 pixels, 86 and 28 million weights: two items."""
HEAD = """# Gradients of architectures against torch autograd

Written by `python -m tests.parity.record`. Weights are random. The distance is ‖ours − torch‖ / ‖torch‖, torch in float64,
of the worst of the items and inputs; {limit:g} is allowed. An item at a kink (a ReLU or a maximum within rounding of float32)
may have torch's gradient at a point within 1e-6 of its own, relative, or the one with our ReLUs' gates, where those that
differ are within rounding of 0: its distance at the point itself stands in the notes.

| architecture | exporter | opset | nodes | predictions | gradients | notes |
|---|---|---|---|---|---|---|
"""


def main(arguments: list[str]) -> int:
    """Measures, writes the table after every architecture, returns 1 where something deviates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("architecture", nargs="*", choices=[*ARCHITECTURES, []])
    parser.add_argument("--opset", type=int, action="append", help="only this one; may be repeated")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    failed = False
    for name in given.architecture or ARCHITECTURES:
        expected = truth_of(ARCHITECTURES[name], 2 if name in LARGE else ITEMS)
        found = [row(name, exporter, opset, expected) for exporter, opset in EXPORTS if opset in (given.opset or OPSETS)]
        failed = failed or any("DEVIATES" in line for line in found)
        write(name, found)
    return int(failed)


def row(name: str, exporter: str, opset: int, expected: Truth) -> str:
    """One line of the table."""
    architecture = ARCHITECTURES[name]
    start = f"| {name} | {exporter} | {opset} |"
    try:
        data = EXPORTERS[exporter](architecture, opset).SerializeToString()
    except Exception as error:  # noqa: BLE001  (exporters raise what they like; it is recorded)
        return f"{start} | | | not exported: {shortened(str(error))} |"
    try:
        return f"{start} {measured(architecture, data, expected)} |"
    except Exception as error:  # noqa: BLE001  (recorded; the other exports are still measured)
        return f"{start} | | | DEVIATES: {type(error).__name__}: {shortened(str(error))} |"


def measured(architecture: Architecture, data: bytes, expected: Truth) -> str:
    """The cells of one export."""
    model = explainsvc.load(data)
    notes = [f"{p.name}: {p.note}" for p in model.prepared.passes if p.note]
    one_by_one = False
    try:
        model.predict(expected.feeds)
    except InvalidInput as error:
        one_by_one = True
        notes.append(f"one item at a time: {shortened(error.what.partition('Status Message: ')[2])}")
    found = agreement(model, expected, architecture.smooth, one_by_one)
    notes += [f"an item at a kink: {error:.1e}" for error in found.kinks]
    reached = all(model.info.differentiable[name] == "" for name in expected.gradients)
    if max(found.outputs, found.gradients) > LIMIT or not reached or any(p.note for p in model.prepared.passes):
        notes.append("DEVIATES")
    errors = f"{found.outputs:.1e}", f"{found.gradients:.1e}"
    return " | ".join([str(len(model.proto.graph.node)), *errors, "; ".join(notes)])


def shortened(text: str) -> str:
    """One line that fits a cell."""
    return " ".join(text.split()).replace("|", "/")[:240]


def write(name: str, lines: list[str]) -> None:
    """The table with the rows of one architecture replaced."""
    before = RECORD.read_text(encoding="utf-8").splitlines() if RECORD.exists() else []
    rows = {known: [line for line in before if line.startswith(f"| {known} |")] for known in ARCHITECTURES} | {name: lines}
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in VERSIONS)
    body = "\n".join(line for known in rows.values() for line in known)
    foot = f"\n\n{datetime.date.today()}, Python {sys.version.split()[0]}, {versions}.\n"
    RECORD.write_text(HEAD.format(limit=LIMIT) + body + foot, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
