# SPDX-License-Identifier: Apache-2.0
"""A provider's journal, in SQLite or PostgreSQL: opened, read, identified and copied."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from serving_network.errors import ServingError
from serving_network.files import RunInProgress
from serving_network.store.database import FAILURES, Database
from serving_network.store.location import Location, PostgresStore
from serving_network.store.migration import create, migrate
from serving_network.store.postgres import COMMAND_SECONDS, LockLost, Postgres
from serving_network.store.schema import MOVED, SCHEMA_VERSION, TABLES
from serving_network.store.sqlite import Sqlite, copy_file, open_file, open_file_for_reading
from serving_network.untrusted import reason_of

BUSY: Final = "Another settlement of this provider is running."
_ROWS_AT_ONCE: Final = 10_000


class JournalFailure(ServingError):
    """The journal cannot be used: it is damaged, not writable or of another version, or the disk is full."""

    exit_code = 3


class OtherVersion(JournalFailure):
    """An earlier or later version of this program made the journal."""


class JournalOfAnother(JournalFailure):
    """The journal belongs to another chain, contract or provider."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a journal belongs to. `genesis` is the hash of block 0 and distinguishes chains with the same id."""

    chain_id: int
    genesis: str
    contract: str
    provider: str

    @property
    def lock_key(self) -> int:
        """The key of the settlers' lock in PostgreSQL."""
        name = f"{self.chain_id}-{self.contract}-{self.provider}"
        return int.from_bytes(sha256(name.encode()).digest()[:8], signed=True)


@contextmanager
def connected(store: Location, identity: Identity, *, alone: str | None = None) -> Iterator[Database]:
    """A connection that writes a journal, which is created or migrated if necessary.

    With `alone`, no other connection with `alone` writes a PostgreSQL store meanwhile: raises RunInProgress with this
    text. Raises JournalFailure if the store cannot be used, and JournalOfAnother if it does not belong to `identity`.
    """
    try:
        with closing(_opened(store)) as db:
            _prepare(db, store, identity)
            if alone is not None and isinstance(db, Postgres):
                db.lock_run(identity.lock_key, alone)
            yield db
    except LockLost as error:
        raise RunInProgress(
            str(alone),
            cause="It took over when this run lost its connection to the PostgreSQL server.",
            next_step="Nothing to do: nothing was sent since.",
        ) from error
    except FAILURES as error:
        raise unusable(store, error) from error


def _opened(store: Location) -> Sqlite | Postgres:
    if isinstance(store, PostgresStore):
        store.files.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Postgres(store.url)
    try:
        return open_file(store)
    except OSError as error:
        raise JournalFailure(
            f"The journal {store} cannot be created.",
            cause=f"{reason_of(error)}.",
            next_step="Choose another path with --journal.",
        ) from error


@contextmanager
def connected_for_reading(store: Location) -> Iterator[Database]:
    """A connection that reads a journal in its current state; a run may keep writing it.

    Raises JournalFailure if it does not exist or is of another version.
    """
    _check_exists(store)
    try:
        with closing(_reading(store)) as db:
            _identity(db, store)
            found = meta_of(db)
            if MOVED in found:
                raise was_moved(store, found[MOVED])
            if found.get("schema") != SCHEMA_VERSION:
                named = shlex.quote(str(store))
                raise OtherVersion(
                    f"The journal {store} is of another version.",
                    cause=f"Its schema has version {found.get('schema')}, this program's has {SCHEMA_VERSION}.",
                    next_step=f"Back it up with serving settlement backup COPY --journal {named}. To migrate an "
                    f"earlier version: serving settle --journal {named}",
                )
            yield db
    except FAILURES as error:
        raise unusable(store, error) from error


def _reading(store: Location) -> Database:
    if isinstance(store, PostgresStore):
        db = Postgres(store.url)
        db.begin_reading()
        return db
    file = open_file_for_reading(store)
    file.execute("BEGIN")
    return file


def read_only(store: Location, seconds: float) -> Database:
    """A connection for many short queries, each of which sees the state of its time and may take so many seconds."""
    return Postgres(store.url, seconds=seconds) if isinstance(store, PostgresStore) else open_file_for_reading(store)


def exists(store: Location) -> bool:
    """Whether there is a journal. Raises JournalFailure if a PostgreSQL server cannot be reached."""
    if not isinstance(store, PostgresStore):
        return store.is_file()
    try:
        with closing(Postgres(store.url)) as db:
            return db.has_table("meta")
    except FAILURES as error:
        raise unusable(store, error) from error


def identity_of(store: Location) -> Identity:
    """What a journal belongs to. Raises JournalFailure if it does not exist."""
    _check_exists(store)
    try:
        with closing(read_only(store, COMMAND_SECONDS)) as db:
            return _identity(db, store)
    except FAILURES as error:
        raise unusable(store, error) from error


