# SPDX-License-Identifier: Apache-2.0
"""Following a batch on a clock of the test's own: what is done when, and what is believed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from eth_utils.address import to_checksum_address

from serving_network.clients.settlements import Disagreement, Outcome, SignedSettlements
from serving_network.contracts.models import Account, Status
from serving_network.errors import TransactionFailure, TransactionPending
from serving_network.messages.prices import Prices
from serving_network.messages.typed_data import UserSettlement
from serving_network.messages.usage import UsageRow
from serving_network.settlement import following
from serving_network.settlement.chain import Head, Landed, PastSettlement, SettlementChain
from serving_network.settlement.following import BatchFailed, Followed, Follower
from serving_network.settlement.gas import worst_case_gas
from serving_network.settlement.journal import Journal, open_journal
from serving_network.settlement.journal.records import Acceptance, Batch, Mined, SignedRow, Transaction
from serving_network.settlement.options import Options
from serving_network.settlement.report import Report
from serving_network.settlement.wallet_nonces import UnknownTransactions
from serving_network.store.opening import Identity
from tests.settlement.new_journals import put_new_journal

USERS: list[str] = [to_checksum_address(bytes([number]) * 20) for number in range(1, 4)]
NONCE = 1000
OPTIONS = Options(first_pause=1, patience=3, stuck_after=8, give_up_after=30, confirmations=2)
BLOCK = 310
SIGNED_AT = 300
SEARCHED_FROM = SIGNED_AT - 256
HEAD = "0xhead"
MADE_AT = 1_700_000_000
"""The journal's clock, when the first transaction is made."""


def sent(nonce: int, number: int = 0) -> Transaction:
    return Transaction(f"0x{nonce:02x}{number:02x}", b"raw", nonce, 50_000, 10 + number, 1)


def account(user: str, nonce: int = 0) -> Account:
    return Account("inference", user, USERS[2], nonce, 100, 0, (), "", True)  # type: ignore[arg-type]


def landed_in(block: int, *statuses: Status, transaction: Transaction | None = None) -> Landed:
    outcomes = tuple(Outcome(status, 10 if status.paid else 0) for status in statuses)
    return Landed(bool(statuses), Mined(block, "0xbb", 101, 7000), outcomes, (transaction or sent(5)).hash)


class Script:
    """A chain that answers as it is told, and notes what is done to it and when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[tuple[float, str]] = []
        self.pauses: list[float] = []
        self.mined_nonce: Callable[[], int] = lambda: 5
        self.next_nonce = 6
        self.receipts: dict[str, Callable[[], Landed | None]] = {}
        self.found: Callable[[], list[Landed]] = list
        self.past: list[PastSettlement] = []
        self.refused: set[str] = set()
        self.searched: list[int] = []
        self.depths: list[int] = []
        self.newest: Callable[[], int] = lambda: BLOCK + 1
        self.held: dict[str, Account] = {}
        self.journal: Journal | None = None
        self.at_the_cap = False
        self.calls: dict[int, str] = {}
        self.called_since: list[int] = []
        self.provider = USERS[2]
        self.head_hash: Callable[[], str | None] = lambda: HEAD

    async def sleep(self, seconds: float) -> None:
        assert len(self.pauses) < 200, "this does not end"
        self.pauses.append(seconds)
        self.now += seconds

    def note(self, what: str) -> None:
        self.done.append((self.now, what))

    async def mined_wallet_nonce(self, depth: int) -> int:
        self.depths.append(depth)
        return self.mined_nonce()

    async def wallet_nonce(self) -> int:
        return self.next_nonce

    async def wallet_nonce_at(self, block: int) -> int:
        assert block == self.newest()
        return self.mined_nonce()

    async def calls_since(self, block_number: int) -> dict[int, str]:
        self.called_since.append(block_number)
        return self.calls

    async def head(self) -> Head:
        return Head(self.newest(), 0, HEAD)

    async def block_hash(self, number: int) -> str | None:
        assert number == self.newest()
        return self.head_hash()

    async def accounts(self, users: Sequence[str], block: int | None = None) -> dict[str, Account]:
        assert block in (None, self.newest())
        return {user: self.held[user] for user in users if user in self.held}

    async def landed(self, transaction: Transaction, _: SignedSettlements) -> Landed | None:
        return self.receipts.get(transaction.hash, lambda: None)()

    async def search(self, _: SignedSettlements, from_block: int) -> list[Landed]:
        self.searched.append(from_block)
        return self.found()

    async def past_settlements(self, users: Sequence[str], from_block: int) -> list[PastSettlement]:
        self.searched.append(from_block)
        return [one for one in self.past if one.user in users]

    async def preview(self, signed: SignedSettlements) -> list[Outcome]:
        return [
            Outcome(Status.NO_TEE_SIGNER, 0) if row.user in self.refused else Outcome(Status.SUCCESS, row.total_fee)
            for row in signed.settlements
        ]

    async def prepare(
        self, signed: SignedSettlements, nonce: int, gas_limit: int, gas_price_cap: int, reserve: int
    ) -> Transaction:
        assert (gas_limit, gas_price_cap) == (OPTIONS.gas_limit, OPTIONS.max_gas_price)
        assert reserve == worst_case_gas(len(signed.settlements))
        return sent(nonce, 9)

    async def replace(self, _: SignedSettlements, stuck: Transaction, gas_price_cap: int) -> Transaction:
        assert gas_price_cap == OPTIONS.max_gas_price
        if self.at_the_cap:
            raise TransactionFailure("The cap is reached.")
        return sent(stuck.nonce, stuck.max_fee_per_gas - 10 + 1)

    async def empty(self, nonce: int, stuck: Transaction | None, gas_price_cap: int) -> Transaction:
        assert gas_price_cap == OPTIONS.max_gas_price
        assert stuck is not None
        assert nonce == stuck.nonce
        return sent(nonce, stuck.max_fee_per_gas - 10 + 1)._replace(purpose="cancel")

    async def broadcast(self, transaction: Transaction) -> None:
        assert self.journal is not None
        written = [sent for batch in self.journal.open_batches() for sent in batch.transactions]
        assert transaction in written, "what is sent must be in the journal"
        self.note(f"sent {transaction.hash}")


class Clock:
    """The clock of the journal, which stands still until it is set."""

    now = MADE_AT

    def __call__(self) -> float:
        return self.now


class Scene:
    """A batch of two users in a journal, and who follows it."""

    def __init__(self, journal: Journal, form: str = "entries") -> None:
        self.chain = Script()
        self.clock = Clock()
        self.chain.journal = journal
        self.journal = journal
        self.told: list[tuple[str, Outcome, int, Account | None]] = []
        self.report = Report(1, "", "")
        journal.begin_reading()
        hashes = zip(USERS[:2], (b"1" * 32, b"2" * 32), strict=True)
        journal.record([UsageRow(1, one, "", user, user, 1, 0, 0, (0, 10)) for user, one in hashes], Prices(1, 1))
        journal.end_reading()
        rows = [
            SignedRow(user, UserSettlement(user.address, 10, NONCE, bytes(32)), bytes([user.id]), 1, 10)
            for user in journal.users()
        ]
        self.batch = journal.add_batch(form, USERS[2], b"whole", SIGNED_AT, rows, sent(5))
        self.chain.held = {user: account(user) for user in USERS[:2]}

    def follow(self, options: Options = OPTIONS, batch: Batch | None = None, *, earlier: bool = False) -> Followed:
        """Follow one batch until it is done, and raise what it ended with."""

        def tell(row: SignedRow, outcome: Outcome, gas: int, found: Account | None) -> None:
            self.told.append((row.user.address, outcome, gas, found))

        chain = cast("SettlementChain", self.chain)
        follower = Follower(chain, self.journal, options, self.report, tell)
        followed = follower.begin(batch or self.batch, earlier=earlier)
        assert asyncio.run(follower.next_done([followed])) == [followed]
        failure = followed.error or followed.failed
        if failure is not None:
            raise failure
        return followed

    def accept(self, nonce: int = NONCE) -> None:
        self.chain.held = {user: account(user, nonce) for user in USERS[:2]}

    def show(self, transaction: Transaction, *statuses: Status, block: int = BLOCK) -> None:
        """Let the node show a transaction as mined, and failed where it has no statuses."""
        passed = max(self.chain.mined_nonce(), transaction.nonce + 1)
        self.chain.mined_nonce = lambda: passed
        landed = landed_in(block, *statuses, transaction=transaction)
        self.chain.receipts[transaction.hash] = lambda: landed

    def paid(self) -> list[int]:
        return [user.paid for user in self.journal.users()]

    def states(self) -> list[tuple[str, int | None]]:
        """What the journal says of each settlement: its state and status."""
        return self.journal._db.execute("SELECT state, status FROM settlement ORDER BY batch_id, position").fetchall()

    def mined(self) -> list[Mined]:
        """The transactions that are booked as mined."""
        rows = self.journal._db.execute(
            "SELECT block_number, block_hash, gas_used, gas_cost FROM sent WHERE block_number IS NOT NULL ORDER BY id"
        )
        return [Mined(number, block_hash, gas, int(cost)) for number, block_hash, gas, cost in rows]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    clock, identity = Clock(), Identity(1, "", "", "")
    put_new_journal(tmp_path / "j", identity)
    with open_journal(tmp_path / "j", identity, clock) as journal:
        made = Scene(journal)
        made.clock = clock

        class Time:
            """The script's clock."""

            @staticmethod
            def monotonic() -> float:
                return made.chain.now

        class Asyncio:
            """The script's way to pass the time."""

            sleep = made.chain.sleep

        monkeypatch.setattr(following, "time", Time)
        monkeypatch.setattr(following, "asyncio", Asyncio)
        yield made


