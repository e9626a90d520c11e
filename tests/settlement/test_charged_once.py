# SPDX-License-Identifier: Apache-2.0
"""Step by step: what could charge a user twice, hold users up for longer than needed, or lose a wei.

Every run of a `Scene` checks that nobody has paid more than is owed.
"""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving_network.clients.settlements import Outcome, SignedSettlements
from serving_network.contracts.models import Status
from serving_network.errors import NodeFailure, NodeUnreachable
from serving_network.messages.typed_data import (
    TEESettlement,
    TEESettlementBatch,
)
from serving_network.settlement import following
from serving_network.settlement.following import Followed, Follower
from serving_network.settlement.gas import worst_case_gas
from serving_network.settlement.journal.records import Transaction
from serving_network.settlement.planning import Wait
from serving_network.settlement.sending import SIGNING_ATTEMPTS
from serving_network.settlement.wallet_nonces import UnknownTransactions
from serving_network.wallet.local import LocalTeeSigner
from tests.settlement.fake_chain import CONTRACT, PROVIDER, TEE, Pending
from tests.settlement.scene import ALICE, BOB, CAROL, FINAL, OPTIONS, USERS, Scene
from tests.settlement.virtual_time import VirtualTime

pytestmark = pytest.mark.usefixtures("virtual_time")

OTHER_TEE = LocalTeeSigner(b"\x08" * 32)
STRANGE = 8
"""The exit code where the wallet has transactions that the journal does not know."""


@pytest.fixture(params=[False, True], ids=["entries", "batch"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return Scene(tmp_path, batches=request.param)


def change_service(scene: Scene, **changes: Any) -> None:
    assert scene.chain.state.service is not None
    scene.chain.state.service = replace(scene.chain.state.service, **changes)


def acknowledge(scene: Scene, user: str, acknowledged: bool) -> None:
    accounts = scene.chain.state.accounts
    accounts[user] = replace(accounts[user], acknowledged=acknowledged)


def send(scene: Scene, **arguments: Any) -> list[Pending]:
    """One run, of which nothing is mined; what it sent is taken out of the pool."""
    scene.chain.mines_at_once = False
    scene.settle(**arguments)
    scene.chain.mines_at_once = True
    return scene.lose()


# ------------------------------------------------------------------------------------- which nonce, run by run


def test_a_refused_settlement_is_signed_again_with_its_nonce(scene: Scene) -> None:
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 30)
    sent = send(scene)
    change_service(scene, confirmed=False)
    scene.bring_back(*sent)
    scene.mine()
    change_service(scene, confirmed=True)
    scene.record(ALICE, 5)
    assert scene.settle().paid == 35
    first, second = scene.signed(ALICE)
    assert (first[1:], second[1:]) == ((30, 0, "signed"), (35, 0, "accepted"))
    assert first[0] == second[0]
    scene.chain.reorganise(2, keep=False)
    change_service(scene, confirmed=True)
    scene.bring_back(*sent)
    scene.mine()
    assert scene.paid(ALICE) == 30, "after a reorganisation the first one pays after all"
    for _ in range(3):
        scene.settle()
        scene.mine(FINAL)
    assert (scene.paid(ALICE), scene.booked(ALICE), scene.batches()) == (35, 35, ["ended"] * 3)
    assert [row[1:] for row in scene.signed(ALICE)] == [(30, 0, "final"), (35, 0, "dead"), (5, 30, "final")]


def test_a_lost_settlement_that_cannot_be_sent_again_is_signed_again_with_its_nonce(scene: Scene) -> None:
    """And what was signed twice alike, in two batches, is booked once."""
    for user in (ALICE, BOB):
        scene.chain.fund(user, 100)
        scene.record(user, 30)
    (first,) = send(scene)
    scene.chain.take_nonce()
    acknowledge(scene, BOB, False)
    (second,) = send(scene)
    assert second.signed is not None
    assert [row.user for row in second.signed.settlements] == [ALICE]
    before, after = scene.signed(ALICE)
    assert before == after
    scene.chain.reorganise(1, keep=False)
    scene.bring_back(first, second)
    scene.mine()
    assert [sent.nonce for sent in scene.newest()] == [0, 1]
    scene.settle()
    assert (scene.booked(ALICE), scene.booked(BOB), scene.chain.state.wallet) == (30, 30, 60)
    assert sorted(row[3] for row in scene.signed(ALICE)) == ["accepted", "signed"]
    scene.mine(FINAL)
    assert scene.settle().paid == 0
    assert sorted(row[3] for row in scene.signed(ALICE)) == ["dead", "final"]
    assert (scene.booked(ALICE), scene.batches()) == (30, ["ended"] * 2)


def test_after_a_full_payment_the_next_nonce_is_higher_at_once(scene: Scene) -> None:
    scene.chain.fund(ALICE, 100)
    for fee in (10, 5, 7):
        scene.record(ALICE, fee)
        assert scene.settle().paid == fee
    rows = scene.signed(ALICE)
    assert [row[1:] for row in rows] == [(10, 0, "accepted"), (5, 10, "accepted"), (7, 15, "accepted")]
    assert rows[0][0] < rows[1][0] < rows[2][0]
    undone = [sent for block in scene.chain.blocks[-3:] for sent, _ in block.transactions]
    scene.chain.reorganise(3, keep=False)
    scene.bring_back(*undone)
    scene.mine()
    scene.settle()
    assert (scene.paid(ALICE), scene.booked(ALICE)) == (22, 22)


def test_a_settlement_below_a_live_one_signs_only_the_requests_before_it(scene: Scene) -> None:
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 10)
    scene.settle()
    scene.record(ALICE, 7)
    send(scene)
    scene.record(ALICE, 5)
    scene.chain.reorganise(1, keep=False)
    scene.chain.take_nonce()
    scene.chain.take_nonce()
    change_service(scene, tee_signer=OTHER_TEE.address)
    report = scene.settle(signer=OTHER_TEE)
    assert (report.paid, report.unsettled) == (10, 12)
    old, above, new = scene.signed(ALICE)
    assert [old[1:], above[1:], new[1:]] == [(10, 0, "signed"), (7, 10, "signed"), (10, 0, "accepted")]
    assert old[0] == new[0] < above[0]
    report = scene.settle(signer=OTHER_TEE)
    assert (report.paid, report.unsettled) == (12, 0)
    last = scene.signed(ALICE)[-1]
    assert last == (above[0], 12, 10, "accepted")
    scene.mine(FINAL)
    scene.settle(signer=OTHER_TEE)
    assert (scene.paid(ALICE), scene.booked(ALICE), scene.batches()) == (22, 22, ["ended"] * 4)


