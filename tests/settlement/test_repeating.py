# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from typing import Any

from serving_network.errors import NodeFailure
from serving_network.settlement.repeating import Repeating
from serving_network.settlement.report import Report

REPORT = Report(1, "0x1", "0x2")


class Runs:
    """Runs that do what `outcomes` say, then succeed."""

    def __init__(self, *outcomes: Report | Exception) -> None:
        self.outcomes = list(outcomes)
        self.times: list[float] = []
        self.states: list[dict[str, Any]] = []

    async def run(self) -> Report:
        self.times.append(asyncio.get_running_loop().time())
        outcome = self.outcomes.pop(0) if self.outcomes else REPORT
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def until(runs: Runs, number: int, loop: Repeating) -> None:
    """Let the loop run until there were so many runs, and stop it."""
    work = asyncio.create_task(loop.keep_settling())
    async with asyncio.timeout(10):
        while len(runs.times) < number:
            await asyncio.sleep(0.01)
    loop.stop.set()
    await work


def test_a_run_begins_every_period() -> None:
    runs = Runs()
    asyncio.run(until(runs, 3, Repeating(runs.run, 0.1, look=0.01)))
    assert runs.times[2] - runs.times[0] >= 0.2


def test_failed_runs_are_repeated_after_growing_pauses() -> None:
    failed = Report(1, "0x1", "0x2")
    failed.stopped_by = NodeFailure("The node is away.")
    runs = Runs(NodeFailure("The node is away."), failed, OSError("The disk is full."))
    loop = Repeating(runs.run, 60, publish=runs.states.append, first_pause=0.05, look=0.01)
    asyncio.run(until(runs, 4, loop))
    first, second, third = (later - earlier for earlier, later in zip(runs.times, runs.times[1:], strict=False))
    assert first >= 0.05
    assert second >= 0.1
    assert third >= 0.2
    assert [state["error"] for state in runs.states[:3]] == [
        "The node is away.",
        "The node is away.",
        "The disk is full.",
    ]


def test_it_settles_early_when_it_is_due_or_somebody_asks() -> None:
    async def scenario() -> None:
        due = Runs()
        await until(due, 3, Repeating(due.run, 3600, is_due=lambda: True, look=0.01))
        asked = Runs()
        loop = Repeating(asked.run, 3600)
        work = asyncio.create_task(until(asked, 2, loop))
        while not asked.times:
            await asyncio.sleep(0.01)
        loop.asked.set()
        await work

    asyncio.run(scenario())


def test_a_stop_ends_a_run_at_once() -> None:
    async def scenario() -> None:
        ended: list[bool] = []

        async def run() -> Report:
            loop.stop.set()
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(True)
            return REPORT

        loop = Repeating(run, 3600)
        async with asyncio.timeout(10):
            await loop.keep_settling()
        assert ended

    asyncio.run(scenario())
