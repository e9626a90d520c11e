# SPDX-License-Identifier: Apache-2.0
"""deleteAccount"""

import pytest

from tests.unit.contract import Contract, error, event
from tests.unit.inference.world import World


def test_forgets_an_empty_account(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open(coins=0, info="info")
    done = world.delete()
    assert done.events == [event("AccountDeleted", user=user, provider=provider, refundedAmount=0)]
    assert serving.ask("accountExists", user, provider) is False
    assert serving.ask("getAllAccounts", 0, 0) == ([], 0)
    assert serving.ask("providerCount", user) == 0


def test_only_the_ledger(serving: Contract, user: str, provider: str, stranger: str) -> None:
    for caller in (stranger, user, provider):
        assert serving.refused("deleteAccount", user, provider, sender=caller) == error(
            "CallerNotLedger", caller=caller
        )


def test_an_account_with_coins_is_kept(world: World, serving: Contract, ledger: str, user: str, provider: str) -> None:
    world.open(coins=1)
    expected = error("AccountNotEmpty", user=user, provider=provider, balance=1)
    assert serving.refused("deleteAccount", user, provider, sender=ledger) == expected
    world.request()
    assert serving.refused("deleteAccount", user, provider, sender=ledger) == expected


def test_an_account_that_is_not_there_is_no_reason_to_fail(world: World, user: str, provider: str) -> None:
    done = world.delete()
    assert done.events == [event("AccountDeleted", user=user, provider=provider, refundedAmount=0)]


@pytest.mark.usefixtures("confirmed")
def test_keeps_nonce_generation_and_revoked_tokens(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open(coins=1)
    world.settle(world.fee(1, nonce=5))
    serving.send("revokeAllTokens", provider, sender=user)
    serving.send("revokeTokens", provider, [0, 255], sender=user)
    world.delete()
    world.delete()
    world.open(coins=0)
    account = world.account()
    assert (account["nonce"], account["generation"], account["revokedBitmap"]) == (5, 1, 1 | 1 << 255)


def test_takes_the_acknowledgement_with_it(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open(coins=0)
    world.delete()
    assert serving.refused("acknowledgeTEESigner", provider, True, sender=user) == error(
        "AccountNotExists", user=user, provider=provider
    )


@pytest.mark.parametrize("position", range(4))
def test_the_last_entry_moves_into_the_gap(world: World, serving: Contract, provider: str, position: int) -> None:
    """In every list it was on: of the provider, of the user, and of all."""
    users = [world.evm.account(f"user {place}") for place in range(4)]
    for user in users:
        world.open(user, coins=0)
    world.delete(users[position])
    left = [*users[:position], *users[-1:], *users[position + 1 : -1]] if position < 3 else users[:-1]
    for listing, party in (("getAllAccounts", ()), ("getAccountsByProvider", (provider,))):
        page, total = serving.ask(listing, *party, 0, 0)
        assert [one["user"] for one in page] == left
        assert total == 3


@pytest.mark.parametrize("position", range(4))
def test_of_a_user_with_several_providers(world: World, serving: Contract, user: str, position: int) -> None:
    providers = [world.evm.account(f"provider {place}") for place in range(4)]
    for provider in providers:
        world.open(provider=provider, coins=0)
    world.delete(provider=providers[position])
    left = [*providers[:position], *providers[-1:], *providers[position + 1 : -1]] if position < 3 else providers[:-1]
    assert serving.ask("providersOf", user) == left
    page, total = serving.ask("getAccountsByUser", user, 0, 0)
    assert ([one["provider"] for one in page], total) == (left, 3)