FIRST, SECOND, THIRD = sent(5).hash, sent(5, 1).hash, sent(5, 2).hash
PAID = landed_in(BLOCK, Status.SUCCESS, Status.SUCCESS)


# ---------------------------------------------------------------------------------------------------- waiting


def test_an_unmined_transaction_is_sent_again_then_replaced_then_left(scene: Scene) -> None:
    with pytest.raises(TransactionPending) as caught:
        scene.follow()
    assert scene.chain.done == [
        (0.0, f"sent {FIRST}"),
        (2.5, f"sent {FIRST}"),
        (4.5, f"sent {FIRST}"),
        (6.5, f"sent {FIRST}"),
        (8.5, f"sent {SECOND}"),
        (10.5, f"sent {SECOND}"),
        (12.5, f"sent {SECOND}"),
        (14.5, f"sent {SECOND}"),
        (16.5, f"sent {THIRD}"),
        (18.5, f"sent {THIRD}"),
        (20.5, f"sent {THIRD}"),
        (22.5, f"sent {THIRD}"),
        (24.5, f"sent {sent(5, 3).hash}"),
        (26.5, f"sent {sent(5, 3).hash}"),
        (28.5, f"sent {sent(5, 3).hash}"),
        (30.5, f"sent {sent(5, 3).hash}"),
    ]
    assert scene.chain.pauses == [1, 1.5] + [2.0] * 14
    assert (scene.report.replaced, scene.chain.now) == (3, 30.5)
    assert caught.value.transaction == sent(5, 3).hash
    assert scene.journal.open_batches()[0].transactions == (sent(5), sent(5, 1), sent(5, 2), sent(5, 3))
    assert set(scene.chain.depths) == {2}


@pytest.mark.parametrize(("give_up_after", "ends"), [(0, 0.0), (1, 1.0), (2.5, 2.5), (2.6, 4.5)])
def test_a_run_gives_up_at_the_configured_time(scene: Scene, give_up_after: float, ends: float) -> None:
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=give_up_after))
    assert scene.chain.now == ends


def answered_after(scene: Scene, seconds: float, nonce: int) -> int:
    scene.chain.now += seconds
    return nonce


def test_the_time_that_a_node_takes_to_answer_counts(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: answered_after(scene, 3, 5)
    with pytest.raises(TransactionPending, match=r"not mined after 3 s"):
        scene.follow(replace(OPTIONS, give_up_after=3))
    assert scene.chain.done == [(3.0, f"sent {FIRST}")]


def test_a_replacement_is_sent_again_after_a_quarter_of_the_time_and_replaced_after_all_of_it(scene: Scene) -> None:
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, stuck_after=4.5, give_up_after=7, first_pause=2))
    assert scene.chain.done == [
        (0.0, f"sent {FIRST}"),
        (2.0, f"sent {FIRST}"),
        (4.0, f"sent {FIRST}"),
        (6.0, f"sent {SECOND}"),
        (8.0, f"sent {SECOND}"),
    ]


