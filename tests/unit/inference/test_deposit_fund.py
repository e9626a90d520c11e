# SPDX-License-Identifier: Apache-2.0
"""depositFund"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.inference.world import DAY, MAX_COINS, World

NOBODY = "0x" + "00" * 20


def test_adds_the_coins(world: World, user: str, provider: str, opened: int) -> None:
    done = world.deposit(COIN)
    assert done.events == [event("BalanceUpdated", user=user, provider=provider, amount=opened + COIN, pendingRefund=0)]
    assert world.account()["balance"] == opened + COIN


def test_nothing_is_an_act_of_the_user_too(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open(coins=0)
    serving.send("acknowledgeTEESigner", provider, False, sender=user)
    done = world.deposit(0)
    assert done.events == [event("BalanceUpdated", user=user, provider=provider, amount=0, pendingRefund=0)]
    assert world.account()["acknowledged"] is True


def test_checks_in_order(world: World, serving: Contract, ledger: str, user: str, provider: str, stranger: str) -> None:
    world.evm.set_balance(ledger, 2**100)
    for caller in (stranger, user, provider, world.owner):
        assert serving.refused("depositFund", NOBODY, NOBODY, 0, sender=caller) == error(
            "CallerNotLedger", caller=caller
        )
    assert serving.refused("depositFund", NOBODY, NOBODY, 0, sender=ledger) == error("InvalidAddress", addr=NOBODY)
    assert serving.refused("depositFund", user, NOBODY, 0, sender=ledger) == error("InvalidAddress", addr=NOBODY)
    assert serving.refused("depositFund", user, user, 0, sender=ledger) == error("ProviderCannotBeUser")
    assert serving.refused("depositFund", user, provider, 0, sender=ledger, value=MAX_COINS + 1) == error(
        "AccountNotExists", user=user, provider=provider
    )
    world.open(coins=5)
    assert serving.refused("depositFund", user, provider, 0, sender=ledger, value=MAX_COINS - 4) == error(
        "AmountTooLarge", amount=MAX_COINS + 1, max=MAX_COINS
    )
    world.deposit(MAX_COINS - 5)
    assert world.account()["balance"] == MAX_COINS


@pytest.mark.parametrize(
    ("cancel", "left"),
    [
        (0, [10, 20, 30]),
        (1, [10, 20, 29]),
        (30, [10, 20]),
        (31, [10, 19]),
        (60, []),
        (61, []),
        (2**92, []),
        (2**184, []),
        (2**256 - 1, []),
    ],
)
def test_cancels_the_newest_refunds_first(world: World, user: str, provider: str, cancel: int, left: list[int]) -> None:
    world.open(coins=0)
    for coins in (10, 20, 30):
        world.deposit(coins)
        world.request()
        world.evm.time += 60
    done = world.deposit(4, cancel)
    assert done.events == [event("BalanceUpdated", user=user, provider=provider, amount=64, pendingRefund=sum(left))]
    assert world.refunds() == left
    assert world.account()["pendingRefund"] == sum(left)


def test_a_refund_that_is_cut_keeps_its_age(world: World, opened: int) -> None:
    world.request()
    world.evm.time += DAY - 1
    world.deposit(0, 1)
    assert world.process().result == (0, opened, opened - 1)
    world.evm.time += 1
    assert world.process().result == (opened - 1, 1, 0)


def test_what_was_cancelled_can_be_asked_back_again(world: World, opened: int) -> None:
    world.request()
    world.deposit(0, opened)
    assert world.refunds() == []
    world.request()
    assert world.refunds() == [opened]


@pytest.mark.usefixtures("confirmed")
def test_keeps_nonce_and_description(world: World) -> None:
    world.open(info="info")
    world.settle(world.fee(nonce=2**64 - 1))
    world.deposit(1)
    account = world.account()
    assert (account["nonce"], account["additionalInfo"]) == (2**64 - 1, "info")


def test_cancels_a_refund_of_a_single_wei(world: World) -> None:
    world.open(coins=1)
    world.request()
    world.deposit(0, 1)
    assert world.refunds() == []
    assert world.account()["pendingRefund"] == 0
