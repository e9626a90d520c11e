# SPDX-License-Identifier: Apache-2.0
"""Tables of a page: sorted and paged by the query, downloaded whole as CSV or JSON.

`sort.ID=-paid` sorts the table with this id by its column `paid`, highest first; `page.ID=2` is its second page;
`table=ID&format=csv` downloads it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from serving_network.explorer.web.cells import Kind, csv_name, decimals, in_csv, plain

ROWS: Final = 25
DOWNLOADED_AT_ONCE: Final = 5_000
MOST_DOWNLOADED: Final = 200_000
_LAST_PAGE: Final = 1_000_000

Row = Sequence[Any]
"""The values of the columns, in their order."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `unit` stands beside its title; `note` explains it on hover; only `sortable` ones can be sorted by."""

    key: str
    title: str
    kind: Kind
    unit: str = ""
    note: str = ""
    sortable: bool = True


@dataclass(frozen=True, slots=True)
class Order:
    """What a table is sorted by."""

    key: str
    falling: bool

    @property
    def written(self) -> str:
        return f"-{self.key}" if self.falling else self.key


class Source(Protocol):
    """Where the rows of a table come from."""

    def total(self) -> int:
        """How many rows there are."""

    def rows(self, order: Order, offset: int, limit: int) -> Sequence[Row]:
        """The rows from `offset` on, at most `limit`, in this order."""


class Listed:
    """Rows in memory. Those without a value in the sorted column come last."""

    def __init__(self, rows: Sequence[Row], columns: Sequence[Column]) -> None:
        self._rows = rows
        self._place = {column.key: place for place, column in enumerate(columns)}

    def total(self) -> int:
        return len(self._rows)

    def rows(self, order: Order, offset: int, limit: int) -> Sequence[Row]:
        place = self._place[order.key]
        known = [row for row in self._rows if row[place] is not None]
        known.sort(key=lambda row: _sort_key(row[place]), reverse=order.falling)
        unknown = [row for row in self._rows if row[place] is None]
        return [*known, *unknown][offset : offset + limit]


def _sort_key(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Queried:
    """Rows of a database, by two queries."""

    counted: Callable[[], int]
    fetched: Callable[[Order, int, int], Sequence[Row]]

    def total(self) -> int:
        return self.counted()

    def rows(self, order: Order, offset: int, limit: int) -> Sequence[Row]:
        return self.fetched(order, offset, limit)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a page. `empty` says what to do if there is nothing to show; `next_step` is its command."""

    id: str
    title: str
    columns: Sequence[Column]
    source: Source
    order: Order
    empty: str = "Nothing yet."
    next_step: str = ""
    note: str = ""
    size: int = ROWS


@dataclass(frozen=True, slots=True)
class Shown:
    """One page of a table, for its template."""

    table: Table
    order: Order
    page: int
    total: int
    rows: Sequence[Row]
    path: str
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def first(self) -> int:
        return (self.page - 1) * self.table.size + 1

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // self.table.size))

    def width(self, place: int) -> int:
        """The most decimals in a column of this page, so that points are below each other and no space is lost."""
        kind = self.table.columns[place].kind
        return max((decimals(kind, row[place]) for row in self.rows), default=0)

    def page_url(self, page: int) -> str:
        """The address of another page of this table."""
        return self._url(**{f"page.{self.table.id}": "" if page == 1 else str(page)})

    def sort_url(self, column: Column) -> str:
        """The address of the table sorted by a column, the other way round if it is sorted by it already."""
        falling = not self.order.falling if self.order.key == column.key else column.kind.falls
        order = Order(column.key, falling)
        written = "" if order == self.table.order else order.written
        return self._url(**{f"sort.{self.table.id}": written, f"page.{self.table.id}": ""})

    def sorted(self, column: Column) -> str | None:
        """The direction for aria-sort, if the table is sorted by this column."""
        if self.order.key != column.key:
            return None
        return "descending" if self.order.falling else "ascending"

    def download_url(self, format_: str) -> str:
        """The address of the whole table in CSV or JSON."""
        kept = {name: value for name, value in self.query.items() if not name.startswith("page.")}
        return f"{self.path}?{urlencode(kept | {'table': self.table.id, 'format': format_})}"

    def _url(self, **changes: str) -> str:
        query = {name: value for name, value in (self.query | changes).items() if value}  # type: ignore[operator]
        return f"{self.path}?{urlencode(query)}#{self.table.id}" if query else f"{self.path}#{self.table.id}"


def show(table: Table, path: str, query: Mapping[str, str]) -> Shown:
    """The page of a table that the query asks for. Values that make no sense count as not given."""
    order = asked_order(table, query)
    total = table.source.total()
    pages = max(1, -(-total // table.size))
    page = min(_number(query.get(f"page.{table.id}", "")), pages)
    rows = table.source.rows(order, (page - 1) * table.size, table.size) if total else []
    return Shown(table, order, page, total, rows, path, query)


def asked_order(table: Table, query: Mapping[str, str]) -> Order:
    """The order in the query, or that of the table."""
    asked = query.get(f"sort.{table.id}", "")
    key = asked.removeprefix("-")
    known = any(column.key == key and column.sortable for column in table.columns)
    return Order(key, asked.startswith("-")) if known else table.order


def as_csv(table: Table, order: Order) -> Iterator[bytes]:
    """The whole table in CSV, part by part."""
    yield _csv_lines([[csv_name(column.kind, column.key) for column in table.columns]])
    for rows in _parts(table, order):
        yield _csv_lines(
            [in_csv(column.kind, value) for column, value in zip(table.columns, row, strict=True)] for row in rows
        )


def as_json(table: Table, order: Order) -> Iterator[bytes]:
    """The whole table as a JSON array of objects, part by part."""
    separator = "[\n"
    for rows in _parts(table, order):
        for row in rows:
            entry = {column.key: plain(column.kind, value) for column, value in zip(table.columns, row, strict=True)}
            yield (separator + json.dumps(entry, ensure_ascii=False)).encode()
            separator = ",\n"
    yield b"[]\n" if separator == "[\n" else b"\n]\n"


def _parts(table: Table, order: Order) -> Iterator[Sequence[Row]]:
    for offset in range(0, min(table.source.total(), MOST_DOWNLOADED), DOWNLOADED_AT_ONCE):
        yield table.source.rows(order, offset, DOWNLOADED_AT_ONCE)


def _csv_lines(rows: Any) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()


def _number(written: str) -> int:
    if written.isascii() and written.isdecimal() and len(written) < 10:
        return min(max(1, int(written)), _LAST_PAGE)
    return 1
