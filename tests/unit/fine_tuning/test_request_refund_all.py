# SPDX-License-Identifier: Apache-2.0
"""requestRefundAll"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.fine_tuning.world import DAY, World


def test_asks_everything_back(world: World, user: str, provider: str, opened: int) -> None:
    done = world.request()
    assert done.result is None
    assert done.events == [event("RefundRequested", user=user, provider=provider, index=0, timestamp=world.evm.time)]
    account = world.account()
    assert (account["balance"], account["pendingRefund"]) == (opened, opened)
    assert account["refunds"] == [
        {"index": 0, "amount": opened, "createdAt": world.evm.time, "_deprecated_processed": False}
    ]


def test_checks_in_order(serving: Contract, ledger: str, user: str, stranger: str) -> None:
    assert serving.refused("requestRefundAll", user, stranger, sender=stranger) == error("CallerNotLedger")
    assert serving.refused("requestRefundAll", user, stranger, sender=ledger) == error(
        "AccountNotExists", user=user, provider=stranger
    )


def test_of_nothing_is_silent(world: World, user: str, provider: str) -> None:
    world.open(user, provider, 0)
    assert world.request().events == []
    assert world.account()["refunds"] == []


@pytest.mark.usefixtures("opened")
def test_names_the_newest_refund_when_nothing_is_added(world: World, user: str, provider: str) -> None:
    asked = world.evm.time
    world.request()
    world.evm.time += 60
    assert world.request().events == [
        event("RefundRequested", user=user, provider=provider, index=0, timestamp=world.evm.time)
    ]
    assert [refund["createdAt"] for refund in world.account()["refunds"]] == [asked]


def test_the_sixth_joins_the_fifth_whose_clock_restarts(world: World, user: str, provider: str) -> None:
    world.open(user, provider, 0)
    for number in range(1, 7):
        world.deposit(number * COIN)
        world.evm.time += 60
        done = world.request()
    assert done.events == [event("RefundRequested", user=user, provider=provider, index=4, timestamp=world.evm.time)]
    refunds = world.account()["refunds"]
    assert [refund["amount"] for refund in refunds] == [COIN, 2 * COIN, 3 * COIN, 4 * COIN, 11 * COIN]
    assert refunds[4]["createdAt"] == world.evm.time
    assert refunds[3]["createdAt"] == world.evm.time - 120


def test_a_full_queue_delays_by_no_more_than_another_lock_time(world: World, user: str, provider: str) -> None:
    world.open(user, provider, 0)
    for _ in range(5):
        world.deposit(COIN)
        world.request()
    start = world.evm.time
    world.evm.time = start + DAY - 1
    world.deposit(COIN)
    world.request()
    world.evm.time = start + 2 * DAY
    assert world.process().result[0] == 6 * COIN
