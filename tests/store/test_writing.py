# SPDX-License-Identifier: Apache-2.0
"""Which jobs share a transaction."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from serving_network.store.database import Database
from serving_network.store.opening import Identity
from serving_network.store.writing import MORE_ROUNDS, Writer, each

IDENTITY = Identity(31337, "0x", "0x" + "1" * 40, "0x" + "2" * 40)


@pytest.mark.parametrize(
    ("arrivals", "together"),
    [
        ([1], [1]),
        ([3], [3]),
        ([2, 1, 1], [4]),
        ([1, 1], [1, 1]),
        ([2, 0, 1], [2, 1]),
        ([2] + [1] * (MORE_ROUNDS + 3), [2 + MORE_ROUNDS, 1, 1, 1]),
    ],
)
def test_jobs_wait_for_others_while_each_round_brings_more(
    tmp_path: Path, arrivals: list[int], together: list[int]
) -> None:
    """`arrivals` are the jobs of each round of the loop, `together` those that the thread gets at once."""
    writer = Writer(tmp_path / "store", IDENTITY, [])

    async def submit() -> None:
        for number in arrivals + [0] * 3:
            for _ in range(number):
                writer.submit(each, nothing)
            await asyncio.sleep(0)

    asyncio.run(submit())
    given = [writer._jobs.get_nowait() for _ in range(writer._jobs.qsize())]
    assert [len(jobs or ()) for jobs in given] == together


def test_a_job_for_which_nobody_waits_goes_along_with_others_or_at_its_time(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "store", IDENTITY, [])

    async def submit() -> list[int]:
        async def handed_over() -> list[int]:
            await asyncio.sleep(0.05)
            return [len(writer._jobs.get_nowait() or ()) for _ in range(writer._jobs.qsize())]

        writer.submit(each, nothing, within=60)
        writer.submit(each, nothing, within=60)
        waiting = await handed_over()
        writer.submit(each, nothing)
        together = await handed_over()
        writer.submit(each, nothing, within=0.01)
        return [len(waiting), *together, *await handed_over()]

    assert asyncio.run(submit()) == [0, 3, 1]


def nothing(_: Database) -> None:
    """A job."""