def test_a_transaction_is_sent_again_after_a_quarter_of_stuck_after(scene: Scene) -> None:
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, stuck_after=4.8, give_up_after=2))
    assert [when for when, _ in scene.chain.done] == [0.0, 2.5]


def test_a_replacement_at_the_cap_is_not_sent(scene: Scene) -> None:
    scene.chain.at_the_cap = True
    with pytest.raises(TransactionFailure, match="cap"):
        scene.follow()
    assert scene.report.replaced == 0
    assert {what for _, what in scene.chain.done} == {f"sent {FIRST}"}


def test_an_unused_lower_nonce_is_filled(scene: Scene) -> None:
    scene.chain.next_nonce = 3
    scene.chain.mined_nonce = lambda: 3
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=8))
    assert scene.chain.done[-2:] == [(6.5, f"sent {FIRST}"), (8.5, f"sent {sent(3, 9).hash}")]
    assert scene.report.replaced == 0
    assert "nonce 5 of the wallet could not be mined" in scene.report.notes[0]
    assert scene.report.notes[0].endswith("again with nonce 3.")


def test_the_transaction_that_filled_a_gap_has_time_to_show_its_receipt(scene: Scene) -> None:
    scene.chain.next_nonce = 3
    scene.chain.mined_nonce = lambda: 4 if scene.chain.now > 9 else 3

    async def wallet_nonce() -> int:
        return scene.chain.mined_nonce()

    scene.chain.wallet_nonce = wallet_nonce  # type: ignore[method-assign]
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=16))
    assert [(when, what) for when, what in scene.chain.done if what != f"sent {FIRST}"] == [
        (8.5, f"sent {sent(3, 9).hash}"),
        (16.5, f"sent {sent(4, 9).hash}"),
    ]
    assert scene.chain.searched == [SEARCHED_FROM] * 4


def test_pending_transactions_of_several_nonces_are_all_sent_again(scene: Scene) -> None:
    scene.chain.next_nonce = 3
    scene.chain.mined_nonce = lambda: 3
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=12))
    gap = sent(3, 9).hash
    assert scene.chain.done[4:] == [(8.5, f"sent {gap}"), (10.5, f"sent {gap}"), (10.5, f"sent {FIRST}"),
                                    (12.5, f"sent {gap}"), (12.5, f"sent {FIRST}")]  # fmt: skip


def test_the_wallets_next_nonce_is_not_a_gap(scene: Scene) -> None:
    scene.chain.next_nonce = 5
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=9))
    assert (scene.report.replaced, scene.report.notes) == (1, [])


def test_a_lower_nonce_of_another_batch_is_not_a_gap(scene: Scene) -> None:
    several(scene, 3)
    scene.chain.next_nonce = 3
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=9))
    assert (scene.report.replaced, scene.report.notes) == (1, [])


@pytest.mark.parametrize(
    ("stuck_after", "age", "replaced_at"),
    [(8, 8, 0.0), (8, 9000, 0.0), (8, 7, 1.0), (8, 5, 4.5), (8, 0, 8.5), (8, -100, 8.5), (2, 1, 1.0), (0, 0, 0.0)],
)
def test_a_transaction_of_an_earlier_run_is_replaced_when_it_is_old_enough(
    scene: Scene, stuck_after: float, age: int, replaced_at: float
) -> None:
    scene.clock.now += age
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, stuck_after=stuck_after, give_up_after=replaced_at), earlier=True)
    assert [when for when, what in scene.chain.done if what == f"sent {SECOND}"] == [replaced_at]


def test_the_age_counts_from_the_newest_transaction(scene: Scene) -> None:
    scene.clock.now += 6
    batch = scene.journal.add_transaction(scene.batch, sent(5, 1))
    scene.clock.now += 3
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=6.5), batch, earlier=True)
    assert scene.chain.done[-1] == (6.5, f"sent {THIRD}")
    assert {what for _, what in scene.chain.done[:-1]} == {f"sent {SECOND}"}


# ------------------------------------------------------------------------------------------------ a lost nonce


def test_a_batch_that_lost_its_nonce_is_searched_for_then_sent_again(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: 6
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=6))
    again = sent(6, 9).hash
    assert scene.chain.done == [(4.5, f"sent {again}"), (6.5, f"sent {again}")]
    assert set(scene.chain.searched) == {SEARCHED_FROM}
    assert scene.journal.open_batches()[0].transactions == (sent(5), sent(6, 9))
    assert len(scene.report.notes) == 1


def test_patience_is_kept_to_the_second(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: 6
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=5, patience=2.5))
    assert scene.chain.done[0] == (2.5, f"sent {sent(6, 9).hash}")


def test_patience_restarts_with_each_new_transaction(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: 1 + scene.journal.open_batches()[0].transactions[-1].nonce
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=9))
    assert scene.chain.done == [(4.5, f"sent {sent(6, 9).hash}"), (8.5, f"sent {sent(7, 9).hash}")]


def test_a_batch_sent_again_is_not_replaced_at_once(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: 6
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=12))
    again, replacement = sent(6, 9).hash, sent(6, 10).hash
    assert scene.chain.done == [
        (4.5, f"sent {again}"),
        (6.5, f"sent {again}"),
        (8.5, f"sent {again}"),
        (10.5, f"sent {again}"),
        (12.5, f"sent {replacement}"),
    ]


def test_a_batch_that_the_accounts_show_as_settled_is_not_sent_again(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: 6
    scene.accept()
    with pytest.raises(Disagreement):
        scene.follow()
    assert scene.chain.done == []
    assert scene.journal.open_batches() == [scene.batch]


def test_a_batch_lost_by_an_earlier_run_is_sent_again_at_once(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: 6
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=0), earlier=True)
    assert scene.chain.done == [(0.0, f"sent {sent(6, 9).hash}")]


def test_a_lost_batch_that_would_not_be_paid_in_full_is_not_sent_again(scene: Scene) -> None:
    """Its users are signed for anew, with the same nonces."""
    scene.chain.mined_nonce = lambda: 6
    scene.chain.refused = {USERS[1]}
    assert scene.follow(earlier=True).news is False
    assert (scene.chain.done, scene.states()) == ([], [("signed", None)] * 2)


