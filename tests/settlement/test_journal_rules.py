# SPDX-License-Identifier: Apache-2.0
"""The journal's rules one by one, where the model in test_journal.py would notice a broken one only by luck."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from serving_network.clients.settlements import Outcome
from serving_network.messages.prices import Charge, Prices, hash_requests
from serving_network.messages.typed_data import UserSettlement
from serving_network.messages.usage import Reject, UsageRow
from serving_network.settlement.journal import Journal, open_journal
from serving_network.settlement.journal import queue as journal_module
from serving_network.settlement.journal.decisions import CannotVoid
from serving_network.settlement.journal.records import (
    Acceptance,
    Batch,
    LiveSettlement,
    Mined,
    OpenWork,
    Recorded,
    SignedRow,
    Transaction,
    UserState,
    Void,
)
from serving_network.store.location import Location
from serving_network.store.opening import Identity, JournalFailure, JournalOfAnother, copy_journal, read_only
from serving_network.store.sqlite import Sqlite

USERS: list[str] = [to_checksum_address(bytes([number]) * 20) for number in range(1, 4)]
LETTERS: str = to_checksum_address("0x" + "ab" * 20)
IDENTITY = Identity(31337, "0x" + "aa" * 32, USERS[0], USERS[1])
PRICES = Prices(3, 5)
GAS_COST = 10**21 + 7


def hash_of(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


def row(number: int, user: str = USERS[0], tokens: tuple[int, int] = (10, 1), **changes: Any) -> UsageRow:
    made = UsageRow(number, hash_of(number), "0x" + hash_of(number).hex(), user, user, 1, *tokens, None)
    return made._replace(**changes)


def opened(path: Path) -> contextlib.AbstractContextManager[Journal]:
    return open_journal(path, IDENTITY)


def read(journal: Journal, *rows: UsageRow) -> None:
    journal.begin_reading()
    journal.record(rows, PRICES)
    journal.end_reading()


def transaction(number: int, **changes: Any) -> Transaction:
    return Transaction(f"0x{number:064x}", b"raw%d" % number, number, 21, 10**20, 10**19)._replace(**changes)


def send(journal: Journal, number: int, *users: str, form: str = "entries", limit: int | None = None) -> Batch:
    rows = []
    for user in journal.users():
        if user.address in users:
            requests_hash, fee, count = hash_requests(journal.charges(user, limit))
            settlement = UserSettlement(user.address, fee, number, requests_hash)
            rows.append(SignedRow(user, settlement, b"signed by %d" % user.id, count, fee - 1, user.paid))
    return journal.add_batch(form, USERS[2], b"whole", 40 + number, rows, transaction(number))


def block_hash(block: int) -> str:
    return f"0x{block:064x}"


def mined_in(block: int) -> Mined:
    return Mined(block, block_hash(block), 21_000 + block, GAS_COST)


def accepted(paid: int, block: int, status: int = 0, sent: int = 1) -> Acceptance:
    return Acceptance(Outcome(status, paid), block, block_hash(block), transaction(sent).hash)


def book(journal: Journal, batch: Batch, block: int, *outcomes: tuple[int, int]) -> Batch:
    """Book that the batch's newest transaction was mined, with these statuses and payments."""
    newest = batch.transactions[-1].hash
    journal.add_mined(newest, mined_in(block))
    journal.refuse(batch, {place: status for place, (status, _) in enumerate(outcomes) if status > 1})
    return journal.accept(
        batch,
        {
            place: Acceptance(Outcome(status, paid), block, block_hash(block), newest)
            for place, (status, paid) in enumerate(outcomes)
            if status <= 1
        },
    )


def state_of(journal: Journal, user: str) -> UserState:
    (found,) = (state for state in journal.users() if state.address == user)
    return found


def elsewhere(path: Location, query: str) -> list[tuple[Any, ...]]:
    """What another process reads from the store now."""
    with contextlib.closing(read_only(path, 10)) as connection:
        return connection.execute(query).fetchall()


def test_each_write_is_on_disk_before_the_next_step(tmp_path: Path) -> None:
    with opened(tmp_path / "deep" / "er" / "j") as journal:
        assert journal.path == tmp_path / "deep" / "er" / "j"
        assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        read(journal, row(1))
        assert elsewhere(journal.path, "SELECT requests, owed FROM user") == [(1, "35")]
        batch = send(journal, 1, USERS[0])
        assert elsewhere(journal.path, "SELECT state FROM batch") == [("open",)]
        assert elsewhere(journal.path, "SELECT nonce, state FROM settlement") == [(f"{1:020d}", "signed")]
        assert elsewhere(journal.path, "SELECT raw, purpose FROM sent") == [(b"raw1", "carry")]
        batch = journal.accept(batch, {0: accepted(35, 7)})
        assert elsewhere(journal.path, "SELECT state, paid, block_number, block_hash FROM settlement") == [
            ("accepted", "35", 7, block_hash(7))
        ]
        assert elsewhere(journal.path, "SELECT paid, open_from, open_paid FROM user") == [("35", 1, "0")]
        journal.add_mined(batch.transactions[0].hash, mined_in(7))
        assert elsewhere(journal.path, "SELECT block_number, block_hash, gas_used, gas_cost FROM sent") == [
            (7, block_hash(7), 21_007, str(GAS_COST))
        ]
        journal.finalise(7)
        assert elsewhere(journal.path, "SELECT state FROM settlement") == [("final",)]
        journal.end_batch(batch)
        assert elsewhere(journal.path, "SELECT state FROM batch") == [("ended",)]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        journal._db.execute("SELECT 1")


def test_everything_about_a_user_is_read_back(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        assert journal.users() == []
        read(journal, row(1, tokens=(10, 1)), row(2, tokens=(7, 2)), row(3, USERS[1], (1, 9)))
        book(journal, send(journal, 9, USERS[0]), 7, (1, 36))
        kept = journal.users()
    assert kept == [
        UserState(1, USERS[0], 2, 17, 3, 35 + 31, 35 + 31, 36, 1, 9),
        UserState(2, USERS[1], 1, 1, 9, 48, 48, 0, 0, 0),
    ]
    with opened(tmp_path / "j") as journal:
        assert journal.users() == kept
        assert list(journal.charges(kept[0])) == [Charge("0x" + hash_of(2).hex(), USERS[0], 20, 10)]


def test_a_batch_is_read_back_as_it_was_sent(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]), row(3, USERS[1]))
        first = send(journal, 5, USERS[0])
        second = send(journal, 4, USERS[1], form="batch")
        replacement = transaction(6, legacy=True, gas=99)
        second = journal.add_transaction(second, replacement)
    with opened(tmp_path / "j") as journal:
        assert journal.open_batches() == [first, second]
        assert journal.batch(second.id) == second
    assert (first.form, first.signer, first.signature, first.from_block) == ("entries", USERS[2], b"whole", 45)
    assert (second.form, second.from_block) == ("batch", 44)
    assert first.transactions == (transaction(5),)
    assert second.transactions == (transaction(4), replacement)
    assert second.transactions[-1].legacy is True
    (settled,) = second.rows
    assert (settled.signature, settled.requests, settled.expected_paid) == (b"signed by 2", 2, 69)
    assert (settled.paid_before, settled.accepted, second.cancelled) == (0, False, False)
    assert (settled.settlement.total_fee, settled.settlement.nonce) == (70, 4)
    assert settled.user.address == USERS[1]


