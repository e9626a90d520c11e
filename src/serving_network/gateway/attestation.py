# SPDX-License-Identifier: Apache-2.0
"""The report of the TEE that a gateway publishes at `quote`, asked for again when it is old.

Anybody may ask for it, so the TEE makes at most one quote per REPORT_SECONDS. If it makes none, the last one is served:
a quote does not expire by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from serving_network.errors import ServingError
from serving_network.messages.quotes import mock_report, parse_report

REPORT_SECONDS: Final = 600.0

ReportSource = Callable[[], Awaitable[bytes]]

_LOG = logging.getLogger("serving_network.gateway")


class Attestation:
    """The report of the TEE that `source` asks; without one, a mock that says so."""

    def __init__(self, signer: str, source: ReportSource | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._signer = signer
        self._source = source
        self._clock = clock
        self._report = mock_report(signer)
        self._due = 0.0
        self._asking = asyncio.Lock()

    @property
    def genuine(self) -> bool:
        """Whether the report comes from a TEE."""
        return self._source is not None

    async def check(self) -> list[str]:
        """Ask the TEE for the first time. Returns what clients will object to. Raises the TEE's failures."""
        if self._source is None:
            return []
        await self._ask(self._source)
        report = parse_report(self._report)
        warnings = []
        if report.signer() != self._signer:
            warnings.append("The TEE's quote does not contain the signer, so clients will not verify it.")
        if not report.replays():
            warnings.append("The TEE's event log does not make up RTMR3, so clients will not verify it.")
        if not report.shows_compose():
            warnings.append("The TEE's report has no compose file that its event log contains.")
        return warnings

    async def report(self) -> bytes:
        """The newest report."""
        if self._source is not None and self._clock() >= self._due:
            async with self._asking:
                if self._clock() >= self._due:
                    await self._ask_again(self._source)
        return self._report

    async def _ask_again(self, source: ReportSource) -> None:
        try:
            await self._ask(source)
        except ServingError as error:
            self._due = self._clock() + REPORT_SECONDS
            _LOG.warning("The TEE's last quote is served. %s %s", error, error.cause or "")

    async def _ask(self, source: ReportSource) -> None:
        self._report = await source()
        self._due = self._clock() + REPORT_SECONDS
