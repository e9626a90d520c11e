# SPDX-License-Identifier: Apache-2.0
"""A provider's journal as an SQLite file: opened, read, identified and copied.

The file is in WAL mode: a plain copy of it lacks what is in the -wal file. Use `copy_journal`.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving_network.errors import ServingError
from serving_network.files import private_file
from serving_network.store.migration import migrate
from serving_network.store.schema import SCHEMA_VERSION, create


class JournalFailure(ServingError):
    """The journal cannot be used: it is damaged, not writable or of another version, or the disk is full."""

    exit_code = 3


class JournalOfAnother(JournalFailure):
    """The journal belongs to another chain, contract or provider."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a journal belongs to. `genesis` is the hash of block 0 and distinguishes chains with the same id."""

    chain_id: int
    genesis: str
    contract: str
    provider: str


@contextmanager
def connected(path: Path, identity: Identity) -> Iterator[sqlite3.Connection]:
    """A connection that writes the journal at `path`, which is created or migrated if necessary.

    Raises JournalFailure if the file cannot be used, and JournalOfAnother if it does not belong to `identity`.
    """
    try:
        private_database(path)
    except OSError as error:
        raise JournalFailure(
            f"The journal {path} cannot be created.", cause=str(error), next_step="Choose another path with --journal."
        ) from error
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -65536")
            _prepare(connection, path, identity)
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def private_database(path: Path) -> None:
    """Create the file of a database, and keep it and its -wal and -shm files from other users. Raises OSError."""
    private_file(path)
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            private_file(beside)


@contextmanager
def connected_for_reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads the journal at `path` in its current state; a run may keep writing it.

    Raises JournalFailure if it does not exist or is of another version.
    """
    identity_of(path)
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            connection.execute("BEGIN")
            if _meta(connection).get("schema") != SCHEMA_VERSION:
                raise JournalFailure(
                    f"The journal {path} is of another version.",
                    next_step="Run serving settle once: it migrates the journal.",
                )
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def identity_of(path: Path) -> Identity:
    """What the journal at `path` belongs to. Raises JournalFailure if it does not exist."""
    if not path.is_file():
        raise JournalFailure(
            f"There is no journal {path}.", next_step="Run serving settle first, or name the journal with --journal."
        )
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            found = _meta(connection)
        return Identity(int(found["chain_id"]), found["genesis"], found["contract"], found["provider"])
    except (sqlite3.Error, KeyError, ValueError) as error:
        raise unusable(path, error) from error


def copy_journal(source: Path, target: Path) -> None:
    """Copy a journal consistently, even while a run writes it. Does nothing if the source does not exist."""
    if not source.exists():
        return
    try:
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
            original.backup(copy)
    except sqlite3.Error as error:
        raise unusable(source, error) from error


def unusable(path: Path, error: Exception) -> JournalFailure:
    """The failure to raise if the journal at `path` cannot be used."""
    return JournalFailure(
        f"The journal {path} cannot be used.",
        cause=str(error),
        next_step="If the disk is full, free space and run again. If the file is damaged, move it and its -wal and -shm"
        " files away, restore the newest backup, run serving settle, then serving settlement adopt: a backup lacks"
        " what was settled since.",
    )


def _prepare(connection: sqlite3.Connection, path: Path, identity: Identity) -> None:
    expected = {
        "chain_id": str(identity.chain_id),
        "genesis": identity.genesis,
        "contract": identity.contract,
        "provider": identity.provider,
    }
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            create(connection)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", expected.items())
        found = _meta(connection)
        _check_identity(path, found, expected)
        migrate(connection, found.get("schema"))
        found = _meta(connection)
    except (TypeError, ValueError) as error:
        connection.rollback()
        raise unusable(path, error) from error
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    if found.get("schema") != SCHEMA_VERSION:
        raise JournalOfAnother(
            f"The journal {path} belongs to another version of this program.",
            cause=f"Its schema has version {found.get('schema')}, this program uses version {SCHEMA_VERSION}.",
            next_step="Use the newest version of this program.",
        )
    if not str(found.get("pass")).isdecimal() or not re.fullmatch("[0-9a-f]{64}", str(found.get("secret"))):
        raise unusable(path, ValueError("its metadata is incomplete"))


def _meta(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT key, value FROM meta").fetchall())


def _check_identity(path: Path, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    for key, value in expected.items():
        if found.get(key) != value:
            raise JournalOfAnother(
                f"The journal {path} belongs to another {key.replace('_', ' ')}.",
                cause=f"It was created for {found.get(key)}; this run uses {value}.",
                next_step="Use a separate journal for this chain, contract and provider: --journal PATH.",
            )