def test_a_batch_that_failed_is_sent_again_in_halves_with_the_same_nonces(scene: Scene) -> None:
    for user in USERS:
        scene.chain.fund(user, 100)
        scene.record(user, 10)
    broadcast = scene.chain.broadcast

    async def too_many_rows_fail(transaction: Transaction) -> None:
        signed: SignedSettlements = pickle.loads(transaction.raw)[2]
        if len(signed.settlements) > 2:
            scene.chain.reverting.add(transaction.hash)
        await broadcast(transaction)

    scene.chain.broadcast = too_many_rows_fail  # type: ignore[method-assign]
    report = scene.settle(replace(OPTIONS, give_up_after=5))
    assert (report.paid, report.unsettled, report.stopped_by, report.batches) == (40, 0, None, 2)
    sizes = [
        len(sent.signed.settlements) for block in scene.chain.blocks for sent, _ in block.transactions if sent.signed
    ]
    assert sizes == [4, 2, 2]
    for user in USERS:
        failed, paid = scene.signed(user)
        assert failed[0] == paid[0]
        assert (failed[1:], paid[1:]) == ((10, 0, "signed"), (10, 0, "accepted"))
    assert scene.chain.reserves == [worst_case_gas(rows) for rows in sizes]
    scene.mine(FINAL)
    scene.settle()
    assert ([scene.paid(user) for user in USERS], scene.batches()) == ([10] * 4, ["ended"] * 3)


