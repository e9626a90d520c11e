# SPDX-License-Identifier: Apache-2.0
"""Time that passes only while a settlement run sleeps, so that no test waits or depends on how fast the machine is."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from serving_network.settlement import cancelling, following, sending

SHORTEST_SLEEP: Final = 0.01


class VirtualTime:
    """A monotonic clock, in seconds, that advances by each sleep: at least by SHORTEST_SLEEP."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += max(seconds, SHORTEST_SLEEP)
        await asyncio.sleep(0)


@pytest.fixture
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    """Give the modules of a run that wait a virtual clock."""
    clock = VirtualTime()
    for module in (cancelling, following, sending):
        monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(module, "asyncio", clock)
    return clock