def moved_to(store: Path) -> str | None:
    """The URL of the database that a journal was moved to, if it was. Raises JournalFailure if it cannot be read."""
    _check_exists(store)
    try:
        with closing(read_only(store, COMMAND_SECONDS)) as db:
            return meta_of(db).get(MOVED)
    except FAILURES as error:
        raise unusable(store, error) from error


def _check_exists(store: Location) -> None:
    if not isinstance(store, PostgresStore) and not store.is_file():
        raise _missing(store)


def _missing(store: Location) -> JournalFailure:
    return JournalFailure(
        f"There is no journal {store}.", next_step="Run serving settle first, or name the journal with --journal."
    )


def _identity(db: Database, store: Location) -> Identity:
    if isinstance(store, PostgresStore) and not db.has_table("meta"):
        raise _missing(store)
    found = meta_of(db)
    try:
        return Identity(int(found["chain_id"]), found["genesis"], found["contract"], found["provider"])
    except (KeyError, ValueError) as error:
        raise unusable(store, error) from error


def copy_journal(source: Location, target: Path) -> None:
    """Copy a journal consistently to an SQLite file, even while a run writes it. Does nothing if there is none."""
    if not exists(source):
        return
    try:
        if not isinstance(source, PostgresStore):
            copy_file(source, target)
            return
        with connected_for_reading(source) as original, closing(open_file(target)) as copy:
            copy.begin()
            create(copy)
            copy.execute("DELETE FROM meta")
            for table in TABLES:
                _copy_table(original, copy, table)
            copy.commit()
    except FAILURES as error:
        raise unusable(source, error) from error


def _copy_table(original: Database, copy: Database, table: str) -> None:
    original.execute(f"DECLARE copy_of_{table} NO SCROLL CURSOR FOR SELECT * FROM {table}")  # noqa: S608
    while rows := original.execute(f"FETCH {_ROWS_AT_ONCE} FROM copy_of_{table}").fetchall():
        copy.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)  # noqa: S608 - no values


def unusable(store: Location, error: Exception) -> JournalFailure:
    """The failure to raise if a journal cannot be used."""
    if isinstance(store, PostgresStore):
        return JournalFailure(
            f"The journal {store} cannot be used.",
            cause=f"{reason_of(error)}.",
            next_step=f"Check that the server runs, and that this user may use the database: psql {store}",
        )
    return JournalFailure(
        f"The journal {store} cannot be used.",
        cause=f"{reason_of(error)}.",
        next_step="If the disk is full, free space and run again. If the file is damaged, move it and its -wal and -shm"
        " files away, restore the newest backup, run serving settle, then serving settlement adopt: a backup lacks"
        " what was settled since.",
    )


def _prepare(db: Sqlite | Postgres, store: Location, identity: Identity) -> None:
    if isinstance(db, Postgres):
        db.begin_creating()
    else:
        db.begin()
    try:
        if not db.has_table("meta"):
            create(db)
            db.executemany("INSERT INTO meta VALUES (?, ?)", _facts(identity).items())
        found = meta_of(db)
        check_identity(store, found, identity)
        if MOVED in found:
            raise was_moved(store, found[MOVED])
        migrate(db, found.get("schema"))
        found = meta_of(db)
    except (TypeError, ValueError) as error:
        db.rollback()
        raise unusable(store, error) from error
    except BaseException:
        db.rollback()
        raise
    db.commit()
    if found.get("schema") != SCHEMA_VERSION:
        raise JournalOfAnother(
            f"The journal {store} belongs to another version of this program.",
            cause=f"Its schema has version {found.get('schema')}, this program uses version {SCHEMA_VERSION}.",
            next_step="Use the newest version of this program.",
        )
    if not str(found.get("pass")).isdecimal() or not re.fullmatch("[0-9a-f]{64}", str(found.get("secret"))):
        raise unusable(store, ValueError("its metadata is incomplete"))


def meta_of(db: Database) -> dict[str, str]:
    """The facts about a journal."""
    return dict(db.execute("SELECT key, value FROM meta").fetchall())


def check_identity(store: Location, found: Mapping[str, str], identity: Identity) -> None:
    """Raise JournalOfAnother if these are the facts about a journal of another chain, contract or provider."""
    for key, value in _facts(identity).items():
        if found.get(key) != value:
            raise JournalOfAnother(
                f"The journal {store} belongs to another {key.replace('_', ' ')}.",
                cause=f"It was created for {found.get(key)}; this run uses {value}.",
                next_step="Use a separate journal for this chain, contract and provider: --journal PATH.",
            )


def _facts(identity: Identity) -> dict[str, str]:
    return {
        "chain_id": str(identity.chain_id),
        "genesis": identity.genesis,
        "contract": identity.contract,
        "provider": identity.provider,
    }


def was_moved(store: Location, target: str) -> JournalFailure:
    """The failure to raise if a journal is now in a database."""
    return JournalFailure(
        f"The journal {store} was moved to {target}.",
        cause="The file lacks what was settled since.",
        next_step=f'Use --journal {target}; in a gateway\'s settings: store = "{target}"',
    )
