# SPDX-License-Identifier: Apache-2.0
"""Ending batches that wait: an empty transaction at each nonce, within the cap, and whatever is mined is booked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address

from serving_network.cli.parts.settlement_list import state_of
from serving_network.errors import InvalidInput, NodeUnreachable, TransactionFailure, TransactionPending
from serving_network.settlement.cancelling import GAS, CancellationPlan, Cancelled, cancel, plan_cancellation
from serving_network.settlement.journal import Journal, open_journal
from serving_network.settlement.journal.records import Transaction
from serving_network.settlement.options import Options
from serving_network.settlement.planning import Wait
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.settlement.wallet_nonces import UnknownTransactions
from serving_network.store.opening import Identity
from serving_network.usage_logs.reader import UsageLog
from tests.settlement.fake_chain import CONTRACT, PROVIDER, TEE, FakeChain, Pending
from tests.settlement.virtual_time import VirtualTime

pytestmark = pytest.mark.usefixtures("virtual_time")

ANN, BEN, EVE = (to_checksum_address(f"0x{number:040x}") for number in (1, 2, 3))
CALM = Options(first_pause=0, patience=0, stuck_after=60, give_up_after=0.2)


class World:
    """A chain whose pool waits until it is told to mine, and the provider's journal."""

    def __init__(self, directory: Path, *, batches: bool) -> None:
        self.chain = FakeChain(batches=batches)
        self.chain.mines_at_once = False
        self.directory = directory
        for user in (ANN, BEN, EVE):
            self.chain.fund(user, 1000)

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        with open_journal(self.directory / "journal", Identity(31337, "0x", CONTRACT, PROVIDER)) as journal:
            yield journal

    def settle(self, *rows: tuple[str, str, int], options: Options = CALM) -> Report:
        path = self.directory / "usage.jsonl"
        told = [{"id": key, "user": user, "time": 1, "fee": fee} for key, user, fee in rows]
        path.write_text("".join(json.dumps(one) + "\n" for one in told))
        with self.journal() as journal:
            return asyncio.run(Settlement(self.chain, journal, TEE, options).run(UsageLog(path, provider=PROVIDER)))

    def plan(self, numbers: Iterable[int] | None = None) -> CancellationPlan:
        with self.journal() as journal:
            return asyncio.run(plan_cancellation(self.chain, journal, numbers))

    def cancel(self, numbers: Iterable[int] | None = None, options: Options = CALM) -> Cancelled:
        async def work(journal: Journal) -> Cancelled:
            return await cancel(self.chain, journal, options, await plan_cancellation(self.chain, journal, numbers))

        with self.journal() as journal:
            return asyncio.run(work(journal))

    def add(self, batch: int, *, nonce: int) -> None:
        """Give a batch another transaction."""
        with self.journal() as journal:
            found = journal.batch(batch)
            later = found.transactions[0]._replace(hash=f"0x{nonce:064x}", nonce=nonce)
            journal.add_transaction(found, later)

    def mines_when_asked(self, after: int = 1) -> None:
        """A block comes when the wallet's mined nonce was asked for so often."""
        asked = 0

        def hook(method: str, _: str) -> None:
            nonlocal asked
            asked += method == "mined_wallet_nonce"
            if asked > after:
                self.chain.hook = lambda *_: None
                self.chain.mine()

        self.chain.hook = hook

    def settles_at_once(self) -> None:
        self.chain.hook = lambda *_: None
        self.chain.mines_at_once = True

    def charged(self, user: str) -> int:
        return self.chain.state.paid.get(user, 0)