def test_results_of_two_transactions_that_pay_different_users_are_merged(scene: Scene) -> None:
    """Before, such a batch was never decided, and nothing of it was booked."""
    for user, fee in ((ALICE, 30), (BOB, 20)):
        scene.chain.fund(user, 100)
        scene.record(user, fee)
    scene.forget(3)
    (later,) = send(scene)
    scene.forget(2)
    gap, *_ = [sent for sent in send(scene, options=replace(OPTIONS, stuck_after=0)) if sent.nonce == 2]
    assert (gap.signed, later.nonce) == (later.signed, 3)
    acknowledge(scene, BOB, False)
    scene.bring_back(gap)
    scene.mine()
    acknowledge(scene, BOB, True)
    scene.chain.mines_at_once = False
    report = scene.settle()
    scene.lose()
    assert (report.taken_up_paid, scene.booked(ALICE), scene.booked(BOB)) == (30, 30, 0)
    assert report.lines[BOB].wait is Wait.IN_FLIGHT
    scene.bring_back(later)
    scene.mine()
    assert [scene.paid(user) for user in (ALICE, BOB)] == [30, 20]
    report = scene.settle()
    assert (report.taken_up_paid, report.unsettled) == (20, 0)
    found = scene.rows("SELECT fee, paid, block_number, transaction_hash FROM settlement ORDER BY fee")
    assert found == [("20", "20", 2, later.hash), ("30", "30", 1, gap.hash)]
    scene.mine(FINAL)
    assert (scene.settle().paid, scene.batches()) == (0, ["ended"])
    assert [scene.booked(user) for user in (ALICE, BOB)] == [30, 20]


# --------------------------------------------------------------------------------------------- when a batch ends


def test_a_batch_ends_when_all_its_settlements_are_final(scene: Scene) -> None:
    """Though a later transaction of it was never mined."""
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 30)
    scene.forget(3)
    send(scene)
    scene.forget(2)
    (gap, *_) = sorted(send(scene, options=replace(OPTIONS, stuck_after=0)), key=lambda sent: sent.nonce)
    scene.bring_back(gap)
    scene.mine()
    assert (scene.chain.state.wallet_nonce, scene.paid(ALICE)) == (3, 30)
    for _ in range(FINAL - 1):
        scene.settle()
        assert (scene.batches(), scene.signed(ALICE)[0][3]) == (["open"], "accepted")
        scene.mine()
    scene.settle()
    assert (scene.batches(), scene.signed(ALICE)[0][3]) == (["ended"], "final")
    assert (scene.paid(ALICE), scene.booked(ALICE)) == (30, 30)


@pytest.mark.parametrize("fails", [False, True], ids=["refused", "reverted"])
def test_a_batch_ends_once_the_wallet_nonce_has_passed_it_in_a_final_block(scene: Scene, fails: bool) -> None:
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 30)
    sent = send(scene)
    if fails:
        scene.chain.reverting = {sent[0].hash}
    acknowledge(scene, ALICE, False)
    scene.bring_back(*sent)
    scene.mine()
    for _ in range(FINAL - 1):
        assert scene.settle().lines[ALICE].wait is Wait.NOT_ACKNOWLEDGED
        assert scene.batches() == ["open"]
        scene.mine()
    scene.settle()
    assert (scene.batches(), scene.paid(ALICE)) == (["ended"], 0)
    (row,) = scene.signed(ALICE)
    assert row[3] == "signed", "the contract would still take it: the nonce stays in use"
    acknowledge(scene, ALICE, True)
    assert scene.settle().paid == 30
    assert scene.signed(ALICE)[1][0] == row[0]


def test_a_batch_ends_when_the_observed_wallet_nonce_is_final(scene: Scene) -> None:
    """Nothing of it was mined: something else took its nonce."""
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 30)
    send(scene)
    scene.chain.take_nonce()
    acknowledge(scene, ALICE, False)
    scene.mine(FINAL)
    for _ in range(2 * FINAL):
        scene.settle()
        if scene.batches() == ["ended"]:
            break
        scene.mine()
    else:
        pytest.fail("the batch does not end")
    with scene.journal() as journal:
        assert journal.wallet_nonce_passed(0) == 1
    acknowledge(scene, ALICE, True)
    assert (scene.settle().paid, scene.paid(ALICE)) == (30, 30)