def test_a_lost_batch_whose_users_closed_their_accounts_is_not_sent_again(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: 6
    scene.chain.held = {}
    scene.chain.refused = set(USERS)
    assert scene.follow(earlier=True).news is False
    assert scene.chain.done == []


def test_a_lost_batch_is_not_sent_again_after_another_payment_of_its_requests(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: 6
    paid = Acceptance(Outcome(Status.SUCCESS, 4), BLOCK - 9, "0xee", sent(1, 77).hash)
    user = scene.batch.rows[0].user
    scene.journal.adopt(user, UserSettlement(user.address, 4, NONCE - 1, bytes(32)), 0, paid)
    scene.chain.held[USERS[0]] = account(USERS[0], NONCE - 1)
    assert scene.follow(earlier=True).news is False
    assert (scene.chain.done, scene.paid()) == ([], [4, 0])


def test_a_batch_found_accepted_is_booked_instead_of_sent_again(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: 6
    scene.chain.held[USERS[0]] = account(USERS[0], NONCE)
    scene.chain.past = [elsewhere(0, sent(1, 77))]
    assert scene.follow(earlier=True).news is True
    assert (scene.chain.done, scene.paid()) == ([], [10, 0])
    assert scene.states() == [("accepted", Status.SUCCESS), ("signed", None)]
    assert scene.told == [(USERS[0], Outcome(Status.SUCCESS, 10), 0, account(USERS[0], NONCE))], "it cost no gas"


def test_a_batch_found_accepted_is_not_sent_again_though_nothing_was_paid(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: 6
    scene.chain.held[USERS[0]] = account(USERS[0], NONCE)
    found = elsewhere(0, sent(1, 77))
    scene.chain.past = [replace(found, acceptance=found.acceptance._replace(outcome=Outcome(Status.PARTIAL, 0)))]
    scene.follow(earlier=True)
    assert (scene.chain.done, scene.states()) == ([], [("accepted", Status.PARTIAL), ("signed", None)])


def accept_before(scene: Scene, batch: Batch, *places: int) -> Batch:
    """Book what an earlier look found."""
    found = Acceptance(Outcome(Status.SUCCESS, 10), BLOCK - 9, "0xee", sent(1, 77).hash)
    return scene.journal.accept(batch, dict.fromkeys(places, found))


@pytest.mark.parametrize(
    ("accepted", "passed", "searched"),
    [((0,), 6, [SEARCHED_FROM]), ((0, 1), 6, []), ((0, 1), 5, [])],
    ids=["in part", "whole", "whole, with a transaction that waits"],
)
def test_a_batch_accepted_before_is_done_at_once(
    scene: Scene, accepted: tuple[int, ...], passed: int, searched: list[int]
) -> None:
    batch = accept_before(scene, scene.batch, *accepted)
    scene.chain.mined_nonce = lambda: passed
    assert scene.follow(batch=batch).news is False
    assert (scene.chain.now, scene.chain.done, scene.chain.searched) == (0.0, [], searched)
    assert scene.paid() == [10 if place in accepted else 0 for place in (0, 1)]


def test_a_lost_batch_is_not_sent_again_if_one_of_its_users_was_settled_otherwise(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: 6
    scene.chain.held[USERS[0]] = account(USERS[0], NONCE + 1)
    assert scene.follow(earlier=True).news is False
    assert (scene.chain.done, scene.states()) == ([], [("signed", None)] * 2)


def test_a_cancelled_batch_is_not_sent_again(scene: Scene) -> None:
    batch = scene.journal.add_transaction(scene.batch, sent(5, 1)._replace(purpose="cancel"))
    scene.chain.mined_nonce = lambda: 6
    scene.follow(batch=batch)
    assert (scene.chain.done, scene.states()) == ([], [("signed", None)] * 2)


def test_a_stuck_empty_transaction_is_replaced_by_another(scene: Scene) -> None:
    batch = scene.journal.add_transaction(scene.batch, sent(5, 1)._replace(purpose="cancel"))
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=8), batch)
    assert scene.chain.done == [
        *((when, f"sent {SECOND}") for when in (0.0, 2.5, 4.5, 6.5)),
        (8.5, f"sent {THIRD}"),
    ]
    assert [one.purpose for one in scene.journal.batch(batch.id).transactions] == ["carry", "cancel", "cancel"]
    assert scene.report.replaced == 1


def test_an_empty_transaction_behind_a_lower_nonce_is_left_alone(scene: Scene) -> None:
    batch = scene.journal.add_transaction(scene.batch, sent(5, 1)._replace(purpose="cancel"))
    scene.chain.next_nonce = 3
    scene.chain.mined_nonce = lambda: 3
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=12), batch)
    assert {what for _, what in scene.chain.done} == {f"sent {SECOND}"}


# ------------------------------------------------------------------------------------- the wallet's next nonce


def follower_of(scene: Scene, final: int = 0) -> Follower:
    made = Follower(cast("SettlementChain", scene.chain), scene.journal, OPTIONS, scene.report, lambda *_: None)
    made.wallet.final = final
    return made


def free_nonce(scene: Scene, final: int = 0) -> int:
    async def ask() -> int:
        return await follower_of(scene, final).wallet.free_nonce(await cast("SettlementChain", scene.chain).head())

    return asyncio.run(ask())


@pytest.mark.parametrize(("mined", "pending", "free"), [(5, 5, 6), (5, 6, 6), (6, 6, 6), (7, 6, 7), (3, 3, 3)])
def test_the_next_nonce_is_one_without_a_pending_transaction(scene: Scene, mined: int, pending: int, free: int) -> None:
    scene.chain.mined_nonce = lambda: mined
    scene.chain.next_nonce = pending
    assert free_nonce(scene) == free


def test_the_wallet_nonce_of_a_decided_batch_is_reused(scene: Scene) -> None:
    """If it stayed free below the next transaction, an unknown one of the same users could take it."""
    scene.chain.mined_nonce = lambda: 5
    scene.chain.next_nonce = 5
    follower = follower_of(scene)
    follower.wallet.released = {batch.id for batch in scene.journal.open_batches()}
    head = asyncio.run(cast("SettlementChain", scene.chain).head())
    assert asyncio.run(follower.wallet.free_nonce(head)) == 5


@pytest.mark.parametrize(
    ("mined", "pending", "unknown", "first"),
    [
        (5, 7, 1, 6), (3, 6, 2, 3), (6, 7, 1, 6), (4, 9, 4, 4), (30, 36, 6, 30), (5, 10**9, 999, 6),
        (6, 10**9, 1000, 6),
    ],
)  # fmt: skip
def test_unknown_pending_wallet_transactions_stop_signing(
    scene: Scene, mined: int, pending: int, unknown: int, first: int
) -> None:
    scene.chain.mined_nonce = lambda: mined
    scene.chain.next_nonce = pending
    with pytest.raises(UnknownTransactions, match=rf"^{unknown} transactions? .* from {first} on\.") as caught:
        free_nonce(scene)
    assert caught.value.exit_code == 8
    assert "serving settlement cancel" in str(caught.value.next_step)


@pytest.mark.parametrize(("mined", "nonce"), [(5, 4), (6, 5)], ids=["before ours", "with the nonce of ours"])
def test_an_unknown_settlement_in_an_unfinal_block_stops_signing(scene: Scene, mined: int, nonce: int) -> None:
    scene.chain.mined_nonce = lambda: mined
    scene.chain.calls = {nonce: "0xforeign"}
    with pytest.raises(UnknownTransactions, match="0xforeign") as caught:
        free_nonce(scene, final=BLOCK)
    assert caught.value.exit_code == 8
    assert scene.chain.called_since == [BLOCK]


@pytest.mark.parametrize(
    ("what", "calls", "final", "asked"),
    [
        ("final", {4: "0xforeign"}, BLOCK + 1, []),
        ("no settlement", {}, BLOCK, [BLOCK]),
        ("known", {4: sent(5).hash}, BLOCK, [BLOCK]),
        ("of a nonce that was passed", {5: "0xforeign"}, BLOCK, [BLOCK]),
    ],
)
def test_other_wallet_transactions_do_not_stop_signing(
    scene: Scene, what: str, calls: dict[int, str], final: int, asked: list[int]
) -> None:
    scene.chain.mined_nonce = lambda: 5
    scene.chain.calls = calls
    assert free_nonce(scene, final) == 6, what
    assert scene.chain.called_since == asked


def test_nothing_is_searched_if_all_wallet_transactions_are_known(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: 6
    scene.journal.add_mined(FIRST, PAID.mined)
    scene.journal.see_wallet(5, BLOCK, "0xbb")
    scene.journal.end_sighting(final=True)
    assert free_nonce(scene, final=BLOCK - 1) == 6
    assert scene.chain.called_since == []


def test_unknown_transactions_keep_a_lost_batch_from_being_sent_again(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: 6
    scene.chain.next_nonce = 8
    with pytest.raises(UnknownTransactions):
        scene.follow(earlier=True)
    assert (scene.chain.done, scene.states()) == ([], [("signed", None)] * 2)


def test_a_block_is_valid_while_the_chain_has_its_hash(scene: Scene) -> None:
    follower = follower_of(scene)
    head = Head(BLOCK + 1, 0, HEAD)
    assert asyncio.run(follower.wallet.stands(head)) is True
    for other in ("0xother", None):
        scene.chain.head_hash = lambda other=other: other  # type: ignore[misc]
        assert asyncio.run(follower.wallet.stands(head)) is False


def test_a_transaction_made_for_a_vanished_block_is_not_sent(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: 6
    scene.chain.head_hash = lambda: HEAD if scene.chain.now >= 2 else "0xother"
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=3), earlier=True)
    assert scene.chain.done[0] == (2.5, f"sent {sent(6, 9).hash}")
    assert scene.journal.open_batches()[0].transactions == (sent(5), sent(6, 9))


# ----------------------------------------------------------------------------------------- several batches


def several(scene: Scene, *nonces: int) -> tuple[Follower, list[Followed]]:
    """A follower and batches of its own of the first user, whose transactions have these nonces of the wallet."""
    follower = Follower(cast("SettlementChain", scene.chain), scene.journal, OPTIONS, scene.report, lambda *_: None)
    row = scene.batch.rows[0]
    return follower, [
        follower.begin(scene.journal.add_batch("entries", USERS[2], b"", SIGNED_AT, [row], sent(nonce, 50)))
        for nonce in nonces
    ]


@pytest.mark.parametrize(
    ("linger", "looks"), [(0, [0.0]), (1, [0.0, 1.0]), (2, [0.0, 1.0, 2.5]), (2.5, [0.0, 1.0, 2.5])]
)
def test_an_unfinished_batch_is_checked_once_more_when_time_is_up(
    scene: Scene, linger: float, looks: list[float]
) -> None:
    follower, followed = several(scene, 5)
    seen: list[float] = []
    scene.chain.mined_nonce = lambda: seen.append(scene.chain.now) or 5  # type: ignore[func-returns-value]
    assert asyncio.run(follower.next_done(followed, linger=linger)) == []
    assert seen == looks


def test_a_failure_to_follow_one_batch_leaves_the_others_alone(scene: Scene) -> None:
    follower, (first, second) = several(scene, 5, 6)
    scene.chain.receipts[sent(5, 50).hash] = contradicting
    assert asyncio.run(follower.next_done([first, second])) == [first]
    assert isinstance(first.error, Disagreement)
    assert (second.done, second.error) == (False, None)
    assert follower.wallet.released == set()
    scene.chain.held[USERS[0]] = account(USERS[0], NONCE)
    scene.chain.mined_nonce = lambda: 7
    scene.chain.receipts[sent(6, 50).hash] = lambda: landed_in(BLOCK, Status.SUCCESS, transaction=sent(6, 50))
    assert asyncio.run(follower.next_done([second])) == [second]
    assert (second.error, second.failed, second.news) == (None, None, True)
    assert follower.wallet.released == {second.batch.id}


# -------------------------------------------------------------------------------------------------- believing


def test_a_result_is_booked_when_it_is_deep_enough(scene: Scene) -> None:
    scene.accept()
    scene.show(sent(5), Status.SUCCESS, Status.SUCCESS)
    scene.chain.newest = lambda: BLOCK + 1 if scene.chain.now >= 6 else BLOCK
    scene.follow()
    assert scene.chain.now == 6.5
    assert scene.paid() == [10, 10]
    assert (scene.chain.done, scene.chain.searched) == ([], [])
    assert (scene.report.batches, scene.report.settlements) == (1, 2)
    assert (scene.report.gas_used, scene.report.gas_cost) == (101, 7000)
    assert scene.told == [(user, Outcome(Status.SUCCESS, 10), 50, account(user, NONCE)) for user in USERS[:2]]
    assert scene.mined() == [PAID.mined]
    assert scene.states() == [("accepted", Status.SUCCESS)] * 2
    assert scene.journal.open_batches()[0].rows == tuple(row._replace(accepted=True) for row in scene.batch.rows)


def test_a_mined_transaction_is_left_alone_until_it_is_deep_enough(scene: Scene) -> None:
    scene.accept()
    scene.show(sent(5), Status.SUCCESS, Status.SUCCESS)
    scene.chain.mined_nonce = lambda: 6 if scene.chain.now >= 12 else 5
    scene.chain.newest = lambda: BLOCK + 1 if scene.chain.now >= 12 else BLOCK
    scene.follow()
    assert (scene.chain.now, scene.chain.done, scene.paid()) == (12.5, [], [10, 10])


def test_a_result_that_the_last_look_shows_is_booked(scene: Scene) -> None:
    scene.accept()
    scene.chain.mined_nonce = lambda: 6 if scene.chain.now >= 6 else 5
    scene.chain.receipts[FIRST] = lambda: PAID if scene.chain.now >= 6 else None
    scene.follow(replace(OPTIONS, give_up_after=5))
    assert (scene.chain.now, scene.paid()) == (6.5, [10, 10])


def test_a_batch_ends_when_its_last_transaction_is_deep_enough(scene: Scene) -> None:
    batch = scene.journal.add_transaction(scene.batch, sent(6))
    scene.show(sent(5), Status.NO_TEE_SIGNER, Status.NO_TEE_SIGNER)
    scene.show(sent(6), Status.NO_TEE_SIGNER, Status.NO_TEE_SIGNER, block=BLOCK + 1)
    scene.chain.newest = lambda: BLOCK + 2 if scene.chain.now >= 6 else BLOCK + 1
    scene.follow(batch=batch)
    assert scene.chain.now == 6.5
    assert [mined.block_number for mined in scene.mined()] == [BLOCK, BLOCK + 1]


def test_the_receipt_that_took_effect_counts(scene: Scene) -> None:
    scene.accept()
    batch = scene.journal.add_transaction(scene.batch, sent(6, 1))
    scene.show(sent(5), Status.SUCCESS, Status.PARTIAL)
    scene.show(sent(6, 1), Status.INVALID_NONCE, Status.INVALID_NONCE, block=BLOCK + 1)
    scene.chain.newest = lambda: BLOCK + 2
    scene.follow(batch=batch)
    assert [outcome.status for _, outcome, _, _ in scene.told] == [Status.SUCCESS, Status.PARTIAL]
    assert scene.states() == [("accepted", Status.SUCCESS), ("accepted", Status.PARTIAL)]
    assert scene.chain.searched == []


@pytest.mark.parametrize("first_block", [BLOCK - 1, BLOCK + 1])
def test_results_of_two_partly_effective_transactions_are_merged(scene: Scene, first_block: int) -> None:
    """Before, such a batch was never decided, and blocked the journal for good."""
    scene.accept()
    batch = scene.journal.add_transaction(scene.batch, sent(6, 1))
    scene.show(sent(5), Status.SUCCESS, Status.NO_TEE_SIGNER, block=first_block)
    scene.show(sent(6, 1), Status.INVALID_NONCE, Status.SUCCESS)
    scene.chain.newest = lambda: BLOCK + 2
    scene.follow(batch=batch)
    assert scene.paid() == [10, 10]
    rows = scene.journal._db.execute("SELECT block_number, transaction_hash FROM settlement ORDER BY position")
    assert rows.fetchall() == [(first_block, FIRST), (BLOCK, sent(6, 1).hash)]
    told = [(user, outcome.status) for user, outcome, _, _ in scene.told]
    assert sorted(told) == [(user, Status.SUCCESS) for user in USERS[:2]]
    assert (scene.report.gas_used, scene.report.settlements, scene.report.batches) == (202, 2, 1)


def test_a_settlement_accepted_once_and_refused_later_is_reported_as_accepted(scene: Scene) -> None:
    scene.chain.held[USERS[0]] = account(USERS[0], NONCE)
    batch = scene.journal.add_transaction(scene.batch, sent(6, 1))
    scene.show(sent(5), Status.SUCCESS, Status.NO_TEE_SIGNER)
    scene.show(sent(6, 1), Status.INVALID_NONCE, Status.NO_TEE_SIGNER)
    scene.follow(batch=batch)
    assert [(user, outcome.status) for user, outcome, _, _ in scene.told] == [
        (USERS[0], Status.SUCCESS), (USERS[1], Status.NO_TEE_SIGNER),
    ]  # fmt: skip


def test_results_of_the_first_transaction_are_booked_while_the_second_is_pending(scene: Scene) -> None:
    batch = scene.journal.add_transaction(scene.batch, sent(6, 1))
    scene.chain.held = {USERS[0]: account(USERS[0], NONCE), USERS[1]: account(USERS[1])}
    scene.show(sent(5), Status.SUCCESS, Status.NO_TEE_SIGNER)
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=1), batch)
    assert scene.paid() == [10, 0]
    assert scene.states() == [("accepted", Status.SUCCESS), ("signed", None)]
    assert [user for user, _, _, _ in scene.told] == [USERS[0]]
    assert scene.chain.done == [(0.0, f"sent {sent(6, 1).hash}")]
    scene.accept()
    scene.show(sent(6, 1), Status.INVALID_NONCE, Status.SUCCESS)
    scene.follow(batch=scene.journal.batch(batch.id))
    assert scene.paid() == [10, 10]
    assert [user for user, _, _, _ in scene.told] == USERS[:2]
    assert scene.report.gas_used == 202