def test_the_highest_signed_nonce_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        book(journal, send(journal, 9, USERS[0]), 1)
        send(journal, 5, USERS[0])
        assert [user.last_nonce for user in journal.users()] == [9, 0]
    with opened(tmp_path / "j") as journal:
        assert [user.last_nonce for user in journal.users()] == [9, 0]


def test_a_failed_transaction_pays_nothing_and_leaves_its_batch_open(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        batch = send(journal, 1, USERS[0])
        assert journal.add_mined(transaction(1).hash, mined_in(7))
        assert not journal.add_mined(transaction(1).hash, mined_in(7))
        assert journal.open_batches() == [batch]
        assert list(journal.booked_blocks()) == [(7, block_hash(7))]
        assert (state_of(journal, USERS[0]).open, state_of(journal, USERS[0]).paid) == (35, 0)
        assert elsewhere(journal.path, "SELECT state, status, paid FROM settlement") == [("signed", None, None)]
        journal.end_batch(batch)
        assert journal.open_batches() == []
        assert journal.unbook(7, block_hash(7)) == 0
        assert journal.open_batches() == [batch]
        assert list(journal.booked_blocks()) == []
        assert journal.add_mined(transaction(1).hash, mined_in(8))
        journal.accept(batch, {0: accepted(35, 8)})
        assert state_of(journal, USERS[0]).open == 0
        assert elsewhere(journal.path, "SELECT state, status, paid FROM settlement") == [("accepted", 0, "35")]


def test_booked_blocks_are_listed_once_newest_first(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        assert journal.last_booked_block() == 0
        read(journal, row(1), row(2, USERS[1]), row(3, USERS[2]))
        batches = [send(journal, number, user) for number, user in enumerate(USERS, 1)]
        assert journal.last_booked_block() == 0
        for batch, block in zip(batches, (9, 4, 9), strict=True):
            book(journal, batch, block, (0, 35))
        assert list(journal.booked_blocks()) == [(9, block_hash(9)), (4, block_hash(4))]
        assert journal.last_booked_block() == 9
        assert elsewhere(journal.path, "SELECT block_number, gas_used, gas_cost FROM sent ORDER BY id") == [
            (block, 21_000 + block, str(GAS_COST)) for block in (9, 4, 9)
        ]
        journal.unbook(9, block_hash(9))
        assert list(journal.booked_blocks()) == [(4, block_hash(4))]
        assert [batch.id for batch in journal.open_batches()] == [1, 2, 3]


def test_two_blocks_with_one_number_are_listed_separately(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]), row(3, USERS[2]))
        for number, (user, hash_) in enumerate(zip(USERS, ("0xb", "0xa", "0xb"), strict=True), 1):
            batch = send(journal, number, user)
            journal.add_mined(transaction(number).hash, Mined(7, hash_, 1, 1))
            journal.accept(batch, {0: Acceptance(Outcome(0, 35), 7, hash_, transaction(number).hash)})
        assert sorted(journal.booked_blocks()) == [(7, "0xa"), (7, "0xb")]
        assert journal.unbook(7, "0xb") == 2
        assert [user.paid for user in journal.users()] == [0, 35, 0]
        assert list(journal.booked_blocks()) == [(7, "0xa")]


def test_each_result_is_booked_for_its_own_user_and_batch(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]), row(3, USERS[2]))
        first, other = send(journal, 1, *USERS[:2]), send(journal, 2, USERS[2])
        taken = book(journal, first, 5, (3, 0), (1, 20))
        assert [settled.accepted for settled in taken.rows] == [False, True]
        assert [(user.paid, user.open) for user in journal.users()] == [(0, 35), (20, 15), (0, 35)]
        query = (
            "SELECT batch_id, position, state, status, paid, block_number, block_hash, transaction_hash FROM settlement"
        )
        of_first, of_other = transaction(1).hash, transaction(2).hash
        assert elsewhere(journal.path, query) == [
            (1, 0, "signed", 3, None, None, None, None),
            (1, 1, "accepted", 1, "20", 5, block_hash(5), of_first),
            (2, 0, "signed", None, None, None, None, None),
        ]
        sent = "SELECT block_number, block_hash, gas_used, gas_cost FROM sent ORDER BY id"
        assert elsewhere(journal.path, sent) == [
            (5, block_hash(5), 21_005, str(GAS_COST)),
            (None, None, None, None),
        ]
        book(journal, other, 6, (0, 35))
        journal.end_batch(first)
        journal.end_batch(other)
        assert journal.unbook(5, block_hash(5)) == 1
        assert journal.open_batches() == [first]
        assert [(user.paid, user.open) for user in journal.users()] == [(0, 35), (0, 35), (35, 0)]
        assert elsewhere(journal.path, query) == [
            (1, 0, "signed", None, None, None, None, None),
            (1, 1, "signed", None, None, None, None, None),
            (2, 0, "accepted", 0, "35", 6, block_hash(6), of_other),
        ]
        assert elsewhere(journal.path, sent) == [
            (None, None, None, None),
            (6, block_hash(6), 21_006, str(GAS_COST)),
        ]
        kept = journal.users()
    with opened(tmp_path / "j") as journal:
        assert journal.users() == kept


def test_undoing_one_of_two_payments_keeps_the_other(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2), row(3))
        first = send(journal, 1, USERS[0])
        book(journal, first, 5, (1, 40))
        second = send(journal, 2, USERS[0])
        assert second.rows[0].settlement.total_fee == 65
        assert second.rows[0].paid_before == 40
        book(journal, second, 6, (1, 50))
        user = state_of(journal, USERS[0])
        assert (user.paid, journal.open_work(user).requests) == (90, 1)
        assert journal.unbook(5, block_hash(5)) == 1
        assert (user.paid, user.open, journal.open_work(user).requests) == (50, 55, 2)
        assert [(one.input_fee, one.output_fee) for one in journal.charges(user)] == [(15, 5), (30, 5)]


def test_the_cursor_stops_where_the_money_ends(tmp_path: Path) -> None:
    free = row(2, fees=(0, 0))
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), free, row(3), row(4, USERS[1]))
        user = state_of(journal, USERS[0])
        for number, paid, requests, tokens, due in (
            (1, 34, 3, (30, 3), [(0, 1), (0, 0), (30, 5)]),
            (2, 1, 1, (10, 1), [(30, 5)]),
            (3, 31, 1, (10, 1), [(0, 4)]),
            (4, 4, 0, (0, 0), []),
        ):
            book(journal, send(journal, number, USERS[0]), number, (1, paid))
            assert journal.open_work(user) == OpenWork(requests, *tokens)
            assert [(one.input_fee, one.output_fee) for one in journal.charges(user)] == due
        assert journal.open_work(state_of(journal, USERS[1])) == OpenWork(1, 10, 1)
        read(journal, row(5, fees=(0, 9)))
        assert (user.open, [(one.input_fee, one.output_fee) for one in journal.charges(user)]) == (9, [(0, 9)])


