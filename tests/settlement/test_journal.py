# SPDX-License-Identifier: Apache-2.0
"""The journal against a model in plain Python, and against the ways in which a file can be wrong."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serving_network.clients.settlements import Outcome
from serving_network.files import RunInProgress, lock
from serving_network.messages.prices import Charge, Prices, hash_requests
from serving_network.messages.typed_data import UserSettlement
from serving_network.messages.usage import UsageRow
from serving_network.settlement.journal import Journal, open_journal
from serving_network.settlement.journal.decisions import CannotVoid
from serving_network.settlement.journal.records import (
    Acceptance,
    Batch,
    Mined,
    OpenWork,
    SignedRow,
    Transaction,
    UserState,
)
from serving_network.store.database import Database
from serving_network.store.location import Location
from serving_network.store.opening import Identity, JournalFailure, JournalOfAnother, copy_journal, read_only
from tests.settlement.new_journals import put_new_journal

BUSY = "Another settlement of this provider is running."
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
def journal_at(path: Location) -> Iterator[Journal]:
    with open_journal(path, IDENTITY) as journal:
        yield journal


def sign(journal: Journal, nonce: int, users: list[str]) -> Batch:
    rows = []
    for user in journal.users():
        if user.address in users and user.open:
            requests_hash, fee, requests = hash_requests(journal.charges(user))
            settlement = UserSettlement(user.address, fee, nonce, requests_hash)
            rows.append(SignedRow(user, settlement, b"s", requests, fee, user.paid))
    return journal.add_batch("entries", USERS[2], b"", 1, rows, Transaction(f"0x{nonce:064x}", b"raw", nonce, 9, 8, 7))


def accept(journal: Journal, batch: Batch, *outcomes: Outcome) -> Batch:
    sent = batch.transactions[-1].hash
    journal.add_mined(sent, MINED)
    return journal.accept(
        batch,
        {
            place: Acceptance(outcome, MINED.block_number, MINED.block_hash, sent)
            for place, outcome in enumerate(outcomes)
        },
    )


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
def test_a_known_id_with_other_content_is_a_duplicate_in_a_later_log(tmp_path: Path, other: UsageRow) -> None:
    with journal_at(tmp_path / "j") as journal:
        journal.begin_reading()
        journal.record([row(1)], PRICES)
        journal.begin_reading()
        recorded = journal.record([row(1, fees=(30, 5)), other], PRICES)
        assert recorded.known == 1
        journal.begin_reading()
        (reject,) = journal.record([other], PRICES).rejects
        assert "different content" in reject.reason


def test_a_row_rolled_back_with_its_chunk_leaves_no_user(tmp_path: Path) -> None:
    with journal_at(tmp_path / "j") as journal:
        journal.begin_reading()
        journal.record([row(1)], PRICES)
        recorded = journal.record([row(2, user=USERS[1]), row(1, line=5), row(3, user=USERS[2])], PRICES)
        journal.end_reading()
        assert (recorded.new, len(recorded.rejects)) == (2, 1)
    with journal_at(tmp_path / "j") as journal:
        assert {user.address: (user.requests, user.owed) for user in journal.users()} == dict.fromkeys(USERS, (1, 35))


def test_the_spelling_of_an_id_is_kept_for_the_hash(tmp_path: Path) -> None:
    request_hash = bytes(32)
    spelled = UsageRow(1, request_hash, "00" * 32, USERS[0], USERS[0].lower(), 1, 1, 0, None)
    with journal_at(tmp_path / "j") as journal:
        journal.begin_reading()
        journal.record([spelled], PRICES)
        (user,) = journal.users()
        (charge,) = journal.charges(user)
    assert (charge.request_text, charge.user_text) == ("00" * 32, USERS[0].lower())


def test_sent_transactions_survive_a_crash(tmp_path: Path) -> None:
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
        assert journal.open_work(batch.rows[0].user) == OpenWork(1, 10, 1)
        accept(journal, batch, Outcome(0, 35), Outcome(1, 4))
        assert [found.id for found in journal.open_batches()] == [batch.id]
        journal.end_batch(batch)
        assert not journal.open_batches()
        assert list(journal.booked_blocks()) == [(7, MINED.block_hash)]
        first, second = journal.users()
        assert (first.open, journal.open_work(first).requests) == (0, 0)
        assert (second.open, journal.open_work(second).requests) == (31, 1)
        (charge,) = journal.charges(second)
        assert (charge.input_fee, charge.output_fee) == (26, 5)


@pytest.mark.parametrize("field", ["chain_id", "genesis", "contract", "provider"])
def test_a_journal_of_another_chain_contract_or_provider_is_refused(tmp_path: Path, field: str) -> None:
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
def test_a_damaged_journal_is_reported(tmp_path: Path, damage: bytes) -> None:
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


def test_the_lock_is_exclusive_and_released_with_its_holder(tmp_path: Path) -> None:
    with lock(tmp_path / "p.lock", BUSY):
        with lock(tmp_path / "q.lock", BUSY):
            pass
        with (
            pytest.raises(RunInProgress, match="running") as caught,
            lock(tmp_path / "p.lock", BUSY),
        ):
            pass
        assert caught.value.cause is not None
        assert "Process" in caught.value.cause
    with lock(tmp_path / "p.lock", BUSY):
        pass


def test_partial_payments_add_up_in_the_middle_of_a_request(tmp_path: Path) -> None:
    with journal_at(tmp_path / "j") as journal:
        journal.begin_reading()
        journal.record([row(1), row(2)], PRICES)
        for nonce, paid, due in ((1, 4, (26, 5)), (2, 7, (19, 5)), (3, 21, (0, 3)), (4, 5, (28, 5))):
            batch = sign(journal, nonce, USERS)
            accept(journal, batch, Outcome(1, paid))
            (user,) = journal.users()
            charge = next(journal.charges(user))
            assert (charge.input_fee, charge.output_fee) == due
        assert (user.open, journal.open_work(user)) == (33, OpenWork(1, 10, 1))


@dataclass
class Request:
    """One of the model's requests; `fees` are for input and output."""

    number: int
    tokens: int
    fees: tuple[int, int]
    void: bool = False

    @property
    def fee(self) -> int:
        return sum(self.fees)