def test_a_node_that_reports_a_settlement_paid_twice_is_not_trusted(scene: Scene) -> None:
    scene.accept()
    batch = scene.journal.add_transaction(scene.batch, sent(6, 1))
    scene.show(sent(5), Status.SUCCESS, Status.NO_TEE_SIGNER)
    scene.show(sent(6, 1), Status.SUCCESS, Status.SUCCESS)
    with pytest.raises(Disagreement, match="two transactions"):
        scene.follow(batch=batch)
    assert (scene.paid(), scene.told, scene.mined()) == ([0, 0], [], [])


def test_a_settlement_that_took_effect_elsewhere_is_found_through_events(scene: Scene) -> None:
    scene.accept()
    scene.chain.mined_nonce = lambda: 6
    elsewhere = landed_in(BLOCK, Status.SUCCESS, Status.SUCCESS, transaction=sent(1, 77))
    scene.chain.found = lambda: [elsewhere]
    scene.follow()
    assert (scene.paid(), scene.chain.searched) == ([10, 10], [SEARCHED_FROM])
    assert scene.journal._db.execute("SELECT DISTINCT transaction_hash FROM settlement").fetchall() == [
        (sent(1, 77).hash,)
    ]


def elsewhere(user: int, transaction: Transaction, **changes: Any) -> PastSettlement:
    settlement = replace(UserSettlement(USERS[user], 10, NONCE, bytes(32)), **changes)
    return PastSettlement(
        USERS[user], settlement, Acceptance(Outcome(Status.SUCCESS, 10), BLOCK - 5, "0xcc", transaction.hash)
    )


