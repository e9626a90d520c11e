# SPDX-License-Identifier: Apache-2.0
"""`make prove-gateway`: kill gateway and settler many times under load, and check that every wei adds up."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from serving_network.counting import count
from tests.clients.network_fixture import deployed_world
from tests.gateway.killing import GATEWAY, SETTLER, kill_under_load
from tests.gateway.stage import Stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    sys.stdout.write(f"Seed {given.seed}\n")
    sys.stdout.flush()
    began = time.monotonic()
    with deployed_world() as world, tempfile.TemporaryDirectory() as directory, world.network.served() as url:
        world.with_account()
        home = Path(directory)
        stage = Stage(world, url, home / "provider.journal")
        tally = asyncio.run(kill_under_load(stage, home, given.kills, random.Random(given.seed)))
    lines = (
        f"Killed the gateway {count(tally.kills[GATEWAY], 'time')} and the settler"
        f" {count(tally.kills[SETTLER], 'time')} in {time.monotonic() - began:.0f} s.",
        f"Answers as clients saw them: {_listed(tally.seen)}.",
        f"Receipts: {_listed(tally.receipts)}.",
        f"{count(tally.settlements, 'settlement')} paid {tally.billed} wei, the sum of all receipts.",
        "All checks passed.",
    )
    sys.stdout.write("\n".join(lines) + "\n")


def _listed(found: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(found.items()))


if __name__ == "__main__":
    main()
