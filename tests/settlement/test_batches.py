# SPDX-License-Identifier: Apache-2.0
"""Step by step, how settlements that could be paid twice are kept from it, and how a batch ends.

The three histories in which users were charged twice are in `test_nonces`.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from serving_network.clients.settlements import Outcome
from serving_network.contracts.models import Status
from serving_network.messages.typed_data import UserSettlement
from serving_network.settlement.gas import ROW_MARGIN
from serving_network.settlement.journal import open_journal
from serving_network.settlement.journal.records import Acceptance, Transaction
from serving_network.settlement.planning import Wait
from serving_network.settlement.wallet_nonces import UnknownTransactions
from serving_network.store.opening import Identity, copy_journal
from serving_network.wallet.local import LocalTeeSigner
from tests.settlement.fake_chain import CONTRACT, PROVIDER, Pending
from tests.settlement.scene import ALICE, BOB, FINAL, OPTIONS, USERS, Scene

pytestmark = pytest.mark.usefixtures("virtual_time")

IDENTITY = Identity(31337, "0x", CONTRACT, PROVIDER)


@pytest.fixture(params=[False, True], ids=["entries", "batch"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return Scene(tmp_path, batches=request.param)


def sighting(scene: Scene) -> tuple[int, int, str] | None:
    """What a run has seen of the wallet: its nonce, and the block."""
    with open_journal(scene.directory / "journal", IDENTITY) as journal:
        return journal.wallet_sighting()


def adopt(scene: Scene, user: str, nonce: int, paid: int) -> None:
    """Book a settlement of another program in the newest block."""
    with open_journal(scene.directory / "journal", IDENTITY) as journal:
        state = journal.user(user)
        assert state is not None
        number, block = len(scene.chain.blocks) - 1, scene.chain.blocks[-1]
        acceptance = Acceptance(Outcome(Status.SUCCESS, paid), number, block.hash, "0xelsewhere")
        journal.adopt(state, UserSettlement(user, paid, nonce, bytes(32)), 0, acceptance)


def begin_anew(scene: Scene) -> None:
    """Take the journal away."""
    for name in ("journal", "journal-wal", "journal-shm"):
        (scene.directory / name).unlink(missing_ok=True)


# ------------------------------------------------------------------------------------- the nonce is used again


def refuse(scene: Scene) -> None:
    """Let the next transaction be refused: the owner takes the confirmation back just before it is mined."""
    chain = scene.chain
    assert chain.state.service is not None

    def meanwhile(method: str, when: str) -> None:
        assert chain.state.service is not None
        if method == "broadcast":
            chain.state.service = replace(chain.state.service, confirmed=when == "after")

    chain.hook = meanwhile


def revert(scene: Scene) -> None:
    """Let transactions fail as a whole."""

    def meanwhile(method: str, when: str) -> None:
        if (method, when) == ("broadcast", "before"):
            scene.chain.mines_at_once = False
        if (method, when) == ("broadcast", "after"):
            scene.chain.reverting |= set(scene.chain.pool)
            scene.chain.mine()

    scene.chain.hook = meanwhile


def calm(scene: Scene) -> None:
    scene.chain.hook = lambda *_: None
    scene.chain.mines_at_once = True


@pytest.mark.parametrize("fault", [refuse, revert])
def test_a_mined_but_refused_settlement_is_signed_again_with_its_nonce(
    scene: Scene, fault: Callable[[Scene], None]
) -> None:
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 10)
    fault(scene)
    assert scene.settle().paid == 0
    calm(scene)
    (old,) = [sent for sent, _ in scene.chain.blocks[-1].transactions]
    scene.record(ALICE, 5)
    assert scene.settle().paid == 15
    first, second = scene.signed(ALICE)
    assert (first[1:], second[1:]) == ((10, 0, "signed"), (15, 0, "accepted"))
    assert first[0] == second[0]
    # Both can be mined now, in either order, and one of them is paid.
    (new,) = [sent for sent, _ in scene.chain.blocks[-1].transactions]
    service = scene.chain.state.service
    scene.chain.reverting.clear()
    scene.chain.reorganise(2, keep=False)
    scene.chain.state.service = service
    scene.bring_back(old, new)
    scene.mine(2)
    assert scene.paid(ALICE) == 10
    scene.settle()
    assert scene.paid(ALICE) == 10, "the larger one may still be accepted in its place"
    scene.mine(FINAL)
    scene.settle()
    scene.settle()
    assert scene.paid(ALICE) == 15


def test_a_lost_batch_that_no_longer_fits_is_signed_again_with_its_nonces(scene: Scene) -> None:
    """Alice and Bob go in one batch, which is lost; Bob takes his acknowledgement back."""
    chain = scene.chain
    for user in (ALICE, BOB):
        chain.fund(user, 100)
        scene.record(user, 10)
    chain.mines_at_once = False
    scene.settle()
    (old,) = scene.lose()
    chain.take_nonce()
    chain.state.accounts[BOB] = replace(chain.state.accounts[BOB], acknowledged=False)
    chain.mines_at_once = True
    report = scene.settle()
    assert (report.paid, report.lines[ALICE].unsettled, report.lines[BOB].unsettled) == (10, 0, 10)
    (first, second) = scene.signed(ALICE)
    assert (first[0], first[3], second[3]) == (second[0], "signed", "accepted")
    assert len(scene.signed(BOB)) == 1
    chain.state.accounts[BOB] = replace(chain.state.accounts[BOB], acknowledged=True)
    scene.settle()
    assert [nonce for nonce, _, _, _ in scene.signed(BOB)] == [first[0]] * 2
    # Now everything is undone, and the lost transaction comes back before what took its place.
    chain.reorganise(3)
    chain.pool.pop("foreign")
    scene.bring_back(old)
    scene.mine(2)
    assert (scene.paid(ALICE), scene.paid(BOB)) == (10, 10)
    scene.settle()
    scene.mine(FINAL)
    assert (scene.settle().unsettled, scene.paid(ALICE), scene.paid(BOB)) == (0, 10, 10)


def test_a_batch_that_failed_is_sent_again_in_halves_with_the_same_nonces(scene: Scene) -> None:
    chain = scene.chain
    for user in USERS:
        chain.fund(user, 100)
        scene.record(user, 10)
    broadcast = chain.broadcast

    async def failing(transaction: Transaction) -> None:
        """A block in which transactions of more than one settlement run out of gas."""
        _, _, signed = pickle.loads(transaction.raw)
        if len(signed.settlements) > 1:
            chain.reverting.add(transaction.hash)
        await broadcast(transaction)

    chain.broadcast = failing  # type: ignore[method-assign]
    report = scene.settle()
    assert (report.paid, report.unsettled, report.stopped_by) == (40, 0, None)
    assert (report.batches, report.settlements) == (4, 4)
    carried = [len(sent.signed.settlements) for block in chain.blocks for sent, _ in block.transactions if sent.signed]
    assert carried == [4, 2, 2, 1, 1, 1, 1]
    for user in USERS:
        rows = scene.signed(user)
        assert [state for _, _, _, state in rows] == ["signed", "signed", "accepted"]
        assert len({nonce for nonce, _, _, _ in rows}) == 1
    scene.mine(FINAL)
    scene.settle()
    assert scene.batches() == ["ended"] * 7
    assert {state for user in USERS for _, _, _, state in scene.signed(user)[:2]} == {"dead"}


def test_a_settlement_after_a_full_payment_gets_a_higher_nonce_at_once(scene: Scene) -> None:
    scene.chain.fund(ALICE, 100)
    for fee in (10, 5, 1):
        scene.record(ALICE, fee)
        assert scene.settle().paid == fee
    rows = scene.signed(ALICE)
    assert [row[1:] for row in rows] == [(10, 0, "accepted"), (5, 10, "accepted"), (1, 15, "accepted")]
    assert sorted({nonce for nonce, _, _, _ in rows}) == [nonce for nonce, _, _, _ in rows]


def test_a_settlement_below_a_live_one_covers_only_the_requests_before_it(scene: Scene) -> None:
    """Two payments are undone, and their signer is replaced. What is signed anew below the second one covers no more
    than the first did, though more is owed.
    """
    other = LocalTeeSigner(b"\x08" * 32)
    chain = scene.chain
    chain.fund(ALICE, 100)
    scene.record(ALICE, 10)
    scene.settle()
    scene.record(ALICE, 5)
    scene.settle()
    olds = [sent for block in chain.blocks[-2:] for sent, _ in block.transactions]
    chain.reorganise(2, keep=False)
    chain.take_nonce()
    chain.take_nonce()
    scene.record(ALICE, 7)
    assert chain.state.service is not None
    service = chain.state.service
    chain.state.service = replace(service, tee_signer=other.address)
    report = scene.settle(signer=other)
    assert (report.paid, report.unsettled, report.lines[ALICE].wait) == (10, 12, Wait.NOT_SENT)
    report = scene.settle(signer=other)
    assert (report.paid, report.unsettled) == (12, 0)
    rows = scene.signed(ALICE)
    assert [row[1:] for row in rows] == [
        (10, 0, "signed"),
        (5, 10, "signed"),
        (10, 0, "accepted"),
        (12, 10, "accepted"),
    ]
    assert [nonce for nonce, _, _, _ in rows] == [rows[0][0], rows[1][0]] * 2
    # The old transactions come back, and are mined between the new ones.
    news = [sent for block in chain.blocks[-2:] for sent, _ in block.transactions]
    chain.reorganise(4, keep=False)
    chain.state.service = service
    scene.bring_back(olds[0])
    scene.mine()
    chain.state.service = replace(service, tee_signer=other.address)
    scene.bring_back(*news, olds[1])
    scene.mine()
    for _ in range(3):
        scene.settle(signer=other)
    assert scene.paid(ALICE) == 22


# ------------------------------------------------------------------------------------------- how a batch ends


def test_a_batch_ends_when_its_acceptances_are_final(scene: Scene) -> None:
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 10)
    scene.settle()
    for _ in range(FINAL - 1):
        scene.settle()
        assert (scene.batches(), scene.signed(ALICE)[0][3]) == (["open"], "accepted")
        scene.mine()
    scene.settle()
    assert (scene.batches(), scene.signed(ALICE)[0][3]) == (["ended"], "final")


def test_an_accepted_batch_ends_while_its_other_transaction_is_pending(scene: Scene) -> None:
    chain = scene.chain
    chain.fund(ALICE, 100)
    scene.record(ALICE, 10)
    chain.mines_at_once = False
    chain.state.wallet_nonce = 5
    scene.settle()
    chain.state.wallet_nonce = 2
    scene.settle(replace(OPTIONS, stuck_after=0))
    assert {sent.nonce for sent in chain.pool.values()} == {2, 5}
    scene.mine(1)
    scene.settle()
    assert scene.batches() == ["open"]
    scene.mine(FINAL)
    scene.settle()
    assert [sent.nonce for sent in chain.pool.values()] == [5]
    assert (scene.batches(), scene.signed(ALICE)[0][3]) == (["ended"], "final")


def test_a_refused_batch_ends_once_the_final_wallet_nonce_has_passed_it(scene: Scene) -> None:
    chain = scene.chain
    chain.fund(ALICE, 100)
    scene.record(ALICE, 10)
    refuse(scene)
    scene.settle()
    calm(scene)
    chain.state.accounts[ALICE] = replace(chain.state.accounts[ALICE], acknowledged=False)
    for _ in range(FINAL - 1):
        scene.settle()
        assert scene.batches() == ["open"]
        scene.mine()
    scene.settle()
    assert (scene.batches(), scene.signed(ALICE)[0][3]) == (["ended"], "signed")
    # The row of an ended batch still keeps its nonce, until another settlement with it is final.
    chain.state.accounts[ALICE] = replace(chain.state.accounts[ALICE], acknowledged=True)
    scene.settle()
    first, second = scene.signed(ALICE)
    assert (first[0], first[3], second[3]) == (second[0], "signed", "accepted")
    scene.mine(FINAL)
    scene.settle()
    assert [state for _, _, _, state in scene.signed(ALICE)] == ["dead", "final"]


def test_a_lost_batch_ends_by_the_observed_wallet_nonce(scene: Scene) -> None:
    """No transaction of the batch is ever mined, and the node has no state of the final block: a run remembers the
    wallet's nonce, and the next one believes it if the block is final and still part of the chain.
    """
    chain = scene.chain
    chain.fund(ALICE, 100)
    scene.record(ALICE, 10)
    chain.mines_at_once = False
    scene.settle()
    scene.lose()
    chain.take_nonce()
    chain.state.accounts[ALICE] = replace(chain.state.accounts[ALICE], acknowledged=False)
    scene.mine(FINAL)
    scene.settle()
    seen = sighting(scene)
    assert seen == (1, len(chain.blocks) - 1, chain.blocks[-1].hash)
    assert scene.batches() == ["open"]
    chain.reorganise(2)
    scene.mine(FINAL + 2)
    scene.settle()
    again = sighting(scene)
    assert again == (1, len(chain.blocks) - 1, chain.blocks[-1].hash)
    assert scene.batches() == ["open"], "the block of the first sighting is not part of the chain"
    scene.mine(FINAL - 2)
    scene.settle()
    assert (scene.batches(), sighting(scene)) == (["open"], again)
    scene.mine()
    scene.settle()
    assert (scene.batches(), scene.signed(ALICE)[0][3]) == (["ended"], "signed")


def test_where_the_newest_block_is_final_the_wallet_nonce_in_it_has_passed(scene: Scene) -> None:
    scene.chain.state.wallet_nonce = 4
    scene.mine()
    scene.settle(replace(OPTIONS, final_depth=1))
    assert sighting(scene) is None
    with scene.journal() as journal:
        assert journal.wallet_nonce_passed(len(scene.chain.blocks) - 1) == 4


def test_a_batch_ends_when_final_settlements_have_overtaken_all_of_its_own(scene: Scene) -> None:
    """Somebody settles for Alice with a higher nonce, not from the wallet, and the operator adopts that."""
    chain = scene.chain
    chain.fund(ALICE, 100)
    scene.record(ALICE, 10)
    chain.mines_at_once = False
    scene.settle()
    scene.lose()
    chain.take_nonce()
    nonce = scene.signed(ALICE)[0][0] + 1
    chain.state.accounts[ALICE] = replace(chain.state.accounts[ALICE], nonce=nonce)
    adopt(scene, ALICE, nonce, 10)
    scene.mine(3)
    scene.settle()
    assert scene.batches() == ["open", "ended"]
    scene.mine(1)
    scene.settle()
    assert [state for _, _, _, state in scene.signed(ALICE)] == ["dead", "final"]
    assert scene.batches() == ["ended", "ended"]
    assert sighting(scene) == (1, 4, chain.blocks[4].hash), "the wallet's nonce is not known to have passed it"
    assert len(set(chain.broadcasts)) == 1, "it is not carried again"


# ----------------------------------------------------------------------------------- what is not in the journal


def test_an_account_nonce_newer_than_the_journal_stops_the_user(scene: Scene) -> None:
    """A copy of the journal settles; the one that is left behind charges nobody again."""
    for user in (ALICE, BOB):
        scene.chain.fund(user, 100)
    scene.record(ALICE, 10)
    scene.settle()
    copy_journal(scene.directory / "journal", scene.directory / "copy")
    scene.record(ALICE, 5)
    scene.settle()
    scene.mine(FINAL)
    begin_anew(scene)
    (scene.directory / "copy").replace(scene.directory / "journal")
    scene.record(BOB, 7)
    report = scene.settle()
    assert (report.lines[ALICE].wait, report.lines[ALICE].unsettled) == (Wait.UNKNOWN_SETTLEMENT, 5)
    assert (report.lines[BOB].paid, report.paid) == (7, 7)
    assert "serving settlement adopt" in Wait.UNKNOWN_SETTLEMENT.value
    assert scene.paid(ALICE) == 15
    adopt(scene, ALICE, scene.chain.state.accounts[ALICE].nonce, 5)
    scene.record(ALICE, 1)
    assert scene.settle().lines[ALICE].wait is Wait.NOT_FINAL
    scene.mine(FINAL)
    assert (scene.settle().paid, scene.paid(ALICE)) == (1, 16)


def test_a_node_behind_the_journal_is_not_trusted(scene: Scene) -> None:
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 10)
    scene.settle()
    account = scene.chain.state.accounts[ALICE]
    scene.chain.state.accounts[ALICE] = replace(account, nonce=account.nonce - 1)
    scene.record(ALICE, 5)
    report = scene.settle()
    assert (report.paid, report.lines[ALICE].wait) == (0, Wait.CHAIN_BEHIND)
    scene.chain.state.accounts[ALICE] = account
    assert scene.settle().paid == 5


def test_wallet_transactions_unknown_to_the_journal_stop_the_run(scene: Scene) -> None:
    scene.chain.fund(ALICE, 100)
    scene.chain.mines_at_once = False
    for nonce in (0, 1):
        scene.bring_back(Pending(f"strange {nonce}", nonce, 1, None))
    scene.record(ALICE, 10)
    report = scene.settle()
    assert isinstance(report.stopped_by, UnknownTransactions)
    assert report.stopped_by.exit_code == 8
    assert "2 transactions" in report.stopped_by.message
    assert "nonces from 0 on" in report.stopped_by.message
    assert "serving settlement cancel" in str(report.stopped_by.next_step)
    assert (report.lines[ALICE].wait, scene.signed(ALICE)) == (Wait.NOT_SENT, [])
    scene.mine()
    scene.chain.mines_at_once = True
    assert scene.settle().paid == 10


def test_a_second_journal_waits_until_the_transactions_of_the_first_are_final(scene: Scene) -> None:
    """A second journal of the same provider: what the first one sent was refused, and may be paid after all."""
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 10)
    refuse(scene)
    scene.settle()
    calm(scene)
    (old,) = [sent for sent, _ in scene.chain.blocks[-1].transactions]
    begin_anew(scene)
    report = scene.settle()
    assert isinstance(report.stopped_by, UnknownTransactions)
    assert old.hash in report.stopped_by.message
    assert "final" in str(report.stopped_by.next_step)
    scene.mine(FINAL)
    assert scene.settle().paid == 10
    scene.bring_back(old)
    scene.mine()
    assert scene.paid(ALICE) == 10


def test_the_deepest_possible_fork_undoes_its_bookings(scene: Scene) -> None:
    """The journal was used with a chain that began alike; 1,000 blocks later it meets the real one."""
    scene.chain.fund(ALICE, 100)
    scene.chain.fund(BOB, 100)
    scene.mine()
    for fee in (10, 5, 1):
        scene.record(ALICE, fee)
        scene.record(BOB, fee)
        scene.settle()
    scene.mine(1000)
    scene.settle()
    assert scene.batches() == ["ended"] * 3
    scene.chain.reorganise(1003, keep=False)
    scene.mine(1100)
    assert (scene.paid(ALICE), scene.chain.state.wallet) == (0, 0)
    reports = [scene.settle() for _ in range(4)]
    assert sum("reorganised" in note for note in reports[0].notes) == 3
    assert sum(report.paid + report.taken_up_paid for report in reports) == 32
    assert (scene.paid(ALICE), scene.paid(BOB), reports[-1].unsettled) == (16, 16, 0)
    rows = scene.signed(ALICE)
    assert [row[1:3] for row in rows[:3]] == [(10, 0), (5, 10), (1, 15)]


def test_only_settlements_of_an_undone_block_are_unbooked(scene: Scene) -> None:
    """Two transactions of a batch, in two blocks, each effective for other users; one block is undone."""
    chain = scene.chain
    for user in (ALICE, BOB):
        chain.fund(user, 100)
        scene.record(user, 10)
    chain.mines_at_once = False
    chain.state.wallet_nonce = 3
    scene.settle()
    chain.state.wallet_nonce = 2
    scene.settle(replace(OPTIONS, stuck_after=0))
    chain.state.accounts[BOB] = replace(chain.state.accounts[BOB], acknowledged=False)
    waiting = [sent for sent in chain.pool.values() if sent.nonce == 3]
    chain.pool = {key: sent for key, sent in chain.pool.items() if sent.nonce == 2}
    scene.mine()
    chain.state.accounts[BOB] = replace(chain.state.accounts[BOB], acknowledged=True)
    scene.bring_back(*waiting)
    scene.mine()
    report = scene.settle()
    assert report.taken_up_paid == 20
    query = "SELECT block_number, status, paid, state FROM settlement ORDER BY position"
    blocks: list[tuple[object, ...]] = [*scene.rows(query)]
    assert blocks == [(1, 0, "10", "accepted"), (2, 0, "10", "accepted")]
    chain.reorganise(1, keep=False)
    scene.mine()
    report = scene.settle()
    assert report.lines[BOB].wait is Wait.IN_FLIGHT
    assert ALICE not in report.lines
    blocks = [*scene.rows(query)]
    assert blocks == [(1, 0, "10", "accepted"), (None, None, None, "signed")]
    scene.mine()
    scene.settle()
    assert (scene.paid(ALICE), scene.paid(BOB)) == (10, 10)


def test_each_batch_gets_the_extra_gas_that_its_rows_may_need(scene: Scene) -> None:
    for user in USERS[:3]:
        scene.chain.fund(user, 100)
        scene.record(user, 10)
    scene.settle(replace(OPTIONS, batch_rows=2))
    assert scene.chain.reserves == [2 * ROW_MARGIN, ROW_MARGIN]
