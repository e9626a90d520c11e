# SPDX-License-Identifier: Apache-2.0
"""addAccount"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.inference.world import DAY, MAX_COINS, World

NOBODY = "0x" + "00" * 20


def test_opens_an_acknowledged_account(world: World, user: str, provider: str) -> None:
    done = world.open(coins=5 * COIN, info="key=value")
    assert done.events == [event("BalanceUpdated", user=user, provider=provider, amount=5 * COIN, pendingRefund=0)]
    assert world.account() == {
        "user": user,
        "provider": provider,
        "nonce": 0,
        "balance": 5 * COIN,
        "pendingRefund": 0,
        "refunds": [],
        "additionalInfo": "key=value",
        "acknowledged": True,
        "validRefundsLength": 0,
        "generation": 0,
        "revokedBitmap": 0,
    }


@pytest.mark.parametrize("coins", [0, 1, MAX_COINS])
def test_with_any_amount(world: World, coins: int) -> None:
    world.evm.set_balance(world.ledger, coins)
    world.open(coins=coins)
    assert world.account()["balance"] == coins
    if coins == MAX_COINS:
        world.request()
        assert world.account()["pendingRefund"] == coins


def test_checks_in_order(world: World, serving: Contract, ledger: str, user: str, provider: str, stranger: str) -> None:
    long = "x" * 4097
    world.evm.set_balance(ledger, 2**100)
    for caller in (stranger, user, provider, world.owner):
        assert serving.refused("addAccount", NOBODY, NOBODY, long, sender=caller) == error(
            "CallerNotLedger", caller=caller
        )
    assert serving.refused("addAccount", NOBODY, NOBODY, "", sender=ledger) == error("InvalidAddress", addr=NOBODY)
    assert serving.refused("addAccount", user, NOBODY, "", sender=ledger) == error("InvalidAddress", addr=NOBODY)
    assert serving.refused("addAccount", user, user, "", sender=ledger) == error("ProviderCannotBeUser")
    world.open(coins=0)
    assert serving.refused("addAccount", user, provider, "", sender=ledger, value=MAX_COINS + 1) == error(
        "AccountExists", user=user, provider=provider
    )
    assert serving.refused("addAccount", user, stranger, "", sender=ledger, value=MAX_COINS + 1) == error(
        "AmountTooLarge", amount=MAX_COINS + 1, max=MAX_COINS
    )


def test_the_description_has_a_limit(world: World, serving: Contract, ledger: str, user: str, provider: str) -> None:
    for length in (4097, 5120):
        assert serving.refused("addAccount", user, provider, "x" * length, sender=ledger) == error(
            "AdditionalInfoTooLong"
        )
    assert serving.refused("addAccount", user, provider, "x" * 5121, sender=ledger) is None
    world.open(info="x" * 4096)
    assert world.account()["additionalInfo"] == "x" * 4096


@pytest.mark.parametrize("info", ["\0", "é" * 2048, "\U0001f680", "a" * 31, "b" * 32, "c" * 33])
def test_any_text_is_kept(world: World, info: str) -> None:
    world.open(info=info)
    assert world.account()["additionalInfo"] == info


def test_a_text_of_any_first_byte_is_kept(world: World, serving: Contract, ledger: str) -> None:
    """0xEF would begin a contract that cannot be deployed."""
    data = bytearray(serving.interface.encode("addAccount", world.user, world.provider, "\x7fELF"))
    place = data.index(b"\x7fELF")
    data[place] = 0xEF
    assert world.evm.send(serving.address, bytes(data), sender=ledger).success
    answer = world.evm.view(
        serving.address, serving.interface.encode("getAccount", world.user, world.provider), sender=ledger
    )
    assert b"\xefELF" in answer.output


@pytest.mark.usefixtures("confirmed")
def test_an_account_opened_again_keeps_only_what_stops_replays(
    world: World, serving: Contract, user: str, provider: str
) -> None:
    world.open(info="first")
    world.settle(world.fee(nonce=9))
    serving.send("revokeAllTokens", provider, sender=user)
    serving.send("revokeToken", provider, 3, sender=user)
    world.deposit(COIN)
    world.request()
    world.evm.time += DAY
    world.process()
    world.delete()
    world.open(coins=7)
    account = world.account()
    assert (account["nonce"], account["generation"], account["revokedBitmap"]) == (9, 1, 1 << 3)
    assert (account["balance"], account["refunds"], account["additionalInfo"]) == (7, [], "")
    assert account["acknowledged"] is True


def test_the_same_user_with_two_providers_has_two_accounts(world: World, second: str) -> None:
    world.open(coins=1)
    world.open(provider=second, coins=2)
    world.deposit(10)
    assert world.account()["balance"] == 11
    assert world.account(provider=second)["balance"] == 2