def test_a_wallet_nonce_observed_in_a_vanished_block_ends_nothing(scene: Scene) -> None:
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 30)
    sent = send(scene)
    acknowledge(scene, ALICE, False)
    scene.mine(FINAL)
    scene.chain.take_nonce()
    scene.settle()
    with scene.journal() as journal:
        assert journal.wallet_sighting() == (1, FINAL + 1, scene.chain.blocks[-1].hash)
    scene.chain.reorganise(1, keep=False)
    scene.chain.mines_at_once = False
    for _ in range(3):
        scene.mine(FINAL)
        scene.settle()
        scene.lose()
        with scene.journal() as journal:
            assert journal.wallet_nonce_passed(10**6) == 0
        assert scene.batches() == ["open"]
    acknowledge(scene, ALICE, True)
    scene.bring_back(*sent)
    scene.mine()
    scene.settle()
    assert (scene.paid(ALICE), scene.booked(ALICE)) == (30, 30)


def test_a_batch_ends_when_its_settlement_is_dead(scene: Scene) -> None:
    """Another journal was paid with the same nonce, in a transaction before ours, which is never mined."""
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 30)
    scene.record(ALICE, 12, journal="other")
    begun = scene.chain.now
    scene.forget(4)
    send(scene)
    scene.forget(2)
    scene.chain.now = begun
    assert scene.settle(journal="other").paid == 12
    scene.mine(FINAL)
    scene.chain.now += 61
    assert scene.settle().lines[ALICE].wait is Wait.UNKNOWN_SETTLEMENT
    (row,) = scene.signed(ALICE)
    assert (row[0], row[3], scene.batches()) == (scene.nonce(ALICE), "signed", ["open"])
    adopt(scene, ALICE)
    scene.mine(FINAL)
    assert scene.settle().paid == 30
    assert scene.batches()[0] == "ended"
    assert [state for *_, state in scene.signed(ALICE)] == ["dead", "final", "accepted"]
    assert (scene.paid(ALICE), scene.booked(ALICE)) == (42, 30)


def adopt(scene: Scene, user: str) -> None:
    """Take the nonces of what other journals settled for a user, and none of the wei."""
    past = asyncio.run(scene.chain.past_settlements([user], 0))
    with scene.journal() as journal:
        state = journal.user(user)
        assert state is not None
        for one in past:
            if one.settlement is not None and not journal.accepted(state, one.settlement.nonce):
                outcome = Outcome(Status.SUCCESS, 0)
                journal.adopt(state, one.settlement, 0, one.acceptance._replace(outcome=outcome))


# ------------------------------------------------------------------------------ what the journal does not know


def test_an_account_ahead_of_or_behind_the_journal_is_left_alone(scene: Scene) -> None:
    for user in (ALICE, BOB, CAROL):
        scene.chain.fund(user, 100)
        scene.record(user, 10)
    scene.settle()
    accounts = scene.chain.state.accounts
    accounts[ALICE] = replace(accounts[ALICE], nonce=accounts[ALICE].nonce + 1)
    accounts[BOB] = replace(accounts[BOB], nonce=accounts[BOB].nonce - 1)
    for user in (ALICE, BOB, CAROL):
        scene.record(user, 5)
    report = scene.settle()
    assert [report.lines[user].wait for user in (ALICE, BOB, CAROL)] == [
        Wait.UNKNOWN_SETTLEMENT, Wait.CHAIN_BEHIND, None,
    ]  # fmt: skip
    assert "serving settlement adopt" in Wait.UNKNOWN_SETTLEMENT.value
    assert (report.paid, report.unsettled, [len(scene.signed(user)) for user in (ALICE, BOB, CAROL)]) == (
        5, 10, [1, 1, 2],
    )  # fmt: skip


def test_a_pending_transaction_of_another_journal_stops_the_run(scene: Scene) -> None:
    for user in (ALICE, BOB):
        scene.chain.fund(user, 100)
    scene.record(ALICE, 10, journal="other")
    scene.record(BOB, 20)
    scene.bring_back(*send(scene, journal="other"))
    scene.chain.mines_at_once = False
    scene.chain.broadcasts.clear()
    report = scene.settle()
    assert isinstance(report.stopped_by, UnknownTransactions)
    assert (report.stopped_by.exit_code, scene.chain.broadcasts, scene.signed(BOB)) == (STRANGE, [], [])
    assert report.lines[BOB].wait is Wait.NOT_SENT
    scene.mine(FINAL)
    scene.chain.mines_at_once = True
    assert (scene.settle().paid, scene.paid(ALICE), scene.paid(BOB)) == (20, 10, 20)


