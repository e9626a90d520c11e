# SPDX-License-Identifier: Apache-2.0
"""addAccount"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.fine_tuning.world import MAX_COINS, World

NOBODY = "0x" + "00" * 20
LONG = "x" * 4097


def test_opens_an_acknowledged_account(serving: Contract, ledger: str, user: str, provider: str) -> None:
    done = serving.send("addAccount", user, provider, "about me", sender=ledger, value=3 * COIN)
    assert done.result is None
    assert done.events == [event("BalanceUpdated", user=user, provider=provider, amount=3 * COIN, pendingRefund=0)]
    assert serving.ask("getAccount", user, provider) == {
        "user": user,
        "provider": provider,
        "nonce": 0,
        "balance": 3 * COIN,
        "pendingRefund": 0,
        "refunds": [],
        "additionalInfo": "about me",
        "deliverables": [],
        "validRefundsLength": 0,
        "deliverablesHead": 0,
        "deliverablesCount": 0,
        "acknowledged": True,
    }


def test_checks_in_order(serving: Contract, world: World, ledger: str, user: str, provider: str, stranger: str) -> None:
    world.open(user, provider)

    def refused(*args: str, sender: str = ledger, value: int = 0) -> object:
        return serving.refused("addAccount", *args, sender=sender, value=value)

    assert refused(NOBODY, NOBODY, LONG, sender=stranger) == error("CallerNotLedger")
    assert refused(NOBODY, NOBODY, LONG) == error("AdditionalInfoTooLong")
    assert refused(NOBODY, NOBODY, "") == error("InvalidAddress", addr=NOBODY)
    assert refused(user, NOBODY, "") == error("InvalidAddress", addr=NOBODY)
    assert refused(provider, provider, "") == error("ProviderCannotBeUser")
    world.evm.set_balance(ledger, 2**100)
    assert refused(user, provider, "", value=2**92) == error("AccountExists", user=user, provider=provider)
    assert refused(stranger, provider, "", value=2**92) == error("AmountTooLarge", amount=2**92, max=MAX_COINS)


@pytest.mark.parametrize("sender", ["owner", "user", "provider", "stranger"])
def test_is_the_ledgers(world: World, serving: Contract, user: str, provider: str, sender: str) -> None:
    caller = getattr(world, sender)
    assert serving.refused("addAccount", user, provider, "", sender=caller) == error("CallerNotLedger")


def test_takes_info_and_coins_up_to_the_limits(
    world: World, serving: Contract, ledger: str, user: str, provider: str
) -> None:
    world.evm.set_balance(ledger, 2**100)
    world.open(user, provider, MAX_COINS, "x" * 4096)
    assert serving.ask("getAccount", user, provider)["additionalInfo"] == "x" * 4096
    assert serving.ask("lockedBalance", user) == MAX_COINS


def test_names_the_limit_well_past_it(serving: Contract, ledger: str, user: str, provider: str) -> None:
    refused = serving.refused("addAccount", user, provider, "x" * 5000, sender=ledger)
    assert refused == error("AdditionalInfoTooLong")


@pytest.mark.usefixtures("ready")
def test_a_deleted_account_keeps_its_nonce(world: World, user: str, provider: str) -> None:
    world.deliver("task")
    world.acknowledge("task")
    world.settle(world.settlement("task", nonce=77))
    world.empty_account()
    world.delete()
    world.open(user, provider, 0)
    again = world.account()
    assert again["nonce"] == 77
    assert again["acknowledged"]
    assert (again["balance"], again["pendingRefund"], again["deliverables"]) == (0, 0, [])


def test_users_and_providers_do_not_meet(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open(user, provider, COIN)
    world.open(provider, user, 2 * COIN)
    assert world.account(user, provider)["balance"] == COIN
    assert world.account(provider, user)["balance"] == 2 * COIN
    assert serving.ask("accountExists", user, provider)
