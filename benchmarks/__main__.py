"""``python -m benchmarks``: measures, prints each line as it comes, and writes ``RESULTS.md``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import explainsvc
from benchmarks import cascading, flipping, overhead, peers, results
from benchmarks.networks import images, network

OUT = Path(__file__).parent / "RESULTS.md"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--networks", nargs="+", default=["resnet50", "vgg16"], help="default: resnet50 vgg16")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8], help="default: 1 8")
    parser.add_argument("--methods", nargs="*", help="default: gradient lrp_epsilon_plus lrp_epsilon_plus_flat")
    parser.add_argument("--seconds", type=float, default=30, help="a line; three rounds at least")
    parser.add_argument("--threads", type=int, default=2, help="of onnxruntime and of torch; default: 2")
    parser.add_argument("--out", type=Path, default=OUT, help="default: benchmarks/RESULTS.md")
    return parser.parse_args()


def main() -> None:
    """Measures what the command line asks for."""
    args = arguments()
    os.environ["EXPLAINSVC_THREADS"] = str(args.threads)
    facts, lines = results.machine(args.threads), []
    print(facts, "  ".join(peers.HEADER), sep="\n\n", flush=True)
    for line in peers.measure(args.networks, args.batches, args.methods or peers.METHODS, args.seconds, args.threads):
        lines.append(line.cells())
        print(*lines[-1], sep="  ", flush=True)
    small = overhead.rows(overhead.measure(args.seconds / 3))
    for row in small:
        print(*row, sep="  ")
    model = explainsvc.load(network("resnet18").onnx_path)
    flipped = [flipping.line(model, {"x": images(count)}, "resnet18", args.seconds) for count in (1, 4)]
    walked = [cascading.line(model, {"x": images(13)}, "resnet18", rounds=3)]
    parts = [
        "# Results", "Written by `make bench`.", facts, "## Against the peers",
        results.table(peers.HEADER, lines), peers.LEGEND, "## What `explain` adds",
        results.table(overhead.HEADER, small), overhead.LEGEND,
        "## What pixel flipping adds to its forwards", results.table(flipping.HEADER, flipped), flipping.LEGEND,
        "## What cascading randomisation adds to its gradients", results.table(cascading.HEADER, walked), cascading.LEGEND,
    ]  # fmt: skip
    args.out.write_text("\n\n".join(part.strip() for part in parts) + "\n")


if __name__ == "__main__":
    main()
