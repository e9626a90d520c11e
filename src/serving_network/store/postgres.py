# SPDX-License-Identifier: Apache-2.0
"""A provider's store in PostgreSQL: connections that are used synchronously, like SQLite's.

asyncpg sends the rows of `executemany` and `query_many` in one round trip, which is what a commit of many finished
requests needs. Within a transaction, statements that return nothing wait for the next one that does, or for the commit,
and fail with it: to run the loop for each of them costs more than they do. Each connection has an event loop of its
own, which runs while a call waits. A coroutine cannot run a second loop in its thread, so calls from coroutines run it
in a helper thread, and block just as SQLite's do.

The password comes from PGPASSWORD or ~/.pgpass, both of which asyncpg reads.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from serving_network.errors import ConfigurationError
from serving_network.files import RunInProgress
from serving_network.store.database import Conflict, DatabaseFailure
from serving_network.store.schema import SET_FACT

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.prepared_stmt import PreparedStatement

CONNECT_SECONDS: Final = 10.0
COMMAND_SECONDS: Final = 60.0
"""A statement that takes longer means that the server is gone. None waits for people."""
_SETTINGS: Final = {"synchronous_commit": "on", "jit": "off", "application_name": "serving"}
_TEMPORARY: Final = ("08", "25", "40", "53", "57", "58")
"""Classes of errors that end: connections, standbys that do not write, conflicts, full disks, servers that stop."""
_CREATING: Final = 0x5E_41_00_01
"""The advisory lock of those who create or migrate the tables."""

T = TypeVar("T")


class LockLost(DatabaseFailure):
    """Another settler has taken over, so this one must not write or send anything more."""


class Rows:
    """The result of a statement."""

    def __init__(self, rows: list[Any], status: str) -> None:
        self._rows = rows
        self._status = status

    @property
    def rowcount(self) -> int:
        count = self._status.rpartition(" ")[2]
        return int(count) if count.isdecimal() else -1

    def fetchone(self) -> Any:
        return self._rows[0] if self._rows else None

    def fetchall(self) -> list[Any]:
        return self._rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


class Postgres:
    """One connection, which one thread uses at a time."""

    def __init__(self, url: str, *, seconds: float = COMMAND_SECONDS) -> None:
        """Connect. Raises ConfigurationError without the driver, and DatabaseFailure."""
        try:
            import asyncpg
        except ImportError as error:
            raise ConfigurationError(
                "The driver of PostgreSQL is not installed.", next_step="pip install 'serving-network[postgres]'"
            ) from error
        import uvloop  # here, since every command imports this module

        self._errors = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
        self._conflict = asyncpg.UniqueViolationError
        self._statements: dict[str, PreparedStatement[asyncpg.Record]] = {}
        self._fence: str | None = None
        self._waiting: list[Callable[[], Coroutine[Any, Any, object]]] = []
        self._collects = False
        """Whether statements that return nothing wait: within a transaction."""
        self._helper = ThreadPoolExecutor(1, "postgresql")
        self._loop = uvloop.new_event_loop()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        try:
            self._connection = self._run(
                asyncpg.connect(
                    url,
                    timeout=min(CONNECT_SECONDS, seconds),
                    command_timeout=seconds,
                    server_settings=_SETTINGS,
                )
            )
        except BaseException:
            self._end()
            raise

    # ------------------------------------------------------------------------------------------ statements

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        return self._run(self._execute(sql, values))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        if many := list(rows):
            self._send(partial(self._execute_many, sql, many))

    def query_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> list[Any]:
        many = list(rows)
        return [tuple(row) for row in self._run(self._query_many(sql, many))] if many else []

    def require(self, sql: str, values: Sequence[Any], otherwise: Exception) -> None:
        self._send(partial(self._require, sql, values, otherwise))

    def append(self, table: str, rows: Sequence[Sequence[Any]], columns: Sequence[str] | None = None) -> None:
        """Insert many rows. Without the names of their columns, they are in the order of the table's."""
        self._run(self._open.copy_records_to_table(table, records=rows, columns=columns))

    def append_new(self, table: str, key: str, rows: Sequence[Sequence[Any]]) -> bool:  # noqa: ARG002 - SQLite needs it
        self._run(self._open.execute("SAVEPOINT appending"))
        try:
            self.append(table, rows)
        except Conflict:
            self._run(self._open.execute("ROLLBACK TO SAVEPOINT appending"))
            return False
        self._run(self._open.execute("RELEASE SAVEPOINT appending"))
        return True

    def number_on(self) -> None:
        """Let the numbers of new rows follow those of inserted ones."""
        columns = "SELECT table_name, column_name FROM information_schema.columns WHERE is_identity = 'YES'"
        for table, column in self.execute(f"{columns} AND table_schema = current_schema()").fetchall():
            self.execute(
                f'SELECT setval(pg_get_serial_sequence(?, ?), (SELECT coalesce(max({column}), 0) + 1 FROM "{table}"),'  # noqa: S608
                " false)",
                (f'"{table}"', column),
            )

    def lock_accounts(self, addresses: Iterable[str]) -> None:
        # In one order everywhere, so that nobody waits for each other.
        if ordered := [(one,) for one in sorted(set(addresses))]:
            self._send(partial(self._query_many, "SELECT 1 FROM account WHERE address = ? FOR UPDATE", ordered))

    def create(self, statement: str) -> None:
        self._run(self._open.execute(schema(statement)))

    def has_table(self, name: str) -> bool:
        return bool(self.execute("SELECT to_regclass(?) IS NOT NULL", (name,)).fetchone()[0])

    async def _execute(self, sql: str, values: Sequence[Any]) -> Rows:
        statement = await self._prepared(sql)
        rows = await statement.fetch(*values)
        return Rows([tuple(row) for row in rows], statement.get_statusmsg())

    async def _execute_many(self, sql: str, rows: list[Sequence[Any]]) -> None:
        await (await self._prepared(sql)).executemany(rows)

    async def _query_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> list[asyncpg.Record]:
        return list(await (await self._prepared(sql)).fetchmany(rows))

    async def _require(self, sql: str, values: Sequence[Any], otherwise: Exception) -> None:
        if await (await self._prepared(sql)).fetchrow(*values) is None:
            raise otherwise

    async def _prepared(self, sql: str) -> PreparedStatement[asyncpg.Record]:
        statement = self._statements.get(sql)
        if statement is None:
            statement = self._statements[sql] = await self._open.prepare(translated(sql))
        return statement

    # ---------------------------------------------------------------------------------------- transactions

    @property
    def in_transaction(self) -> bool:
        return self._collects or self._open.is_in_transaction()

    def begin(self) -> None:
        """Begin a transaction; once `lock_run` was called, raises LockLost if another settler has taken over."""
        self._collects = True
        self._send(partial(self._open.execute, "BEGIN"))
        if self._fence is not None:
            found = self.execute("SELECT value FROM meta WHERE key = 'fence' FOR SHARE").fetchone()
            if found != (self._fence,):
                self.rollback()
                raise LockLost("Another settler has taken over.")

    def begin_reading(self) -> None:
        """Begin a transaction that reads one state and writes nothing."""
        self._run(self._open.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))

    def begin_creating(self) -> None:
        """Begin a transaction that may create or migrate tables, one process at a time."""
        self.begin()
        self.execute("SELECT pg_advisory_xact_lock(?)", (_CREATING,))

    def commit(self) -> None:
        self._collects = False
        # The server answers ROLLBACK, and no error, if a statement of the transaction failed.
        if self._run(self._open.execute("COMMIT")) != "COMMIT":
            raise DatabaseFailure("The transaction was rolled back.")

    def rollback(self) -> None:
        self._collects = False
        self._waiting.clear()
        if not self._open.is_closed() and self._open.is_in_transaction():
            self._run(self._open.execute("ROLLBACK"))

    def lock_run(self, key: int, busy: str) -> None:
        """Be the only settler until this connection ends. Raises RunInProgress with the text `busy`.

        The server releases the lock when the connection is lost, and this process may learn of that late. Each taking
        of the lock has a number, which `begin` compares.
        """
        if not self.execute("SELECT pg_try_advisory_lock(?)", (key,)).fetchone()[0]:
            raise RunInProgress(
                busy,
                cause="A connection to the PostgreSQL server holds the lock.",
                next_step="Wait for it to end, then run the command again.",
            )
        self.begin()
        found = self.execute("SELECT value FROM meta WHERE key = 'fence' FOR UPDATE").fetchone()
        fence = str(1 if found is None else int(found[0]) + 1)
        self.execute(SET_FACT, ("fence", fence))
        self.commit()
        self._fence = fence

    def close(self) -> None:
        """Close the connection; what is not committed is rolled back."""
        self._waiting.clear()
        try:
            if not self._open.is_closed():
                self._run(self._open.close(timeout=1))
        except DatabaseFailure:
            self._open.terminate()
        finally:
            self._end()

    # -------------------------------------------------------------------------------------------- waiting

    @property
    def _open(self) -> asyncpg.Connection[asyncpg.Record]:
        if self._connection is None:
            raise DatabaseFailure("The connection is closed.", lost=True)
        return self._connection

    def _send(self, statement: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run a statement that returns nothing: within a transaction, with the next one that returns something."""
        if self._collects:
            self._waiting.append(statement)
        else:
            self._run(statement())

    async def _after_waiting(self, work: Coroutine[Any, Any, T]) -> T:
        waiting, self._waiting = self._waiting, []
        try:
            for statement in waiting:
                await statement()
        except BaseException:
            work.close()
            raise
        return await work

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work of the driver."""
        if self._waiting:
            work = self._after_waiting(work)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            helper = None
        else:
            helper = self._helper
        try:
            if helper is None:
                return self._loop.run_until_complete(work)
            return helper.submit(self._loop.run_until_complete, work).result()
        except self._errors as error:
            state = getattr(error, "sqlstate", None)
            lost = self._connection is None or self._connection.is_closed() or state is None
            kind = Conflict if isinstance(error, self._conflict) else DatabaseFailure
            temporary = state is not None and state[:2] in _TEMPORARY
            raise kind(str(error) or type(error).__name__, lost=lost, temporary=temporary) from error

    def _end(self) -> None:
        self._helper.shutdown()
        self._loop.close()


_KEYWORD: Final = re.compile(r"\b(FROM|JOIN|UPDATE|INTO|TABLE) user\b")
_TYPES: Final = {
    "INTEGER PRIMARY KEY": "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
    " WITHOUT ROWID": "",
    " BLOB": " BYTEA",
    " TEXT": ' TEXT COLLATE "C"',
}


def translated(sql: str) -> str:
    """A statement of SQLite for PostgreSQL: numbered parameters, and the table `user` in quotes, as it is a keyword."""
    head, *rest = _KEYWORD.sub(r'\1 "user"', sql).split("?")
    return head + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))


def schema(statement: str) -> str:
    """A statement of the schema for PostgreSQL."""
    for ours, theirs in _TYPES.items():
        statement = statement.replace(ours, theirs)
    return translated(statement)
