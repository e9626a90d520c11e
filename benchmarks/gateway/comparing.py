# SPDX-License-Identifier: Apache-2.0
"""Servers that take turns with the same requests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from statistics import median, quantiles
from typing import Any, Final, NamedTuple

from benchmarks.gateway.load import PACED, STREAM, Measured, load
from benchmarks.gateway.servers import CROWD, TWO, UNSTORED, Server
from benchmarks.gateway.shares import shares
from benchmarks.gateway.stub import EVENTS


class Case(NamedTuple):
    """The number of clients, their request, the figures that are shown, and the seconds in which the clients arrive.

    Each process of a server has one core, or a `share` of it.
    """

    clients: int
    body: dict[str, Any]
    shown: tuple[str, ...]
    arriving: float = 0.0
    share: float = 1.0


CPU: Final = "CPU ms"
DATABASE: Final = "database CPU ms"
"""What the server of the database spends for a request; other servers have none."""
_FIRST = ("first p50 ms", "first p99 ms")
CASES: dict[str, Case] = {
    "JSON, 16 clients": Case(16, {}, (CPU, DATABASE, "per second", "p50 ms")),
    "JSON, one client": Case(1, {}, (CPU, "per second", "p50 ms")),
    "stream, 16 clients": Case(16, STREAM, (CPU, "per second")),
    "paced, 100 at once": Case(100, PACED, ("CPU us/event", "event p50 ms", "event p99 ms", *_FIRST)),
    "paced, 100 arriving": Case(100, PACED, _FIRST, EVENTS * 0.02),
    "JSON, 0.3 of a core": Case(16, {}, (CPU, DATABASE, "per second"), share=0.3),
}
Figures = dict[str, float]
Show = Callable[[str, dict[str, list[Figures]], tuple[str, ...]], None]
"""Called with a case, the figures of each server in each turn, and those that are shown."""


async def compare(
    started: AbstractAsyncContextManager[list[Server]], cases: dict[str, Case], pairs: int, seconds: float, show: Show
) -> dict[str, tuple[int, int]]:
    """Show the turns of each case. Returns the memory of each server before and after, in bytes."""
    async with started as compared:
        resting = {one.name: one.memory() for one in compared if one.pids}
        for name, case in cases.items():
            able = [one for one in compared if _takes_part(one, case)]
            turns: dict[str, list[Figures]] = {one.name: [] for one in able}
            with shares({pid for one in able for pid in one.pids}, case.share):
                for server in able:
                    warmed = 0
                    while warmed < len(server.tokens):
                        warmed += len((await load(server.ports, server.tokens, case.clients, 0.3, case.body)).answers)
                for turn in range(pairs):
                    for server in able if turn % 2 else reversed(able):
                        turns[server.name].append(await _turn(server, case, seconds))
            show(name, turns, case.shown)
        return {one.name: (resting[one.name], one.memory()) for one in compared if one.pids}


def _takes_part(server: Server, case: Case) -> bool:
    """LiteLLM takes minutes for a hundred streams, and many users change nothing once a stream has begun.

    Only two gateways with less than a core each show what two cores would serve.
    """
    if case.share < 1:
        return server.name in ("R", UNSTORED, "PostgreSQL", TWO)
    if server.name == "LiteLLM":
        return case.body is not PACED
    return server.name != TWO and (server.name != CROWD or not case.body)


async def _turn(server: Server, case: Case, seconds: float) -> Figures:
    before, of_database = server.cpu(), server.database_cpu()
    clients = case.clients * len(server.ports)
    measured = await load(server.ports, server.tokens, clients, seconds, case.body, case.arriving)
    figures = _figures(measured, server.cpu() - before)
    if server.database:
        figures[DATABASE] = 1e3 * (server.database_cpu() - of_database) / len(measured.answers)
    return figures


def _figures(measured: Measured, cpu: float) -> Figures:
    answers = len(measured.answers)
    found = {
        CPU: 1e3 * cpu / answers,
        "CPU us/event": 1e6 * cpu / answers / EVENTS,
        "per second": answers / measured.seconds,
        "p50 ms": 1e3 * median(measured.answers),
    }
    for name, times in (("event", measured.events), ("first", measured.first)):
        if len(times) > 1:
            found |= {f"{name} p50 ms": 1e3 * median(times), f"{name} p99 ms": 1e3 * quantiles(times, n=100)[98]}
    return found