@pytest.mark.parametrize("fails", [False, True], ids=["refused", "reverted"])
def test_another_journals_failed_transaction_stops_the_run_until_it_is_final(scene: Scene, fails: bool) -> None:
    """After a reorganisation it may pay what it did not pay there."""
    scene.chain.fund(ALICE, 100)
    scene.chain.fund(BOB, 100)
    scene.record(ALICE, 10, journal="other")
    scene.record(BOB, 20)
    sent = send(scene, journal="other")
    if fails:
        scene.chain.reverting = {sent[0].hash}
    change_service(scene, confirmed=False)
    scene.bring_back(*sent)
    scene.mine()
    change_service(scene, confirmed=True)
    scene.chain.broadcasts.clear()
    for _ in range(FINAL - 1):
        report = scene.settle()
        assert isinstance(report.stopped_by, UnknownTransactions)
        assert (report.stopped_by.exit_code, scene.chain.broadcasts, scene.signed(BOB)) == (STRANGE, [], [])
        assert sent[0].hash in report.stopped_by.message
        scene.mine()
    assert (scene.settle().paid, scene.paid(ALICE), scene.paid(BOB)) == (20, 0, 20)


def test_an_unknown_settlement_below_a_known_one_stops_the_user_until_it_is_adopted(scene: Scene) -> None:
    scene.chain.fund(ALICE, 100)
    scene.chain.fund(BOB, 100)
    scene.mine()
    scene.record(ALICE, 10, journal="other")
    theirs = send(scene, journal="other")
    scene.record(ALICE, 20)
    scene.forget(1)
    ours = send(scene)
    scene.forget(0)
    scene.bring_back(*theirs, *ours)
    scene.mine()
    assert scene.paid(ALICE) == 30
    scene.record(ALICE, 5)
    scene.record(BOB, 7)
    report = scene.settle()
    assert (report.taken_up_paid, report.paid, report.lines[ALICE].wait) == (20, 0, Wait.UNKNOWN_SETTLEMENT)
    assert isinstance(report.stopped_by, UnknownTransactions)
    assert scene.nonce(ALICE) == scene.signed(ALICE)[0][0], "the account's nonce shows nothing of it"
    scene.mine(FINAL)
    report = scene.settle()
    assert (report.paid, report.lines[ALICE].wait, report.stopped_by) == (7, Wait.UNKNOWN_SETTLEMENT, None)
    scene.mine(FINAL)
    assert scene.settle().lines[ALICE].wait is Wait.UNKNOWN_SETTLEMENT
    adopt(scene, ALICE)
    assert (scene.settle().paid, scene.paid(ALICE), scene.booked(ALICE)) == (5, 35, 25)
    scene.mine(FINAL)
    assert scene.settle().paid == 0


def test_a_settlement_accepted_through_an_unknown_transaction_is_booked(scene: Scene) -> None:
    """The same signed settlement, in a transaction with other rows."""
    scene.chain.fund(ALICE, 100)
    scene.chain.fund(BOB, 100)
    scene.record(ALICE, 30)
    scene.record(BOB, 20)
    (ours,) = send(scene)
    assert ours.signed is not None
    alone = alone_in_a_transaction(ours.signed, ALICE)
    scene.bring_back(Pending("0xelsewhere", 0, 1, alone))
    scene.mine()
    assert (scene.paid(ALICE), scene.paid(BOB)) == (30, 0)
    report = scene.settle()
    assert (report.paid, scene.chain.state.wallet, len(scene.signed(ALICE))) == (0, 30, 1)
    scene.mine(FINAL)
    for _ in range(2):
        scene.settle()
        scene.mine(FINAL)
    assert scene.settle().unsettled == 0
    assert [scene.paid(user) for user in (ALICE, BOB)] == [30, 20]
    assert [scene.booked(user) for user in (ALICE, BOB)] == [30, 20]
    (found,) = scene.rows("SELECT transaction_hash FROM settlement WHERE fee = '30' AND state = 'final'")
    assert found == ("0xelsewhere",)


def alone_in_a_transaction(signed: SignedSettlements, user: str) -> SignedSettlements:
    """The settlement of one user, signed for a transaction without the others."""
    (row,) = [row for row in signed.settlements if row.user == user]
    message = TEESettlementBatch(PROVIDER, (row,)) if signed.form == "batch" else TEESettlement(PROVIDER, row)
    return SignedSettlements(signed.form, (row,), (TEE.sign_typed(message, 31337, CONTRACT),))


