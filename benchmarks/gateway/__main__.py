# SPDX-License-Identifier: Apache-2.0
"""`make bench-gateway`: what the gateway costs, beside a server that only passes bytes through.

| row | clients | requests |
|---|---|---|
| JSON | 16 | an answer of some hundred bytes, stored and signed by the gateway |
| JSON, one client | 1 | the same |
| stream | 16 | 200 events as fast as they go |
| paced | 100 | a stream of 200 events, one every 20 ms; the clients come at once, or one after the other |
| JSON, 0.3 of a core | 16 | as JSON, with 0.3 of a core for each process, so that two gateways do not compete for one |

The gateway keeps its rows in SQLite; "PostgreSQL" is the gateway with a store there, whose server has its own processor
time. "no store" is the gateway that signs its rows and does not store them. "stack" is its HTTP stack, which passes
bytes through and does no more. Servers take turns, and each ratio is the median over the turns of a server's figure to
that of R, or of the gateway without a store, in the same turn. Ratios hold on other machines, times do not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from statistics import median

from benchmarks.gateway import shares
from benchmarks.gateway.comparing import CASES, CPU, DATABASE, Figures, compare
from benchmarks.gateway.load import load
from benchmarks.gateway.servers import CROWD, TWO, UNSTORED, Server, servers
from serving_network.clients import User
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.wallet.local import LocalSigner
from tests.clients.network_fixture import World, deployed_world
from tests.gateway.stage import Stage
from tests.postgres import missing

MANY, STEP = 200_000, 20_000
USERS = 200
"""As many as may be new to the gateway in a minute, with some to spare."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the gateway beside a server that passes bytes through.")
    parser.add_argument("--pairs", type=int, default=7, help="turns of each server")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a turn")
    parser.add_argument("--case", choices=CASES, action="append", help="measure this case only")
    parser.add_argument("--uvicorn", type=Path, required=True, help="the uvicorn that runs the reference")
    parser.add_argument("--litellm", type=Path, help="the program of LiteLLM, to measure it, too")
    parser.add_argument("--growth", action="store_true", help="send 200,000 requests and watch the memory instead")
    given = parser.parse_args()
    with ExitStack() as held:
        world = held.enter_context(deployed_world())
        world.with_account(deposit=10_000 * COIN, amount=9_000 * COIN)
        crowd = [] if given.growth or missing() else _crowd(world)
        url, home = held.enter_context(world.network.served()), Path(held.enter_context(tempfile.TemporaryDirectory()))
        stage = Stage(world, url, home / "provider.journal")
        _line("fdatasync p50 ms", f"disk {_fdatasync(home):.3g}")
        started = servers(stage, home, given.uvicorn, given.litellm, crowd)
        cases = {name: CASES[name] for name in given.case or CASES}
        if reason := shares.missing():
            cases = {name: case for name, case in cases.items() if case.share == 1}
            _line("less than a core", reason)
        if given.growth:
            asyncio.run(_grow(started))
            return
        memory = asyncio.run(compare(started, cases, given.pairs, given.seconds, _show))
        _line("memory MB", *(f"{name} {before >> 20} to {after >> 20}" for name, (before, after) in memory.items()))


def _crowd(world: World) -> list[LocalSigner]:
    """Users who have an account with the provider."""
    crowd = [LocalSigner(number.to_bytes(32, "big")) for number in range(1, 1 + USERS)]
    for signer in crowd:
        world.chain.request("anvil_setBalance", [signer.address, hex(1_000 * COIN)])
        user = User(world.connection, signer)
        user.open_ledger(10 * COIN)
        user.fund(world.provider.address, 9 * COIN)
    return crowd


async def _grow(started: AbstractAsyncContextManager[list[Server]]) -> None:
    """The memory of the gateway while it serves MANY requests that are not streamed."""
    async with started as compared:
        gateway = compared[-1]
        sent = 0
        for mark in range(0, MANY + 1, STEP):
            while sent < mark:
                sent += len((await load(gateway.ports, gateway.tokens, 16, 5, {})).answers)
            _line(f"after {sent:,} requests", f"{gateway.memory() / 2**20:.1f} MB")


def _fdatasync(directory: Path) -> float:
    """The median of the milliseconds that the disk of the store takes for a page."""
    times = []
    with (directory / "page").open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(bytes(4096))
            began = time.monotonic()
            os.fdatasync(file.fileno())
            times.append(1e3 * (time.monotonic() - began))
    return median(times)


def _show(case: str, turns: dict[str, list[Figures]], shown: tuple[str, ...]) -> None:
    for figure in shown:
        cells = _of_database(turns) if figure == DATABASE else [_cell(name, figure, turns) for name in turns]
        if cells:
            _line(f"{case}: {figure}", *cells)


def _cell(name: str, figure: str, turns: dict[str, list[Figures]]) -> str:
    figures = turns[name]
    text = f"{name} {median(one[figure] for one in figures):.4g}"
    if name not in ("direct", "R"):
        text += f" ({_ratio(figure, figures, turns['R']):.2f} R)"
    if name in ("gateway", "PostgreSQL"):
        text += f" ({_ratio(figure, figures, turns[UNSTORED]):.2f} of no store)"
    if name == "PostgreSQL" and (others := turns.get(CROWD)):
        text += f" ({_ratio(figure, figures, others):.2f} of many users)"
    if name == TWO:
        text += f" ({_ratio(figure, figures, turns['PostgreSQL']):.2f} of one gateway)"
    if name == "gateway" and (others := turns.get("LiteLLM")):
        text += f" (LiteLLM has {_ratio(figure, others, figures):.3g} times as much)"
    return text


def _of_database(turns: dict[str, list[Figures]]) -> list[str]:
    """What the database server spends, beside what the gateway without a store spends."""
    cells = []
    for name, figures in turns.items():
        if spent := [one[DATABASE] for one in figures if DATABASE in one]:
            share = median(one / other[CPU] for one, other in zip(spent, turns[UNSTORED], strict=True))
            cells.append(f"{name} {median(spent):.4g} ({share:.2f} of the CPU of no store)")
    return cells


def _ratio(figure: str, figures: list[Figures], base: list[Figures]) -> float:
    """The median over the turns."""
    return median(one[figure] / other[figure] for one, other in zip(figures, base, strict=True))


def _line(title: str, *cells: str) -> None:
    sys.stdout.write(f"{title:<38}{'   '.join(cells)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
