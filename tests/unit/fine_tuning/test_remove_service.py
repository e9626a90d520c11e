# SPDX-License-Identifier: Apache-2.0
"""removeService"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.fine_tuning.world import REVERT, STAKE, World


def test_returns_the_whole_stake(world: World, serving: Contract, provider: str) -> None:
    world.register(provider, stake=STAKE + 7)
    before = world.evm.balance(provider)
    done = serving.send("removeService", sender=provider)
    assert done.result is None
    assert done.events == [
        event("ProviderStakeReturned", provider=provider, amount=STAKE + 7),
        event("ServiceRemoved", provider=provider),
    ]
    assert world.evm.balance(provider) == before + STAKE + 7
    assert serving.refused("getService", provider, sender=provider) == error("ServiceNotExist", provider=provider)
    assert serving.ask("getAllServices") == []


def test_checks_in_order(world: World, serving: Contract, provider: str) -> None:
    assert serving.refused("removeService", sender=provider) == error("ServiceNotExist", provider=provider)
    world.register(provider)
    world.evm.set_code(provider, REVERT)
    assert serving.refused("removeService", sender=provider) == error("ETHTransferFailed")
    assert serving.ask("getService", provider)["provider"] == provider


@pytest.mark.usefixtures("registered")
def test_only_once(serving: Contract, provider: str) -> None:
    serving.send("removeService", sender=provider)
    assert serving.refused("removeService", sender=provider) == error("ServiceNotExist", provider=provider)


@pytest.mark.parametrize("gone", range(4))
def test_the_last_service_takes_the_place(world: World, serving: Contract, gone: int) -> None:
    providers = [world.evm.account(f"provider {number}") for number in range(4)]
    for number, one in enumerate(providers):
        world.register(one, pricePerToken=number, occupied=number % 2 == 0)
    serving.send("removeService", sender=providers[gone])
    left = providers[:]
    last = left.pop()
    if gone < 3:
        left[gone] = last
    found = serving.ask("getAllServices")
    assert [one["provider"] for one in found] == left
    assert [one["pricePerToken"] for one in found] == [providers.index(one) for one in left]
    assert [one["occupied"] for one in found] == [providers.index(one) % 2 == 0 for one in left]
    for one in left:
        serving.send("removeService", sender=one)
    assert serving.ask("getServices", 0, 0) == ([], 0)


def test_accounts_stay_and_what_was_signed_is_settled_after_a_new_registration(
    world: World, serving: Contract, provider: str, ready: int
) -> None:
    world.deliver("task")
    world.acknowledge("task")
    settlement = world.settlement("task")
    serving.send("removeService", sender=provider)
    signed = settlement.signed(serving.address)
    assert serving.refused("settleFees", signed, sender=provider) == error("ServiceNotExist", provider=provider)
    assert world.account()["balance"] == ready
    world.register(provider)
    world.confirm(provider)
    world.settle(settlement)
    assert world.account()["balance"] == ready - COIN