def test_charges_follow_the_order_of_the_log(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, *(row(number, fees=(number, 0)) for number in (5, 3, 9, 1)))
        read(journal, *(row(number, fees=(number, 0)) for number in (5, 8, 3, 2)))
        assert [charge.input_fee for charge in journal.charges(state_of(journal, USERS[0]))] == [5, 3, 9, 1, 8, 2]


@pytest.mark.parametrize(
    ("request_text", "user_text"),
    [(None, LETTERS.lower()), (hash_of(1).hex().upper(), None), (hash_of(1).hex(), LETTERS.lower())],
)
def test_a_request_is_hashed_as_spelled_in_the_log(
    tmp_path: Path, request_text: str | None, user_text: str | None
) -> None:
    plain = row(1, LETTERS)
    spelled = plain._replace(request_text=request_text or plain.request_text, user_text=user_text or plain.user_text)
    with opened(tmp_path / "j") as journal:
        read(journal, spelled, row(2, LETTERS))
        charges = list(journal.charges(state_of(journal, LETTERS)))
    assert [(one.request_text, one.user_text) for one in charges] == [
        (spelled.request_text, spelled.user_text),
        ("0x" + hash_of(2).hex(), LETTERS),
    ]


def test_the_results_of_a_chunk_are_counted(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        journal.begin_reading()
        assert journal.record([row(1), row(2)], PRICES) == Recorded(2, 0, [])
        journal.begin_reading()
        assert journal.record([row(1), row(3)], PRICES) == Recorded(1, 1, [])
    assert transaction(1).legacy is False


def test_rejects_are_reported_with_their_line(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        journal.begin_reading()
        journal.record([row(1)], PRICES)
        told = journal.record([row(2), row(1, line=8), row(3), row(3, line=9), row(4)], PRICES)
        assert (told.new, told.known) == (3, 0)
        text = "duplicate request id 0x"
        assert told.rejects == [Reject(8, text + hash_of(1).hex(), ""), Reject(9, text + hash_of(3).hex(), "")]
        journal.begin_reading()
        other = [row(1, user=USERS[1]), row(2, tokens=(11, 1)), row(3, tokens=(10, 2)), row(4, fees=(30, 6)), row(5)]
        told = journal.record(other, PRICES)
        assert (told.new, told.known) == (1, 0)
        assert [(reject.line, reject.text) for reject in told.rejects] == [(1, ""), (2, ""), (3, ""), (4, "")]
        assert all(reject.reason.endswith("with different content") for reject in told.rejects)
        told = journal.record([row(1), row(2), row(4, fees=(30, 5))], PRICES)
        assert (told.new, told.known, told.rejects) == (0, 3, [])
        told = journal.record([row(1, line=7), row(6)], PRICES)
        assert (told.new, told.known, [reject.line for reject in told.rejects]) == (1, 0, [7])


def test_a_known_row_is_known_in_every_later_reading(tmp_path: Path) -> None:
    for _ in range(3):
        with opened(tmp_path / "j") as journal:
            journal.begin_reading()
            known = journal.record([row(1)], PRICES).known
            journal.begin_reading()
            assert journal.record([row(1)], PRICES).known == 1
            journal.end_reading()
    assert known == 1


def test_a_chunk_recorded_row_by_row_counts_each_request_once(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        read(journal, row(3), row(1), row(4, USERS[1], tokens=(2, 3)), row(5, USERS[2]))
        expected = [(2, 20, 2, 70), (2, 12, 4, 56), (1, 10, 1, 35)]
        assert [(one.requests, one.input_tokens, one.output_tokens, one.owed) for one in journal.users()] == expected
    with opened(tmp_path / "j") as journal:
        assert [(one.requests, one.input_tokens, one.output_tokens, one.owed) for one in journal.users()] == expected


def test_a_user_whose_only_row_was_rejected_is_not_recorded(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        journal.begin_reading()
        assert journal.record([row(1, user=USERS[1])], PRICES).rejects
        assert [user.address for user in journal.users()] == [USERS[0]]
        journal.end_reading()
        read(journal, row(2, USERS[1]))
    with opened(tmp_path / "j") as journal:
        assert [user.address for user in journal.users()] == USERS[:2]


def test_a_long_log_is_made_durable_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_COMMIT_EVERY", 4)
    with opened(tmp_path / "j") as journal:
        journal.begin_reading()
        for numbers, durable in (((1, 2, 3), 0), ((4,), 4), ((5, 6), 4), ((7,), 4), ((8, 9), 9)):
            journal.record([row(number) for number in numbers], PRICES)
            assert elsewhere(journal.path, "SELECT count(*) FROM request") == [(durable,)]
            assert elsewhere(journal.path, "SELECT ifnull(sum(requests), 0) FROM user") == [(durable,)]
        journal.end_reading()
        assert elsewhere(journal.path, "SELECT requests FROM user") == [(9,)]


def test_sending_makes_earlier_records_durable(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        journal.begin_reading()
        journal.record([row(1)], PRICES)
        send(journal, 1, USERS[0])
        assert elsewhere(journal.path, "SELECT owed, billed FROM user") == [("35", "35")]
        assert elsewhere(journal.path, "SELECT nonce FROM settlement") == [(f"{1:020d}",)]


def test_a_step_that_fails_midway_writes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        batch = send(journal, 1, *USERS[:2])
        kept = [replace(user) for user in journal.users()]
        with pytest.raises(IndexError):
            journal.accept(batch, {0: accepted(35, 3), 2: accepted(35, 3)})
        newer = [settled._replace(settlement=replace(settled.settlement, nonce=7)) for settled in batch.rows]
        with pytest.raises(sqlite3.IntegrityError):
            journal.add_batch("entries", "", b"", 1, newer, replace_hash(transaction(2)))
        assert journal.open_batches() == [batch]
        assert journal.users() == kept
        assert batch.rows[0].user is journal.users()[0]
        assert elsewhere(journal.path, "SELECT paid FROM user") == [("0",), ("0",)]
        assert elsewhere(journal.path, "SELECT count(*) FROM settlement") == [(2,)]


def replace_hash(sent: Transaction) -> Transaction:
    return sent._replace(hash=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"chain_id": 1}, "chain id"), ({"genesis": "0x"}, "genesis"), ({"contract": USERS[2]}, "contract"),
        ({"provider": USERS[2]}, "provider"),
    ],
)  # fmt: skip
def test_a_journal_names_what_it_belongs_to(tmp_path: Path, change: dict[str, Any], names: str) -> None:
    for _ in range(2):
        with opened(tmp_path / "j"):
            pass
    with (
        pytest.raises(JournalOfAnother, match=f"another {names}") as caught,
        open_journal(tmp_path / "j", replace(IDENTITY, **change)),
    ):
        pass
    assert "--journal" in str(caught.value.next_step)
    stored = dict(elsewhere(tmp_path / "j", "SELECT key, value FROM meta"))
    assert stored == {
        "schema": "6", "chain_id": "31337", "genesis": IDENTITY.genesis, "contract": USERS[0], "provider": USERS[1],
        "pass": "0", "secret": stored["secret"],
    }  # fmt: skip
    assert len(bytes.fromhex(stored["secret"])) == 32


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE meta SET value = '7' WHERE key = 'schema'", "DELETE FROM meta WHERE key = 'schema'",
        "UPDATE meta SET value = '1' WHERE key = 'schema'", "DELETE FROM meta WHERE key = 'pass'",
        "DELETE FROM meta WHERE key = 'secret'", "UPDATE meta SET value = '00' WHERE key = 'secret'",
        "UPDATE meta SET value = 'x' WHERE key = 'secret'",
        "UPDATE meta SET value = 'x' WHERE key = 'pass'", "DROP TABLE user", "UPDATE user SET owed = 'much'",
        "DELETE FROM meta", "DROP TABLE meta", "UPDATE price SET input_price = 'much'", "DROP TABLE price",
        "UPDATE user SET requests = 0", "UPDATE user SET requests = 2", "DELETE FROM request",
    ],
)  # fmt: skip
def test_a_journal_with_impossible_content_is_refused(tmp_path: Path, damage: str) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
    with contextlib.closing(sqlite3.connect(tmp_path / "j")) as connection:
        connection.execute(damage)
        connection.commit()
    with pytest.raises(JournalFailure) as caught, opened(tmp_path / "j"):
        pass
    assert caught.value.next_step


