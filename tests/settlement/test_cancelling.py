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

from serving_network.cli.settlement_list import state_of
from serving_network.errors import InvalidInput, TransactionFailure, TransactionPending
from serving_network.settlement.cancelling import CancellationPlan, Cancelled, cancel, plan_cancellation
from serving_network.settlement.journal import Journal, open_journal
from serving_network.settlement.options import Options
from serving_network.settlement.planning import Wait
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.settlement.wallet_nonces import UnknownTransactions
from serving_network.store.opening import Identity
from serving_network.usage_logs.reader import UsageLog
from tests.settlement.fake_chain import CONTRACT, PROVIDER, TEE, FakeChain, Pending

pytestmark = pytest.mark.usefixtures("virtual_time")

ANN, BEN = (to_checksum_address(f"0x{number:040x}") for number in (1, 2))
CALM = Options(first_pause=0, patience=0, stuck_after=60, give_up_after=0.2)


class World:
    """A chain whose pool waits until it is told to mine, and the provider's journal."""

    def __init__(self, directory: Path, *, batches: bool) -> None:
        self.chain = FakeChain(batches=batches)
        self.chain.mines_at_once = False
        self.directory = directory
        for user in (ANN, BEN):
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
    with pytest.raises(InvalidInput, match="Batch 3 has no pending transaction"):
        world.plan([1, 3])
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
