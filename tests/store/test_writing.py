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


def nothing(_: Database) -> None:
    """A job."""
