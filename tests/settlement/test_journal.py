"""The journal against a model in plain Python, and against the ways in which a file can be wrong."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serving_network.settlement.journal import (
    Batch,
    Identity,
    Journal,
    JournalFailure,
    JournalOfAnother,
    Mined,
    Outcome,
    SignedRow,
    Transaction,
    copy_journal,
    open_journal,
)
from serving_network.settlement.lock import RunInProgress, run_lock
from serving_network.settlement.pricing import Prices, hash_requests
from serving_network.settlement.typed_data import UserSettlement
from serving_network.settlement.usage import UsageRow

USERS: list[str] = [to_checksum_address(bytes([number]) * 20) for number in range(1, 4)]
IDENTITY = Identity(31337, "0x" + "aa" * 32, USERS[0], USERS[1])
PRICES = Prices(3, 5)
MINED = Mined(7, "0x" + "bb" * 32, 21000, 42)


def row(
    number: int, user: str = USERS[0], tokens: int = 10, line: int = 1, fees: tuple[int, int] | None = None
) -> UsageRow:
    request_hash = sha256(b"%d" % number).digest()
    return UsageRow(line, request_hash, "0x" + request_hash.hex(), user, user, 1, tokens, 1, fees)


@contextmanager
def journal_at(path: Path) -> Iterator[Journal]:
    with open_journal(path, IDENTITY) as journal:
        yield journal


def sign(journal: Journal, nonce: int, users: list[str]) -> Batch:
    rows = []
    for user in journal.users():
        if user.address in users and user.open:
            requests_hash, fee, requests = hash_requests(journal.charges(user))
            rows.append(SignedRow(user, UserSettlement(user.address, fee, nonce, requests_hash), b"s", requests, fee))
    return journal.add_batch("entries", USERS[2], b"", 1, rows, Transaction(f"0x{nonce:064x}", b"raw", nonce, 9, 8, 7))


def test_requests_survive_and_are_recorded_once(tmp_path: Path) -> None:
    with journal_at(tmp_path / "j") as journal:
        journal.begin_reading()
        recorded = journal.record([row(1, line=1), row(2, line=2), row(1, line=3)], PRICES)
        journal.end_reading()
        assert (recorded.new, recorded.known) == (2, 0)
        assert [(reject.line, reject.reason[:20]) for reject in recorded.rejects] == [(3, "duplicate request id")]
    with journal_at(tmp_path / "j") as journal:
        journal.begin_reading()
        recorded = journal.record([row(1), row(2), row(3), row(1, line=9)], Prices(999, 999))
        journal.end_reading()
        assert (recorded.new, recorded.known, [reject.line for reject in recorded.rejects]) == (1, 2, [9])
        (user,) = journal.users()
        assert (user.requests, user.owed) == (3, 2 * (10 * 3 + 5) + 11 * 999)


@pytest.mark.parametrize("other", [row(1, tokens=11), row(1, user=USERS[1]), row(1, fees=(30, 6))])
def test_an_id_with_other_content_is_a_duplicate_in_a_later_log_too(tmp_path: Path, other: UsageRow) -> None:
    with journal_at(tmp_path / "j") as journal:
        journal.begin_reading()
        journal.record([row(1)], PRICES)
        journal.begin_reading()
        recorded = journal.record([row(1, fees=(30, 5)), other], PRICES)
        assert recorded.known == 1
        journal.begin_reading()
        (reject,) = journal.record([other], PRICES).rejects
        assert "other content" in reject.reason


def test_a_row_that_is_rolled_back_with_its_chunk_leaves_no_user_behind(tmp_path: Path) -> None:
    with journal_at(tmp_path / "j") as journal:
        journal.begin_reading()
        journal.record([row(1)], PRICES)
        recorded = journal.record([row(2, user=USERS[1]), row(1, line=5), row(3, user=USERS[2])], PRICES)
        journal.end_reading()
        assert (recorded.new, len(recorded.rejects)) == (2, 1)
    with journal_at(tmp_path / "j") as journal:
        assert {user.address: (user.requests, user.owed) for user in journal.users()} == dict.fromkeys(USERS, (1, 35))


def test_spellings_are_kept_for_the_hash(tmp_path: Path) -> None:
    request_hash = bytes(32)
    spelled = UsageRow(1, request_hash, "00" * 32, USERS[0], USERS[0].lower(), 1, 1, 0, None)
    with journal_at(tmp_path / "j") as journal:
        journal.begin_reading()
        journal.record([spelled], PRICES)
        (user,) = journal.users()
        (charge,) = journal.charges(user)
    assert (charge.request_text, charge.user_text) == ("00" * 32, USERS[0].lower())


def test_what_was_sent_is_there_after_a_crash(tmp_path: Path) -> None:
    with journal_at(tmp_path / "j") as journal:
        journal.begin_reading()
        journal.record([row(1), row(2, USERS[1])], PRICES)
        made = sign(journal, 5, USERS)
        journal.add_transaction(made, Transaction("0xcc", b"more", 5, 9, 10, 7, True))
        journal.add_transaction(made, made.transactions[0])
        journal.add_transaction(made, Transaction("0xcc", b"more", 5, 9, 10, 7, True))
    with journal_at(tmp_path / "j") as journal:
        (batch,) = journal.open_batches()
        assert [sent.hash for sent in batch.transactions] == [f"0x{5:064x}", "0xcc"]
        assert [line.settlement for line in batch.rows] == [line.settlement for line in made.rows]
        assert batch.transactions[-1] == Transaction("0xcc", b"more", 5, 9, 10, 7, True)
        assert [user.last_nonce for user in journal.users()] == [5, 5]
        assert journal.open_tokens(batch.rows[0].user) == (10, 1)
        journal.finish_batch(batch, [Outcome(0, 35), Outcome(1, 4)], MINED)
        assert not journal.open_batches()
        assert [(found.id, mined) for found, mined in journal.mined_since(7)] == [(batch.id, MINED)]
        assert journal.mined_since(8) == []
        first, second = journal.users()
        assert (first.open, first.open_requests, second.open, second.open_requests) == (0, 0, 31, 1)
        (charge,) = journal.charges(second)
        assert (charge.input_fee, charge.output_fee) == (26, 5)


@pytest.mark.parametrize("field", ["chain_id", "genesis", "contract", "provider"])
def test_a_journal_of_something_else_is_refused(tmp_path: Path, field: str) -> None:
    with journal_at(tmp_path / "j"):
        pass
    other = {"chain_id": 1, "genesis": "0x", "contract": USERS[2], "provider": USERS[2]}[field]
    values = {name: getattr(IDENTITY, name) for name in ("chain_id", "genesis", "contract", "provider")} | {
        field: other
    }
    with (
        pytest.raises(JournalOfAnother, match=field.replace("_", " ")),
        open_journal(tmp_path / "j", Identity(**values)),
    ):
        pass


@pytest.mark.parametrize("damage", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_journal_says_so(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "j").write_bytes(damage)
    with pytest.raises(JournalFailure) as caught, journal_at(tmp_path / "j"):
        pass
    assert caught.value.next_step


def test_a_copy_leaves_the_original_alone(tmp_path: Path) -> None:
    copy_journal(tmp_path / "absent", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    with journal_at(tmp_path / "j") as journal:
        journal.begin_reading()
        journal.record([row(1)], PRICES)
        journal.end_reading()
        copy_journal(tmp_path / "j", tmp_path / "copy")
    with journal_at(tmp_path / "copy") as copy:
        assert [user.requests for user in copy.users()] == [1]
        sign(copy, 3, USERS)
    with journal_at(tmp_path / "j") as journal:
        assert not journal.open_batches()


def test_the_lock_is_exclusive_and_ends_with_its_holder(tmp_path: Path) -> None:
    with run_lock(tmp_path, "p"):
        with run_lock(tmp_path, "q"):
            pass
        with pytest.raises(RunInProgress, match="running") as caught, run_lock(tmp_path, "p"):
            pass
        assert caught.value.cause is not None
        assert "Process" in caught.value.cause
    with run_lock(tmp_path, "p"):
        pass


def test_partial_payments_add_up_in_the_middle_of_a_request(tmp_path: Path) -> None:
    with journal_at(tmp_path / "j") as journal:
        journal.begin_reading()
        journal.record([row(1), row(2)], PRICES)
        for nonce, paid, due in ((1, 4, (26, 5)), (2, 7, (19, 5)), (3, 21, (0, 3)), (4, 5, (28, 5))):
            batch = sign(journal, nonce, USERS)
            journal.finish_batch(batch, [Outcome(1, paid)], MINED)
            (user,) = journal.users()
            charge = next(journal.charges(user))
            assert (charge.input_fee, charge.output_fee) == due
        assert (user.open, user.open_requests) == (33, 1)


class JournalMachine(RuleBasedStateMachine):
    """Recording, sending, finishing, reopening and crashing in any order, beside a model of lists."""

    @initialize()
    def start(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.context = journal_at(Path(self.directory.name) / "j")
        self.journal = self.context.__enter__()
        self.requests: dict[int, tuple[str, int]] = {}
        self.paid = dict.fromkeys(USERS, 0)
        self.done: list[tuple[Batch, list[Outcome]]] = []
        self.nonce = 0

    def teardown(self) -> None:
        if hasattr(self, "context"):
            self.context.__exit__(None, None, None)
            self.directory.cleanup()

    @rule(
        numbers=st.lists(st.integers(0, 60), min_size=1, max_size=8),
        user=st.sampled_from(USERS),
        tokens=st.integers(0, 4),
    )
    def read(self, numbers: list[int], user: str, tokens: int) -> None:
        self.journal.begin_reading()
        recorded = self.journal.record([row(number, user, tokens) for number in numbers], PRICES)
        self.journal.end_reading()
        new = [number for number in dict.fromkeys(numbers) if number not in self.requests]
        assert recorded.new == len(new)
        assert recorded.new + recorded.known + len(recorded.rejects) == len(numbers)
        self.requests |= dict.fromkeys(new, (user, tokens * 3 + 5))

    @precondition(lambda self: self.ready())
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        users = data.draw(st.lists(st.sampled_from(self.ready()), min_size=1, unique=True))
        self.nonce += 1
        batch = sign(self.journal, self.nonce, users)
        assert {line.user.address: line.settlement.total_fee for line in batch.rows} == {
            user: self.owed(user) - self.paid[user] for user in users
        }

    @precondition(lambda self: self.journal.open_batches())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        for batch in self.journal.open_batches():
            how = data.draw(st.sampled_from(["mined", "mined", "reverted"]))
            if how == "reverted":
                self.journal.revert_batch(batch, MINED)
            else:
                outcomes = [Outcome(1, data.draw(st.integers(0, line.settlement.total_fee))) for line in batch.rows]
                self.journal.finish_batch(batch, outcomes, MINED)
                self.done.append((batch, outcomes))
                for line, outcome in zip(batch.rows, outcomes, strict=True):
                    self.paid[line.user.address] += outcome.paid

    @precondition(lambda self: self.done and not self.journal.open_batches())
    @rule(data=st.data())
    def reorganise(self, data: st.DataObject) -> None:
        batch, outcomes = self.done.pop(data.draw(st.integers(0, len(self.done) - 1)))
        self.journal.reopen_batch(batch)
        assert [found.id for found in self.journal.open_batches()] == [batch.id]
        for line, outcome in zip(batch.rows, outcomes, strict=True):
            self.paid[line.user.address] -= outcome.paid

    @rule()
    def crash(self) -> None:
        self.context.__exit__(None, None, None)
        self.context = journal_at(Path(self.directory.name) / "j")
        self.journal = self.context.__enter__()

    def ready(self) -> list[str]:
        """Users with something open and nothing on its way."""
        waiting = {line.user.address for batch in self.journal.open_batches() for line in batch.rows}
        return [user for user in USERS if user not in waiting and self.owed(user) > self.paid[user]]

    def owed(self, user: str) -> int:
        return sum(fee for owner, fee in self.requests.values() if owner == user)

    @invariant()
    def books_match(self) -> None:
        if not hasattr(self, "journal"):
            return
        for user in self.journal.users():
            assert (user.owed, user.paid) == (self.owed(user.address), self.paid[user.address])
            _, due, count = hash_requests(self.journal.charges(user))
            assert (due, count) == (user.open, user.open_requests)


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_no_space_left_is_a_clear_failure(tmp_path: Path) -> None:
    def fill(journal: Journal) -> None:
        journal.begin_reading()
        for start in range(0, 20_000, 1000):
            journal.record([row(number) for number in range(start, start + 1000)], PRICES)

    def fill_a_small_disk() -> None:
        with journal_at(tmp_path / "j") as journal:
            journal._db.execute("PRAGMA max_page_count = 100")
            fill(journal)

    with pytest.raises(JournalFailure, match="cannot be used") as caught:
        fill_a_small_disk()
    assert "full" in str(caught.value.cause)
    with journal_at(tmp_path / "j") as journal:
        fill(journal)
        journal.end_reading()
        assert [user.requests for user in journal.users()] == [20_000]
    with sqlite3.connect(tmp_path / "j") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