def test_a_settlement_accepted_through_an_unknown_transaction_is_booked_though_ours_was_refused(scene: Scene) -> None:
    scene.accept()
    scene.show(sent(5), Status.INVALID_NONCE, Status.SUCCESS)
    scene.chain.past = [elsewhere(0, sent(1, 77))]
    scene.follow()
    assert (scene.paid(), scene.chain.searched) == ([10, 10], [SEARCHED_FROM])
    rows = scene.journal._db.execute("SELECT state, block_hash, transaction_hash FROM settlement ORDER BY position")
    assert rows.fetchall() == [("accepted", "0xcc", sent(1, 77).hash), ("accepted", "0xbb", FIRST)]


@pytest.mark.parametrize("another", [{"nonce": NONCE - 1}, {"nonce": NONCE + 1}, None])
def test_the_settlement_with_the_nonce_of_ours_is_found_among_others(
    scene: Scene, another: dict[str, int] | None
) -> None:
    scene.chain.held[USERS[0]] = account(USERS[0], NONCE)
    scene.show(sent(5), Status.INVALID_NONCE, Status.NO_TEE_SIGNER)
    other = elsewhere(0, sent(1, 78), **another or {})
    scene.chain.past = [elsewhere(0, sent(1, 77)), other if another else replace(other, settlement=None)]
    scene.follow()
    assert [(user, outcome.status) for user, outcome, _, _ in scene.told] == [
        (USERS[0], Status.SUCCESS), (USERS[1], Status.NO_TEE_SIGNER),
    ]  # fmt: skip
    assert scene.states() == [("accepted", Status.SUCCESS), ("signed", Status.NO_TEE_SIGNER)]
    rows = scene.journal._db.execute("SELECT transaction_hash FROM settlement ORDER BY position")
    assert rows.fetchall() == [(sent(1, 77).hash,), (None,)]


