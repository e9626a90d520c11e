# SPDX-License-Identifier: Apache-2.0
"""What a check has compared so far, and where the index and the contracts differ; and the index in pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from serving_network.explorer.index.found import Difference
from serving_network.explorer.index.reading import IndexReader
from serving_network.explorer.index.versions import Key, Table

MOST_SHOWN: Final = 100
SILENT: Final = "changed without an event"
"""What is counted here is no difference: no event tells that a user withdraws or repeats an acknowledgement."""
ROWS_AT_ONCE: Final = 2_000
PAGES_AHEAD: Final = 20
"""Pages of a listing that are in memory at once."""


class Comparison:
    """Counts what is compared, and keeps the first differences."""

    def __init__(self) -> None:
        self.compared: Counter[str] = Counter()
        self.different = 0
        self.differences: list[Difference] = []

    def compare(self, contract: str, what: str, indexed: Any, answered: Any) -> None:
        """Note a difference if these are not the same."""
        if indexed != answered:
            self.differ(contract, what, str(indexed), str(answered))

    def differ(self, contract: str, what: str, indexed: str, answered: str) -> None:
        """Note a difference."""
        self.different += 1
        if len(self.differences) < MOST_SHOWN:
            self.differences.append(Difference(contract, what, indexed, answered))


def in_pages(index: IndexReader, select: str, order: Sequence[str], *values: Any) -> Iterator[Any]:
    """The rows of a query, some at a time, by these columns, which come first in it and identify a row.

    `select` ends with a condition.
    """
    columns = ", ".join(order)
    marks = ", ".join("?" * len(order))
    after: tuple[Any, ...] = ()
    while True:
        later = f" AND ({columns}) > ({marks})" if after else ""
        rows = index.rows(f"{select}{later} ORDER BY {columns} LIMIT {ROWS_AT_ONCE}", *values, *after)
        yield from rows
        if len(rows) < ROWS_AT_ONCE:
            return
        after = tuple(rows[-1][: len(order)])


def current(index: IndexReader, table: Table[Any], keys: Sequence[Key]) -> dict[Key, Any]:
    """The current versions with these keys."""
    size = len(table.key)
    where = " AND ".join(f"{name} = ?" for name in table.key)
    rows = index.many(
        f"SELECT {', '.join((*table.key, *table.columns))} FROM {table.name} WHERE {where} AND until IS NULL", keys
    )
    return {tuple(row[:size]): table.row.read(tuple(row[size:])) for row in rows}


def count_current(index: IndexReader, table: Table[Any], service: str | None = None) -> int:
    """How many current versions there are."""
    where, values = ("", ()) if service is None else (" AND service = ?", (service,))
    return int(index.rows(f"SELECT count(*) FROM {table.name} WHERE until IS NULL{where}", *values)[0][0])


def sum_of(index: IndexReader, contract: str, name: str) -> int:
    """A sum that the index keeps."""
    found = index.rows("SELECT amount FROM total WHERE contract = ? AND name = ?", contract, name)
    return int(found[0][0]) if found else 0
