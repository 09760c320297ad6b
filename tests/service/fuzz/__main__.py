"""``make fuzz-service``: mutated models and messages against a server; ``ARGS="--seed 7 --number 500"`` draws them again."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from explainsvc.client import Client
from tests.service import models
from tests.service.fuzz.campaign import DELAY_SECONDS, Attack, Found, campaign
from tests.service.processes import server_process
from tests.test_corpus import CORPUS

GROWTH = 50_000_000
"""Bytes that the server may grow by; of 100,000 inputs not one may stay in memory."""
SETTINGS = (
    "--job-seconds",
    "10",
    "--worker-memory-bytes",
    str(8 * 10**9),
    "--model-bytes",
    str(10**9),
    "--unfinished-uploads",
    "0",
)
LARGEST = 300_000
"""Bytes of models of the corpus that are mutated too."""


def seeds(corpus: Path) -> list[bytes]:
    """Models of our own, and the small ones below a folder where there is one."""
    small = [path.read_bytes() for path in sorted(corpus.rglob("*.onnx")) if path.stat().st_size < LARGEST]
    return [models.cnn(), models.linear(), models.embedding(), models.labelled(), models.loop(), *small]


def told(found: Found, attack: Attack) -> int:
    """Prints what was found; 0 where nothing is wrong."""
    print("\n".join(f"{number:8} {reason}" for reason, number in found.outcomes.most_common()))
    slow, worst = found.slow(), found.delays[-1]
    print(f"another caller: {len(found.delays)} calls, {len(slow)} over {DELAY_SECONDS} s, the slowest {worst:.3f} s")
    print(f"the server's memory grew by {found.grown / 1e6:.1f} MB")
    print(f"{len(found.untyped)} inputs without a typed answer: {found.untyped[:20]}, kept in {attack.kept}")
    print(f"again with: make fuzz-service ARGS='--number {attack.number} --seed {attack.seed}'")
    return int(bool(found.untyped or slow or found.grown > GROWTH))


def main() -> int:
    """0 where every input was answered, nobody was delayed and the server's memory is flat."""
    parser = argparse.ArgumentParser(prog="make fuzz-service", description=__doc__)
    parser.add_argument("--number", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="a folder of models that are mutated too")
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "explainsvc-crashers")
    given = parser.parse_args()
    given.kept.mkdir(exist_ok=True)
    print(f"{given.number} inputs of seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder, server_process(Path(folder), *SETTINGS) as (server, address):
        with Client(address) as client:
            digest = client.upload(models.cnn())
        attack = Attack(given.number, given.seed, server.pid, given.kept, lambda text: print(text, flush=True))
        found = campaign(address, digest, seeds(given.corpus), attack)
        lives = server.poll() is None
    print("the server lives" if lives else "the server has ended")
    return told(found, attack) or int(not lives)


if __name__ == "__main__":
    sys.exit(main())
