# SPDX-License-Identifier: Apache-2.0
"""One settler at a time on a PostgreSQL store: a lock on its connection, and a number that every write compares."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving_network.files import RunInProgress
from serving_network.messages.prices import Prices
from serving_network.settlement.journal import open_journal
from serving_network.store.location import PostgresStore
from serving_network.store.opening import JournalFailure
from tests.postgres import PostgresServer
from tests.settlement.test_journal_rules import IDENTITY, USERS, read, row, send


@pytest.fixture
def store(postgres: PostgresServer, tmp_path: Path) -> PostgresStore:
    return postgres.store(tmp_path / "store")


def test_a_second_settler_is_refused_until_the_first_ends(store: PostgresStore) -> None:
    with (
        open_journal(store, IDENTITY),
        pytest.raises(RunInProgress, match="Another settlement"),
        open_journal(store, IDENTITY),
    ):
        pass
    with open_journal(store, IDENTITY) as journal:
        read(journal, row(1))


def test_a_settler_without_its_lock_writes_no_batch(store: PostgresStore) -> None:
    """A pooler, or a server that lost the session, may leave a connection that works and holds no lock."""

    def lose_it() -> None:
        with open_journal(store, IDENTITY) as first:
            read(first, row(1))
            first._db.execute("SELECT pg_advisory_unlock_all()")
            with open_journal(store, IDENTITY) as second:
                assert [user.address for user in second.users()] == [USERS[0]]
            send(first, 1, USERS[0])

    with pytest.raises(RunInProgress, match="Another settlement"):
        lose_it()
    with open_journal(store, IDENTITY) as journal:
        assert journal.open_batches() == []


def test_a_settler_that_lost_its_connection_writes_no_batch(postgres: PostgresServer, store: PostgresStore) -> None:
    def lose_it() -> None:
        with open_journal(store, IDENTITY) as first:
            read(first, row(1))
            postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'serving'")
            with open_journal(store, IDENTITY) as second:
                assert second.take_served(Prices(1, 1)) == 0
            send(first, 1, USERS[0])

    with pytest.raises(JournalFailure, match="cannot be used") as caught:
        lose_it()
    assert "psql" in str(caught.value.next_step)
    with open_journal(store, IDENTITY) as journal:
        assert journal.open_batches() == []