@pytest.mark.parametrize("status", [Status.SUCCESS, Status.INVALID_NONCE])
def test_a_settlement_booked_for_another_batch_is_neither_counted_nor_searched_again(
    scene: Scene, status: Status
) -> None:
    """The two batches carry the same settlement of the first user."""
    _, (other,) = several(scene, 4)
    accept_before(scene, other.batch, 0)
    scene.accept()
    scene.show(sent(5), status, Status.SUCCESS)
    scene.follow()
    assert (scene.paid(), scene.report.settlements, scene.chain.searched) == ([10, 10], 1, [])
    assert [user for user, outcome, _, _ in scene.told if outcome.status == Status.SUCCESS] == [USERS[1]]


def test_a_different_settlement_with_the_same_nonce_is_not_booked_as_ours(scene: Scene) -> None:
    scene.accept()
    scene.show(sent(5), Status.INVALID_NONCE, Status.SUCCESS)
    scene.chain.past = [elsewhere(0, sent(1, 77), total_fee=9)]
    scene.follow()
    assert scene.paid() == [0, 10]
    assert scene.states() == [("signed", Status.INVALID_NONCE), ("accepted", Status.SUCCESS)]


def test_events_that_contradict_the_receipt_are_not_trusted(scene: Scene) -> None:
    scene.accept()
    scene.show(sent(5), Status.INVALID_NONCE, Status.SUCCESS)
    scene.chain.past = [elsewhere(0, sent(5))]
    with pytest.raises(Disagreement):
        scene.follow()
    assert (scene.paid(), scene.told) == ([0, 0], [])


def test_nothing_is_searched_before_something_is_mined(scene: Scene) -> None:
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=2))
    assert scene.chain.searched == []


def test_a_refusal_is_booked_as_nothing_paid(scene: Scene) -> None:
    scene.show(sent(5), Status.NO_TEE_SIGNER, Status.INVALID_SIGNATURE)
    scene.follow()
    assert scene.paid() == [0, 0]
    assert scene.states() == [("signed", Status.NO_TEE_SIGNER), ("signed", Status.INVALID_SIGNATURE)]
    assert scene.mined() == [PAID.mined]
    assert [outcome.status for _, outcome, _, _ in scene.told] == [Status.NO_TEE_SIGNER, Status.INVALID_SIGNATURE]


def test_a_refusal_is_reported_once(scene: Scene) -> None:
    scene.show(sent(5), Status.NO_TEE_SIGNER, Status.INVALID_SIGNATURE)
    scene.follow()
    scene.follow(batch=scene.journal.batch(scene.batch.id), earlier=True)
    assert len(scene.told) == 2