# ---------------------------------------------------------------------------------------------- reorganisations


def test_a_fork_of_a_thousand_blocks_undoes_every_booking(scene: Scene) -> None:
    scene.chain.fund(ALICE, 100)
    scene.chain.mine()
    scene.record(ALICE, 30)
    assert scene.settle().paid == 30
    scene.mine(1000)
    scene.settle()
    assert scene.batches() == ["ended"]
    scene.chain.reorganise(1001, keep=False)
    scene.mine(1001)
    assert scene.paid(ALICE) == 0
    report = scene.settle()
    assert any("reorganised" in note for note in report.notes)
    assert (report.paid, scene.paid(ALICE), scene.booked(ALICE)) == (30, 30, 30)
    scene.mine(FINAL)
    assert (scene.settle().paid, scene.paid(ALICE), scene.batches()) == (0, 30, ["ended"])


def test_the_older_of_two_unfinal_blocks_is_checked_though_the_newer_is_valid(scene: Scene) -> None:
    """A node that follows a reorganisation while it is asked."""
    for user in (ALICE, BOB):
        scene.chain.fund(user, 100)
    scene.record(ALICE, 30)
    scene.settle()
    scene.record(BOB, 20)
    scene.settle()
    standing = scene.chain.blocks[-1].hash
    block_hash = scene.chain.block_hash
    asked: list[int] = []

    async def of_two_chains(number: int) -> str | None:
        asked.append(number)
        return standing if len(asked) == 1 else await block_hash(number)

    undone = [sent for block in scene.chain.blocks[-2:] for sent, _ in block.transactions]
    scene.chain.reorganise(2, keep=False)
    scene.mine(2)
    scene.chain.block_hash = of_two_chains  # type: ignore[method-assign]
    assert [note for note in scene.settle().notes if "reorganised" in note] == [
        "Block 1 was reorganised out of the chain: its settlements were reopened."
    ]
    assert asked[:2] == [2, 1]
    scene.lose()
    for _ in range(3):
        scene.settle()
        scene.mine(FINAL)
    assert len(undone) == 2
    assert [scene.paid(user) for user in (ALICE, BOB)] == [30, 20]
    assert [scene.booked(user) for user in (ALICE, BOB)] == [30, 20]


def test_two_vanished_blocks_are_both_noticed(scene: Scene) -> None:
    for user in (ALICE, BOB):
        scene.chain.fund(user, 100)
    scene.record(ALICE, 30)
    scene.settle()
    scene.record(BOB, 20)
    scene.settle()
    scene.chain.reorganise(2, keep=False)
    scene.mine(2)
    report = scene.settle()
    assert [note for note in report.notes if "reorganised" in note] == [
        f"Block {number} was reorganised out of the chain: its settlements were reopened." for number in (2, 1)
    ]
    assert [scene.paid(user) for user in (ALICE, BOB)] == [30, 20]
    assert [scene.booked(user) for user in (ALICE, BOB)] == [30, 20]


@pytest.mark.parametrize("times", [1, SIGNING_ATTEMPTS - 1, SIGNING_ATTEMPTS])
def test_a_settlement_signed_for_a_vanished_block_is_signed_again(scene: Scene, times: int) -> None:
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 30)
    scene.mine()
    prepared = 0

    def reorganising(method: str, _: str) -> None:
        nonlocal prepared
        if method == "prepare":
            prepared += 1
            if prepared <= times:
                scene.chain.reorganise(1)
                scene.chain.mine()

    scene.chain.hook = reorganising
    report = scene.settle()
    if times < SIGNING_ATTEMPTS:
        assert (prepared, report.paid, len(scene.chain.broadcasts), len(scene.signed(ALICE))) == (times + 1, 30, 1, 1)
        return
    assert isinstance(report.stopped_by, NodeFailure)
    assert report.stopped_by.next_step == "Run again when the chain is stable."
    assert (prepared, scene.chain.broadcasts, scene.signed(ALICE)) == (SIGNING_ATTEMPTS, [], [])
    assert scene.settle().paid == 30


# ----------------------------------------------------------------------------------- a batch that does not end


