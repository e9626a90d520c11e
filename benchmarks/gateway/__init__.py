# SPDX-License-Identifier: Apache-2.0
"""The gateway: an answer or an event that it sells, beside servers that only pass bytes through.

    make bench PARTS=gateway

`make bench-gateway` measures more, for longer: latencies, requests in a second, PostgreSQL and memory.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure

UVICORN = Path(".bench/bin/uvicorn")
PAIRS, SECONDS = 3, 1.5
FLOORS = {"R": "uvicorn passes it through", "nginx": "nginx passes it through"}
MEASURED = {
    "JSON, 16 clients": "CPU ms",
    "JSON, one client": "CPU ms",
    "stream, 16 clients": "CPU ms",
    "paced, 100 at once": "CPU us/event",
}
"""The cases, and the figure of each."""


def measure() -> list[Figure]:
    """All figures."""
    # The reference runs in an environment of its own, which has this package and not what it measures.
    from benchmarks.gateway.comparing import CASES, Figures, compare
    from benchmarks.gateway.servers import servers
    from serving_network.money import WEI_PER_COIN as COIN
    from tests.clients.network_fixture import deployed_world
    from tests.gateway.stage import Stage

    found: list[Figure] = []

    def note(case: str, turns: dict[str, list[Figures]], _: tuple[str, ...]) -> None:
        wanted = MEASURED[case]
        taken = {name: median(one[wanted] for one in figures) for name, figures in turns.items() if name != "direct"}
        unit = wanted.removeprefix("CPU ")
        found.extend(
            Figure(case, taken["gateway"], unit, floor, taken[name]) for name, floor in FLOORS.items() if name in taken
        )

    cores = os.sched_getaffinity(0)
    with deployed_world() as world, world.network.served() as url, tempfile.TemporaryDirectory() as directory:
        world.with_account(deposit=10_000 * COIN, amount=9_000 * COIN)
        stage = Stage(world, url, Path(directory) / "provider.journal")
        started = servers(stage, Path(directory), UVICORN, None)
        asyncio.run(compare(started, {name: CASES[name] for name in MEASURED}, PAIRS, SECONDS, note))
    os.sched_setaffinity(0, cores)
    return found
