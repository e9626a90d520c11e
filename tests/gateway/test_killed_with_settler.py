# SPDX-License-Identifier: Apache-2.0
"""A few rounds of `make prove-gateway`."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from serving_network.store.location import located
from tests.gateway.killing import DATABASE, GATEWAY, SETTLER, kill_under_load
from tests.gateway.stage import Stage
from tests.postgres import missing, postgres_server


def test_every_wei_adds_up(stage: Stage, tmp_path: Path) -> None:
    tally = asyncio.run(kill_under_load(stage, tmp_path, 10, random.Random(4)))
    assert min(tally.kills[GATEWAY], tally.kills[SETTLER]) >= 4
    assert tally.seen["whole"] > 0
    assert tally.receipts["complete"] >= tally.seen["whole"]
    assert tally.settlements > 0


def test_every_wei_adds_up_on_postgresql(stage: Stage, tmp_path: Path) -> None:
    """The server is killed, too. It waits for the disk: a commit that it confirmed survives."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with postgres_server(durable=True) as database:
        store = located(database.store(tmp_path).url, tmp_path / "settlements")
        tally = asyncio.run(kill_under_load(replace(stage, store=store), tmp_path, 9, random.Random(5), database))
    assert tally.kills == {GATEWAY: 3, SETTLER: 3, DATABASE: 3}
    assert tally.seen["whole"] > 0
    assert tally.receipts["complete"] >= tally.seen["whole"]
    assert tally.settlements > 0
