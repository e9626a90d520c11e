# SPDX-License-Identifier: Apache-2.0
"""Settle again and again: when the time has come, when much is unsettled, or when somebody asks.

A run that fails is tried again after a pause that doubles up to the period. A stop ends a run at once, which is safe at
any moment: the next run resumes it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from serving_network.errors import ServingError
from serving_network.settlement.report import Report

FIRST_PAUSE: Final = 5.0
LOOK_SECONDS: Final = 10.0

_LOG = logging.getLogger("serving_network.settlement")


@dataclass
class Repeating:
    """A loop of settlement runs. Times are in seconds.

    `run` is one run. `is_due` says between runs whether to settle before `period` has passed. `publish` gets the state
    after each run and is for `serving gateway status`.
    """

    run: Callable[[], Awaitable[Report]]
    period: float
    is_due: Callable[[], bool] = lambda: False
    publish: Callable[[dict[str, Any]], None] = lambda _: None
    first_pause: float = FIRST_PAUSE
    look: float = LOOK_SECONDS
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    runs: int = 0

    async def keep_settling(self) -> None:
        """Settle until `stop` is set."""
        failures = 0
        while not self.stop.is_set():
            self.asked.clear()
            failed = await self._run_once()
            failures = failures + 1 if failed else 0
            pause = min(self.first_pause * 2 ** (failures - 1), self.period) if failures else self.period
            await self._wait(pause, may_be_due=not failures)

    async def _run_once(self) -> bool:
        """Run once, and say whether the run failed."""
        running = asyncio.ensure_future(self.run())
        stopping = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                return False
            report = running.result()
        except (ServingError, OSError) as error:
            _LOG.error("the settlement run failed: %s", error)
            self._publish(None, error)
            return True
        finally:
            stopping.cancel()
        if report.stopped_by is not None:
            _LOG.error("the settlement run stopped early: %s", report.stopped_by)
        self._publish(report, report.stopped_by)
        return report.stopped_by is not None

    async def _wait(self, pause: float, *, may_be_due: bool) -> None:
        """Return when the pause is over, or earlier if somebody asks, if the loop is stopped, or if it is due."""
        ends = time.monotonic() + pause
        while (left := ends - time.monotonic()) > 0 and not self.stop.is_set() and not self.asked.is_set():
            if may_be_due and self.is_due():
                return
            waiting = {asyncio.create_task(self.stop.wait()), asyncio.create_task(self.asked.wait())}
            await asyncio.wait(waiting, timeout=min(left, self.look), return_when=asyncio.FIRST_COMPLETED)
            for one in waiting:
                one.cancel()

    def _publish(self, report: Report | None, error: Exception | None) -> None:
        waits = Counter(line.wait.name.lower() for line in report.lines.values() if line.wait) if report else {}
        self.runs += 1
        state = {
            "runs": self.runs,
            "at": int(time.time()),
            "paid": None if report is None else str(report.paid + report.taken_up_paid),
            "unsettled": None if report is None else str(report.unsettled),
            "waiting": dict(waits),
            "error": None if error is None else str(error),
        }
        with suppress(OSError):  # the disk may be full
            self.publish(state)
