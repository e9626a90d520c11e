# SPDX-License-Identifier: Apache-2.0
"""`make prove-gateway`: kill gateway and settler many times under load, and check that every wei adds up.

This is done on each store; on PostgreSQL, the server is killed, too.
"""

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
from serving_network.store.location import Location, located
from tests.clients.network_fixture import World, deployed_world
from tests.gateway.killing import DATABASE, GATEWAY, SETTLER, kill_under_load
from tests.gateway.stage import Stage
from tests.postgres import PostgresServer, missing, postgres_server

NAMES = {GATEWAY: "gateway", SETTLER: "settler", DATABASE: "database"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--stores", default="sqlite,postgresql", type=lambda text: text.split(","))
    given = parser.parse_args()
    sys.stdout.write(f"Seed {given.seed}\n")
    sys.stdout.flush()
    with deployed_world() as world:
        if "sqlite" in given.stores:
            _prove(world, given.kills, given.seed, None)
        if "postgresql" in given.stores:
            if (reason := missing()) is not None:
                sys.stdout.write(f"PostgreSQL was left out: {reason}.\n")
                return
            with postgres_server(durable=True) as database:
                _prove(world, given.kills, given.seed, database)


def _prove(world: World, kills: int, seed: int, database: PostgresServer | None) -> None:
    began = time.monotonic()
    with (
        world.network.reset_afterwards(),
        tempfile.TemporaryDirectory() as directory,
        world.network.served() as url,
    ):
        world.with_account()
        home = Path(directory)
        store: Location = home / "provider.journal"
        if database is not None:
            store = located(database.store(home).url, home / "settlements")
        stage = Stage(world, url, store)
        tally = asyncio.run(kill_under_load(stage, home, kills, random.Random(seed), database))
    killed = ", ".join(f"the {NAMES[one]} {count(number, 'time')}" for one, number in sorted(tally.kills.items()))
    lines = (
        f"{'SQLite' if database is None else 'PostgreSQL'}: killed {killed} in {time.monotonic() - began:.0f} s.",
        f"Answers as clients saw them: {_listed(tally.seen)}.",
        f"Receipts: {_listed(tally.receipts)}.",
        f"{count(tally.settlements, 'settlement')} paid {tally.billed} wei, the sum of all receipts.",
        "All checks passed.",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _listed(found: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(found.items()))


if __name__ == "__main__":
    main()
