"""The nonce of a user's next settlement, and that nobody is charged twice because of it.

First the rule itself, then step by step the histories in which a user was charged twice before there was one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from serving_network.clients.models import Status
from serving_network.settlement.chain import SignedSettlements
from serving_network.settlement.journal import Identity, LiveSettlement, SignedRow, UserState, open_journal
from serving_network.settlement.nonces import NONCE_PER_SECOND, Turn, next_turn
from serving_network.settlement.options import Options
from serving_network.settlement.planning import Wait
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.settlement.signers import LocalTeeSigner
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

    def rows(self, query: str, *values: str) -> list[tuple[int, int, int, str]]:
        with open_journal(self.directory / "journal", Identity(31337, "0x", CONTRACT, PROVIDER)) as journal:
            return journal._db.execute(query, values).fetchall()

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
    and so did what the next run had signed: the users owed 0.3 and paid 0.6.
    """
    scene.chain.fund(ALICE, 100)
    scene.record(ALICE, 30)
    scene.chain.mines_at_once = False
    scene.chain.state.wallet_nonce = 3
    scene.settle()
    (waiting,) = scene.lose()
    # The node forgets transactions: nonce 2 was never used, and 3 waits for it.
    scene.chain.reorganise(1) if len(scene.chain.blocks) > 1 else None
    scene.chain.state.wallet_nonce = 2
    scene.settle(replace(OPTIONS, stuck_after=0))
    gap = [sent for sent in scene.lose() if sent.nonce == 2]
    assert [sent.signed for sent in gap[:1]] == [waiting.signed], "the same settlements are carried again"
    # The one with nonce 2 is mined, and pays nothing.
    assert scene.chain.state.service is not None
    service = scene.chain.state.service
    if first_fails:
        scene.chain.reverting = {gap[0].hash}
    else:
        scene.chain.state.service = replace(service, confirmed=False)
    scene.bring_back(gap[0])
    scene.mine()
    scene.chain.state.service = service
    report = scene.settle()
    assert report.lines[ALICE].wait is Wait.IN_FLIGHT, "the other transaction can still pay"
    assert len(scene.signed(ALICE)) == 1
    scene.lose()
    # Even if somebody signs anew, which a run that knows of the other one does not do, only one of the two is paid.
    scene.bring_back(waiting)
    scene.mine()
    assert scene.paid(ALICE) == 30
    report = scene.settle()
    assert (report.taken_up_paid, report.paid, report.unsettled) == (30, 0, 0)
    scene.mine(FINAL)
    scene.settle()
    assert (scene.paid(ALICE), scene.batches()) == (30, ["ended"])


def _unused(_: SignedSettlements, __: SignedRow, ___: Status) -> None:
    """Keep imports."""
