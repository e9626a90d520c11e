# SPDX-License-Identifier: Apache-2.0
"""Record the rows of a usage log, or of whatever else hands over rows."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from serving_network.messages.prices import Prices
from serving_network.messages.usage import Reading, Reject, UsageRow
from serving_network.settlement.journal import Journal
from serving_network.settlement.journal.readings import MAX_KEPT_REJECTS
from serving_network.settlement.report import Progress, Report

CHUNK_ROWS: Final = 40_000
_OBJECTS_BETWEEN_COLLECTIONS: Final = 1_000_000


class RowSource(Protocol):
    """Where rows come from. Sizes and positions are in bytes, or in any other unit of progress.

    `name` tells it from other sources, `left_out` counts rows that are not to be settled, and `ids_are_places` is
    whether a row is identified by its place and content.
    """

    @property
    def name(self) -> str: ...
    @property
    def left_out(self) -> int: ...
    @property
    def ids_are_places(self) -> bool: ...

    def rows(self, reject: Callable[[Reject], None]) -> Iterator[UsageRow]:
        """All rows that can be settled, in their order. `reject` is called with the others."""
        ...

    def size(self) -> int:
        """How much there is to read."""
        ...

    def position(self) -> int:
        """How much of it was read so far."""
        ...

    def resume(self, earlier: Reading) -> str | None:
        """Let `rows` begin where an earlier reading ended. Returns why it cannot; None if it can."""
        ...

    def reading(self) -> Reading:
        """How far it was read, after the last row."""
        ...


@contextmanager
def _few_collections() -> Iterator[None]:
    """Look for cycles of objects less often: rows have none, and looking takes a tenth of the time."""
    usual = gc.get_threshold()
    gc.set_threshold(max(usual[0], _OBJECTS_BETWEEN_COLLECTIONS), *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


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
    kept: list[Reject] = []
    chunk: list[UsageRow] = []
    earlier = journal.reading(source.name)

    def flush() -> None:
        if chunk:
            recorded = journal.record(chunk, prices)
            report.new_requests += recorded.new
            report.known_requests += recorded.known
            rejects.extend(recorded.rejects)
            chunk.clear()
        for one in sorted(rejects):
            reject(one)
        if len(kept) <= MAX_KEPT_REJECTS:
            kept.extend(rejects)
        report.rejected += len(rejects)
        rejects.clear()
        progress("reading", source.position(), size)

    def set_aside(one: Reject) -> None:
        rejects.append(one)
        if len(rejects) >= CHUNK_ROWS:
            flush()

    if earlier is not None:
        change = source.resume(earlier)
        if change is None:
            report.continued_at = earlier.line
            rejects.extend(earlier.rejects)
        elif change:
            report.notes.append(f"The log was read from its first line, because {change}.")
    journal.begin_reading()
    with _few_collections():
        for row in source.rows(set_aside):
            chunk.append(row)
            if len(chunk) >= CHUNK_ROWS:
                flush()
                await asyncio.sleep(0)  # lets Ctrl-C be handled
        flush()
    reading = source.reading()
    journal.end_reading_at(reading._replace(rejects=tuple(one for one in kept if one.line < reading.line)))
    report.left_out += source.left_out
    moved = earlier is not None and report.continued_at is None and not report.known_requests
    if moved and source.ids_are_places and report.new_requests:
        report.notes.append(
            f"{source.name} was read before, but all its rows are new. With id=@row, a row is identified by its line"
            " number and content: if rows were moved or rewritten, they are charged again. Void them with"
            " serving settlement void."
        )