@pytest.fixture(params=[False, True], ids=["entries", "batch"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(tmp_path, batches=request.param)


def test_without_pending_transactions_nothing_is_cancelled(world: World) -> None:
    with world.journal():
        pass
    assert world.plan() == CancellationPlan((), ())
    assert world.cancel() == Cancelled([], [])


def test_a_cancelled_batch_ends_and_its_users_are_settled_again_with_the_same_nonce(world: World) -> None:
    world.settle(("a", ANN, 10))
    plan = world.plan()
    assert [(one.nonce, one.batch) for one in plan.places] == [(0, 1)]
    (carried,) = world.chain.pool.values()
    world.mines_when_asked()
    done = world.cancel()
    assert ([sent.nonce for sent in done.sent], done.results, done.waiting) == ([0], [], [])
    assert done.sent[0].purpose == "cancel"
    assert world.charged(ANN) == 0
    assert world.chain.state.wallet_nonce == 1
    world.settles_at_once()
    report = world.settle(("b", ANN, 3))
    assert (report.paid, report.replaced, world.charged(ANN)) == (13, 0, 13)
    settled = world.chain.blocks[-1].transactions[0][0].signed
    assert settled is not None
    assert carried.signed is not None
    assert settled.settlements[0].nonce == carried.signed.settlements[0].nonce
    world.chain.pool[carried.hash] = replace(carried, nonce=world.chain.state.wallet_nonce)
    world.chain.mine()
    assert world.charged(ANN) == 13


def test_each_of_two_batches_with_one_nonce_is_cancelled(world: World) -> None:
    """A batch that is decided leaves its nonce to the next one. Both can be pending when they are cancelled."""
    world.settle(("a", ANN, 10))
    world.settle(("b", BEN, 4))
    (_, second) = world.chain.pool.values()
    del world.chain.pool[second.hash]
    with world.journal() as journal:
        journal._db.execute("UPDATE sent SET nonce = 0 WHERE batch_id = 2")
        journal._db.commit()
    assert [(one.nonce, one.batch) for one in world.plan().places] == [(0, 1)]
    assert [(one.nonce, one.batch) for one in world.plan([2]).places] == [(0, 2)]
    world.mines_when_asked()
    done = world.cancel()
    assert [batch.cancelled for batch in done.batches] == [True, True]
    assert ([sent.nonce for sent in done.sent], done.results, done.waiting) == ([0], [], [])
    assert world.chain.pool == {}, "neither is sent again"
    world.settles_at_once()
    report = world.settle(("c", BEN, 1))
    assert (report.paid, world.charged(ANN), world.charged(BEN)) == (15, 10, 5)


def test_a_settlement_mined_before_its_cancellation_is_booked(world: World) -> None:
    world.settle(("a", ANN, 10), ("b", BEN, 4))

    def hook(method: str, when: str) -> None:
        if method == "broadcast" and when == "before" and world.chain.state.wallet_nonce == 0:
            world.chain.mine()

    world.chain.hook = hook
    done = world.cancel()
    assert (done.paid, sorted(row.user.address for row, _ in done.results)) == (14, [ANN, BEN])
    assert all(row.accepted for row in done.batches[0].rows)
    world.settles_at_once()
    report = world.settle(("c", ANN, 1))
    assert (report.paid, report.taken_up_paid, world.charged(ANN)) == (1, 0, 11)


def test_a_settlement_refused_before_its_cancellation_is_no_payment(world: World) -> None:
    world.settle(("a", ANN, 10), ("b", BEN, 4))
    world.chain.state.accounts[ANN] = replace(world.chain.state.accounts[ANN], acknowledged=False)
    world.chain.hook = lambda method, when: world.chain.mine() if (method, when) == ("broadcast", "before") else None
    done = world.cancel()
    assert [(row.user.address, outcome.paid) for row, outcome in done.results] == [(BEN, 4)]


def test_a_cancellation_ends_as_soon_as_it_is_certain(world: World, virtual_time: VirtualTime) -> None:
    world.settle(("a", ANN, 10))
    started = virtual_time.now
    world.mines_when_asked()
    done = world.cancel(options=Options(first_pause=1, give_up_after=60))
    assert virtual_time.now - started < 10
    (empty,) = done.sent
    assert (done.gas_used, done.gas_cost) == (GAS, GAS * empty.max_fee_per_gas)


def test_a_batch_that_is_not_certain_when_time_is_up_is_listed(world: World, virtual_time: VirtualTime) -> None:
    world.settle(("a", ANN, 10))
    virtual_time.now = 100
    world.mines_when_asked()
    done = world.cancel(options=Options(first_pause=2, give_up_after=20, confirmations=3))
    assert done.waiting == [1]
    assert [note.partition(" A batch of")[0] for note in done.notes] == ["Batch 1:"]
    assert virtual_time.now == 120


def test_without_time_to_look_a_batch_is_listed_as_waiting(world: World, virtual_time: VirtualTime) -> None:
    world.settle(("a", ANN, 10))
    virtual_time.now = 100
    world.chain.mines_at_once = True
    done = world.cancel(options=Options(give_up_after=0))
    assert (done.waiting, done.notes, virtual_time.now) == ([1], [], 100)


def test_a_batch_that_cannot_be_followed_is_listed_with_the_reason(world: World) -> None:
    def strike(method: str, when: str) -> None:
        if (method, when) == ("broadcast", "after"):
            world.chain.mine()
        if method == "landed":
            raise NodeUnreachable("The node does not answer.")

    world.settle(("a", ANN, 10))
    world.chain.hook = strike
    done = world.cancel()
    assert (done.waiting, done.notes) == ([1], ["Batch 1: The node does not answer."])


def test_unused_nonces_are_filled(world: World) -> None:
    world.settle(("a", ANN, 10))
    with world.journal() as journal:
        (batch,) = journal.open_batches()
        late = batch.transactions[0]._replace(hash="0x" + "ee" * 32, nonce=3)
        journal.add_transaction(batch, late)
    world.chain.pool["0xunknown"] = Pending("0xunknown", 1, 7, None)
    plan = world.plan()
    assert [(one.nonce, one.batch) for one in plan.places] == [(0, 1), (1, 1), (2, 1), (3, 1)]
    assert [one.waiting and one.waiting.nonce for one in plan.places] == [0, None, None, 3]
    world.chain.wants_higher_fees = True
    world.mines_when_asked(2)
    done = world.cancel()
    assert [one.nonce for one in done.sent] == [0, 1, 2, 3]
    assert done.sent[1].max_fee_per_gas == 8
    assert world.chain.state.wallet_nonce == 4
    with world.journal() as journal:
        (batch,) = journal.open_batches()
        assert {one.hash for one in done.sent} <= {one.hash for one in batch.transactions}
        assert batch.cancelled


def test_only_batches_with_a_pending_transaction_are_cancelled(world: World) -> None:
    """The first of Ann's two transactions and that of Ben are mined."""
    world.settle(("a", ANN, 10))
    world.settle(("b", BEN, 4))
    world.add(1, nonce=2)
    world.chain.mine()
    plan = world.plan()
    assert [batch.id for batch in plan.batches] == [1]
    assert [(one.nonce, one.batch) for one in plan.places] == [(2, 1)]
    with pytest.raises(InvalidInput, match="Batch 2 has no pending transaction"):
        world.plan([2])


def test_a_named_batch_is_cancelled_up_to_its_own_nonce(world: World) -> None:
    world.settle(("a", ANN, 10))
    assert [(one.nonce, one.batch) for one in world.plan([1]).places] == [(0, 1)]


def test_each_unused_nonce_is_cancelled_for_the_batch_above_it(world: World) -> None:
    users = [to_checksum_address(f"0x{number:040x}") for number in range(1, 9)]
    for user in users:
        world.chain.fund(user, 100)
    world.settle(*((user, user, 1) for user in users), options=replace(CALM, batch_rows=1, in_flight=8))
    with world.journal() as journal:
        journal._db.execute("UPDATE sent SET nonce = nonce * 2")
        journal._db.commit()
    plan = world.plan([8, 1, 2])
    assert [batch.id for batch in plan.batches] == [1, 2, 8]
    nonces = [0, 1, 2, 3, 5, 7, 9, 11, 13, 14]
    batches = [1, 2, 2, 8, 8, 8, 8, 8, 8, 8]
    assert [(one.nonce, one.batch) for one in plan.places] == list(zip(nonces, batches, strict=True))
    world.chain.pool |= {f"0x{nonce}": Pending(f"0x{nonce}", nonce, 1, None) for nonce in range(8, 16)}
    assert [(one.nonce, one.batch) for one in world.plan().places][-3:] == [(13, 8), (14, 8), (15, 8)]


def test_an_empty_transaction_is_stored_for_each_batch_with_its_nonce_and_no_other(world: World) -> None:
    world.settle(("a", ANN, 10))
    world.settle(("b", BEN, 4))
    world.add(2, nonce=0)
    world.mines_when_asked()
    done = world.cancel()
    empty = [[sent.nonce for sent in batch.transactions if sent.purpose == "cancel"] for batch in done.batches]
    assert empty == [[0], [0, 1]]


def test_the_highest_fee_is_compared_with_the_cap_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.settle(("a", ANN, 10), ("b", BEN, 4), options=replace(CALM, batch_rows=1))
    world.add(1, nonce=2)
    with world.journal() as journal:
        for nonce, fee in enumerate((4, 16, 8)):
            journal._db.execute("UPDATE sent SET max_fee_per_gas = ? WHERE nonce = ?", (str(fee), nonce))
        journal._db.commit()
    world.chain.pool["0xunknown"] = Pending("0xunknown", 3, 1, None)
    world.chain.pool["0xlate"] = Pending("0xlate", 2, 1, None)
    asked: list[int] = []
    empty = world.chain.empty

    async def noted(nonce: int, stuck: Transaction | None, cap: int) -> Transaction:
        asked.append(nonce)
        return await empty(nonce, stuck, cap)

    monkeypatch.setattr(world.chain, "empty", noted)
    world.mines_when_asked()
    world.cancel()
    assert asked == [1, 2, 0, 3]


def test_empty_transactions_are_sent_again_and_replaced_until_time_is_up(
    world: World, virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settle(("a", ANN, 10), ("b", BEN, 4), ("c", EVE, 2), options=replace(CALM, batch_rows=1))
    started, virtual_time.now = 100.0, 100.0
    sent: list[tuple[float, int, int]] = []
    broadcast, sleep = world.chain.broadcast, virtual_time.sleep

    async def noted(transaction: Transaction) -> None:
        sent.append((virtual_time.now - started, transaction.nonce, transaction.max_fee_per_gas))
        await broadcast(transaction)

    async def first_is_mined(seconds: float) -> None:
        await sleep(seconds)
        if virtual_time.now == started + 5.5625:
            world.chain.least_fee = 1
            world.chain.pool = {key: one for key, one in world.chain.pool.items() if one.nonce == 0}
            world.chain.mine()
            world.chain.least_fee = 10**6

    world.chain.least_fee = 10**6
    monkeypatch.setattr(world.chain, "broadcast", noted)
    monkeypatch.setattr(virtual_time, "sleep", first_is_mined)
    with pytest.raises(TransactionPending, match="is not mined after 20 s") as caught:
        world.cancel(options=Options(first_pause=0.75, stuck_after=8, give_up_after=19.5625))
    assert [one for one in sent if one[1] == 0] == [(0, 0, 2), (3.5625, 0, 2)], "it is mined at 5.5625"
    others = [(0, 2), *((3.5625 + 2 * step, 2) for step in range(3)), *((9.5625 + 2 * step, 4) for step in range(4))]
    others.append((17.5625, 8))
    assert [one for one in sent if one[1]] == [(when, nonce, fee) for when, fee in others for nonce in (1, 2)]
    assert virtual_time.now == started + 19.5625
    with world.journal() as journal:
        assert caught.value.transaction == journal.batch(2).transactions[-1].hash
    assert "serving settlement cancel" in str(caught.value.next_step)


def test_an_empty_transaction_is_sent_again_a_quarter_of_the_time_after_the_last(
    world: World, virtual_time: VirtualTime
) -> None:
    world.settle(("a", ANN, 10))
    sent: list[float] = []
    started = virtual_time.now = 100.0

    def note(method: str, when: str) -> None:
        if (method, when) == ("broadcast", "before"):
            sent.append(virtual_time.now - started)

    world.chain.hook = note
    world.chain.least_fee = 10**6
    with pytest.raises(TransactionPending):
        world.cancel(options=Options(first_pause=2, stuck_after=12, give_up_after=11))
    assert sent == [0, 4, 8]


def test_unknown_transactions_alone_are_cancelled(world: World) -> None:
    world.chain.pool["0xunknown"] = Pending("0xunknown", 0, 1, None)
    report = world.settle(("a", ANN, 10))
    assert isinstance(report.stopped_by, UnknownTransactions)
    assert "serving settlement cancel" in (report.stopped_by.next_step or "")
    assert [(one.nonce, one.waiting, one.batch) for one in world.plan().places] == [(0, None, None)]
    world.chain.wants_higher_fees = True
    world.mines_when_asked()
    done = world.cancel()
    assert [(one.nonce, one.max_fee_per_gas) for one in done.sent] == [(0, 2)]
    assert [(batch.id, batch.cancelled) for batch in done.batches] == [(1, True)]
    world.settles_at_once()
    assert world.settle(("a", ANN, 10)).paid == 10


def test_the_empty_transactions_of_a_cancellation_without_batches_are_journalled(world: World) -> None:
    world.chain.pool["0xunknown"] = Pending("0xunknown", 0, 1, None)
    world.chain.wants_higher_fees = True
    with pytest.raises(TransactionPending):
        world.cancel()
    with world.journal() as journal:
        (batch,) = journal.open_batches()
        assert (batch.rows, batch.cancelled, batch.transactions[-1].nonce) == ((), True, 0)
        assert (batch.form, batch.signer, batch.signature, batch.from_block) == ("entries", "", b"", 0)
        (summary,) = journal.summaries(0)
        assert state_of(summary) == "cancelled, not final"
    assert [(one.nonce, one.batch) for one in world.plan().places] == [(0, batch.id)]
    assert not isinstance(world.settle(("a", ANN, 10)).stopped_by, UnknownTransactions)
    with world.journal() as journal:
        assert batch.id in {one.id for one in journal.open_batches()}
    world.chain.mine()
    world.settles_at_once()
    world.settle(("b", ANN, 3))
    assert world.charged(ANN) == 13
    with world.journal() as journal:
        assert [one.id for one in journal.open_batches() if not one.rows] == []


def test_a_run_broadcasts_a_lost_empty_transaction_again(world: World) -> None:
    world.chain.pool["0xunknown"] = Pending("0xunknown", 0, 1, None)
    with pytest.raises(TransactionPending):
        world.cancel()
    with world.journal() as journal:
        (batch,) = journal.open_batches()
    world.chain.pool.clear()
    world.chain.broadcasts.clear()
    world.settle()
    assert batch.transactions[-1].hash in world.chain.broadcasts


def test_only_the_named_batch_is_cancelled(world: World) -> None:
    world.settle(("a", ANN, 10))
    world.settle(("b", BEN, 4))
    assert [(one.nonce, one.batch) for one in world.plan([2]).places] == [(1, 2)]
    assert [(one.nonce, one.batch) for one in world.plan([1]).places] == [(0, 1)]
    with pytest.raises(InvalidInput, match="Batch 3 has no pending transaction") as caught:
        world.plan([1, 3])
    assert "serving settlement list" in str(caught.value.next_step)
    world.mines_when_asked()
    done = world.cancel([1])
    assert [batch.id for batch in done.batches] == [1]
    assert (world.charged(ANN), world.charged(BEN)) == (0, 4)
    world.settles_at_once()
    report = world.settle(("a", ANN, 10))
    assert (report.paid, report.taken_up_paid, world.charged(BEN)) == (10, 4, 4)


def test_a_fee_above_the_cap_sends_nothing(world: World) -> None:
    world.settle(("a", ANN, 10))
    world.chain.broadcasts.clear()
    with pytest.raises(TransactionFailure, match="The cap is reached"):
        world.cancel(options=replace(CALM, max_gas_price=1))
    assert world.chain.broadcasts == []
    with world.journal() as journal:
        assert not journal.open_batches()[0].cancelled


def test_an_unknown_transaction_is_outbid_up_to_the_cap(world: World) -> None:
    world.settle(("a", ANN, 10))
    world.chain.pool["0xunknown"] = Pending("0xunknown", 0, 1000, None)
    world.chain.wants_higher_fees = True
    with pytest.raises(TransactionFailure, match="The cap is reached"):
        world.cancel(options=replace(CALM, max_gas_price=600))
    world.mines_when_asked()
    (sent,) = world.cancel(options=replace(CALM, max_gas_price=2000)).sent
    assert sent.max_fee_per_gas == 1024
    assert world.charged(ANN) == 0


def test_an_unmined_cancellation_is_replaced_then_given_up_then_resumed(world: World) -> None:
    world.settle(("a", ANN, 10))
    world.chain.least_fee = 100
    with pytest.raises(TransactionPending, match="is not mined after") as caught:
        world.cancel(options=replace(CALM, stuck_after=0.05))
    with world.journal() as journal:
        (batch,) = journal.open_batches()
        fees = [one.max_fee_per_gas for one in batch.transactions]
        assert fees == sorted(fees)
        assert len(fees) >= 3
        assert caught.value.transaction == batch.transactions[-1].hash
    assert world.plan().places[0].waiting == batch.transactions[-1]
    report = world.settle(("b", ANN, 3))
    assert (report.paid, report.lines[ANN].wait) == (0, Wait.IN_FLIGHT)
    world.chain.least_fee = 1
    world.mines_when_asked()
    world.cancel()
    assert world.charged(ANN) == 0
    world.settles_at_once()
    assert world.settle(("b", ANN, 3)).paid == 13


def test_an_undone_cancellation_charges_nobody_twice(world: World) -> None:
    world.settle(("a", ANN, 10))
    (carried,) = world.chain.pool.values()
    world.mines_when_asked()
    world.cancel()
    world.settles_at_once()
    assert world.settle(("b", ANN, 3)).paid == 13
    world.chain.reorganise(2)
    world.chain.pool[carried.hash] = replace(carried, fee=10**9)
    world.chain.mine()
    assert world.charged(ANN) == 10
    for _ in range(2):
        world.settle(("b", ANN, 3))
    assert world.charged(ANN) == 13