@dataclass
class Signed:
    """One of the model's settlements. `block` is the one that accepted it."""

    user: str
    nonce: int
    fee: int
    start: int
    requests: int
    batch: int
    state: str = "signed"
    paid: int = 0
    block: tuple[int, str] | None = None


@dataclass
class Model:
    """The same books, in lists, and every sum counted from the beginning each time."""

    queues: dict[str, list[Request]] = field(default_factory=lambda: {user: [] for user in USERS})
    settlements: list[Signed] = field(default_factory=list)
    places: dict[tuple[int, int], Signed] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)
    adopted: set[int] = field(default_factory=set)
    carried: dict[str, tuple[int, tuple[int, str] | None]] = field(default_factory=dict)
    """By its hash: the batch of a transaction, and where it was mined."""
    voids: list[tuple[str, int, str]] = field(default_factory=list)

    def of(self, user: str) -> list[Signed]:
        return [one for one in self.settlements if one.user == user]

    def paid(self, user: str) -> int:
        return sum(one.paid for one in self.of(user) if one.state in ("accepted", "final"))

    def owed(self, user: str) -> int:
        return sum(request.fee for request in self.queues[user] if not request.void)

    def due(self, user: str) -> list[tuple[int, int]]:
        """The number and the wei of each request that is not fully paid, those without a fee left out."""
        left, due = self.paid(user), []
        for request in self.queues[user]:
            if not request.void:
                of_it = min(left, request.fee)
                left -= of_it
                if of_it < request.fee:
                    due.append((request.number, request.fee - of_it))
        return due

    def highest_final(self, user: str) -> int:
        return max((one.nonce for one in self.of(user) if one.state == "final"), default=-1)

    def accepted(self, user: str, nonce: int) -> bool:
        return any(one.nonce == nonce and one.state in ("accepted", "final") for one in self.of(user))

    def accept(self, one: Signed, paid: int, block: tuple[int, str]) -> None:
        if one.state in ("signed", "dead") and not self.accepted(one.user, one.nonce):
            one.state, one.paid, one.block = "accepted", paid, block

    def finalise(self, block: int) -> None:
        for one in self.settlements:
            if one.state == "accepted" and one.block is not None and one.block[0] <= block:
                one.state = "final"
        for one in self.settlements:
            above = [other for other in self.of(one.user) if other.nonce > one.nonce and other.start <= one.start]
            overtaken = one.nonce <= self.highest_final(one.user)
            if one.state == "signed" and one.batch not in self.open and (overtaken or above):
                one.state = "dead"

    def unbook(self, block: tuple[int, str]) -> int:
        undone = [one for one in self.settlements if one.block == block]
        reopened = {one.batch for one in undone}
        for sent, (batch, mined) in self.carried.items():
            if mined == block:
                reopened.add(batch)
                self.carried[sent] = (batch, None)
        for one in undone:
            one.state, one.paid, one.block = "signed", 0, None
        for user in {one.user for one in undone}:
            for one in self.of(user):
                if one.state == "dead" and one.nonce > self.highest_final(user):
                    one.state = "signed"
                    reopened.add(one.batch)
        self.open |= reopened - self.adopted
        return len(undone)

    def void(self, user: str, place: int) -> bool:
        """Take a request out if it may be; whether it was."""
        queue = self.queues[user]
        request = queue[place]
        start = sum(earlier.fee for earlier in queue[:place] if not earlier.void)
        if request.void or start < self.paid(user):
            return False
        for one in self.of(user):
            if one.state == "accepted" or (one.state == "signed" and one.batch in self.open | self.adopted):
                if request.fee and one.start < start + request.fee and start < one.start + one.fee:
                    return False
                if not request.fee and one.start <= start <= one.start + one.fee:
                    return False
        request.void = True
        for one in self.of(user):
            if one.start > start:
                one.start = max(start, one.start - request.fee)
        return True

    def blocks(self) -> list[tuple[int, str]]:
        found = {one.block for one in self.settlements} | {mined for _, mined in self.carried.values()}
        return sorted(block for block in found if block is not None)


