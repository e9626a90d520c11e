# SPDX-License-Identifier: Apache-2.0
"""depositFund"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.fine_tuning.world import MAX_COINS, World

NOBODY = "0x" + "00" * 20


def test_adds_coins(serving: Contract, ledger: str, user: str, provider: str, opened: int) -> None:
    done = serving.send("depositFund", user, provider, 0, sender=ledger, value=COIN)
    assert done.result is None
    assert done.events == [event("BalanceUpdated", user=user, provider=provider, amount=opened + COIN, pendingRefund=0)]


def test_checks_in_order(
    world: World, serving: Contract, ledger: str, user: str, provider: str, stranger: str, opened: int
) -> None:
    def refused(*args: object, sender: str = ledger, value: int = 0) -> object:
        return serving.refused("depositFund", *args, sender=sender, value=value)

    world.evm.set_balance(ledger, 2**100)
    assert refused(NOBODY, NOBODY, 0, sender=stranger) == error("CallerNotLedger")
    assert refused(NOBODY, provider, 0) == error("InvalidAddress", addr=NOBODY)
    assert refused(user, NOBODY, 0) == error("InvalidAddress", addr=NOBODY)
    assert refused(user, user, 0) == error("ProviderCannotBeUser")
    assert refused(stranger, provider, 0, value=2**92) == error("AccountNotExists", user=stranger, provider=provider)
    assert refused(user, provider, 0, value=2**92 - opened) == error("AmountTooLarge", amount=2**92, max=MAX_COINS)
    serving.send("depositFund", user, provider, 0, sender=ledger, value=MAX_COINS - opened)
    assert world.account()["balance"] == MAX_COINS


@pytest.mark.parametrize(
    ("cancel", "left"),
    [(0, [4, 3, 2]), (1, [4, 3, 1]), (2, [4, 3]), (4, [4, 1]), (9, []), (10**30, [])],
)
def test_keeps_the_newest_refunds(world: World, user: str, provider: str, cancel: int, left: list[int]) -> None:
    world.open(user, provider, 4)
    ages = []
    for coins in (3, 2, 0):
        ages.append(world.evm.time)
        world.request()
        world.evm.time += 60
        world.deposit(coins)
    done = world.deposit(0, cancel)
    account = world.account()
    assert [refund["amount"] for refund in account["refunds"]] == left
    assert [refund["index"] for refund in account["refunds"]] == list(range(len(left)))
    assert [refund["createdAt"] for refund in account["refunds"]] == ages[: len(left)]
    assert (account["balance"], account["pendingRefund"]) == (9, sum(left))
    assert done.events == [event("BalanceUpdated", user=user, provider=provider, amount=9, pendingRefund=sum(left))]


def test_acknowledges_the_signer(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open(user, provider, 0)
    serving.send("acknowledgeTEESigner", provider, False, sender=user)
    assert not world.account()["acknowledged"]
    world.deposit(0)
    assert world.account()["acknowledged"]
