# SPDX-License-Identifier: Apache-2.0
"""A few rounds of `make prove-gateway`."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from tests.gateway.killing import GATEWAY, SETTLER, kill_under_load
from tests.gateway.stage import Stage


def test_every_wei_adds_up(stage: Stage, tmp_path: Path) -> None:
    tally = asyncio.run(kill_under_load(stage, tmp_path, 10, random.Random(4)))
    assert min(tally.kills[GATEWAY], tally.kills[SETTLER]) >= 4
    assert tally.seen["whole"] > 0
    assert tally.receipts["complete"] >= tally.seen["whole"]
    assert tally.settlements > 0