ASKED_OF_A_WAITING_BATCH = ["mined_wallet_nonce", "landed", "wallet_nonce", "replace", "broadcast"]
ASKED_OF_A_LOST_BATCH = [
    "mined_wallet_nonce", "landed", "search", "head", "wallet_nonce_at", "wallet_nonce", "accounts", "preview",
    "prepare", "block_hash", "broadcast",
]  # fmt: skip


@pytest.mark.parametrize(
    ("lost", "method"),
    [(False, method) for method in ASKED_OF_A_WAITING_BATCH] + [(True, method) for method in ASKED_OF_A_LOST_BATCH],
)
def test_a_batch_that_cannot_be_read_stops_no_other(
    scene: Scene, lost: bool, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in (ALICE, BOB, CAROL):
        scene.chain.fund(user, 100)
    scene.record(ALICE, 30)
    sent = send(scene)
    scene.record(BOB, 20)
    others = send(scene)
    scene.bring_back(*sent, *others)
    if lost:
        scene.chain.take_nonce()
    else:
        scene.lose()
        scene.forget(0)
    scene.bring_back(*others)
    scene.record(CAROL, 7)
    looked_at = ""
    failed: list[str] = []
    look = Follower._look

    async def noted(follower: Follower, followed: Followed) -> None:
        nonlocal looked_at
        looked_at = followed.batch.rows[0].user.address
        try:
            await look(follower, followed)
        finally:
            looked_at = ""

    def failing(asked: str, when: str) -> None:
        if looked_at == ALICE and (asked, when) == (method, "before"):
            failed.append(asked)
            raise NodeUnreachable("out of order")

    monkeypatch.setattr(Follower, "_look", noted)
    scene.chain.hook = failing
    scene.chain.now += 100
    scene.chain.mines_at_once = lost
    if lost:
        scene.mine()
    report = scene.settle(replace(OPTIONS, give_up_after=0.5, first_pause=0.05) if lost else OPTIONS)
    assert failed, "this is never asked of such a batch"
    assert report.new_requests == 1
    assert report.lines[ALICE].wait is Wait.IN_FLIGHT
    assert any("Batch 1 of an earlier run is still waiting: out of order" in note for note in report.notes)
    if lost and method != "broadcast":  # CAROL's transaction waits for the one that was not sent
        assert report.stopped_by is None
        assert (report.taken_up_paid, report.paid, scene.paid(BOB), scene.paid(CAROL)) == (20, 7, 20, 7)
    else:
        assert len(scene.signed(CAROL)) == 1, "others are signed for and sent"
    scene.chain.hook = lambda *_: None
    scene.chain.mines_at_once = True
    for _ in range(3):
        scene.settle()
        scene.mine(FINAL)
    assert [scene.paid(user) for user in (ALICE, BOB, CAROL)] == [30, 20, 7]
    assert [scene.booked(user) for user in (ALICE, BOB, CAROL)] == [30, 20, 7]


@pytest.mark.parametrize("patience", [0, 3, 10])
def test_a_run_with_only_an_earlier_batch_ends_after_its_patience(
    scene: Scene, patience: float, virtual_time: VirtualTime
) -> None:
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 30)
    send(scene)
    scene.chain.mines_at_once = False
    begun = virtual_time.now
    report = scene.settle(replace(OPTIONS, first_pause=1, patience=patience, give_up_after=600))
    assert patience <= virtual_time.now - begun < patience + following.LONGEST_PAUSE
    assert (report.stopped_by, report.lines[ALICE].wait) == (None, Wait.IN_FLIGHT)
    assert [note for note in report.notes if "still waiting" in note] == [
        f"Batch 1 of an earlier run is still waiting for transaction {scene.chain.broadcasts[0]}: run again, or"
        " cancel it with serving settlement cancel."
    ]


def test_a_run_that_cannot_see_the_wallet_reads_and_says_so(scene: Scene) -> None:
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 30)

    def failing(method: str, _: str) -> None:
        if method == "wallet_nonce_at":
            raise NodeUnreachable("no such block")

    scene.chain.hook = failing
    report = scene.settle()
    assert (report.new_requests, report.paid) == (1, 0)
    assert isinstance(report.stopped_by, NodeUnreachable)
    assert any("batches that it would end stay open: no such block" in note for note in report.notes)
    scene.chain.hook = lambda *_: None
    assert scene.settle().paid == 30
