"""The journal's rules one by one, where the model in test_journal.py would notice a broken one only by luck."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from serving_network.settlement import journal as journal_module
from serving_network.settlement.journal import (
    Batch,
    Identity,
    Journal,
    JournalFailure,
    JournalOfAnother,
    Mined,
    Outcome,
    Recorded,
    SignedRow,
    Transaction,
    UserState,
    copy_journal,
    open_journal,
)
from serving_network.settlement.pricing import Charge, Prices, hash_requests
from serving_network.settlement.typed_data import UserSettlement
from serving_network.settlement.usage import Reject, UsageRow

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


def send(journal: Journal, number: int, *users: str, form: str = "entries") -> Batch:
    rows = []
    for user in journal.users():
        if user.address in users:
            requests_hash, fee, count = hash_requests(journal.charges(user))
            settlement = UserSettlement(user.address, fee, number, requests_hash)
            rows.append(SignedRow(user, settlement, b"signed by %d" % user.id, count, fee - 1))
    return journal.add_batch(form, USERS[2], b"whole", 40 + number, rows, transaction(number))


def mined_in(block: int) -> Mined:
    return Mined(block, f"0x{block:064x}", 21_000 + block, GAS_COST)


def state_of(journal: Journal, user: str) -> UserState:
    (found,) = (state for state in journal.users() if state.address == user)
    return found


def elsewhere(path: Path, query: str) -> list[tuple[Any, ...]]:
    """What another process reads from the file now."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_what_is_written_is_on_disk_before_the_next_step(tmp_path: Path) -> None:
    with opened(tmp_path / "deep" / "er" / "j") as journal:
        assert journal.path == tmp_path / "deep" / "er" / "j"
        assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        read(journal, row(1))
        assert elsewhere(journal.path, "SELECT requests, owed FROM user") == [(1, "35")]
        send(journal, 1, USERS[0])
        assert elsewhere(journal.path, "SELECT state FROM batch") == [("open",)]
        assert elsewhere(journal.path, "SELECT last_nonce FROM user") == [("1",)]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        journal._db.execute("SELECT 1")


