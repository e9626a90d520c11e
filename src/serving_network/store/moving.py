# SPDX-License-Identifier: Apache-2.0
"""Move a provider's journal from a file to PostgreSQL, so that at no time both can be used.

The file is marked as moved before anything is copied, and whatever opens a marked file refuses it. The copy is one
transaction of the server. The same command finishes a move that was interrupted: it copies the file again, or finds the
copy complete.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving_network.store.database import DatabaseFailure
from serving_network.store.location import PostgresStore, beside
from serving_network.store.migration import create, migrate
from serving_network.store.opening import Identity, JournalFailure, check_identity, meta_of, unusable, was_moved
from serving_network.store.postgres import Postgres
from serving_network.store.schema import MOVED, SET_FACT, TABLES
from serving_network.store.spool import Spool
from serving_network.store.sqlite import Sqlite, open_file

Progress = Callable[[str, int, int], None]
"""Called with "copying", the number of rows copied so far, and the number of all rows."""

_ROWS_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Moved:
    """What the database contains. `again` is whether an earlier command had copied it.

    `requests` are those in the queue, `served` those that a gateway served.
    """

    users: int
    requests: int
    served: int
    again: bool


def move_journal(source: Path, target: PostgresStore, identity: Identity, progress: Progress) -> Moved:
    """Move the journal in a file into an empty database. The caller holds the locks of the run and of the gateway.

    Raises JournalFailure if the file cannot be used, was moved elsewhere or contains what a gateway has not finished,
    and if the database cannot be used or contains something else.
    """
    with _file(source) as file:
        marked = _check(file, source, target, identity)
        with _database(target) as database:
            again = database.has_table("meta")
            if again:
                _check_is_copy(file, database, source, target, marked=marked)
            else:
                _move(file, database, target, progress)
            users, requests = database.execute("SELECT count(*), coalesce(sum(requests), 0) FROM user").fetchone()
            (served,) = database.execute("SELECT count(*) FROM served").fetchone()
            return Moved(int(users), int(requests), int(served), again)


@contextmanager
def _file(path: Path) -> Iterator[Sqlite]:
    try:
        with closing(open_file(path)) as file:
            yield file
    except (sqlite3.Error, OSError) as error:
        raise unusable(path, error) from error


@contextmanager
def _database(target: PostgresStore) -> Iterator[Postgres]:
    try:
        with closing(Postgres(target.url)) as database:
            yield database
    except DatabaseFailure as error:
        raise unusable(target, error) from error


def _check(file: Sqlite, source: Path, target: PostgresStore, identity: Identity) -> bool:
    """Migrate the file if necessary. Returns whether it is marked. Raises JournalFailure unless it may be moved."""
    file.begin()
    try:
        found = meta_of(file)
        check_identity(source, found, identity)
        migrate(file, found.get("schema"))
        file.commit()
    except BaseException:
        file.rollback()
        raise
    marked = found.get(MOVED)
    if marked not in (None, str(target)):
        raise was_moved(source, marked)
    spool = beside(source, ".spool")
    if file.execute("SELECT 1 FROM begun").fetchone() is not None or (spool.exists() and _has_rows(spool)):
        raise JournalFailure(
            f"A gateway left requests in {source} that it has not finished.",
            cause="It was killed, or its disk was full. They are billed when it starts again.",
            next_step="Start the gateway once with this store, and stop it: serving gateway run, then Ctrl-C.",
        )
    return marked is not None


def _has_rows(path: Path) -> bool:
    with closing(Spool(path)) as spool:
        return spool.end > 0


def _check_is_copy(file: Sqlite, database: Postgres, source: Path, target: PostgresStore, *, marked: bool) -> None:
    """Raise JournalFailure unless an earlier move of this file filled the database."""
    if marked and meta_of(file).get("secret") == meta_of(database).get("secret"):
        return
    raise JournalFailure(
        f"The database {target} already contains a journal.",
        cause=f"{source} can only be moved into an empty database: settlements of two journals are not merged.",
        next_step="Create a database for it: createdb --owner USER NAME",
    )


def _move(file: Sqlite, database: Postgres, target: PostgresStore, progress: Progress) -> None:
    file.execute(SET_FACT, (MOVED, str(target)))
    try:
        database.begin_creating()
        create(database)
        database.execute("DELETE FROM meta")
        _copy(file, database, progress)
    except BaseException:
        file.execute("DELETE FROM meta WHERE key = ?", (MOVED,))
        raise
    # If its answer is lost, nobody knows which of the two is the journal, so the mark stays.
    database.commit()


def _copy(file: Sqlite, database: Postgres, progress: Progress) -> None:
    total = sum(int(file.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in TABLES)  # noqa: S608
    done = 0
    for table in TABLES:
        rows = file.execute(f"SELECT * FROM {table}")  # noqa: S608 - a name of the schema
        columns = [one[0] for one in rows.description]
        while some := rows.fetchmany(_ROWS_AT_ONCE):
            database.append(table, [one for one in some if one[0] != MOVED], columns)
            done += len(some)
            progress("copying", done, total)
    database.number_on()