def test_the_last_refusal_in_the_order_of_the_chain_is_booked(scene: Scene) -> None:
    """The first transaction of the batch shows no receipt: what carried its settlements is found by search."""
    batch = scene.journal.add_transaction(scene.batch, sent(6))
    scene.show(sent(6), Status.NO_TEE_SIGNER, Status.NO_TEE_SIGNER)
    scene.chain.found = lambda: [
        landed_in(BLOCK - 1, Status.INVALID_SIGNATURE, Status.INVALID_SIGNATURE, transaction=sent(1, 77))
    ]
    scene.follow(batch=batch)
    assert scene.states() == [("signed", Status.NO_TEE_SIGNER)] * 2


def test_a_settlement_alone_in_its_batch_bears_the_whole_gas(scene: Scene) -> None:
    _, (alone,) = several(scene, 7)
    scene.chain.held[USERS[0]] = account(USERS[0], NONCE)
    scene.show(sent(7, 50), Status.SUCCESS)
    scene.follow(batch=alone.batch)
    assert [gas for _, _, gas, _ in scene.told] == [101]


def test_a_failed_transaction_before_one_that_was_refused_is_no_failure(scene: Scene) -> None:
    batch = scene.journal.add_transaction(scene.batch, sent(6))
    scene.show(sent(5))
    scene.show(sent(6), Status.NO_TEE_SIGNER, Status.NO_TEE_SIGNER)
    assert scene.follow(batch=batch).failed is None
    assert (scene.states(), scene.report.gas_used) == ([("signed", Status.NO_TEE_SIGNER)] * 2, 202)


def test_a_failed_transaction_paid_nothing_and_its_cost_is_reported(scene: Scene) -> None:
    scene.show(sent(5))
    with pytest.raises(BatchFailed) as caught:
        scene.follow()
    assert "serving doctor" in str(caught.value.next_step)
    assert (scene.paid(), scene.told, scene.report.batches, scene.report.gas_used) == ([0, 0], [], 0, 101)
    assert (scene.report.gas_cost, scene.states()) == (7000, [("signed", None)] * 2)
    assert scene.mined() == [landed_in(BLOCK).mined]


def test_a_failed_transaction_is_reported_once(scene: Scene) -> None:
    scene.show(sent(5))
    with pytest.raises(BatchFailed):
        scene.follow()
    with pytest.raises(BatchFailed):
        scene.follow(batch=scene.journal.batch(scene.batch.id), earlier=True)
    assert (scene.report.gas_used, scene.report.gas_cost) == (101, 7000)


def test_a_failure_contradicted_by_the_accounts_is_not_booked(scene: Scene) -> None:
    scene.accept()
    scene.show(sent(5))
    with pytest.raises(Disagreement):
        scene.follow()
    assert scene.journal.open_batches() == [scene.batch]
    assert (scene.states(), scene.mined()) == ([("signed", None)] * 2, [])


@pytest.mark.parametrize(
    ("status", "nonce", "believed"),
    [
        (Status.SUCCESS, NONCE, True), (Status.SUCCESS, NONCE + 1, True), (Status.SUCCESS, NONCE - 1, False),
        (Status.PARTIAL, NONCE, True), (Status.PARTIAL, 0, False), (Status.SUCCESS, None, True),
        (Status.INVALID_NONCE, NONCE + 1, True), (Status.INVALID_NONCE, NONCE, False),
        (Status.NO_TEE_SIGNER, NONCE - 1, True), (Status.NO_TEE_SIGNER, NONCE, False),
        (Status.NO_TEE_SIGNER, None, True),
    ],
)  # fmt: skip
def test_a_result_counts_only_if_the_account_agrees(
    scene: Scene, status: Status, nonce: int | None, believed: bool
) -> None:
    scene.accept()
    if nonce is None:
        del scene.chain.held[USERS[1]]
    else:
        scene.chain.held[USERS[1]] = account(USERS[1], nonce)
    scene.show(sent(5), Status.SUCCESS, status)
    if believed:
        scene.follow()
        assert scene.paid() == [10, 10 if status.paid else 0]
        return
    with pytest.raises(Disagreement):
        scene.follow()
    assert (scene.paid(), scene.told, scene.report.batches) == ([0, 0], [], 0)
    assert scene.journal.open_batches() == [scene.batch]


def contradicting() -> Landed | None:
    raise Disagreement("The node contradicts itself.")


def test_a_node_that_contradicts_itself_is_asked_again_then_left(scene: Scene) -> None:
    scene.chain.receipts[FIRST] = contradicting
    with pytest.raises(Disagreement):
        scene.follow()
    assert scene.chain.pauses == [1, 1.5, 2.0]
    assert scene.chain.done == []


def test_patience_with_a_contradiction_starts_when_it_appears(scene: Scene) -> None:
    scene.chain.receipts[FIRST] = lambda: contradicting() if 2 < scene.chain.now < 3 or scene.chain.now > 6 else None
    with pytest.raises(Disagreement):
        scene.follow(replace(OPTIONS, give_up_after=99, patience=4))
    assert scene.chain.now == 10.5
    assert [when for when, _ in scene.chain.done] == [0.0, 4.5]


def test_patience_starts_when_the_contradicting_answer_has_arrived(scene: Scene) -> None:
    scene.chain.mined_nonce = lambda: answered_after(scene, 0 if scene.chain.pauses else 3, 5)
    scene.chain.receipts[FIRST] = contradicting
    with pytest.raises(Disagreement):
        scene.follow()
    assert scene.chain.now == 7.5


def test_a_permanent_contradiction_does_not_outlast_the_run(scene: Scene) -> None:
    scene.chain.receipts[FIRST] = contradicting
    with pytest.raises(TransactionPending):
        scene.follow(replace(OPTIONS, give_up_after=2, patience=50))


def test_settlements_are_sent_again_with_their_signatures(tmp_path: Path) -> None:
    for form, signatures in (("entries", (b"\x01", b"\x02")), ("batch", (b"whole",))):
        seen: list[SignedSettlements] = []
        with open_journal(tmp_path / form, Identity(1, "", "", "")) as journal:
            scene = Scene(journal, form)
            scene.accept()

            async def landed(_: Any, signed: SignedSettlements, seen: list[SignedSettlements] = seen) -> Landed:
                seen.append(signed)
                return PAID

            scene.chain.landed = landed  # type: ignore[assignment]
            scene.follow()
        assert (seen[0].form, seen[0].signatures) == (form, signatures)
        assert [row.user for row in seen[0].settlements] == USERS[:2]
