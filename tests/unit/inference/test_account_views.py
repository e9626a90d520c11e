# SPDX-License-Identifier: Apache-2.0
"""accountExists, getPendingRefund, getAccount, lockedBalance, providerCount, providersOf"""

import pytest

from tests.unit.contract import COIN, Contract, error
from tests.unit.inference.world import World


def test_account_exists(world: World, serving: Contract, user: str, provider: str) -> None:
    assert serving.ask("accountExists", user, provider) is False
    world.open(coins=0)
    assert serving.ask("accountExists", user, provider) is True
    assert serving.ask("accountExists", provider, user) is False
    world.delete()
    assert serving.ask("accountExists", user, provider) is False


def test_get_pending_refund(world: World, serving: Contract, user: str, provider: str, opened: int) -> None:
    assert serving.ask("getPendingRefund", user, provider) == 0
    world.request()
    world.deposit(COIN)
    assert serving.ask("getPendingRefund", user, provider) == opened


@pytest.mark.parametrize("function", ["getPendingRefund", "getAccount"])
def test_both_need_an_account(world: World, serving: Contract, user: str, provider: str, function: str) -> None:
    expected = error("AccountNotExists", user=user, provider=provider)
    assert serving.refused(function, user, provider, sender=user) == expected
    world.open(coins=0)
    world.delete()
    assert serving.refused(function, user, provider, sender=user) == expected


@pytest.mark.usefixtures("confirmed")
def test_get_account_shows_every_field(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open(coins=0, info="description")
    for coins in range(1, 6):
        world.deposit(coins)
        world.request()
    first = world.evm.time
    world.deposit(100)
    world.settle(world.fee(3, nonce=2**64 - 1))
    serving.send("revokeAllTokens", provider, sender=user)
    serving.send("revokeTokens", provider, [2, 201], sender=user)
    assert world.account() == {
        "user": user,
        "provider": provider,
        "nonce": 2**64 - 1,
        "balance": 112,
        "pendingRefund": 15,
        "refunds": [
            {"index": place, "amount": place + 1, "createdAt": first, "processed": False} for place in range(5)
        ],
        "additionalInfo": "description",
        "acknowledged": True,
        "validRefundsLength": 5,
        "generation": 1,
        "revokedBitmap": 1 << 2 | 1 << 201,
    }


def test_locked_balance_adds_a_users_accounts_up(world: World, serving: Contract, user: str, stranger: str) -> None:
    assert serving.ask("lockedBalance", user) == 0
    for place in range(7):
        world.open(provider=world.evm.account(f"provider {place}"), coins=10**place)
    world.open(stranger, coins=COIN)
    assert serving.ask("lockedBalance", user) == 1_111_111
    assert serving.ask("lockedBalance", stranger) == COIN


def test_providers_of_in_the_order_of_opening(world: World, serving: Contract, user: str, stranger: str) -> None:
    assert serving.ask("providersOf", user) == []
    providers = [world.evm.account(f"provider {place}") for place in range(50)]
    for provider in providers:
        world.open(provider=provider, coins=0)
    assert serving.ask("providersOf", user) == providers
    assert serving.ask("providerCount", user) == 50
    assert serving.ask("providerCount", stranger) == 0
