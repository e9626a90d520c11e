# SPDX-License-Identifier: Apache-2.0
"""The current versions of a table during one step: loaded before, changed in memory, written together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from serving_network.explorer.index.rows import (
    AccountRow,
    DeliverableRow,
    HeldRow,
    LedgerRow,
    OfferRow,
    Row,
    SettingRow,
    StakeRow,
)
from serving_network.store.database import Database

R = TypeVar("R", bound=Row)

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """A table with versions: its key columns, the other ones, and the type of a row."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    row: type[R]


LEDGER: Final = Table("ledger", ("user_address",), ("available", "info", "read_at"), LedgerRow)
HELD: Final = Table("held", ("service", "user_address"), ("amount",), HeldRow)
ACCOUNT: Final = Table(
    "account",
    ("service", "user_address", "provider"),
    ("balance", "pending", "refunds", "nonce", "acknowledged", "penalised", "info", "read_at"),
    AccountRow,
)
STAKE: Final = Table("stake", ("service", "provider"), ("amount",), StakeRow)
OFFER: Final = Table(
    "offer",
    ("service", "provider"),
    ("url", "input_price", "output_price", "model", "details", "signer", "confirmed", "info", "read_at"),
    OfferRow,
)
DELIVERABLE: Final = Table(
    "deliverable",
    ("service", "user_address", "provider", "deliverable_id"),
    ("root_hash", "added_at", "state", "paid"),
    DeliverableRow,
)
SETTING: Final = Table("setting", ("contract", "name"), ("value", "read_at"), SettingRow)


class Versions(Generic[R]):
    """The current versions of one table. What was not loaded before is loaded when it is needed."""

    def __init__(self, db: Database, table: Table[R]) -> None:
        self._db = db
        self._table = table
        self._known: set[Key] = set()
        self._current: dict[Key, R] = {}
        self._stored: dict[Key, int] = {}
        """The `since` of current versions that are stored already."""
        self._new: dict[Key, tuple[R, int]] = {}
        self._ended: list[tuple[int, Key, int]] = []
        self._rows: list[tuple[Any, ...]] = []
        self.changes: Counter[tuple[Key, str]] = Counter()
        """By how much each sum changed, by key and name."""

    def load(self, values: Iterable[Key], columns: tuple[str, ...] | None = None) -> None:
        """Load the current versions with these keys, or with these values in some of the key's columns."""
        table = self._table
        wanted = set(values) if columns else set(values) - self._known
        if not wanted:
            return
        where = " AND ".join(f"{name} = ?" for name in columns or table.key)
        found = self._db.query_many(
            f"SELECT {', '.join((*table.key, 'since', *table.columns))} FROM {table.name}"
            f" WHERE {where} AND until IS NULL",
            sorted(wanted),
        )
        if columns is None:
            self._known |= wanted
        size = len(table.key)
        for row in found:
            key = tuple(row[:size])
            self._known.add(key)
            self._stored[key] = row[size]
            self._current[key] = table.row.read(tuple(row[size + 1 :]))

    def __getitem__(self, key: Key) -> R | None:
        if key not in self._known:
            self.load([key])
        return self._current.get(key)

    def starting_with(self, *start: str) -> Iterator[Key]:
        """The keys of loaded versions whose first columns are these."""
        return iter([key for key in self._current if key[: len(start)] == start])

    def put(self, key: Key, row: R, position: int) -> None:
        """Make a version current from an event on."""
        if self[key] == row:
            return
        self.end(key, position)
        self._current[key] = row
        self._new[key] = row, position
        self._count(key, row, 1)

    def end(self, key: Key, position: int) -> None:
        """End the current version with an event."""
        current = self[key]
        if current is None:
            return
        del self._current[key]
        self._count(key, current, -1)
        if (new := self._new.pop(key, None)) is not None:
            row, since = new
            if since != position:  # an event that changes something twice makes one version
                self._rows.append((*key, since, position, *row.stored()))
        else:
            self._ended.append((position, key, self._stored.pop(key)))

    def write(self) -> None:
        """Write all changes, inside the caller's transaction."""
        table = self._table
        where = " AND ".join(f"{name} = ?" for name in (*table.key, "since"))
        if self._ended:
            self._db.executemany(
                f"UPDATE {table.name} SET until = ? WHERE {where}",
                [(position, *key, since) for position, key, since in self._ended],
            )
        rows = [*self._rows, *((*key, since, None, *row.stored()) for key, (row, since) in self._new.items())]
        if rows:
            columns = (*table.key, "since", "until", *table.columns)
            self._db.executemany(
                f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", rows
            )

    def _count(self, key: Key, row: R, sign: int) -> None:
        for name, amount in row.sums().items():
            self.changes[key, name] += sign * amount
