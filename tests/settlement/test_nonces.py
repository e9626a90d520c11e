"""The nonce of a user's next settlement, and that nobody is charged twice because of it.

First the rule itself, then step by step the histories in which a user was charged twice before there was one.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from serving_network.clients.models import Status
from serving_network.settlement.following import StrangeTransactions
from serving_network.settlement.gas import ROW_MARGIN
from serving_network.settlement.journal import (
    Acceptance,
    Identity,
    LiveSettlement,
    Outcome,
    Transaction,
    UserState,
    copy_journal,
    open_journal,
)
from serving_network.settlement.nonces import NONCE_PER_SECOND, Turn, next_turn
from serving_network.settlement.options import Options
from serving_network.settlement.planning import Wait
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.settlement.signers import LocalTeeSigner
from serving_network.settlement.typed_data import UserSettlement
from serving_network.settlement.usage import UsageLog
from tests.settlement.fake_chain import CONTRACT, PROVIDER, TEE, FakeChain, Pending

# ------------------------------------------------------------------------------------------------- the rule

NOW = 1.5
CLOCK = 15 * 10**6


def user(paid: int = 0, last_nonce: int = 0) -> UserState:
    return UserState(1, "0x", 9, 0, 0, 1000, 1000, paid, 0, last_nonce)


def signed(nonce: int, fee: int = 10, paid_before: int = 0) -> LiveSettlement:
    return LiveSettlement(nonce, fee, paid_before, False, False)


def paid_in_full(nonce: int, fee: int = 10, paid_before: int = 0) -> LiveSettlement:
    return LiveSettlement(nonce, fee, paid_before, True, True)


def paid_in_part(nonce: int, fee: int = 10, paid_before: int = 0) -> LiveSettlement:
    return LiveSettlement(nonce, fee, paid_before, True, False)


@pytest.mark.parametrize(
    ("last", "account", "nonce"),
    [(0, 0, CLOCK), (CLOCK, 0, CLOCK + 1), (0, CLOCK, CLOCK + 1), (10**9, 10**8, 10**9 + 1), (10**8, 10**9, 10**9 + 1)],
)
def test_a_fresh_nonce_is_above_the_clock_and_everything_signed_and_accepted(
    last: int, account: int, nonce: int
) -> None:
    assert NONCE_PER_SECOND == 10**7
    assert next_turn(NOW, user(last_nonce=last), account, account, []) == Turn(nonce, None)


RULES: list[tuple[str, int, Sequence[LiveSettlement], Turn | Wait]] = [
    ("signed and nothing more: the same nonce", 0, [signed(100)], Turn(100, None)),
    ("signed twice with one nonce: the same again", 0, [signed(100), signed(100, 7)], Turn(100, None)),
    ("paid in full: a higher one", 100, [paid_in_full(100)], Turn(CLOCK, None)),
    ("paid in full, and another with its nonce", 100, [signed(100, 7), paid_in_full(100)], Turn(CLOCK, None)),
    ("paid in part: none before it is final", 100, [paid_in_part(100)], Wait.NOT_FINAL),
    ("paid in part, and another with its nonce", 100, [signed(100, 7), paid_in_part(100)], Wait.NOT_FINAL),
    ("paid in full, then signed: that nonce", 100, [paid_in_full(100), signed(200, 5, 10)], Turn(200, None)),
    ("signed below another: no more than what lies before that", 0, [signed(100), signed(200, 5, 10)], Turn(100, 10)),
    (
        "the least that lies before others counts", 0,
        [signed(100), signed(200, 5, 30), signed(300, 5, 20)], Turn(100, 20),
    ),
    ("the lowest that is not paid in full", 100, [paid_in_full(100), signed(200), signed(300, 5, 44)], Turn(200, 44)),
    ("below one that is paid in full: neither", 200, [signed(100), paid_in_full(200, 5, 10)], Wait.NOT_FINAL),
]  # fmt: skip


@pytest.mark.parametrize(("what", "account", "live", "turn"), RULES, ids=[rule[0] for rule in RULES])
def test_which_nonce_is_next(what: str, account: int, live: Sequence[LiveSettlement], turn: Turn | Wait) -> None:
    assert next_turn(NOW, user(last_nonce=300 if len(live) > 2 else 200), account, account, live) == turn, what


def test_the_limit_counts_from_what_is_paid() -> None:
    live = [paid_in_full(100, 10, 0), signed(200, 5, 10), signed(300, 5, 25)]
    assert next_turn(NOW, user(paid=10), 100, 100, live) == Turn(200, 15)


@pytest.mark.parametrize("live", [[], [signed(100)], [paid_in_part(100)]])
def test_an_account_and_a_journal_that_differ_are_stopped(live: list[LiveSettlement]) -> None:
    assert next_turn(NOW, user(), 101, 100, live) is Wait.UNKNOWN_SETTLEMENT
    assert next_turn(NOW, user(), 99, 100, live) is Wait.CHAIN_BEHIND


@given(
    live=st.lists(
        st.builds(
            lambda nonce, fee, before, state: LiveSettlement(nonce, fee, before, state > 0, state > 1),
            st.integers(1, 4), st.integers(1, 9), st.integers(0, 9), st.integers(0, 2),
        ),
        max_size=5,
    ),
    last=st.integers(4, 9),
)  # fmt: skip
def test_two_settlements_that_can_both_be_paid_never_cover_the_same_wei(live: list[LiveSettlement], last: int) -> None:
    """Whatever is live: another nonce than that of a live one that is not paid in full only for what lies before it."""
    live.sort(key=lambda one: one.nonce)
    account = max((one.nonce for one in live if one.accepted), default=0)
    paid = max((one.paid_before + one.fee for one in live if one.in_full), default=0)
    turn = next_turn(0, user(paid, last), account, account, live)
    if isinstance(turn, Wait):
        return
    assert turn.nonce > account
    full = {one.nonce for one in live if one.in_full}
    for one in live:
        if one.nonce not in full and one.nonce != turn.nonce:
            assert one.nonce > turn.nonce
            assert turn.limit is not None
            assert paid + turn.limit <= one.paid_before


# ------------------------------------------------------------------------------------------- step by step

USERS: list[str] = [to_checksum_address(bytes([number]) * 20) for number in range(1, 5)]
ALICE, BOB, CAROL, DAVE = USERS
OPTIONS = Options(first_pause=0, patience=0, stuck_after=60, give_up_after=0.05, final_depth=5)
FINAL = 5
"""Blocks until everything before them is final."""


class Scene:
    """A chain, and runs that settle on it. Each user owes what was recorded, and nobody may pay more."""

    def __init__(self, directory: Path, *, batches: bool) -> None:
        self.chain = FakeChain(batches=batches)
        self.directory = directory
        self.lines: list[str] = []
        self.owed: dict[str, int] = {}

    def record(self, user: str, fee: int) -> None:
        self.lines.append(f'{{"id": "r{len(self.lines)}", "user": "{user}", "time": 1, "fee": {fee}}}\n')
        self.owed[user] = self.owed.get(user, 0) + fee

    def settle(self, options: Options = OPTIONS, signer: LocalTeeSigner = TEE) -> Report:
        path = self.directory / "usage.jsonl"
        path.write_text("".join(self.lines))
        with open_journal(self.directory / "journal", Identity(31337, "0x", CONTRACT, PROVIDER)) as journal:
            run = Settlement(self.chain, journal, signer, options, clock=lambda: self.chain.now)
            report = asyncio.run(run.run(UsageLog(path, provider=PROVIDER)))
        self.chain.now += 1
        self.check()
        assert report.fee == report.paid + report.unsettled
        return report

    def check(self) -> None:
        for user, paid in self.chain.state.paid.items():
            assert paid <= self.owed[user], f"{user} owes {self.owed[user]} and paid {paid}"

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.chain.mine()
        self.check()

    def lose(self) -> list[Pending]:
        """Take everything out of the pool; it may come back."""
        lost = list(self.chain.pool.values())
        self.chain.pool.clear()
        return lost

    def bring_back(self, *lost: Pending) -> None:
        self.chain.pool |= {sent.hash: sent for sent in lost}

    def signed(self, user: str) -> list[tuple[int, int, int, str]]:
        """All settlements that were signed for a user: nonce, fee, wei in front of it, and state."""
        rows = self.rows(
            "SELECT CAST(s.nonce AS INTEGER), CAST(s.fee AS INTEGER), CAST(s.paid_before AS INTEGER), s.state"
            " FROM settlement s JOIN user u ON u.id = s.user_id WHERE u.address = ? ORDER BY s.batch_id",
            user,
        )
        return [(nonce, fee, before, state) for nonce, fee, before, state in rows]

    def batches(self) -> list[str]:
        """The state of each batch."""
        return [state for (state,) in self.rows("SELECT state FROM batch ORDER BY id")]

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with open_journal(self.directory / "journal", Identity(31337, "0x", CONTRACT, PROVIDER)) as journal:
            return journal._db.execute(query, values).fetchall()

    def sighting(self) -> tuple[int, int, str] | None:
        """What a run has seen of the wallet: its nonce, and the block."""
        with open_journal(self.directory / "journal", Identity(31337, "0x", CONTRACT, PROVIDER)) as journal:
            return journal.wallet_sighting()

    def adopt(self, user: str, nonce: int, paid: int) -> None:
        """Book a settlement of another program in the newest block."""
        with open_journal(self.directory / "journal", Identity(31337, "0x", CONTRACT, PROVIDER)) as journal:
            state = journal.user(user)
            assert state is not None
            number, block = len(self.chain.blocks) - 1, self.chain.blocks[-1]
            acceptance = Acceptance(Outcome(Status.SUCCESS, paid), number, block.hash, "0xelsewhere")
            journal.adopt(state, UserSettlement(user, paid, nonce, bytes(32)), 0, acceptance)

    def forget(self) -> None:
        """Begin a new journal."""
        for name in ("journal", "journal-wal", "journal-shm"):
            (self.directory / name).unlink(missing_ok=True)

    def nonce(self, user: str) -> int:
        return self.chain.state.accounts[user].nonce

    def paid(self, user: str) -> int:
        return self.chain.state.paid.get(user, 0)


@pytest.fixture(params=[False, True], ids=["entries", "batch"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return Scene(tmp_path, batches=request.param)


def test_the_remainder_of_a_partial_payment_waits_until_that_is_final(scene: Scene) -> None:
    """Before, the remainder was signed at once, with a higher nonce. Two reorganisations and more coins made Alice
    pay both in full: she owed 28 and paid 42.
    """
    scene.chain.fund(ALICE, 14)
    scene.record(ALICE, 28)
    report = scene.settle()
    assert (report.paid, report.lines[ALICE].wait) == (14, Wait.PAID_IN_PART)
    (first,) = [sent for sent, _ in scene.chain.blocks[-1].transactions]
    scene.chain.fund(ALICE, 5)
    report = scene.settle()
    assert (report.paid, report.lines[ALICE].wait) == (0, Wait.NOT_FINAL)
    assert len(scene.signed(ALICE)) == 1, "nothing is signed for the remainder"
    scene.chain.reorganise(1, keep=False)
    scene.chain.fund(ALICE, 100)
    scene.mine()
    scene.bring_back(first)
    scene.mine()
    assert scene.paid(ALICE) == 28, "in another order of blocks the same settlement pays all"
    report = scene.settle()
    assert (report.taken_up_paid, report.unsettled) == (28, 0)
    scene.mine(FINAL)
    assert scene.settle().paid == 0
    assert scene.paid(ALICE) == 28
    assert [row[1:] for row in scene.signed(ALICE)] == [(28, 0, "final")]


def test_the_remainder_is_signed_with_a_higher_nonce_when_the_payment_is_final(scene: Scene) -> None:
    scene.chain.fund(ALICE, 14)
    scene.record(ALICE, 28)
    scene.settle()
    scene.chain.fund(ALICE, 100)
    for _ in range(FINAL - 1):
        assert scene.settle().lines[ALICE].wait is Wait.NOT_FINAL
        scene.mine()
    report = scene.settle()
    assert (report.paid, report.unsettled) == (14, 0)
    (first, second) = scene.signed(ALICE)
    assert (first[1:], second[1:]) == ((28, 0, "final"), (14, 14, "accepted"))
    assert second[0] > first[0]


@pytest.mark.parametrize("first_fails", [False, True], ids=["refused", "reverted"])
def test_two_transactions_of_a_batch_of_which_the_first_pays_nothing(scene: Scene, first_fails: bool) -> None:
    """Before, the first that was mined ended the batch, refused or reverted. The other one was mined later and paid,
    and so did what the next run had signed: 30 were owed and 60 paid.
    """
    chain = scene.chain
    chain.fund(ALICE, 100)
    scene.record(ALICE, 30)
    chain.mines_at_once = False
    chain.state.wallet_nonce = 3
    scene.settle()
    (waiting,) = scene.lose()
    chain.state.wallet_nonce = 2  # a reorganisation undoes the transaction in front of it
    scene.settle(replace(OPTIONS, stuck_after=0))
    gap = min(scene.lose(), key=lambda sent: (sent.nonce, sent.fee))
    assert (waiting.nonce, gap.nonce, gap.signed) == (3, 2, waiting.signed)
    assert chain.state.service is not None
    service = chain.state.service
    if first_fails:
        chain.reverting = {gap.hash}
    else:
        chain.state.service = replace(service, confirmed=False)
    scene.bring_back(gap)
    scene.mine()
    chain.state.service = service
    report = scene.settle()
    assert report.lines[ALICE].wait is Wait.IN_FLIGHT, "the other transaction can still pay"
    assert len(scene.signed(ALICE)) == 1
    scene.mine()
    assert scene.paid(ALICE) == 30, "the run sent it again"
    report = scene.settle()
    assert (report.taken_up_paid, report.paid, report.unsettled) == (30, 0, 0)
    scene.mine(FINAL)
    scene.settle()
    assert (scene.paid(ALICE), scene.batches()) == (30, ["ended"])


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
def test_what_was_mined_and_not_accepted_is_signed_with_the_same_nonce(
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
    scene.settle()
    assert scene.paid(ALICE) == 15


def test_what_was_lost_and_cannot_be_carried_whole_is_signed_with_the_same_nonces(scene: Scene) -> None:
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


def test_after_a_payment_in_full_the_next_settlement_has_a_higher_nonce_at_once(scene: Scene) -> None:
    scene.chain.fund(ALICE, 100)
    for fee in (10, 5, 1):
        scene.record(ALICE, fee)
        assert scene.settle().paid == fee
    rows = scene.signed(ALICE)
    assert [row[1:] for row in rows] == [(10, 0, "accepted"), (5, 10, "accepted"), (1, 15, "accepted")]
    assert sorted({nonce for nonce, _, _, _ in rows}) == [nonce for nonce, _, _, _ in rows]


def test_below_another_settlement_only_what_lies_in_front_of_it_is_signed(scene: Scene) -> None:
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


def test_an_accepted_batch_ends_though_another_transaction_of_it_waits(scene: Scene) -> None:
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


def test_a_refused_batch_ends_when_the_wallets_nonce_has_passed_it_in_the_final_block(scene: Scene) -> None:
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


def test_a_lost_batch_ends_by_what_was_seen_of_the_wallet(scene: Scene) -> None:
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
    seen = scene.sighting()
    assert seen == (1, len(chain.blocks) - 1, chain.blocks[-1].hash)
    assert scene.batches() == ["open"]
    chain.reorganise(2)
    scene.mine(FINAL + 2)
    scene.settle()
    again = scene.sighting()
    assert again == (1, len(chain.blocks) - 1, chain.blocks[-1].hash)
    assert scene.batches() == ["open"], "the block of the first sighting is not part of the chain"
    scene.mine(FINAL - 2)
    scene.settle()
    assert (scene.batches(), scene.sighting()) == (["open"], again)
    scene.mine()
    scene.settle()
    assert (scene.batches(), scene.signed(ALICE)[0][3]) == (["ended"], "signed")


def test_a_batch_ends_when_a_final_settlement_has_overtaken_all_of_its_own(scene: Scene) -> None:
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
    scene.adopt(ALICE, nonce, 10)
    scene.mine(3)
    scene.settle()
    assert scene.batches() == ["open", "ended"]
    scene.mine(1)
    scene.settle()
    assert [state for _, _, _, state in scene.signed(ALICE)] == ["dead", "final"]
    assert scene.batches() == ["ended", "ended"]
    assert scene.sighting() == (1, 4, chain.blocks[4].hash), "the wallet's nonce is not known to have passed it"
    assert len(set(chain.broadcasts)) == 1, "it is not carried again"


# ----------------------------------------------------------------------------------- what is not in the journal


def test_an_account_with_a_newer_nonce_than_the_journal_knows_is_stopped(scene: Scene) -> None:
    """A copy of the journal settles; the one that is left behind charges nobody again."""
    for user in (ALICE, BOB):
        scene.chain.fund(user, 100)
    scene.record(ALICE, 10)
    scene.settle()
    copy_journal(scene.directory / "journal", scene.directory / "copy")
    scene.record(ALICE, 5)
    scene.settle()
    scene.mine(FINAL)
    scene.forget()
    (scene.directory / "copy").replace(scene.directory / "journal")
    scene.record(BOB, 7)
    report = scene.settle()
    assert (report.lines[ALICE].wait, report.lines[ALICE].unsettled) == (Wait.UNKNOWN_SETTLEMENT, 5)
    assert (report.lines[BOB].paid, report.paid) == (7, 7)
    assert "serving settlement adopt" in Wait.UNKNOWN_SETTLEMENT.value
    assert scene.paid(ALICE) == 15
    scene.adopt(ALICE, scene.nonce(ALICE), 5)
    scene.record(ALICE, 1)
    assert scene.settle().lines[ALICE].wait is Wait.NOT_FINAL
    scene.mine(FINAL)
    assert (scene.settle().paid, scene.paid(ALICE)) == (1, 16)


def test_a_node_behind_the_journal_is_not_believed(scene: Scene) -> None:
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


def test_transactions_of_the_wallet_that_the_journal_does_not_know_stop_the_run(scene: Scene) -> None:
    scene.chain.fund(ALICE, 100)
    scene.chain.mines_at_once = False
    for nonce in (0, 1):
        scene.bring_back(Pending(f"strange {nonce}", nonce, 1, None))
    scene.record(ALICE, 10)
    report = scene.settle()
    assert isinstance(report.stopped_by, StrangeTransactions)
    assert report.stopped_by.exit_code == 8
    assert "2 transactions" in report.stopped_by.message
    assert "nonces from 0 on" in report.stopped_by.message
    assert "serving settlement cancel" in str(report.stopped_by.next_step)
    assert (report.lines[ALICE].wait, scene.signed(ALICE)) == (Wait.NOT_SENT, [])
    scene.mine()
    scene.chain.mines_at_once = True
    assert scene.settle().paid == 10


def test_an_empty_journal_beside_one_that_has_sent_something_waits_until_that_is_final(scene: Scene) -> None:
    """A second journal of the same provider: what the first one sent was refused, and may be paid after all."""
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 10)
    refuse(scene)
    scene.settle()
    calm(scene)
    (old,) = [sent for sent, _ in scene.chain.blocks[-1].transactions]
    scene.forget()
    report = scene.settle()
    assert isinstance(report.stopped_by, StrangeTransactions)
    assert old.hash in report.stopped_by.message
    assert "final" in str(report.stopped_by.next_step)
    scene.mine(FINAL)
    assert scene.settle().paid == 10
    scene.bring_back(old)
    scene.mine()
    assert scene.paid(ALICE) == 10


def test_a_fork_as_deep_as_can_be_takes_its_bookings_with_it(scene: Scene) -> None:
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


def test_only_the_settlements_of_a_block_that_was_undone_are_taken_back(scene: Scene) -> None:
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
    blocks = scene.rows("SELECT block_number, status, paid, state FROM settlement ORDER BY position")
    assert blocks == [(1, 0, "10", "accepted"), (2, 0, "10", "accepted")]
    chain.reorganise(1, keep=False)
    scene.mine()
    report = scene.settle()
    assert report.lines[BOB].wait is Wait.IN_FLIGHT
    assert ALICE not in report.lines
    blocks = scene.rows("SELECT block_number, status, paid, state FROM settlement ORDER BY position")
    assert blocks == [(1, 0, "10", "accepted"), (None, None, None, "signed")]
    scene.mine()
    scene.settle()
    assert (scene.paid(ALICE), scene.paid(BOB)) == (10, 10)


def test_each_batch_is_given_the_gas_that_its_rows_may_need_more(scene: Scene) -> None:
    for user in USERS[:3]:
        scene.chain.fund(user, 100)
        scene.record(user, 10)
    scene.settle(replace(OPTIONS, batch_rows=2))
    assert scene.chain.reserves == [2 * ROW_MARGIN, ROW_MARGIN]
