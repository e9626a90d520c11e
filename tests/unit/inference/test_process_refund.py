# SPDX-License-Identifier: Apache-2.0
"""processRefund"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.inference.world import DAY, REVERT, World


def test_pays_what_has_waited_long_enough(world: World, ledger: str, user: str, provider: str, opened: int) -> None:
    world.request()
    world.deposit(COIN)
    world.evm.time += DAY
    before = world.evm.balance(ledger)
    done = world.process()
    assert done.result == (opened, COIN, 0)
    assert done.events == [event("BalanceUpdated", user=user, provider=provider, amount=COIN, pendingRefund=0)]
    assert world.evm.balance(ledger) == before + opened


def test_checks_in_order(world: World, serving: Contract, ledger: str, user: str, provider: str, stranger: str) -> None:
    assert serving.refused("processRefund", user, provider, sender=stranger) == error(
        "CallerNotLedger", caller=stranger
    )
    assert serving.refused("processRefund", user, provider, sender=ledger) == error(
        "AccountNotExists", user=user, provider=provider
    )
    world.open(coins=COIN)
    world.request()
    world.evm.time += DAY
    world.evm.set_code(ledger, REVERT)
    assert serving.refused("processRefund", user, provider, sender=ledger) == error("TransferFailed")
    assert world.account()["pendingRefund"] == COIN


@pytest.mark.parametrize(("early", "paid"), [(1, 0), (0, COIN)])
def test_to_the_second(world: World, early: int, paid: int) -> None:
    world.open(coins=COIN)
    world.request()
    world.evm.time += DAY - early
    done = world.process()
    assert done.result == (paid, COIN - paid, COIN - paid)
    assert len(done.events) == (paid > 0)


def test_a_refusing_ledger_does_not_matter_when_nothing_is_paid(world: World, ledger: str, opened: int) -> None:
    world.evm.set_code(ledger, REVERT)
    assert world.process().result == (0, opened, 0)


@pytest.mark.parametrize("matured", range(6))
def test_keeps_the_others_in_order(world: World, matured: int) -> None:
    world.open(coins=0)
    times = []
    for coins in range(1, 6):
        world.deposit(coins)
        world.request()
        times.append(world.evm.time)
        world.evm.time += 60
    world.evm.time = (times[matured - 1] if matured else times[0] - 1) + DAY
    paid = sum(range(1, matured + 1))
    assert world.process().result == (paid, 15 - paid, 15 - paid)
    left = list(range(matured + 1, 6))
    assert [(refund["index"], refund["amount"], refund["createdAt"]) for refund in world.account()["refunds"]] == [
        (place, amount, times[amount - 1]) for place, amount in enumerate(left)
    ]
    world.deposit(6)
    world.request()
    assert world.refunds() == ([*left, 6] if matured else [1, 2, 3, 4, 11])


def test_the_owner_can_move_the_lock_time_under_a_waiting_refund(
    world: World, serving: Contract, owner: str, opened: int
) -> None:
    world.request()
    world.evm.time += DAY - 1
    serving.send("updateLockTime", 7 * DAY, sender=owner)
    assert world.process().result[0] == 0
    serving.send("updateLockTime", 3600, sender=owner)
    assert world.process().result[0] == opened


@pytest.mark.usefixtures("confirmed")
def test_keeps_everything_else(world: World) -> None:
    world.open(info="info")
    world.settle(world.fee(nonce=7))
    world.request()
    world.evm.time += DAY
    world.process()
    account = world.account()
    assert (account["nonce"], account["acknowledged"], account["additionalInfo"]) == (7, True, "info")
    assert (account["balance"], account["refunds"]) == (0, [])
