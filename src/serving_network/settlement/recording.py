# SPDX-License-Identifier: Apache-2.0
"""Record the rows of a usage log, or of whatever else hands over rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from serving_network.messages.prices import Prices
from serving_network.messages.usage import Reject, UsageRow
from serving_network.settlement.journal import Journal
from serving_network.settlement.report import Progress, Report

CHUNK_ROWS: Final = 10_000


class RowSource(Protocol):
    """Where rows come from. Sizes and positions are in bytes, or in any other unit of progress."""

    def rows(self, reject: Callable[[Reject], None]) -> Iterator[UsageRow]:
        """All rows that can be settled, in their order. `reject` is called with the others."""
        ...

    def size(self) -> int:
        """How much there is to read."""
        ...

    def position(self) -> int:
        """How much of it was read so far."""
        ...


async def record(
    source: RowSource,
    journal: Journal,
    prices: Prices,
    report: Report,
    *,
    reject: Callable[[Reject], None],
    progress: Progress,
) -> None:
    """Record every row once, at these prices. Rejects are handed over in the order of their lines within a chunk."""
    size = source.size()
    rejects: list[Reject] = []
    chunk: list[UsageRow] = []

    def flush() -> None:
        if chunk:
            recorded = journal.record(chunk, prices)
            report.new_requests += recorded.new
            report.known_requests += recorded.known
            rejects.extend(recorded.rejects)
            chunk.clear()
        for one in sorted(rejects):
            reject(one)
        report.rejected += len(rejects)
        rejects.clear()
        progress("reading", source.position(), size)

    def set_aside(one: Reject) -> None:
        rejects.append(one)
        if len(rejects) >= CHUNK_ROWS:
            flush()

    journal.begin_reading()
    for row in source.rows(set_aside):
        chunk.append(row)
        if len(chunk) >= CHUNK_ROWS:
            flush()
            await asyncio.sleep(0)  # lets Ctrl-C be handled
    flush()
    journal.end_reading()
