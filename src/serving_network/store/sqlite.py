# SPDX-License-Identifier: Apache-2.0
"""A provider's store as an SQLite file. It is in WAL mode: a plain copy of it lacks what is in the -wal file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, Final

from serving_network.files import private_file

_CACHE_KIB = 65_536
_WAIT_SECONDS = 10
_ROWS_AT_ONCE: Final = 200
"""How many rows one statement inserts. A statement of its own for each row takes a third longer."""


class Sqlite:
    """One connection. What is often called is SQLite's own method."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.commit = connection.commit
        self.rollback = connection.rollback
        self.close = connection.close

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def append(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        if not rows:
            return
        one = f"({', '.join('?' * len(rows[0]))})"
        insert = f"INSERT INTO {table} VALUES {one}"  # noqa: S608 - a name of the schema
        many = insert + f", {one}" * (_ROWS_AT_ONCE - 1)
        rest = len(rows) - len(rows) % _ROWS_AT_ONCE
        for start in range(0, rest, _ROWS_AT_ONCE):
            self.execute(many, tuple(chain.from_iterable(rows[start : start + _ROWS_AT_ONCE])))
        self.executemany(insert, rows[rest:])

    def append_new(self, table: str, key: str, rows: Sequence[Sequence[Any]]) -> bool:
        before = self._connection.total_changes
        try:
            self.append(table, rows)
        except sqlite3.IntegrityError:
            # A savepoint would copy each page that is changed.
            inserted = rows[: self._connection.total_changes - before]
            self.executemany(f"DELETE FROM {table} WHERE {key} = ?", [row[:1] for row in inserted])  # noqa: S608
            return False
        return True

    def query_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> list[Any]:
        return [found for row in rows for found in self.execute(sql, row)]

    def require(self, sql: str, values: Sequence[Any], otherwise: Exception) -> None:
        if self.execute(sql, values).fetchone() is None:
            raise otherwise

    def lock_accounts(self, addresses: Iterable[str]) -> None:
        """Nothing to do: only one transaction writes at a time."""

    def create(self, statement: str) -> None:
        self.execute(statement)

    def has_table(self, name: str) -> bool:
        return self.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone() is not None

    def begin(self) -> None:
        self.execute("BEGIN IMMEDIATE")


def open_file(path: Path) -> Sqlite:
    """A connection that writes a file, which is created, for its owner only, if it does not exist. Raises OSError."""
    private_database(path)
    connection = sqlite3.connect(path, isolation_level=None, timeout=_WAIT_SECONDS)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return Sqlite(connection)


def private_database(path: Path) -> None:
    """Create the file of a database, and keep it and its -wal and -shm files from other users. Raises OSError."""
    private_file(path)
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            private_file(beside)


def open_file_for_reading(path: Path) -> Sqlite:
    """A connection that reads a file."""
    return Sqlite(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None))


def copy_file(source: Path, target: Path) -> None:
    """Copy a file consistently, even while it is written."""
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.backup(copy)