def test_a_path_that_cannot_be_created_is_reported_with_the_journal_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalFailure, match="cannot be created") as caught, opened(tmp_path / "file" / "j"):
        pass
    assert "--journal" in str(caught.value.next_step)


def test_copying_a_file_that_is_not_a_journal_is_reported(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"no database at all" * 100)
    with pytest.raises(JournalFailure, match="cannot be used"):
        copy_journal(tmp_path / "j", tmp_path / "copy")


# ------------------------------------------------------------------------------------------- prices and fees


def test_a_request_keeps_the_prices_in_force_when_it_was_recorded(tmp_path: Path) -> None:
    lists = [Prices(3, 5), Prices(7, 11), Prices(0, 0), Prices(0, 0), Prices(3, 5), Prices(10**30, 1)]
    due = [30 + 5, 70 + 11, 0, 0, 30 + 5, 10**31 + 1]
    with opened(tmp_path / "j") as journal:
        for number, prices in enumerate(lists):
            journal.begin_reading()
            journal.record([row(number), row(100 + number, fees=(number, 1))], prices)
            journal.end_reading()
        charges = list(journal.charges(state_of(journal, USERS[0])))
        assert [one.input_fee + one.output_fee for one in charges[::2]] == due
        assert [(one.input_fee, one.output_fee) for one in charges[1::2]] == [(number, 1) for number in range(6)]
        assert elsewhere(journal.path, "SELECT id, input_price, output_price FROM price ORDER BY id") == [
            (1, "3", "5"), (2, "7", "11"), (3, "0", "0"), (4, "3", "5"), (5, str(10**30), "1"),
        ]  # fmt: skip
        hashes = [found for (found,) in elsewhere(journal.path, "SELECT hash FROM request ORDER BY number")]
        starts = [journal.voidable(found).start for found in hashes]
    fees = [one.input_fee + one.output_fee for one in charges]
    assert starts == [sum(fees[:number]) for number in range(12)]
    with opened(tmp_path / "j") as journal:
        assert list(journal.charges(state_of(journal, USERS[0]))) == charges


