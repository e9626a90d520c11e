# SPDX-License-Identifier: Apache-2.0
"""The nonce of a user's next settlement, and that nobody is charged twice because of it.

First the rule itself, then step by step the histories in which a user was charged twice before there was one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_network.settlement.journal.records import LiveSettlement, UserState
from serving_network.settlement.nonces import NONCE_PER_SECOND, Turn, next_turn
from serving_network.settlement.planning import Wait
from tests.settlement.scene import ALICE, FINAL, OPTIONS, Scene

pytestmark = pytest.mark.usefixtures("virtual_time")

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
    ("paid in full, and one with its nonce covers more", 100, [paid_in_full(100), signed(100, 12)], Wait.NOT_FINAL),
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


def test_requests_paid_otherwise_are_skipped() -> None:
    live = [signed(100, 10, 0), signed(200, 5, 10)]
    assert next_turn(NOW, user(paid=9), 0, 0, live) == Turn(100, 1)
    assert next_turn(NOW, user(paid=10), 0, 0, live) == Turn(200, None)
    assert next_turn(NOW, user(paid=12), 0, 0, live) == Turn(200, None)
    assert next_turn(NOW, user(paid=12), 0, 0, [signed(100, 13), *live[1:]]) == Turn(100, -2), "nothing is signed"


def test_the_limit_counts_from_the_paid_amount() -> None:
    live = [paid_in_full(100, 10, 0), signed(200, 5, 10), signed(300, 5, 25)]
    assert next_turn(NOW, user(paid=10), 100, 100, live) == Turn(200, 15)


@pytest.mark.parametrize("live", [[], [signed(100)], [paid_in_part(100)]])
def test_a_user_whose_account_and_journal_differ_is_stopped(live: list[LiveSettlement]) -> None:
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
    adopted=st.integers(0, 20),
)  # fmt: skip
def test_two_payable_settlements_never_cover_the_same_wei(live: list[LiveSettlement], last: int, adopted: int) -> None:
    """Whatever is live: another nonce than that of a live one that is not paid in full only for what lies before it."""
    live.sort(key=lambda one: one.nonce)
    account = max((one.nonce for one in live if one.accepted), default=0)
    paid = max((one.paid_before + one.fee for one in live if one.in_full), default=0)
    turn = next_turn(0, user(paid + adopted, last), account, account, live)
    if isinstance(turn, Wait):
        return
    assert turn.nonce > account
    for one in live:
        ends = [other.paid_before + other.fee for other in live if other.nonce == one.nonce and other.in_full]
        within = one.paid_before + one.fee <= max(ends, default=-1)
        in_front = one.nonce < turn.nonce and one.paid_before + one.fee <= paid + adopted
        if not within and not in_front and one.nonce != turn.nonce:
            assert one.nonce > turn.nonce
            assert turn.limit is not None
            assert paid + adopted + turn.limit <= one.paid_before


# ------------------------------------------------------------------------------------------- step by step


@pytest.fixture(params=[False, True], ids=["entries", "batch"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return Scene(tmp_path, batches=request.param)


def test_the_remainder_waits_until_a_partial_payment_is_final(scene: Scene) -> None:
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
def test_a_batch_whose_first_of_two_transactions_pays_nothing(scene: Scene, first_fails: bool) -> None:
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


def test_a_larger_settlement_cannot_reuse_the_nonce_of_a_paid_one(scene: Scene) -> None:
    """Alice owed 15 and paid 17: 10 were signed and refused, 12 were signed with the same nonce, and a reorganisation
    made the chain accept the 10. The next 5 were signed with a higher nonce at once, and a second reorganisation made
    it accept the 12 instead.
    """
    service = scene.chain.state.service
    assert service is not None
    scene.chain.fund(ALICE, 100)
    scene.chain.mines_at_once = False
    scene.record(ALICE, 10)
    scene.settle()
    (ten,) = scene.lose()
    scene.chain.state.service = replace(service, confirmed=False)
    scene.bring_back(ten)
    scene.mine()
    scene.chain.state.service = service
    scene.record(ALICE, 2)
    scene.settle()
    (twelve,) = scene.lose()
    assert [row[1] for row in scene.signed(ALICE)] == [10, 12]
    scene.chain.reorganise(1, keep=False)
    scene.chain.state.service = service
    scene.bring_back(ten)
    scene.mine()
    scene.bring_back(twelve)
    scene.mine()
    assert scene.paid(ALICE) == 10
    scene.record(ALICE, 3)
    report = scene.settle()
    assert report.lines[ALICE].wait is Wait.NOT_FINAL, "the 12 may still be accepted in place of the 10"
    later = scene.lose()
    scene.chain.reorganise(2, keep=False)
    scene.chain.state.service = replace(service, confirmed=False)
    scene.bring_back(ten)
    scene.mine()
    scene.chain.state.service = service
    scene.bring_back(twelve, *later)
    scene.mine()
    assert scene.paid(ALICE) == 12
    scene.chain.mines_at_once = True
    scene.settle()
    scene.mine(FINAL)
    scene.settle()
    assert scene.paid(ALICE) == 15