PRICE_LISTS = st.sampled_from([Prices(3, 5), Prices(0, 0), Prices(1, 2), Prices(10**30, 0)])
BLOCKS = st.tuples(st.integers(1, 9), st.sampled_from(["0xa", "0xb"]))


class JournalMachine(RuleBasedStateMachine):
    """Every step of the journal in any order, reopening and crashing between them, beside a model of lists."""

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.store = self.new_store(Path(self.directory.name) / "j")
        self.open()
        self.model = Model()
        self.owners: dict[int, str] = {}
        self.nonce = 0

    def open(self) -> None:
        """Open the journal, and a second connection that sees only what is committed."""
        self.context = ExitStack()
        self.journal = self.context.enter_context(journal_at(self.store))
        self.disk = self.context.enter_context(self.reader())

    def reader(self) -> AbstractContextManager[Database]:
        return closing(read_only(self.store, 10))

    def new_store(self, path: Path) -> Location:
        put_new_journal(path, IDENTITY)
        return path

    def teardown(self) -> None:
        if hasattr(self, "context"):
            self.context.close()
            self.directory.cleanup()

    @rule(
        numbers=st.lists(st.integers(0, 60), min_size=1, max_size=8),
        user=st.sampled_from(USERS),
        tokens=st.integers(0, 4),
        prices=PRICE_LISTS,
        fees=st.none() | st.tuples(st.integers(0, 9), st.sampled_from([0, 1, 10**25])),
    )
    def read(self, numbers: list[int], user: str, tokens: int, prices: Prices, fees: tuple[int, int] | None) -> None:
        self.journal.begin_reading()
        recorded = self.journal.record([row(number, user, tokens, fees=fees) for number in numbers], prices)
        self.journal.end_reading()
        new = [number for number in dict.fromkeys(numbers) if number not in self.owners]
        assert recorded.new == len(new)
        assert recorded.new + recorded.known + len(recorded.rejects) == len(numbers)
        known = 0
        for number in set(numbers) - set(new):
            if self.owners[number] == user:
                (old,) = (request for request in self.model.queues[user] if request.number == number)
                known += old.tokens == tokens and fees in (None, old.fees)
        assert recorded.known == known
        self.owners |= dict.fromkeys(new, user)
        charged = fees or prices.fees(tokens, 1)
        self.model.queues[user] += [Request(number, tokens, charged) for number in new]

    @precondition(lambda self: self.with_open_work())
    @rule(data=st.data(), reuse=st.booleans())
    def send(self, data: st.DataObject, reuse: bool) -> None:
        users = data.draw(st.lists(st.sampled_from(self.with_open_work()), min_size=1, unique=True))
        self.nonce += 1
        nonces = {
            user: data.draw(st.sampled_from([one.nonce for one in self.model.of(user)] or [self.nonce]))
            if reuse
            else self.nonce
            for user in users
        }
        rows = []
        for address in users:
            user = self.journal.user(address)
            assert user is not None
            requests_hash, fee, requests = hash_requests(self.journal.charges(user))
            settlement = UserSettlement(address, fee, nonces[address], requests_hash)
            rows.append(SignedRow(user, settlement, b"s", requests, fee, user.paid))
        sent = Transaction(f"0x{self.nonce:064x}", b"raw", self.nonce, 9, 8, 7)
        batch = self.journal.add_batch("entries", USERS[2], b"", 1, rows, sent)
        assert {line.user.address: line.settlement.total_fee for line in batch.rows} == {
            user: self.model.owed(user) - self.model.paid(user) for user in users
        }
        for place, line in enumerate(batch.rows):
            address = line.user.address
            one = Signed(
                address, nonces[address], line.settlement.total_fee, self.model.paid(address), line.requests, batch.id
            )
            self.model.settlements.append(one)
            self.model.places[batch.id, place] = one
        self.model.open.add(batch.id)
        self.model.carried[sent.hash] = (batch.id, None)

    @precondition(lambda self: self.model.carried)
    @rule(data=st.data(), block=BLOCKS)
    def accept(self, data: st.DataObject, block: tuple[int, str]) -> None:
        """A transaction of a batch is mined and accepts some rows of it."""
        sent = data.draw(st.sampled_from(sorted(self.model.carried)))
        number, mined = self.model.carried[sent]
        batch = self.journal.batch(number)
        assert self.journal.add_mined(sent, Mined(*block, 21000, 42)) == (mined is None or mined[1] != block[1])
        if mined is None or mined[1] != block[1]:
            self.model.carried[sent] = (number, block)
        places = data.draw(st.sets(st.sampled_from(range(len(batch.rows)))))
        accepted = {}
        for place in places:
            fee = batch.rows[place].settlement.total_fee
            paid = data.draw(st.integers(0, fee) | st.just(fee))
            accepted[place] = Acceptance(Outcome(int(paid < fee), paid), *block, sent)
            self.model.accept(self.model.places[number, place], paid, block)
        self.journal.refuse(batch, dict.fromkeys(set(range(len(batch.rows))) - places, 4))
        batch = self.journal.accept(batch, accepted)
        assert [line.accepted for line in batch.rows] == [
            self.model.places[number, place].state in ("accepted", "final") for place in range(len(batch.rows))
        ]

    @precondition(lambda self: self.model.open)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.model.open)))
        batch = self.journal.batch(number)
        assert self.journal.overtaken(batch) == all(
            one.state == "final" or one.nonce <= self.model.highest_final(one.user)
            for (owner, _), one in self.model.places.items()
            if owner == number
        )
        self.journal.end_batch(batch)
        self.model.open.discard(number)

    @rule(block=st.integers(0, 10))
    def finalise(self, block: int) -> None:
        self.journal.finalise(block)
        self.model.finalise(block)

    @rule(data=st.data())
    def unbook(self, data: st.DataObject) -> None:
        block = data.draw(st.sampled_from(self.model.blocks()) if self.model.blocks() else BLOCKS)
        assert self.journal.unbook(*block) == self.model.unbook(block)

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.owners)))
        user = self.owners[number]
        queue = self.model.queues[user]
        (place,) = (place for place, request in enumerate(queue) if request.number == number)
        passed = queue[place].fee == 0 and place < self.user(user).open_from
        name = sha256(b"%d" % number).digest()
        if passed or not self.model.void(user, place):
            with pytest.raises(CannotVoid):
                self.journal.void(name, "not this one", 1)
        else:
            told = self.journal.void(name, f"reason {number}", len(self.model.voids))
            assert (told.user, told.number, told.fee) == (user, place, queue[place].fee)
            self.model.voids.append((user, place, f"reason {number}"))

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), fee=st.integers(1, 50), paid=st.integers(0, 50), block=BLOCKS)
    def adopt(self, data: st.DataObject, fee: int, paid: int, block: tuple[int, str]) -> None:
        user = data.draw(st.sampled_from(sorted(set(self.owners.values()))))
        self.nonce += 1
        start = self.model.paid(user)
        self.journal.adopt(
            self.user(user),
            UserSettlement(user, fee, self.nonce, b"h" * 32),
            0,
            Acceptance(Outcome(1, paid), *block, "0xe"),
        )
        number = max([*self.model.open, *self.model.adopted, *(batch for batch, _ in self.model.places)], default=0) + 1
        one = Signed(user, self.nonce, fee, start, 0, number)
        self.model.settlements.append(one)
        self.model.places[number, 0] = one
        self.model.adopted.add(number)
        self.model.accept(one, paid, block)

    @rule()
    def crash(self) -> None:
        self.context.close()
        self.open()

    @precondition(lambda self: self.model.carried)
    @rule()
    def fail_in_the_middle(self) -> None:
        """A step that fails leaves disk and memory as they were; the invariants look at both."""
        batch = self.journal.batch(next(iter(self.model.carried.values()))[0])
        full = Acceptance(Outcome(0, batch.rows[0].settlement.total_fee), 3, "0xa", "0xf")
        with pytest.raises(IndexError):
            self.journal.accept(batch, {0: full, 99: full})
        nonce = self.nonce + 100
        row = batch.rows[0]._replace(settlement=replace(batch.rows[0].settlement, nonce=nonce))
        with pytest.raises(AttributeError):
            self.journal.add_batch("entries", "", b"", 1, [row], None)  # type: ignore[arg-type]

    def user(self, address: str) -> UserState:
        user = self.journal.user(address)
        assert user is not None
        return user

    def with_open_work(self) -> list[str]:
        return [user for user in USERS if self.model.owed(user) > self.model.paid(user)]

    @invariant()
    def books_match(self) -> None:
        if not hasattr(self, "journal"):
            return
        for user in self.journal.users():
            owed, paid = self.model.owed(user.address), self.model.paid(user.address)
            assert (user.owed, user.paid, user.open) == (owed, paid, max(0, owed - paid))
            queue = self.model.queues[user.address]
            assert (user.requests, user.billed) == (len(queue), sum(request.fee for request in queue))
            assert user.input_tokens == sum(request.tokens for request in queue if not request.void)
            charges = list(self.journal.charges(user))
            _, due, count = hash_requests(charges)
            assert due == user.open
            work = self.journal.open_work(user)
            assert work.requests == count
            named = {"0x" + sha256(b"%d" % request.number).hexdigest(): request for request in queue}
            assert not any(named[charge.request_text].void for charge in charges)
            assert [
                (named[charge.request_text].number, charge.input_fee + charge.output_fee)
                for charge in charges
                if charge.input_fee or charge.output_fee
            ] == self.model.due(user.address)
            assert all(charge.input_fee >= 0 and charge.output_fee >= 0 for charge in charges)
            self.check_cursor(user, queue)
            self.check_limits(user, charges)

    def check_cursor(self, user: UserState, queue: list[Request]) -> None:
        (open_paid,) = self.journal._db.execute("SELECT open_paid FROM user WHERE id = ?", (user.id,)).fetchone()
        behind = sum(request.fee for request in queue[: user.open_from] if not request.void)
        assert behind + int(open_paid) == user.paid
        ahead = [request for request in queue[user.open_from :] if not request.void]
        assert not ahead or int(open_paid) < ahead[0].fee or (ahead[0].fee == 0 and open_paid == "0")
        assert user.billed == sum(request.fee for request in queue)
        for place in range(user.open_from + (open_paid != "0"), len(queue)):
            if not queue[place].void:
                start = sum(request.fee for request in queue[:place] if not request.void)
                assert self.journal._place(user, place, "a request") == (queue[place].fee, start)

    def check_limits(self, user: UserState, charges: list[Charge]) -> None:
        fees = [charge.input_fee + charge.output_fee for charge in charges]
        for limit in {0, 1, user.open - 1, user.open, fees[0] if fees else 0}:
            within = list(self.journal.charges(user, limit))
            assert within == charges[: len(within)]
            assert sum(fees[: len(within)]) <= max(0, limit)
            assert len(within) == len(charges) or sum(fees[: len(within) + 1]) > limit

    @invariant()
    def settlements_match(self) -> None:
        if not hasattr(self, "journal"):
            return
        for user in self.journal.users():
            mine = self.model.of(user.address)
            alive = [one for one in mine if one.state in ("signed", "accepted")]
            alive.sort(key=lambda one: (one.nonce, one.batch))
            live = self.journal.live(user)
            assert [(one.nonce, one.fee, one.paid_before, one.accepted) for one in live] == [
                (one.nonce, one.fee, one.start, one.state == "accepted") for one in alive
            ]
            assert all(
                told.in_full == (one.state == "accepted" and one.requests > 0 and one.paid == one.fee)
                for told, one in zip(live, alive, strict=True)
            )
            assert user.last_nonce == max((one.nonce for one in mine), default=0)
            done = [one.nonce for one in mine if one.state in ("accepted", "final")]
            assert self.journal.accepted_nonce(user) == max(done, default=0)
            assert len(done) == len(set(done))
            assert all(self.journal.accepted(user, one.nonce) == (one.nonce in done) for one in mine)
        assert {batch.id for batch in self.journal.open_batches()} == self.model.open
        booked = list(self.journal.booked_blocks())
        assert sorted(booked) == self.model.blocks()
        assert [number for number, _ in booked] == sorted((number for number, _ in booked), reverse=True)
        assert self.journal.last_booked_block() == max((number for number, _ in booked), default=0)
        assert [(one.user, one.number, one.reason) for one in self.journal.voids()] == self.model.voids

    @invariant()
    def disk_is_as_memory(self) -> None:
        if not hasattr(self, "journal"):
            return
        stored = self.disk.execute(
            "SELECT id, address, requests, input_tokens, output_tokens, owed, billed, paid, open_from FROM user"
            " ORDER BY id"
        ).fetchall()
        assert stored == [
            (user.id, user.address, user.requests, user.input_tokens, user.output_tokens, str(user.owed),
             str(user.billed), str(user.paid), user.open_from)
            for user in self.journal.users()
        ]  # fmt: skip


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=80, stateful_step_count=30)


def test_a_full_disk_is_reported_clearly(tmp_path: Path) -> None:
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
