# SPDX-License-Identifier: Apache-2.0
"""Adopting what the chain accepted and the journal does not know: each wei is booked once, in the chain's order."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address

from serving_network.clients.settlements import Outcome
from serving_network.contracts.models import Status
from serving_network.errors import InvalidInput, RpcError
from serving_network.messages.typed_data import UserSettlement
from serving_network.settlement.adopting import Adopted, Covers, Decision, How, PaidBefore, adopt
from serving_network.settlement.chain import PastSettlement
from serving_network.settlement.journal import Journal, open_journal
from serving_network.settlement.journal.records import Acceptance
from serving_network.settlement.options import Options
from serving_network.settlement.planning import Wait
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.store.opening import Identity, copy_journal
from serving_network.usage_logs.reader import UsageLog
from tests.settlement.fake_chain import CONTRACT, PROVIDER, TEE, FakeChain

pytestmark = pytest.mark.usefixtures("virtual_time")

ANN, BEN, EVE = (to_checksum_address(f"0x{number:040x}") for number in (1, 2, 3))
CALM = Options(first_pause=0, patience=0, stuck_after=60, give_up_after=0.3)
Requests = list[tuple[str, str, int]]


class World:
    """A chain, and the journals of one provider."""

    def __init__(self, directory: Path) -> None:
        self.chain = FakeChain()
        self.directory = directory
        for user in (ANN, BEN, EVE):
            self.chain.fund(user, 1000)

    @contextmanager
    def journal(self, name: str) -> Iterator[Journal]:
        with open_journal(self.directory / name, Identity(31337, "0x", CONTRACT, PROVIDER)) as journal:
            yield journal

    def settle(self, name: str, requests: Requests | None = None) -> Report:
        path = self.directory / "usage.jsonl"
        rows = [{"id": key, "user": user, "time": 1, "fee": fee} for key, user, fee in requests or []]
        path.write_text("".join(json.dumps(one) + "\n" for one in rows))
        with self.journal(name) as journal:
            run = Settlement(self.chain, journal, TEE, CALM)
            return asyncio.run(run.run(None if requests is None else UsageLog(path, provider=PROVIDER)))

    def adopt(
        self, name: str, decision: Decision | None = None, users: Sequence[str] | None = None, from_block: int = 0
    ) -> list[Adopted]:
        with self.journal(name) as journal:
            chosen = [user for user in journal.users() if users is None or user.address in users]
            return asyncio.run(adopt(self.chain, journal, chosen, decision, from_block))

    def charged(self, user: str) -> int:
        return self.chain.state.paid.get(user, 0)

    def wait(self, report: Report, user: str) -> Wait | None:
        return report.lines[user].wait if user in report.lines else None

    def foreign(self, user: str, fee: int, nonce: int) -> None:
        """Another program settles, with a hash of its own."""
        self.chain.state.accounts[user] = replace(
            self.chain.state.accounts[user], nonce=nonce, balance=self.chain.state.accounts[user].balance - fee
        )
        self.chain.state.paid[user] = self.charged(user) + fee
        self.chain.mine()
        block = self.chain.blocks[-1]
        self.past.append(
            PastSettlement(
                user,
                UserSettlement(user, fee, nonce, b"\x09" * 32),
                Acceptance(Outcome(Status.SUCCESS, fee), len(self.chain.blocks) - 1, block.hash, f"0x{nonce:064x}"),
            )
        )

    past: list[PastSettlement]


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.past = []
    told = made.chain.past_settlements

    async def past_settlements(users: Sequence[str], from_block: int) -> list[PastSettlement]:
        found = [*await told(users, from_block), *(one for one in made.past if one.user in users)]
        return sorted(found, key=lambda one: one.acceptance.block_number)

    since = made.chain.paid_since

    async def paid_since(block_number: int, form: str, known: Container[str]) -> list[PastSettlement]:
        others = [one for one in made.past if one.acceptance.block_number > block_number]
        return [*await since(block_number, form, known), *others]

    made.chain.past_settlements = past_settlements  # type: ignore[method-assign]
    made.chain.paid_since = paid_since  # type: ignore[method-assign]
    return made


LOG: Requests = [("a", ANN, 10), ("b", BEN, 20), ("c", ANN, 5)]


def test_adopting_after_a_lost_journal_charges_nobody_twice(world: World) -> None:
    assert world.settle("first", LOG).paid == 35
    report = world.settle("second", [*LOG, ("d", ANN, 3), ("e", EVE, 4)])
    assert (report.paid, world.wait(report, ANN), world.wait(report, BEN)) == (4, *[Wait.UNKNOWN_SETTLEMENT] * 2)
    found = world.adopt("second")
    assert [(one.user, one.how, one.covered, one.requests) for one in found] == [
        (ANN, How.MATCHED, 15, 2),
        (BEN, How.MATCHED, 20, 1),
    ]
    assert all(one.how.booked and one.fee == one.paid == one.covered for one in found)
    assert world.adopt("second") == []
    assert world.settle("second").paid == 3
    assert [world.charged(user) for user in (ANN, BEN, EVE)] == [18, 20, 4]


def test_a_restored_copy_adopts_each_settlement_it_lacks(world: World) -> None:
    world.settle("journal", LOG)
    copy_journal(world.directory / "journal", world.directory / "backup")
    world.settle("journal", [*LOG, ("d", ANN, 3)])
    world.settle("journal", [*LOG, ("d", ANN, 3), ("e", ANN, 4)])
    everything: Requests = [*LOG, ("d", ANN, 3), ("e", ANN, 4), ("f", ANN, 5)]
    report = world.settle("backup", everything)
    assert (report.paid, world.wait(report, ANN)) == (0, Wait.UNKNOWN_SETTLEMENT)
    found = world.adopt("backup")
    assert [(one.how, one.covered, one.requests) for one in found] == [(How.MATCHED, 3, 1), (How.MATCHED, 4, 1)]
    assert world.settle("backup", everything).paid == 5
    assert world.charged(ANN) == 27


def test_a_partial_payment_is_adopted_as_partial(world: World) -> None:
    world.chain.state.accounts[ANN] = replace(world.chain.state.accounts[ANN], balance=12)
    world.settle("first", LOG)
    world.settle("second", LOG)
    (one, _) = world.adopt("second")
    assert (one.how, one.fee, one.paid, one.covered) == (How.MATCHED, 15, 12, 12)
    world.chain.fund(ANN, 100)
    assert world.settle("second").paid == 3
    assert world.charged(ANN) == 15
    world.settle("third", LOG)
    found = world.adopt("third", users=[ANN])
    assert [(one.how, one.covered) for one in found] == [(How.MATCHED, 12), (How.MATCHED, 3)]


def test_free_requests_after_settled_ones_do_not_prevent_adoption(world: World) -> None:
    world.settle("first", [("a", ANN, 10)])
    world.settle("second", [("a", ANN, 10), ("free", ANN, 0), ("b", ANN, 1)])
    (one,) = world.adopt("second")
    assert (one.how, one.requests) == (How.MATCHED, 1)
    assert world.settle("second").paid == 1


def test_another_programs_settlement_needs_a_decision(world: World) -> None:
    world.foreign(ANN, 100, 77)
    report = world.settle("journal", LOG)
    assert (report.paid, world.wait(report, ANN)) == (20, Wait.UNKNOWN_SETTLEMENT)
    (one,) = world.adopt("journal")
    assert (one.how, one.nonce, one.fee, one.paid, one.covered) == (How.UNDECIDED, 77, 100, 100, 0)
    assert (one.block_number, one.transaction, one.how.booked) == (1, f"0x{77:064x}", False)
    assert world.settle("journal").paid == 0
    (one,) = world.adopt("journal", PaidBefore())
    assert (one.how, one.covered) == (How.PAID_BEFORE, 0)
    assert world.settle("journal").paid == 15
    assert world.charged(ANN) == 115


def test_covers_books_the_given_amount(world: World) -> None:
    world.foreign(ANN, 12, 77)
    world.settle("journal", LOG)
    with pytest.raises(InvalidInput, match="one user at a time") as caught:
        world.adopt("journal", Covers(12))
    assert caught.value.next_step == "Name one user with --covers."
    with pytest.raises(InvalidInput, match="paid only 12 wei, not 13 wei") as caught:
        world.adopt("journal", Covers(13), [ANN])
    assert "--covers" in str(caught.value.next_step)
    (one,) = world.adopt("journal", Covers(12), [ANN])
    assert (one.how, one.covered) == (How.COVERS, 12)
    assert world.settle("journal").paid == 3
    assert world.charged(ANN) == 15


def test_a_decision_keeps_what_was_signed(world: World) -> None:
    world.foreign(ANN, 12, 77)
    world.foreign(BEN, 3, 78)
    world.past[1] = replace(world.past[1], settlement=None)
    world.settle("journal", LOG)
    world.adopt("journal", Covers(12), [ANN])
    world.adopt("journal", PaidBefore(), [BEN])
    with world.journal("journal") as journal:
        booked = journal._db.execute(
            "SELECT CAST(nonce AS INTEGER), fee, requests, requests_hash FROM settlement ORDER BY nonce"
        ).fetchall()
    assert booked == [(77, "12", 0, b"\x09" * 32), (78, "0", 0, bytes(32))]


def test_one_decision_is_enough_for_all_settlements_before_the_journal(world: World) -> None:
    world.foreign(ANN, 12, 77)
    world.foreign(ANN, 13, 78)
    world.settle("journal", LOG)
    assert [one.how for one in world.adopt("journal", PaidBefore(), [ANN])] == [How.PAID_BEFORE] * 2


def test_another_settlement_with_a_nonce_of_an_open_batch_is_decided(world: World) -> None:
    world.chain.mines_at_once = False
    world.settle("journal", LOG)
    with world.journal("journal") as journal:
        (batch,) = journal.open_batches()
    nonce = next(row.settlement.nonce for row in batch.rows if row.user.address == ANN)
    world.chain.pool.clear()
    world.foreign(ANN, 4, nonce)
    (one,) = world.adopt("journal", Covers(4), [ANN])
    assert (one.how, one.nonce, one.covered) == (How.COVERS, nonce, 4)


def test_only_users_with_a_settlement_are_searched(world: World) -> None:
    log: Requests = [("a", EVE, 1), ("b", ANN, 10), ("c", BEN, 0)]
    world.settle("journal", log)
    asked: list[tuple[list[str], int]] = []
    told = world.chain.past_settlements

    async def noted(users: Sequence[str], from_block: int) -> list[PastSettlement]:
        asked.append((list(users), from_block))
        return await told(users, from_block)

    world.chain.past_settlements = noted  # type: ignore[method-assign]
    world.settle("other", log)
    world.chain.leave(EVE)
    world.foreign(BEN, 5, 1)
    found = world.adopt("other")
    assert [(one.user, one.how, one.paid) for one in found] == [
        (ANN, How.MATCHED, 10),
        (BEN, How.UNDECIDED, 5),
    ]
    world.chain.state.accounts[BEN] = replace(world.chain.state.accounts[BEN], nonce=0)
    asked.clear()
    world.adopt("other", from_block=7)
    assert asked == [([ANN], 2)]


def noting_first_blocks(world: World) -> list[int]:
    """From which blocks past settlements are asked for, from now on."""
    asked: list[int] = []
    past = world.chain.past_settlements

    async def noting(users: Sequence[str], from_block: int) -> list[PastSettlement]:
        asked.append(from_block)
        return await past(users, from_block)

    world.chain.past_settlements = noting  # type: ignore[method-assign]
    return asked


def test_the_search_begins_with_the_user_whose_acceptances_are_the_oldest(world: World) -> None:
    for _ in range(400):
        world.chain.mine()
    world.settle("journal", [("a", ANN, 10)])
    world.foreign(ANN, 1, 10**18)
    world.foreign(BEN, 5, 1)
    asked = noting_first_blocks(world)
    world.settle("journal", LOG)
    asked.clear()
    world.adopt("journal", from_block=7)
    world.adopt("journal", from_block=7, users=[ANN])
    assert asked == [7, 401 - 256]


def test_covering_more_than_is_open_is_refused(world: World) -> None:
    world.foreign(ANN, 16, 77)
    world.settle("journal", LOG)
    with pytest.raises(InvalidInput, match="only 15 wei open, not 16 wei") as caught:
        world.adopt("journal", Covers(16), [ANN])
    assert "--covers" in str(caught.value.next_step)
    assert world.settle("journal").paid == 0
    (one,) = world.adopt("journal", Covers(15), [ANN])
    assert one.covered == 15
    assert world.settle("journal").unsettled == 0


def test_settlements_are_decided_one_by_one_and_matches_between_them_are_found(world: World) -> None:
    world.foreign(ANN, 100, 77)
    world.settle("first", LOG)
    world.adopt("first", PaidBefore())
    world.settle("first")
    nonce = world.chain.state.accounts[ANN].nonce
    world.foreign(ANN, 3, nonce + 5)
    world.settle("second", [*LOG, ("d", ANN, 3), ("e", ANN, 9)])
    found = world.adopt("second", users=[ANN])
    assert [one.how for one in found] == [How.UNDECIDED] * 3
    found = world.adopt("second", Covers(0), [ANN])
    assert [(one.how, one.covered) for one in found] == [(How.COVERS, 0), (How.MATCHED, 15), (How.UNDECIDED, 0)]
    found = world.adopt("second", Covers(3), [ANN])
    assert [(one.how, one.covered) for one in found] == [(How.COVERS, 3)]
    world.adopt("second")
    assert world.settle("second").paid == 9
    assert world.charged(ANN) == 127


def test_an_unrecognised_settlement_takes_the_nonce_of_the_account(world: World) -> None:
    world.foreign(ANN, 7, 77)
    world.foreign(ANN, 8, 99)
    world.past = [replace(one, settlement=None) for one in world.past]
    world.foreign(BEN, 5, 55)
    world.past.pop()
    world.settle("journal", LOG)
    found = world.adopt("journal")
    assert [(one.user, one.how, one.nonce, one.paid) for one in found] == [
        (ANN, How.UNDECIDED, 98, 7),
        (ANN, How.UNDECIDED, 99, 8),
        (BEN, How.NO_EVENTS, 55, None),
    ]
    world.adopt("journal", Covers(7), [ANN])
    world.adopt("journal", Covers(8), [ANN])
    world.adopt("journal", Covers(5), [BEN])
    assert world.adopt("journal") == []
    world.foreign(ANN, 1, 101)
    (one,) = world.adopt("journal")
    assert (one.how, one.nonce, one.paid) == (How.UNDECIDED, 101, 1)
    world.adopt("journal", PaidBefore())
    assert world.adopt("journal") == []
    assert world.settle("journal").paid == 15
    assert (world.charged(ANN), world.charged(BEN)) == (16, 20)


def test_a_settlement_through_a_contract_before_a_matching_one(world: World) -> None:
    world.foreign(ANN, 7, 77)
    world.past = [replace(one, settlement=None) for one in world.past]
    world.settle("first", LOG)
    world.adopt("first", PaidBefore())
    assert world.settle("first").paid == 15
    world.settle("second", LOG)
    found = world.adopt("second", PaidBefore(), [ANN])
    nonce = world.chain.state.accounts[ANN].nonce
    assert [(one.how, one.nonce, one.covered) for one in found] == [
        (How.PAID_BEFORE, nonce - 1, 0),
        (How.MATCHED, nonce, 15),
    ]


def test_a_settlement_below_a_known_one_is_found(world: World) -> None:
    world.settle("journal", [("z", BEN, 1)])
    world.chain.mines_at_once = False
    world.settle("journal", LOG)
    world.foreign(ANN, 4, 7)
    world.chain.mines_at_once = True
    report = world.settle("journal", [*LOG, ("d", ANN, 6)])
    assert (report.paid, world.wait(report, ANN)) == (0, Wait.UNKNOWN_SETTLEMENT)
    (one,) = world.adopt("journal")
    assert (one.how, one.nonce, one.paid) == (How.UNDECIDED, 7, 4)
    (one,) = world.adopt("journal", Covers(4), [ANN])
    assert one.covered == 4
    assert world.adopt("journal") == []
    assert world.settle("journal").paid == 2
    assert world.charged(ANN) == 21


def test_without_events_a_settlement_needs_a_decision(world: World) -> None:
    world.settle("first", LOG)
    world.settle("second", LOG)

    def refuse(method: str, _: str) -> None:
        if method == "past_settlements":
            raise RpcError(-32000, "history has been pruned")

    world.chain.hook = refuse
    assert {one.how for one in world.adopt("second")} == {How.NO_EVENTS}
    (one,) = world.adopt("second", Covers(15), [ANN])
    assert (one.how, one.covered, one.block_number, one.transaction) == (How.COVERS, 15, None, "")
    world.chain.hook = lambda *_: None
    report = world.settle("second")
    assert (report.paid, world.wait(report, BEN)) == (0, Wait.UNKNOWN_SETTLEMENT)


@pytest.mark.parametrize("decision", [PaidBefore(), Covers(4)])
def test_a_settlement_of_an_open_batch_is_not_decided_without_its_events(world: World, decision: Decision) -> None:
    """The nonce was taken by decision, the receipt then booked nothing, and Ann paid 15 again."""
    world.chain.mines_at_once = False
    world.settle("journal", LOG)
    world.chain.mine()
    world.chain.mines_at_once = True

    def refuse(method: str, _: str) -> None:
        if method == "past_settlements":
            raise RpcError(-32000, "history has been pruned")

    world.chain.hook = refuse
    (one,) = world.adopt("journal", decision, [ANN])
    assert (one.how, one.how.booked, one.covered) == (How.SIGNED_HERE, False, 0)
    world.chain.hook = lambda *_: None
    report = world.settle("journal", [*LOG, ("d", ANN, 1)])
    assert (report.paid, report.taken_up_paid, report.unsettled) == (1, 35, 0)
    assert (world.charged(ANN), world.charged(BEN)) == (16, 20)


def test_nothing_is_adopted_from_a_chain_that_is_behind(world: World) -> None:
    world.settle("journal", LOG)
    world.chain.state.accounts[ANN] = replace(world.chain.state.accounts[ANN], nonce=0)
    (one,) = world.adopt("journal", PaidBefore())
    assert (one.user, one.how, one.how.booked) == (ANN, How.BEHIND, False)
    assert (one.covered, one.requests) == (0, 0)


def test_a_settlement_of_the_journal_is_booked_for_its_batch(world: World) -> None:
    world.chain.mines_at_once = False
    world.settle("journal", LOG)
    world.chain.mine()
    found = world.adopt("journal")
    assert [(one.how, one.covered, one.requests) for one in found] == [
        (How.SENT_HERE, 15, 2),
        (How.SENT_HERE, 20, 1),
    ]
    world.chain.mines_at_once = True
    report = world.settle("journal", [*LOG, ("d", ANN, 1)])
    assert (report.paid, report.taken_up_paid, report.unsettled) == (1, 0, 0)
    assert (world.charged(ANN), world.charged(BEN)) == (16, 20)


def test_a_settlement_of_a_restored_copy_in_another_transaction_is_adopted(world: World) -> None:
    world.chain.mines_at_once = False
    world.settle("journal", LOG)
    shutil.copy(world.directory / "journal", world.directory / "backup")
    (sent,) = world.chain.pool.values()
    world.chain.take_nonce()
    world.chain.mines_at_once = True
    assert world.settle("journal").unsettled == 0
    assert world.charged(ANN) == 15
    assert sent.signed is not None
    found = world.adopt("backup")
    assert [(one.how, one.covered) for one in found] == [(How.SENT_HERE, 15), (How.SENT_HERE, 20)]
    assert world.settle("backup", [*LOG, ("d", ANN, 2)]).paid == 2
    assert world.charged(ANN) == 17


def test_a_reorganisation_undoes_an_adoption(world: World) -> None:
    world.settle("first", LOG)
    world.settle("second", LOG)
    world.adopt("second")
    world.chain.reorganise(1, keep=False)
    world.chain.mine()
    assert world.settle("second").paid == 35
    assert (world.charged(ANN), world.charged(BEN)) == (15, 20)


def test_a_settlement_of_paid_requests_does_not_block_later_ones(world: World) -> None:
    """Two settlements were undone, and another program paid what the first covered: nothing was signed any more."""
    log: Requests = [("a", ANN, 10), ("b", ANN, 5)]
    world.settle("journal", log[:1])
    world.settle("journal", log)
    assert world.charged(ANN) == 15
    world.chain.reorganise(2, keep=False)
    world.foreign(ANN, 10, 7)
    for _ in range(3):
        world.chain.take_nonce()
    report = world.settle("journal", log)
    assert (report.paid, world.wait(report, ANN)) == (0, Wait.UNKNOWN_SETTLEMENT)
    (one,) = world.adopt("journal", Covers(10), [ANN])
    assert (one.how, one.covered) == (How.COVERS, 10)
    world.settle("journal", log)
    report = world.settle("journal", log)
    assert (report.unsettled, world.charged(ANN)) == (0, 15)


def test_a_crash_between_two_users_is_continued(world: World) -> None:
    world.settle("first", LOG)
    world.settle("second", LOG)
    with world.journal("second") as journal:
        kept, calls = journal.adopt, 0

        def dies(*told: object) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise KeyboardInterrupt
            kept(*told)  # type: ignore[arg-type]

        journal.adopt = dies  # type: ignore[assignment, method-assign]
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(adopt(world.chain, journal, journal.users(), None, 0))
    (one,) = world.adopt("second")
    assert (one.user, one.how) == (BEN, How.MATCHED)
    assert world.settle("second").unsettled == 0
    assert (world.charged(ANN), world.charged(BEN)) == (15, 20)


def test_events_are_read_from_the_first_block_that_matters(world: World) -> None:
    asked = noting_first_blocks(world)
    world.settle("first", LOG)
    for _ in range(300):
        world.chain.mine()
    copy_journal(world.directory / "first", world.directory / "copy")
    world.settle("first", [*LOG, ("d", ANN, 1)])
    world.settle("copy", [*LOG, ("d", ANN, 1)])
    asked.clear()
    world.adopt("copy", from_block=1)
    assert asked == [1, 302]
    world.settle("lost", [*LOG, ("d", ANN, 1)])
    asked.clear()
    assert {one.how for one in world.adopt("lost", from_block=1)} == {How.MATCHED}
    assert asked == [1]
