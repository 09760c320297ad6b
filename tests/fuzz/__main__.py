"""``make fuzz``: fresh graphs; ``make fuzz ARGS="--seed 7 --graphs 500"`` draws the same ones again."""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.fuzz.run import campaign


def main() -> int:
    """0 where every graph came out clean."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--graphs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    given = parser.parse_args()
    print(f"{given.graphs} graphs of seed {given.seed}", flush=True)
    tally, failed = campaign(given.graphs, given.seed, lambda text: print(text, flush=True))
    print(f"\n{tally.told()}")
    print(f"{failed} kinds of failures; again with: make fuzz ARGS='--graphs {given.graphs} --seed {given.seed}'")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
