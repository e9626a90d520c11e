# SPDX-License-Identifier: Apache-2.0
"""Stores of versions 4 and 5 become ones of today, in both dialects: they lose the sums of requests, nothing else."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from serving_network.messages.prices import Prices
from serving_network.messages.usage import UsageRow
from serving_network.settlement.journal import open_journal
from serving_network.settlement.journal.decisions import CannotVoid
from serving_network.settlement.journal.records import Recorded
from serving_network.store.billing import Kept
from serving_network.store.location import Location, PostgresStore
from serving_network.store.lookups import Lookups
from serving_network.store.migration import create
from serving_network.store.opening import Identity, meta_of
from serving_network.store.postgres import Postgres
from serving_network.store.schema import SCHEMA_VERSION, TABLES
from serving_network.store.sqlite import Sqlite
from tests.settlement.fake_chain import CONTRACT, PROVIDER

VERSION_4 = Path(__file__).with_name("journal_version_4.sql").read_text()
IDENTITY = Identity(31337, "0x", CONTRACT, PROVIDER)
VOIDABLE = 11
"""Requests that are not void, paid, or in a settlement that may still take effect."""


@pytest.fixture
def before() -> Iterator[sqlite3.Connection]:
    """The dump: settlements paid in full and in part, live ones, own fees, and a void request in front of others."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(VERSION_4)
        yield connection


@pytest.fixture
def store(location: Location, before: sqlite3.Connection) -> Location:
    """A store with the content of the dump."""
    write(location, before)
    return location


def write(location: Location, content: sqlite3.Connection) -> None:
    if not isinstance(location, PostgresStore):
        with closing(sqlite3.connect(location)) as file:
            content.backup(file)
        return
    with closing(Postgres(location.url)) as db:
        for kind in ("table", "index"):
            for (statement,) in content.execute(
                "SELECT sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL", (kind,)
            ).fetchall():
                db.create(re.sub(" *--.*", "", statement).replace('"', ""))
        for (table,) in content.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = content.execute(f"SELECT * FROM {table}").fetchall()
            if rows:
                db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)


def test_version_4_loses_its_sums_and_no_request(store: Location, before: sqlite3.Connection) -> None:
    users = before.execute("SELECT id, address, requests, owed, billed, paid, open_from FROM user").fetchall()
    requests = before.execute(
        "SELECT user_id, number, hash, spelling, time, input_tokens, output_tokens, price_id FROM request"
        " ORDER BY user_id, number"
    ).fetchall()
    voids = before.execute("SELECT user_id, number, fee FROM void").fetchall()
    starts = {
        request_hash: int(billed) - sum(int(fee) for of, place, fee in voids if of == user and place < number)
        for user, number, request_hash, billed in before.execute(
            "SELECT user_id, number, hash, billed_before FROM request"
        ).fetchall()
    }
    fees = {
        (user, number): (int(input_fee), int(output_fee))
        for user, number, input_fee, output_fee in before.execute("SELECT * FROM own_fee").fetchall()
    }
    with open_journal(store, IDENTITY) as journal:
        assert [
            (one.id, one.address, one.requests, str(one.owed), str(one.billed), str(one.paid), one.open_from)
            for one in journal.users()
        ] == users
        kept = journal._db.execute("SELECT * FROM request ORDER BY user_id, number").fetchall()
        assert [tuple(one) for one in kept] == requests
        assert journal._db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()[0] == SCHEMA_VERSION
        found = {}
        for request_hash in starts:
            with suppress(CannotVoid):
                found[request_hash] = journal.voidable(request_hash).start
        assert found == {request_hash: starts[request_hash] for request_hash in found}
        assert len(found) == VOIDABLE
        address = {one[0]: one[1] for one in users}
        journal.begin_reading()
        again = [
            UsageRow(
                number, request_hash, "", address[user], "", time, input_tokens, output_tokens, fees.get((user, number))
            )
            for user, number, request_hash, _, time, input_tokens, output_tokens, _ in requests
        ]
        assert journal.record(again, Prices(1, 1)) == Recorded(0, len(requests), [])


@pytest.mark.parametrize("version", ["4", "5"])
def test_answers_stay_kept(location: Location, before: sqlite3.Connection, version: str) -> None:
    ids = [bytes([number]) * 32 for number in range(3)]
    before.executemany(
        "INSERT INTO served VALUES (?, ?, 'u', ?, '0', 255, 'm', '1', '1', '1', '1', 1, 0, 1, 0, 0, 1000, x'', x'',"
        " x'', 1, NULL, 's', x'', x'', x'')",
        [(7 + place, id_, place) for place, id_ in enumerate(ids)],
    )
    kept = [(ids[1], 1002, "text/plain", b"B"), (ids[0], 1001, "text/plain", b"A")]
    before.executemany("INSERT INTO kept VALUES (?, ?, ?, ?)", kept)
    if version == "5":
        before.execute("ALTER TABLE request DROP COLUMN billed_before")
        before.execute("UPDATE meta SET value = '5' WHERE key = 'schema'")
    before.commit()
    write(location, before)
    with open_journal(location, IDENTITY) as journal:
        rows = journal._db.execute("SELECT number, until, body FROM kept ORDER BY number").fetchall()
        assert [tuple(one) for one in rows] == [(7, 1001, b"A"), (8, 1002, b"B")]
    lookups = Lookups(location, IDENTITY)
    try:
        assert lookups.kept(ids[0], 1000) == Kept("text/plain", b"A")
        assert lookups.kept(ids[0], 1001) is None
        assert lookups.kept(ids[2], 1000) is None
    finally:
        lookups._stop_reading()


def test_new_tables_are_those_of_the_newest_version() -> None:
    with closing(Sqlite(sqlite3.connect(":memory:", isolation_level=None))) as db:
        create(db)
        assert meta_of(db)["schema"] == SCHEMA_VERSION
        assert all(db.has_table(name) for name in TABLES)
