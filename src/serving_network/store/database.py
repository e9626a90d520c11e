# SPDX-License-Identifier: Apache-2.0
"""What the store needs of a database connection: the part that SQLite's and PostgreSQL's have in common."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Protocol


class DatabaseFailure(Exception):
    """PostgreSQL refused a statement, or cannot be reached.

    `lost` is whether the connection is of no more use, `temporary` whether the same may succeed later.
    """

    def __init__(self, message: str, *, lost: bool = False, temporary: bool = False) -> None:
        super().__init__(message)
        self.lost = lost
        self.temporary = lost or temporary


class Conflict(DatabaseFailure):
    """A row with the same key exists."""


FAILURES: Final = (sqlite3.Error, DatabaseFailure)
CONFLICTS: Final = (sqlite3.IntegrityError, Conflict)


class Result(Protocol):
    """The rows of a statement. `rowcount` is how many an INSERT, UPDATE or DELETE changed."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """A connection. Outside `begin` and `commit`, each statement is durable by itself.

    Parameters are written as question marks. Failures are those in FAILURES; a duplicate key is one of CONFLICTS.
    """

    @property
    def in_transaction(self) -> bool: ...
    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> Result: ...
    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object: ...
    def append(self, table: str, rows: Sequence[Sequence[Any]], /) -> None:
        """Insert many rows, each with a value for every column of the table."""

    def append_new(self, table: str, key: str, rows: Sequence[Sequence[Any]], /) -> bool:
        """Insert many rows, or none if the key of one exists or occurs twice. Returns whether they were inserted.

        `key` is the first column. Call it in a transaction.
        """

    def query_many(self, sql: str, rows: Iterable[Sequence[Any]], /) -> list[Any]:
        """Run a query once for each of these rows of parameters; the found rows, in that order."""

    def require(self, sql: str, values: Sequence[Any], otherwise: Exception, /) -> None:
        """Raise `otherwise`, at the latest with the commit, unless a query finds a row."""

    def lock_accounts(self, addresses: Iterable[str], /) -> None:
        """Keep others from changing the accounts of these users until the end of the transaction."""

    def create(self, statement: str, /) -> None:
        """Run a statement of the schema."""

    def has_table(self, name: str, /) -> bool: ...
    def begin(self) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def close(self) -> None: ...