def test_everything_about_a_user_comes_back(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        assert journal.users() == []
        read(journal, row(1, tokens=(10, 1)), row(2, tokens=(7, 2)), row(3, USERS[1], (1, 9)))
        (batch,) = (send(journal, 9, USERS[0]),)
        journal.finish_batch(batch, [Outcome(1, 36)], mined_in(7))
        kept = journal.users()
    assert kept == [
        UserState(1, USERS[0], 2, 17, 3, 35 + 31, 36, 1, 9),
        UserState(2, USERS[1], 1, 1, 9, 48, 0, 0, 0),
    ]
    with opened(tmp_path / "j") as journal:
        assert journal.users() == kept
        assert list(journal.charges(kept[0])) == [Charge("0x" + hash_of(2).hex(), USERS[0], 20, 10)]


def test_what_a_journal_says_of_a_batch_is_what_was_sent(tmp_path: Path) -> None:
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
    assert (settled.settlement.total_fee, settled.settlement.nonce) == (70, 4)
    assert settled.user.address == USERS[1]


def test_the_highest_nonce_that_was_signed_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        journal.revert_batch(send(journal, 9, USERS[0]), mined_in(1))
        send(journal, 5, USERS[0])
        assert [user.last_nonce for user in journal.users()] == [9, 0]
    with opened(tmp_path / "j") as journal:
        assert [user.last_nonce for user in journal.users()] == [9, 0]


def test_a_reverted_batch_paid_nothing_and_counts_as_mined(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        batch = send(journal, 1, USERS[0])
        journal.revert_batch(batch, mined_in(7))
        assert journal.open_batches() == []
        assert journal.mined_since(7) == [(batch, mined_in(7))]
        assert (state_of(journal, USERS[0]).open, state_of(journal, USERS[0]).paid) == (35, 0)
        assert elsewhere(journal.path, "SELECT status, paid FROM settlement") == [(None, None)]
        journal.reopen_batch(batch)
        assert journal.open_batches() == [batch]
        journal.finish_batch(batch, [Outcome(0, 35)], mined_in(8))
        assert state_of(journal, USERS[0]).open == 0
        assert elsewhere(journal.path, "SELECT status, paid FROM settlement") == [(0, "35")]


def test_what_was_mined_is_told_newest_first_with_what_its_gas_cost(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        assert journal.last_mined_block() == 0
        read(journal, row(1), row(2, USERS[1]), row(3, USERS[2]))
        batches = [send(journal, number, user) for number, user in enumerate(USERS, 1)]
        assert journal.last_mined_block() == 0
        for batch, block in zip(batches, (9, 4, 9), strict=True):
            journal.finish_batch(batch, [Outcome(0, 35)], mined_in(block))
        assert [(batch.id, mined) for batch, mined in journal.mined_since(0)] == [
            (3, mined_in(9)),
            (1, mined_in(9)),
            (2, mined_in(4)),
        ]
        assert [batch.id for batch, _ in journal.mined_since(9)] == [3, 1]
        assert [batch.id for batch, _ in journal.mined_since(5)] == [3, 1]
        assert journal.mined_since(10) == []
        assert journal.last_mined_block() == 9


def test_each_result_is_booked_for_its_own_user_and_batch(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]), row(3, USERS[2]))
        first, other = send(journal, 1, *USERS[:2]), send(journal, 2, USERS[2])
        journal.finish_batch(first, [Outcome(3, 0), Outcome(1, 20)], mined_in(5))
        assert [(user.paid, user.open) for user in journal.users()] == [(0, 35), (20, 15), (0, 35)]
        assert elsewhere(journal.path, "SELECT batch, position, status, paid FROM settlement") == [
            (1, 0, 3, "0"),
            (1, 1, 1, "20"),
            (2, 0, None, None),
        ]
        assert elsewhere(journal.path, "SELECT state, block_number, gas_used, gas_cost FROM batch") == [
            ("mined", 5, 21_005, str(GAS_COST)),
            ("open", None, None, None),
        ]
        journal.finish_batch(other, [Outcome(0, 35)], mined_in(6))
        journal.reopen_batch(first)
        assert journal.open_batches() == [first]
        assert [(user.paid, user.open) for user in journal.users()] == [(0, 35), (0, 35), (35, 0)]
        assert elsewhere(journal.path, "SELECT batch, status, paid FROM settlement") == [
            (1, None, None),
            (1, None, None),
            (2, 0, "35"),
        ]
        assert elsewhere(journal.path, "SELECT state, block_number, block_hash, gas_used, gas_cost FROM batch") == [
            ("open", None, None, None, None),
            ("mined", 6, mined_in(6).block_hash, 21_006, str(GAS_COST)),
        ]
        kept = journal.users()
    with opened(tmp_path / "j") as journal:
        assert journal.users() == kept


def test_taking_back_one_of_two_payments_leaves_the_other(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2), row(3))
        first = send(journal, 1, USERS[0])
        journal.finish_batch(first, [Outcome(1, 40)], mined_in(5))
        second = send(journal, 2, USERS[0])
        assert second.rows[0].settlement.total_fee == 65
        journal.finish_batch(second, [Outcome(1, 50)], mined_in(6))
        user = state_of(journal, USERS[0])
        assert (user.paid, user.open_requests) == (90, 1)
        journal.reopen_batch(first)
        assert (user.paid, user.open, user.open_requests) == (50, 55, 2)
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
            journal.finish_batch(send(journal, number, USERS[0]), [Outcome(1, paid)], mined_in(number))
            assert user.open_requests == requests
            assert journal.open_tokens(user) == tokens
            assert [(one.input_fee, one.output_fee) for one in journal.charges(user)] == due
        assert journal.open_tokens(state_of(journal, USERS[1])) == (10, 1)
        read(journal, row(5, fees=(0, 9)))
        assert (user.open, [(one.input_fee, one.output_fee) for one in journal.charges(user)]) == (9, [(0, 9)])


def test_charges_come_in_the_order_of_the_log(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, *(row(number, fees=(number, 0)) for number in (5, 3, 9, 1)))
        read(journal, *(row(number, fees=(number, 0)) for number in (5, 8, 3, 2)))
        assert [charge.input_fee for charge in journal.charges(state_of(journal, USERS[0]))] == [5, 3, 9, 1, 8, 2]


