"""``python -m benchmarks.paper --data mnist_t10k.npz [--squeezenet MODEL --photographs DIR]``: trains, audits, writes results.

Models and reports lie in ``.cache/paper/``; what lies there is not made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from benchmarks.paper import audits, digits, results, train

CACHE = Path(__file__).parents[2] / ".cache" / "paper"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="an .npz with MNIST's test pictures: images, labels")
    parser.add_argument("--squeezenet", type=Path, help="SqueezeNet 1.0 as ONNX, input data_0, output logits")
    parser.add_argument("--photographs", type=Path, help="a folder of photographs with its index.json")
    parser.add_argument("--untrained", type=Path, help="an untrained MNIST classifier as ONNX, for the table of untrained models")
    parser.add_argument("--out", type=Path, default=CACHE, help="models and reports; default: .cache/paper")
    parser.add_argument("--only", default="", help="run the audits whose name begins so, and write no results")
    return parser.parse_args()


def cases(args: argparse.Namespace) -> Iterator[audits.Case]:
    """Every audit, after the models that are missing have been trained."""
    to_train, held_out = digits.read(args.data)
    for name in train.NETWORKS:
        path = args.out / f"{name}.onnx"
        if not path.is_file():
            print(f"{path}: sha256 {train.make(name, path, to_train, held_out)}", flush=True)
        yield from audits.of_digits(name, path, held_out)
    if args.squeezenet and args.photographs:
        yield from audits.of_photographs(args.squeezenet, args.photographs)


def main() -> None:
    """All of it."""
    args = arguments()
    chosen = [case for case in cases(args) if case.name.startswith(args.only)]
    found = {case.name: (case, audits.run(case, args.out)) for case in chosen}
    if not args.only:
        results.write(found, args.untrained, args.out)


if __name__ == "__main__":
    main()