def test_known_requests_are_looked_up_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of a day that is read again costs a few statements, however many of its rows are known."""
    rows = [row(number) for number in range(2_500)]
    with opened(tmp_path / "j") as journal:
        journal.begin_reading()
        assert journal.record(rows, PRICES) == Recorded(2_500, 0, [])
        journal.end_reading()
        statements: list[str] = []
        execute = journal._db.execute

        def counted(sql: str, *given: Any) -> Any:
            statements.append(sql)
            return execute(sql, *given)

        monkeypatch.setattr(journal._db, "execute", counted)
        journal.begin_reading()
        recorded = journal.record([*rows, row(2_500), row(3)], PRICES)
        assert (recorded.new, recorded.known) == (1, 2_500)
        assert [one.reason[:20] for one in recorded.rejects] == ["duplicate request id"]
        journal.end_reading()
        assert len(statements) < 30
        journal.begin_reading()
        assert journal.record([*rows, row(2_500)], PRICES) == Recorded(0, 2_501, [])


def test_a_known_request_must_have_the_recorded_fees(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, fees=(30, 5)), row(3, tokens=(0, 0)))
        for again, expected in (
            (row(1, fees=(30, 5)), 1), (row(1, fees=(0, 0)), 0), (row(1, fees=(5, 30)), 0), (row(1), 1),
            (row(2, fees=(30, 5)), 1), (row(2), 1), (row(2, fees=(30, 6)), 0), (row(3, tokens=(0, 0), fees=(0, 0)), 1),
        ):  # fmt: skip
            journal.begin_reading()
            told = journal.record([again], Prices(1, 1))
            assert (told.new, told.known, len(told.rejects)) == (0, expected, 1 - expected)


def test_a_chunk_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        user, kept = state_of(journal, USERS[0]), [replace(one) for one in journal.users()]
        journal.begin_reading()
        journal.record([row(2, USERS[1])], PRICES)
        with pytest.raises(OverflowError):
            journal.record([row(3), row(4, USERS[2], tokens=(2**70, 1))], Prices(7, 7))
        assert journal.users() == kept
        assert journal.users()[0] is user
        read(journal, row(2, USERS[1]), row(5))
        assert [one.owed for one in journal.users()] == [70, 35]
        journal.begin_reading()
        journal.record([row(6, USERS[1])], Prices(7, 7))
        assert state_of(journal, USERS[1]).owed == 35 + 77
        assert sum(one.input_fee + one.output_fee for one in journal.charges(state_of(journal, USERS[1]))) == 35 + 77
        kept = [replace(one) for one in journal.users()]
        journal.end_reading()
    with opened(tmp_path / "j") as journal:
        assert journal.users() == kept
        assert elsewhere(journal.path, "SELECT input_price FROM price ORDER BY id") == [("3",), ("7",)]


def test_charges_stop_before_the_one_that_exceeds_the_limit(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, fees=(0, 0)), row(3), row(4))
        user = state_of(journal, USERS[0])

        def within(limit: int | None) -> list[int]:
            return [one.input_fee + one.output_fee for one in journal.charges(user, limit)]

        assert [within(limit) for limit in (None, 105, 104, 70, 69, 35, 34, 0, -1)] == [
            [35, 0, 35, 35], [35, 0, 35, 35], [35, 0, 35], [35, 0, 35], [35, 0], [35, 0], [], [], [],
        ]  # fmt: skip
        book(journal, send(journal, 1, USERS[0]), 5, (1, 20))
        assert [within(limit) for limit in (14, 15, 49, 50)] == [[], [15, 0], [15, 0], [15, 0, 35]]
        journal.finalise(5)
        journal.void(hash_of(3), "wrong", 1)
        assert within(50) == [15, 0, 35]


def test_known_requests_cannot_be_recognised_without_the_secret(tmp_path: Path) -> None:
    stored = []
    for name in ("j", "k"):
        with opened(tmp_path / name) as journal:
            read(journal, *(row(number) for number in range(50)))
            stored.append({key for (key,) in elsewhere(journal.path, "SELECT hash FROM known")})
            journal.begin_reading()
            assert journal.record([row(number) for number in range(50)], PRICES).known == 50
    assert [{len(key) for key in keys} for keys in stored] == [{16}, {16}]
    assert [len(keys) for keys in stored] == [50, 50]
    assert not stored[0] & stored[1]
    hashes = b" ".join(hash_of(number) for number in range(50))
    assert not any(key in hashes for keys in stored for key in keys)


# ------------------------------------------------------------------------------- acceptances row by row


def test_rows_of_a_batch_may_be_accepted_by_different_transactions(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]), row(3, USERS[2]))
        batch = send(journal, 1, *USERS)
        batch = journal.add_transaction(batch, transaction(2))
        batch = journal.accept(batch, {1: accepted(35, 5, sent=1)})
        batch = journal.accept(batch, {0: accepted(20, 6, status=1, sent=2)})
        assert [settled.accepted for settled in batch.rows] == [True, True, False]
        assert [user.paid for user in journal.users()] == [20, 35, 0]
        assert [journal.accepted_nonce(user) for user in journal.users()] == [1, 1, 0]
        assert [journal.accepted(user, 1) for user in journal.users()] == [True, True, False]
        assert not journal.accepted(journal.users()[0], 2)
        again = journal.accept(batch, {0: accepted(20, 6, status=1, sent=2), 1: accepted(35, 5)})
        assert again == batch
        assert [user.paid for user in journal.users()] == [20, 35, 0]
        assert journal.unbook(6, "0xanother") == 0
        assert journal.unbook(6, block_hash(6)) == 1
        assert [user.paid for user in journal.users()] == [0, 35, 0]
        assert [settled.accepted for settled in journal.batch(1).rows] == [False, True, False]


def test_a_block_with_several_settlements_of_one_user_is_unbooked_whole(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        first = send(journal, 1, USERS[0])
        book(journal, first, 5, (0, 35))
        read(journal, row(2), row(3))
        second = send(journal, 2, USERS[0])
        book(journal, second, 6, (1, 50))
        read(journal, row(4))
        third = send(journal, 3, USERS[0])
        book(journal, third, 6, (0, 55))
        user = state_of(journal, USERS[0])
        assert (user.paid, user.open) == (140, 0)
        assert journal.unbook(6, block_hash(6)) == 2
        assert (user.paid, user.open_from, journal.open_work(user).requests) == (35, 1, 3)
        assert [one.nonce for one in journal.live(user)] == [1, 2, 3]
        assert journal.accepted_nonce(user) == 1
        kept = replace(user)
    with opened(tmp_path / "j") as journal:
        assert journal.users() == [kept]


def test_an_acceptance_found_for_two_batches_is_booked_once(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        first = send(journal, 1, USERS[0])
        second = journal.add_batch("entries", USERS[2], b"whole", 41, first.rows, transaction(2))
        for batch in (second, first):
            journal.accept(batch, {0: accepted(20, 6, status=1, sent=2)})
        user = state_of(journal, USERS[0])
        assert user.paid == 20
        assert [settled.accepted for settled in (*journal.batch(1).rows, *journal.batch(2).rows)] == [False, True]
        journal.unbook(6, block_hash(6))
        assert user.paid == 0
        journal.accept(first, {0: accepted(20, 7, status=1, sent=1)})
        assert user.paid == 20


def test_a_settlement_is_found_in_the_batch_that_its_transaction_carried(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        first = send(journal, 1, *USERS)
        journal.add_transaction(first, transaction(4))
        second = journal.add_batch("entries", USERS[2], b"whole", 41, first.rows[1:], transaction(2))
        third = journal.add_batch("entries", USERS[2], b"whole", 42, first.rows[::-1], transaction(3))
        (other, user), (_, settlement) = journal.users(), (row.settlement for row in first.rows)

        def found(sent: int, asked: UserState = user, **changes: Any) -> tuple[int, int] | None:
            where = journal.signed_as(asked, replace(settlement, **changes), transaction(sent).hash)
            return None if where is None else (where[0].id, where[1])

        assert [found(sent) for sent in (1, 4, 2, 3)] == [(first.id, 1), (first.id, 1), (second.id, 0), (third.id, 0)]
        assert found(9) == (third.id, 0), "the newest, if none of them carried it"
        assert found(1, other) is None
        for changes in ({"nonce": 2}, {"total_fee": 1}, {"requests_hash": bytes(32)}):
            assert found(1, **changes) is None
        journal.adopt(user, replace(settlement, nonce=9), 1, accepted(35, 6))
        assert found(1, nonce=9) is None, "it was adopted, not signed here"


def test_questions_about_a_settlement_are_about_one_user_and_nonce(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        batch = send(journal, 5, *USERS)
        first, second = journal.users()
        assert [journal.awaits(user, 5) for user in (first, second)] == [True, True]
        assert (journal.last_acceptance(first), journal.accepted_nonce(first)) == (None, 0)
        journal.accept(batch, {0: accepted(20, 7, status=1, sent=5)})
        assert [journal.awaits(user, nonce) for user in (first, second) for nonce in (4, 5, 6)] == [
            False, False, False, False, True, False,
        ]  # fmt: skip
        assert [journal.accepted_by(user, transaction(sent).hash) for user in (first, second) for sent in (5, 6)] == [
            True, False, False, False,
        ]  # fmt: skip
        assert [journal.accepted(user, nonce) for user in (first, second) for nonce in (4, 5, 6)] == [
            False, True, False, False, False, False,
        ]  # fmt: skip
        assert journal.last_acceptance(first) == (7, transaction(5).hash)
        assert (journal.last_acceptance(second), journal.accepted_nonce(second)) == (None, 0)
        journal.accept(send(journal, 6, first.address), {0: accepted(15, 6, sent=6)})
        read(journal, row(3))
        send(journal, 7, first.address)
        assert (journal.last_acceptance(first), journal.accepted_nonce(first)) == ((6, transaction(6).hash), 6)
        journal.finalise(9)
        assert (journal.last_acceptance(first), journal.accepted_nonce(first)) == ((6, transaction(6).hash), 6)
        assert journal.accepted(first, 5)
        assert [settled.accepted for settled in journal.batch(batch.id).rows] == [True, False]
        journal.end_batch(batch)
        assert not journal.awaits(second, 5)
        unknown = accepted(1, 8)._replace(transaction="")
        journal.adopt(second, UserSettlement(second.address, 1, 9, bytes(32)), 0, unknown)
        assert journal.last_acceptance(second) == (8, "")
        journal._db.execute("UPDATE settlement SET transaction_hash = NULL")  # as in a journal of version 1
        assert journal.last_acceptance(second) == (8, "")


def test_batches_are_listed_with_their_results(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        batches = [send(journal, number, *USERS) for number in range(1, 6)]
        second = journal.add_transaction(batches[1], transaction(9))
        book(journal, second, 7, (1, 20), (4, 0))
        for place in (1, 2, 4):
            journal.end_batch(batches[place])
        assert [[one.batch.id for one in journal.summaries(ended)] for ended in (0, 1, 2, 9)] == [
            [1, 4], [1, 4, 5], [1, 3, 4, 5], [1, 2, 3, 4, 5],
        ]  # fmt: skip
        found = journal.summaries(9)
        assert [one.ended for one in found] == [False, True, True, False, True]
        assert [one.batch for one in found] == [journal.batch(number) for number in range(1, 6)]
        listed = found[1]
        assert (listed.states, listed.statuses, listed.paid) == (("accepted", "signed"), (1, 4), (20, None))
        assert (listed.accepted_in, listed.blocks) == ((transaction(9).hash, None), (7, None))
        assert listed.mined == {transaction(9).hash: 7}
        others = [one for one in found if one is not listed]
        assert all((one.statuses, one.mined) == ((None, None), {}) for one in others)


@pytest.mark.parametrize(("now", "age"), [(1000, 0), (1000.5, 0.5), (1007, 7), (990, 0)])
def test_the_age_of_a_batch_counts_from_its_newest_transaction_and_is_never_negative(
    tmp_path: Path, now: float, age: float
) -> None:
    clock = [900.0]
    with open_journal(tmp_path / "j", IDENTITY, lambda: clock[0]) as journal:
        read(journal, row(1), row(2, USERS[1]))
        batch = send(journal, 1, USERS[0])
        clock[0] = 1000
        journal.add_transaction(batch, transaction(3))
        clock[0] = 1001
        send(journal, 2, USERS[1])
        clock[0] = now
        assert journal.age(batch) == age


def test_a_block_that_is_undone_is_neither_final_nor_searched(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        batch = send(journal, 1, USERS[0])
        for final, searched, undone, left in (
            (9, 9, 8, (7, 7)), (8, 8, 8, (7, 7)), (8, 10, 8, (7, 7)), (8, 7, 8, (7, 7)), (8, 3, 8, (7, 3)),
            (7, 7, 8, (7, 7)), (7, 9, 8, (7, 7)),
        ):  # fmt: skip
            book(journal, batch, undone, (0, 35))
            journal.finalise(final)
            journal.set_searched_block(searched)
            assert journal.unbook(undone, block_hash(undone)) == 1
            assert (journal.final_block(), journal.searched_block()) == left, (final, searched)


@pytest.mark.parametrize(("seen_in", "left"), [(7, 41), (8, 0), (9, 0), (None, 0)])
def test_a_wallet_nonce_seen_in_a_block_that_is_undone_has_not_passed(
    tmp_path: Path, seen_in: int | None, left: int
) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        book(journal, send(journal, 1, USERS[0]), 8, (0, 35))
        journal.see_wallet(41, seen_in or 8, block_hash(8))
        journal.end_sighting(final=True)
        if seen_in is None:  # as earlier versions recorded it
            journal._db.execute("UPDATE meta SET value = '41' WHERE key = 'wallet_passed'")
        assert journal.wallet_nonce_passed(9) == 41
        journal.unbook(8, block_hash(8))
        assert journal.wallet_nonce_passed(9) == left


def test_a_settlement_is_live_while_it_may_be_accepted_or_undone(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        user = state_of(journal, USERS[0])
        assert journal.live(user) == []
        first = send(journal, 1, USERS[0])
        assert journal.live(user) == [LiveSettlement(1, 35, 0, accepted=False, in_full=False)]
        book(journal, first, 5, (1, 20))
        assert journal.live(user) == [LiveSettlement(1, 35, 0, accepted=True, in_full=False)]
        journal.finalise(4)
        assert [one.nonce for one in journal.live(user)] == [1]
        journal.finalise(5)
        assert journal.live(user) == []
        second = send(journal, 20, USERS[0])
        book(journal, second, 6, (0, 15))
        assert journal.live(user) == [LiveSettlement(20, 15, 20, accepted=True, in_full=True)]
        assert journal.live(state_of(journal, USERS[1])) == []
        assert journal.final_block() == 5


def test_a_settlement_is_dead_once_its_batch_ended_below_a_final_one(tmp_path: Path) -> None:
    states = "SELECT state FROM settlement ORDER BY batch_id"
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        user = state_of(journal, USERS[0])
        refused, paid = send(journal, 9, USERS[0]), send(journal, 9, USERS[0])
        newer = send(journal, 10, USERS[0])
        book(journal, paid, 5, (1, 20))
        assert not journal.overtaken(refused)
        journal.finalise(5)
        assert elsewhere(journal.path, states) == [("signed",), ("final",), ("signed",)]
        assert [journal.overtaken(batch) for batch in (refused, paid, newer)] == [True, True, False]
        journal.end_batch(refused)
        journal.end_batch(paid)
        journal.finalise(5)
        assert elsewhere(journal.path, states) == [("dead",), ("final",), ("signed",)]
        assert [one.nonce for one in journal.live(user)] == [10]
        assert journal.open_batches() == [newer]
        journal.unbook(5, block_hash(5))
        assert elsewhere(journal.path, states) == [("signed",), ("signed",), ("signed",)]
        assert [batch.id for batch in journal.open_batches()] == [refused.id, paid.id, newer.id]
        assert journal.final_block() == 4
        journal.accept(refused, {0: accepted(35, 6)})
        assert user.open == 0


def test_a_dead_settlement_stays_dead_below_another_final_one(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        refused = send(journal, 1, USERS[0])
        book(journal, send(journal, 2, USERS[0]), 5, (1, 20))
        book(journal, send(journal, 3, USERS[0]), 6, (1, 5))
        journal.end_batch(refused)
        journal.finalise(6)
        journal.unbook(6, block_hash(6))
        assert [one.nonce for one in journal.live(state_of(journal, USERS[0]))] == [3]
        journal.unbook(5, block_hash(5))
        assert [one.nonce for one in journal.live(state_of(journal, USERS[0]))] == [1, 2, 3]


def test_the_newer_of_two_settlements_counts_once_the_older_batch_ended(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, *(row(number) for number in range(40)))
        user = state_of(journal, USERS[0])
        book(journal, send(journal, 1, USERS[0]), 5, (1, 9))
        journal.finalise(5)
        older, newer = send(journal, 2, USERS[0]), send(journal, 3, USERS[0])
        journal.finalise(6)
        assert [one.nonce for one in journal.live(user)] == [2, 3]
        journal.end_batch(newer)
        journal.finalise(6)
        assert [one.nonce for one in journal.live(user)] == [2, 3]
        journal.end_batch(older)
        journal.finalise(6)
        assert [one.nonce for one in journal.live(user)] == [3]
        book(journal, send(journal, 3, USERS[0]), 7, (1, 1000))
        journal.finalise(7)
        above = send(journal, 4, USERS[0])
        assert above.rows[0].paid_before == 1009
        journal.unbook(7, block_hash(7))
        assert [batch.id for batch in journal.open_batches()] == [1, 2, 3, 4, 5]
        for batch in (older, above):
            journal.end_batch(batch)
        journal.finalise(7)
        assert [(one.nonce, one.paid_before) for one in journal.live(user)] == [(3, 9), (3, 9), (4, 1009)]


# ------------------------------------------------------------------------------------- the wallet's nonces


def test_a_transaction_recorded_again_is_the_newest_and_stays_mined(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        batch, other = send(journal, 1, USERS[0]), send(journal, 2, USERS[1])
        journal.add_mined(transaction(1).hash, mined_in(7))
        batch = journal.add_transaction(batch, transaction(3))
        batch = journal.add_transaction(batch, transaction(1))
        assert batch.transactions == (transaction(3), transaction(1))
        assert list(journal.booked_blocks()) == [(7, block_hash(7))]
        assert not journal.add_mined(transaction(1).hash, mined_in(7))
        for one in (batch, other):
            one = journal.add_transaction(one, transaction(9, purpose="cancel"))
            assert one.transactions[-1] == transaction(9, purpose="cancel")
            assert one.cancelled
        assert journal.batch(batch.id).transactions[:-1] == batch.transactions
        assert journal.batch(other.id).transactions[:-1] == other.transactions
        assert journal.batch(batch.id).cancelled
        assert journal.add_mined(transaction(9).hash, mined_in(8))
        assert not journal.add_mined(transaction(9).hash, mined_in(8))


def test_nonces_of_open_batches_are_taken(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        assert (journal.sent_nonces(0), journal.free_nonce(4)) == (set(), 4)
        first, second = send(journal, 5, USERS[0]), send(journal, 6, USERS[1])
        journal.add_transaction(second, transaction(8))
        assert [journal.sent_nonces(start) for start in (0, 6, 9)] == [{5, 6, 8}, {6, 8}, set()]
        assert [journal.free_nonce(start) for start in (4, 5, 7, 8)] == [4, 7, 7, 9]
        journal.end_batch(first)
        assert (journal.sent_nonces(0), journal.free_nonce(5)) == ({6, 8}, 5)
        journal.accept(second, {0: accepted(35, 3)})
        assert (journal.sent_nonces(0), journal.free_nonce(6)) == ({6, 8}, 6)


def test_the_passed_wallet_nonce_counts_mined_and_observed_nonces(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        assert (journal.wallet_nonce_passed(99), journal.wallet_sighting()) == (0, None)
        journal.end_sighting(final=True)
        assert journal.wallet_nonce_passed(99) == 0
        read(journal, row(1))
        batch = send(journal, 5, USERS[0])
        journal.add_mined(batch.transactions[0].hash, mined_in(7))
        assert [journal.wallet_nonce_passed(block) for block in (6, 7, 8)] == [0, 6, 6]
        journal.see_wallet(9, 8, "0x8")
        assert journal.wallet_sighting() == (9, 8, "0x8")
        journal.end_sighting(final=False)
        assert (journal.wallet_sighting(), journal.wallet_nonce_passed(8)) == (None, 6)
        journal.see_wallet(9, 8, "0x8")
        journal.end_sighting(final=True)
        journal.finalise(8)
    with opened(tmp_path / "j") as journal:
        assert (journal.wallet_sighting(), journal.wallet_nonce_passed(0), journal.wallet_nonce_passed(8)) == (
            None, 9, 9,
        )  # fmt: skip
        journal.unbook(7, block_hash(7))
        assert journal.wallet_nonce_passed(8) == 0


# ----------------------------------------------------------------------------------- adopting and voiding


def test_an_adopted_settlement_pays_from_the_front_of_the_queue(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2))
        user = state_of(journal, USERS[0])
        own = send(journal, 4, USERS[0])
        settlement = UserSettlement(user.address, 50, 7, b"h" * 32)
        journal.adopt(user, settlement, 0, accepted(50, 6))
        assert (user.paid, user.open, user.last_nonce, journal.accepted_nonce(user)) == (50, 20, 7, 7)
        assert journal.open_batches() == [own]
        assert journal.live(user)[1:] == [LiveSettlement(7, 50, 0, accepted=True, in_full=False)]
        journal.unbook(6, block_hash(6))
        assert (user.paid, user.last_nonce) == (0, 7)
        assert journal.open_batches() == [own]
        with pytest.raises(CannotVoid, match="may still take effect"):
            journal.void(hash_of(2), "wrong", 1)
        journal.adopt(user, settlement, 2, accepted(50, 7))
        assert user.paid == 50
        assert journal.live(user)[-1].in_full
        journal.end_batch(own)
        journal.finalise(7)
        assert journal.live(user) == []
        kept = replace(user)
    with opened(tmp_path / "j") as journal:
        assert journal.users() == [kept]


def test_an_adopted_settlement_may_count_for_its_nonce_only(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        user = state_of(journal, USERS[0])
        journal.adopt(user, UserSettlement(user.address, 50, 7, b"h" * 32), 0, accepted(0, 6))
        assert (user.paid, user.open, user.last_nonce, journal.accepted_nonce(user)) == (0, 35, 7, 7)


def test_a_surplus_counts_for_later_requests(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        user = state_of(journal, USERS[0])
        journal.adopt(user, UserSettlement(user.address, 100, 7, b"h" * 32), 0, accepted(100, 6))
        assert (user.owed, user.paid, user.open, list(journal.charges(user))) == (35, 100, 0, [])
        journal.begin_reading()
        journal.record([row(3, tokens=(2, 1)), row(4, tokens=(3, 1)), row(5, USERS[1])], PRICES)
        assert (user.open, list(journal.charges(user))) == (0, [])
        journal.end_reading()
        assert (user.open, list(journal.charges(user)), journal.open_work(user)) == (0, [], OpenWork(0, 0, 0))
        for number in (3, 4):
            with pytest.raises(CannotVoid, match="paid"):
                journal.void(hash_of(number), "wrong", 1)
        read(journal, row(6, tokens=(10, 1)), row(7))
        # 35 + 11 + 14 of 100 wei are used up, so 40 are left
        assert [(one.input_fee, one.output_fee) for one in journal.charges(user)] == [(25, 5)]
        assert (user.open, user.open_from, journal.open_work(user)) == (30, 4, OpenWork(1, 10, 1))
        with pytest.raises(CannotVoid, match="paid in part"):
            journal.void(hash_of(7), "wrong", 1)
        kept = [replace(one) for one in journal.users()]
    with opened(tmp_path / "j") as journal:
        assert journal.users() == kept
        journal.unbook(6, block_hash(6))
        assert (journal.users()[0].paid, journal.users()[0].open) == (0, 130)


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_an_open_request_can_be_voided_anywhere_in_the_queue(tmp_path: Path, place: int) -> None:
    fees = [(1, 2), (0, 0), (3, 4), (5, 6)]
    rows = [row(number, tokens=(number, 1), fees=own) for number, own in enumerate(fees)]
    with opened(tmp_path / "j") as journal:
        read(journal, *rows)
        user = state_of(journal, USERS[0])
        told = journal.void(hash_of(place), "made up", 77)
        assert told == Void(USERS[0], place, hash_of(place), sum(fees[place]), 77, "made up")
        left = [number for number in range(4) if number != place]
        expected = [(hash_of(number), *fees[number]) for number in left]
        if place == 0:
            expected = expected[1:]  # one without a fee is done as soon as it is the next
        for _ in range(2):
            assert [(bytes.fromhex(one.request_text[2:]), one.input_fee, one.output_fee) for one in
                    journal.charges(user)] == expected  # fmt: skip
        assert (user.requests, user.billed, user.owed) == (4, 21, 21 - sum(fees[place]))
        assert (user.input_tokens, user.output_tokens) == (6 - place, 3)
        with pytest.raises(CannotVoid, match="already void") as caught:
            journal.void(hash_of(place), "made up", 78)
        assert caught.value.next_step
        journal.begin_reading()
        assert journal.record(rows, PRICES) == Recorded(0, 4, [])
        journal.end_reading()
        read(journal, row(9))
        assert user.owed == 21 - sum(fees[place]) + 35
        assert journal.voids() == [told]
        batch = send(journal, 1, USERS[0])
        assert batch.rows[0].settlement.total_fee == user.open
        book(journal, batch, 5, (0, user.open))
        assert (user.open, user.open_from, list(journal.charges(user))) == (0, 5, [])
        journal.unbook(5, block_hash(5))
        assert hash_requests(journal.charges(user))[1] == user.open == user.owed
        kept = replace(user)
    with opened(tmp_path / "j") as journal:
        assert journal.users() == [kept]
        assert journal.voids() == [told]


def test_an_unknown_or_paid_request_cannot_be_voided(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2), row(3))
        with pytest.raises(CannotVoid, match="is not recorded") as caught:
            journal.void(hash_of(9), "wrong", 1)
        assert caught.value.next_step
        book(journal, send(journal, 1, USERS[0]), 5, (1, 40))
        journal.finalise(5)
        for number, text in ((1, "is paid\\.$"), (2, "is paid in part\\.$")):
            with pytest.raises(CannotVoid, match=text) as caught:
                journal.void(hash_of(number), "wrong", 1)
            assert caught.value.cause
            assert caught.value.next_step
        journal.void(hash_of(3), "wrong", 1)
        user = state_of(journal, USERS[0])
        assert (user.owed, user.open, journal.open_work(user)) == (70, 30, OpenWork(1, 10, 1))


def test_a_request_of_a_live_settlement_cannot_be_voided(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, fees=(0, 0)))
        batch = send(journal, 1, USERS[0])
        read(journal, row(3))

        def held(*numbers: int) -> None:
            for number in numbers:
                with pytest.raises(CannotVoid, match="may still take effect") as caught:
                    journal.void(hash_of(number), "wrong", 1)
                assert "cancel" in str(caught.value.next_step)

        held(1, 2)
        book(journal, batch, 5, (1, 0))
        held(1, 2)
        journal.unbook(5, block_hash(5))
        held(1, 2)
        journal.void(hash_of(3), "wrong", 2)
        journal.end_batch(batch)
        journal.void(hash_of(2), "wrong", 3)
        journal.void(hash_of(1), "wrong", 1)
        user = state_of(journal, USERS[0])
        assert (user.owed, user.billed, user.requests, journal.open_work(user)) == (0, 70, 3, OpenWork(0, 0, 0))
        assert [(one.number, one.time) for one in journal.voids()] == [(0, 1), (2, 2), (1, 3)]


def test_voiding_a_request_moves_later_settlements_along(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2))
        user = state_of(journal, USERS[0])
        first = send(journal, 1, USERS[0], limit=35)
        book(journal, first, 5, (0, 35))
        second = send(journal, 2, USERS[0])
        assert [(one.paid_before, one.fee) for one in journal.live(user)] == [(0, 35), (35, 35)]
        journal.unbook(5, block_hash(5))
        journal.end_batch(first)
        with pytest.raises(CannotVoid, match="may still take effect"):
            journal.void(hash_of(2), "wrong", 1)
        journal.void(hash_of(1), "wrong", 1)
        # else a settlement with nonce 1 could cover the second request, which the one with nonce 2 covers already
        assert [(one.nonce, one.paid_before, one.fee) for one in journal.live(user)] == [(1, 0, 35), (2, 0, 35)]
        journal.finalise(6)
        assert [one.nonce for one in journal.live(user)] == [2]
        assert [batch.rows[0].paid_before for batch in (journal.batch(1), journal.batch(2))] == [0, 0]
        journal.accept(second, {0: accepted(35, 7)})
        assert (user.paid, user.open) == (35, 0)


def test_a_run_does_not_read_past_settlements(tmp_path: Path) -> None:
    with opened(tmp_path / "journal") as journal:
        read(journal, row(1))
        send(journal, 1, USERS[0])
        statements: list[str] = []
        assert isinstance(journal._db, Sqlite)
        journal._db._connection.set_trace_callback(statements.append)
        journal.finalise(5)
        journal._db._connection.set_trace_callback(None)
        updates = [statement for statement in statements if statement.startswith("UPDATE settlement")]
        assert len(updates) == 3
        for update in updates:
            first = journal._db.execute(f"EXPLAIN QUERY PLAN {update}").fetchone()[3]
            assert first == "SCAN settlement USING INDEX settlement_live", update


def test_a_journal_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(tmp_path / "made" / "journal") as journal:
            read(journal, row(1))
            files = list((tmp_path / "made").iterdir())
            assert {file.name for file in files} >= {"journal", "journal-wal"}
            assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
            assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)


def test_a_copy_restored_beside_the_wal_of_a_killed_run_is_refused(tmp_path: Path) -> None:
    """SQLite writes the newer pages into the older journal, and finds nothing wrong with that."""
    path, wal = tmp_path / "journal", tmp_path / "journal-wal"
    with opened(path) as journal:
        read(journal, *[row(number) for number in range(500)])
    backup = path.read_bytes()
    with opened(path) as journal:
        read(journal, *[row(number) for number in range(500, 2000)])
    with opened(path) as journal:
        send(journal, 1, USERS[0], limit=13)
        book(journal, journal.open_batches()[0], 5, (0, 13))
        left = wal.read_bytes()
    path.write_bytes(backup)
    wal.write_bytes(left)
    with pytest.raises(JournalFailure, match="cannot be used") as refused, opened(path):
        pass
    assert "do not belong together" in str(refused.value.cause)
    assert "-wal" in str(refused.value.next_step)
    wal.unlink(missing_ok=True)
    (tmp_path / "journal-shm").unlink(missing_ok=True)
    path.write_bytes(backup)
    with opened(path) as journal:
        assert state_of(journal, USERS[0]).requests == 500
