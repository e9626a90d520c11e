# SPDX-License-Identifier: Apache-2.0
"""processRefund"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.fine_tuning.world import DAY, REVERT, World


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
    assert serving.refused("processRefund", user, provider, sender=stranger) == error("CallerNotLedger")
    assert serving.refused("processRefund", user, provider, sender=ledger) == error(
        "AccountNotExists", user=user, provider=provider
    )
    world.open(user, provider, COIN)
    world.request()
    world.evm.time += DAY
    world.evm.set_code(ledger, REVERT)
    assert serving.refused("processRefund", user, provider, sender=ledger) == error("TransferToLedgerFailed")
    assert world.account()["pendingRefund"] == COIN


@pytest.mark.parametrize(("early", "paid"), [(1, 0), (0, COIN)])
def test_to_the_second(world: World, user: str, provider: str, early: int, paid: int) -> None:
    world.open(user, provider, COIN)
    world.request()
    world.evm.time += DAY - early
    done = world.process()
    assert done.result == (paid, COIN - paid, COIN - paid)
    assert len(done.events) == (paid > 0)


@pytest.mark.usefixtures("user", "provider")
def test_a_refusing_ledger_does_not_matter_when_nothing_is_paid(world: World, ledger: str, opened: int) -> None:
    world.evm.set_code(ledger, REVERT)
    assert world.process().result == (0, opened, 0)


def test_keeps_the_others_in_order(world: World, user: str, provider: str) -> None:
    world.open(user, provider, 0)
    for coins in range(1, 6):
        world.deposit(coins)
        world.request()
        world.evm.time += DAY // 4
    world.evm.time -= DAY // 4
    done = world.process()
    assert done.result == (1, 14, 14)
    refunds = world.account()["refunds"]
    assert [(refund["index"], refund["amount"]) for refund in refunds] == [(0, 2), (1, 3), (2, 4), (3, 5)]
    world.deposit(6)
    world.request()
    assert [refund["amount"] for refund in world.account()["refunds"]] == [2, 3, 4, 5, 6]


def test_the_owner_can_move_the_lock_time_under_a_waiting_refund(
    world: World, serving: Contract, owner: str, opened: int
) -> None:
    world.request()
    world.evm.time += DAY - 1
    serving.send("updateLockTime", 7 * DAY, sender=owner)
    assert world.process().result[0] == 0
    serving.send("updateLockTime", 3600, sender=owner)
    assert world.process().result[0] == opened


@pytest.mark.usefixtures("ready")
def test_keeps_nonce_acknowledgement_and_penalty_mark(world: World, serving: Contract, provider: str) -> None:
    world.penalise("first")
    world.empty_account()
    account = world.account()
    assert (account["nonce"], account["acknowledged"], account["balance"]) == (1, True, 0)
    world.deliver("second")
    assert serving.refused(
        "settleFees", world.settlement("second", secret=b"", fee=0).signed(serving.address), sender=provider
    ) == error("UserActionRequired", user=world.user, provider=provider)
