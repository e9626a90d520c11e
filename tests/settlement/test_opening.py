# SPDX-License-Identifier: Apache-2.0
"""Opening a journal: which one it is, what a reader sees of it, and what cannot be used."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from serving_network.messages.prices import Prices
from serving_network.messages.usage import UsageRow
from serving_network.settlement.journal import open_journal
from serving_network.store import opening
from serving_network.store.location import Location
from serving_network.store.opening import (
    Identity,
    JournalFailure,
    JournalOfAnother,
    connected_for_reading,
    copy_journal,
    exists,
    identity_of,
)
from serving_network.store.schema import MOVED
from serving_network.store.sqlite import open_file, open_file_for_reading, private_database
from tests.postgres import PostgresServer
from tests.settlement.fake_chain import CONTRACT, PROVIDER

IDENTITY = Identity(31337, "0x12", CONTRACT, PROVIDER)
USER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"


def record(location: Location, *names: str) -> None:
    rows = [UsageRow(1, sha256(name.encode()).digest(), name, USER, USER, 1, 1, 2, None) for name in names]
    with open_journal(location, IDENTITY) as journal:
        journal.begin_reading()
        journal.record(rows, Prices(1, 1))
        journal.end_reading()


def count(db: Any) -> int:
    (found,) = db.execute("SELECT count(*) FROM request").fetchone()
    return int(found)


def test_a_journal_is_found_identified_read_and_copied(location: Location, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    assert not exists(location)
    copy_journal(location, copied)
    assert not copied.exists()
    for missing in (identity_of, lambda store: connected_for_reading(store).__enter__()):
        with pytest.raises(JournalFailure, match="There is no journal") as caught:
            missing(location)
        assert caught.value.next_step == "Run serving settle first, or name the journal with --journal."
    record(location, *(f"r{number}" for number in range(3)))
    assert exists(location)
    assert identity_of(location) == IDENTITY
    copy_journal(location, copied)
    assert identity_of(copied) == IDENTITY
    with connected_for_reading(copied) as db:
        assert count(db) == 3
    record(copied, "r2", "r3")
    with connected_for_reading(copied) as db:
        assert count(db) == 4


def test_a_reader_sees_one_state_while_a_run_writes(location: Location) -> None:
    record(location, "a")
    with connected_for_reading(location) as db:
        record(location, "b")
        assert count(db) == 1
    with connected_for_reading(location) as db:
        assert count(db) == 2


def test_the_key_of_the_settlers_lock_never_changes() -> None:
    """Another version of this program must not settle at the same time."""
    text = f"31337-{CONTRACT}-{PROVIDER}".encode()
    assert IDENTITY.lock_key == int.from_bytes(sha256(text).digest()[:8], signed=True)
    assert replace(IDENTITY, genesis="0x34").lock_key == IDENTITY.lock_key


MOVED_TO = "postgresql://u@h/d"


@pytest.mark.parametrize(
    ("statement", "reading", "writing"),
    [
        (f"INSERT INTO meta VALUES ('{MOVED}', '{MOVED_TO}')", "was moved to postgresql", "was moved to postgresql"),
        ("UPDATE meta SET value = '99' WHERE key = 'schema'", "is of another version", "belongs to another version"),
        ("UPDATE meta SET value = 'x' WHERE key = 'chain_id'", "cannot be used", "belongs to another chain id"),
        ("DELETE FROM meta WHERE key = 'genesis'", "cannot be used", "belongs to another genesis"),
        ("DROP TABLE meta", "cannot be used", "cannot be used"),
        ("UPDATE meta SET value = 'many' WHERE key = 'pass'", None, "cannot be used"),
        ("DELETE FROM meta WHERE key = 'pass'", None, "cannot be used"),
        ("UPDATE meta SET value = '12' WHERE key = 'secret'", None, "cannot be used"),
        ("UPDATE meta SET value = value || '_' WHERE key = 'secret'", None, "cannot be used"),
    ],
)
def test_a_journal_that_cannot_be_used_is_neither_read_nor_written(
    tmp_path: Path, statement: str, reading: str | None, writing: str
) -> None:
    """Only a run needs the number of its pass and the journal's secret."""
    path = tmp_path / "journal"
    record(path, "a")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    if reading is not None:
        with pytest.raises(JournalFailure, match=reading) as caught, connected_for_reading(path):
            pass
        assert (caught.value.exit_code, bool(caught.value.next_step)) == (3, True)
        assert ("serving settle --journal" in str(caught.value.next_step)) is ("version" in reading)
    with pytest.raises(JournalFailure, match=writing) as caught, open_journal(path, IDENTITY):
        pass
    assert isinstance(caught.value, JournalOfAnother) is writing.startswith("belongs")
    assert ("--journal PATH" in str(caught.value.next_step)) is (
        writing in ("belongs to another chain id", "belongs to another genesis")
    )
    assert writing != "cannot be used" or len(str(caught.value.cause)) > len(".")
    if statement.startswith("INSERT"):
        assert MOVED_TO in str(caught.value.next_step)
    if reading == "cannot be used":
        with pytest.raises(JournalFailure, match="cannot be used") as caught:
            identity_of(path)
        assert "serving settlement adopt" in str(caught.value.next_step)


@pytest.mark.parametrize("kind", [ValueError, TypeError])
def test_a_journal_whose_creation_fails_is_not_half_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    path = tmp_path / "journal"

    def fails(*_: object) -> None:
        raise kind("no")

    with monkeypatch.context() as patched:
        patched.setattr(opening, "migrate", fails)
        with pytest.raises(JournalFailure, match="cannot be used"), open_journal(path, IDENTITY):
            pass
    with closing(open_file(path)) as db:
        assert not db.has_table("meta")
    record(path, "a")


def test_what_is_written_is_on_disk_and_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    beside = [path.with_name(f"journal-{name}") for name in ("wal", "shm")]
    private_database(path)
    assert not any(one.exists() for one in beside)
    for one in (path, *beside):
        one.touch()
        one.chmod(0o644)
    private_database(path)
    assert [one.stat().st_mode & 0o777 for one in (path, *beside)] == [0o600] * 3
    for one in beside:
        one.unlink()
    with closing(open_file(path)) as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        db.execute("CREATE TABLE there (number)")
        assert (db.has_table("there"), db.has_table("elsewhere")) == (True, False)
        assert db.execute("PRAGMA cache_size").fetchone() == (-65_536,)


def test_a_place_where_no_journal_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(JournalFailure, match="cannot be created") as caught,
        open_journal(tmp_path / "file/journal", IDENTITY),
    ):
        pass
    assert "--journal" in str(caught.value.next_step)


def test_the_files_beside_a_postgresql_store_are_for_the_owner_only(postgres: PostgresServer, tmp_path: Path) -> None:
    store = postgres.store(tmp_path / "new/inside/store")
    for _ in range(2):
        record(store, "a")
    assert store.files.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_is_read_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a journal?"
    record(path, "a")
    with closing(open_file_for_reading(path)) as db, pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.execute("DELETE FROM request")