@pytest.mark.parametrize(
    ("request_text", "user_text"),
    [(None, LETTERS.lower()), (hash_of(1).hex().upper(), None), (hash_of(1).hex(), LETTERS.lower())],
)
def test_a_request_is_hashed_as_the_log_spelled_it(
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


def test_what_became_of_a_chunk_is_counted(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        journal.begin_reading()
        assert journal.record([row(1), row(2)], PRICES) == Recorded(2, 0, [])
        journal.begin_reading()
        assert journal.record([row(1), row(3)], PRICES) == Recorded(1, 1, [])
    assert transaction(1).legacy is False


def test_what_is_set_aside_is_told_with_its_line(tmp_path: Path) -> None:
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
        assert all(reject.reason.endswith("with other content") for reject in told.rejects)
        told = journal.record([row(1), row(2), row(4, fees=(30, 5))], PRICES)
        assert (told.new, told.known, told.rejects) == (0, 3, [])
        told = journal.record([row(1, line=7), row(6)], PRICES)
        assert (told.new, told.known, [reject.line for reject in told.rejects]) == (1, 0, [7])


def test_a_row_that_was_known_in_another_reading_is_known_again_in_the_next(tmp_path: Path) -> None:
    for _ in range(3):
        with opened(tmp_path / "j") as journal:
            journal.begin_reading()
            known = journal.record([row(1)], PRICES).known
            journal.begin_reading()
            assert journal.record([row(1)], PRICES).known == 1
            journal.end_reading()
    assert known == 1


def test_a_chunk_that_is_recorded_singly_counts_every_request_once(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        read(journal, row(3), row(1), row(4, USERS[1], tokens=(2, 3)), row(5, USERS[2]))
        expected = [(2, 20, 2, 70), (2, 12, 4, 56), (1, 10, 1, 35)]
        assert [(one.requests, one.input_tokens, one.output_tokens, one.owed) for one in journal.users()] == expected
    with opened(tmp_path / "j") as journal:
        assert [(one.requests, one.input_tokens, one.output_tokens, one.owed) for one in journal.users()] == expected


def test_a_user_whose_only_row_was_refused_is_none(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
        journal.begin_reading()
        assert journal.record([row(1, user=USERS[1])], PRICES).rejects
        assert [user.address for user in journal.users()] == [USERS[0]]
        journal.end_reading()
        read(journal, row(2, USERS[1]))
    with opened(tmp_path / "j") as journal:
        assert [user.address for user in journal.users()] == USERS[:2]


def test_a_long_log_becomes_durable_as_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_COMMIT_EVERY", 4)
    with opened(tmp_path / "j") as journal:
        journal.begin_reading()
        for numbers, durable in (((1, 2, 3), 0), ((4,), 4), ((5, 6), 4), ((7,), 4), ((8, 9), 9)):
            journal.record([row(number) for number in numbers], PRICES)
            assert elsewhere(journal.path, "SELECT count(*) FROM request") == [(durable,)]
            assert elsewhere(journal.path, "SELECT ifnull(sum(requests), 0) FROM user") == [(durable,)]
        journal.end_reading()
        assert elsewhere(journal.path, "SELECT requests FROM user") == [(9,)]


def test_sending_makes_durable_what_was_read_before(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        journal.begin_reading()
        journal.record([row(1)], PRICES)
        send(journal, 1, USERS[0])
        assert elsewhere(journal.path, "SELECT owed, last_nonce FROM user") == [("35", "1")]


def test_a_step_that_fails_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1), row(2, USERS[1]))
        batch = send(journal, 1, *USERS[:2])
        with pytest.raises(ValueError, match="zip"):
            journal.finish_batch(batch, [Outcome(0, 35)], mined_in(3))
        with pytest.raises(sqlite3.IntegrityError):
            journal.add_batch("entries", "", b"", 1, batch.rows, replace_hash(transaction(2)))
        assert journal.open_batches() == [batch]
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
def test_whose_a_journal_is_stands_in_it(tmp_path: Path, change: dict[str, Any], names: str) -> None:
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
        "schema": "1", "chain_id": "31337", "genesis": IDENTITY.genesis, "contract": USERS[0], "provider": USERS[1],
        "pass": "0",
    }  # fmt: skip


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE meta SET value = '2' WHERE key = 'schema'", "DELETE FROM meta WHERE key = 'pass'",
        "UPDATE meta SET value = 'x' WHERE key = 'pass'", "DROP TABLE user", "UPDATE user SET owed = 'much'",
        "DELETE FROM meta", "DROP TABLE meta",
    ],
)  # fmt: skip
def test_a_journal_that_says_what_it_cannot_say_is_refused(tmp_path: Path, damage: str) -> None:
    with opened(tmp_path / "j") as journal:
        read(journal, row(1))
    with contextlib.closing(sqlite3.connect(tmp_path / "j")) as connection:
        connection.execute(damage)
        connection.commit()
    with pytest.raises(JournalFailure) as caught, opened(tmp_path / "j"):
        pass
    assert caught.value.next_step


def test_a_place_that_cannot_be_made_is_told_with_the_option_for_another(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalFailure, match="cannot be made") as caught, opened(tmp_path / "file" / "j"):
        pass
    assert "--journal" in str(caught.value.next_step)


def test_a_copy_of_what_is_no_journal_says_so(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"no database at all" * 100)
    with pytest.raises(JournalFailure, match="cannot be used"):
        copy_journal(tmp_path / "j", tmp_path / "copy")
