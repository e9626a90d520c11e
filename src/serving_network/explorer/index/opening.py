# SPDX-License-Identifier: Apache-2.0
"""An index in SQLite or PostgreSQL: created, opened for writing by one process, and read by any number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from serving_network.errors import ServingError
from serving_network.explorer.index.reading import IndexReader
from serving_network.explorer.index.schema import SCHEMA_VERSION, START, TABLES
from serving_network.files import RunInProgress, lock
from serving_network.store.database import FAILURES, Database
from serving_network.store.location import Location, PostgresStore, beside
from serving_network.store.opening import read_only
from serving_network.store.postgres import COMMAND_SECONDS, LockLost, Postgres
from serving_network.store.sqlite import open_file
from serving_network.untrusted import reason_of

BUSY: Final = "Another process writes this index."


class IndexFailure(ServingError):
    """The index cannot be used: it does not exist, is damaged, of another version or of another network."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Subject:
    """What an index is of. `genesis` is the hash of block 0 and distinguishes chains with the same id."""

    chain_id: int
    genesis: str
    ledger: str

    @property
    def lock_key(self) -> int:
        """The key of the writer's lock in PostgreSQL."""
        return int.from_bytes(sha256(f"index-{self.chain_id}-{self.ledger}".encode()).digest()[:8], signed=True)


@contextmanager
def writing(location: Location, subject: Subject) -> Iterator[Database]:
    """The only connection that writes an index, which is created if it does not exist.

    Raises RunInProgress if another process writes it, and IndexFailure.
    """
    with lock(beside(location, ".lock"), BUSY):
        try:
            with closing(_opened(location)) as db:
                _prepare(db, location, subject)
                if isinstance(db, Postgres):
                    db.lock_run(subject.lock_key, BUSY)
                yield db
        except LockLost as error:
            raise RunInProgress(
                BUSY,
                cause="It took over when this run lost its connection to the PostgreSQL server.",
                next_step="Nothing to do: the other process continues the index.",
            ) from error
        except FAILURES as error:
            raise unusable(location, error) from error


@contextmanager
def reading(location: Location) -> Iterator[IndexReader]:
    """Read an index in one state, while it may be written. Raises IndexFailure if there is none."""
    with connected(location) as db:
        if isinstance(db, Postgres):
            db.begin_reading()
        else:
            db.execute("BEGIN")
        yield IndexReader(db)


@contextmanager
def connected(location: Location, *, seconds: float = COMMAND_SECONDS) -> Iterator[Database]:
    """A connection for many short queries, each of which sees the state of its time. Raises IndexFailure."""
    if not isinstance(location, PostgresStore) and not location.is_file():
        raise _missing(location)
    try:
        with closing(read_only(location, seconds)) as db:
            if not db.has_table("meta"):
                raise _missing(location)
            _check_version(location, _meta(db))
            yield db
    except FAILURES as error:
        raise unusable(location, error) from error


def unusable(location: Location, error: Exception) -> IndexFailure:
    """The failure to raise if an index cannot be used."""
    next_step = (
        f"Check that the server runs, and that this user may use the database: psql {location}"
        if isinstance(location, PostgresStore)
        else "If the disk is full, free space and run again. If the file is damaged, delete it and its -wal and -shm"
        " files: serving index run builds it again."
    )
    return IndexFailure(f"The index {location} cannot be used.", cause=f"{reason_of(error)}.", next_step=next_step)


def _missing(location: Location) -> IndexFailure:
    return IndexFailure(f"There is no index {location}.", next_step="Build it: serving index run")


def _opened(location: Location) -> Database:
    if isinstance(location, PostgresStore):
        location.files.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Postgres(location.url)
    try:
        location.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return open_file(location)
    except OSError as error:
        raise IndexFailure(
            f"The index {location} cannot be created.",
            cause=f"{reason_of(error)}.",
            next_step="Choose another path with --index.",
        ) from error


def _prepare(db: Database, location: Location, subject: Subject) -> None:
    expected = {"chain_id": str(subject.chain_id), "genesis": subject.genesis, "ledger": subject.ledger}
    if isinstance(db, Postgres):
        db.begin_creating()
    else:
        db.begin()
    try:
        if not db.has_table("meta"):
            for statement in TABLES.split(";\n"):
                db.create(statement)
            facts = {"schema": f"index {SCHEMA_VERSION}", **expected, **START}
            db.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
        found = _meta(db)
        _check_version(location, found)
        for key, value in expected.items():
            if found.get(key) != value:
                raise IndexFailure(
                    f"The index {location} belongs to another {key.replace('_', ' ')}.",
                    cause=f"It was built for {found.get(key)}; this network has {value}.",
                    next_step="Use a separate index for this network: --index PATH.",
                )
    except BaseException:
        db.rollback()
        raise
    db.commit()


def _meta(db: Database) -> dict[str, str]:
    return dict(db.execute("SELECT key, value FROM meta").fetchall())


def _check_version(location: Location, found: dict[str, str]) -> None:
    version = str(found.get("schema"))
    if not version.startswith("index "):
        raise IndexFailure(
            f"{location} is not an index.",
            cause="It holds a provider's journal or something else.",
            next_step="Choose another path or database with --index.",
        )
    if version != f"index {SCHEMA_VERSION}":
        raise IndexFailure(
            f"The index {location} is of another version of this program.",
            next_step="Delete it and build it again: serving index run",
        )
