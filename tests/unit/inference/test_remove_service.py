# SPDX-License-Identifier: Apache-2.0
"""removeService"""

from tests.unit.contract import Contract, error, event
from tests.unit.inference.world import REVERT, STAKE, World


def test_returns_the_whole_stake(world: World, serving: Contract, provider: str) -> None:
    world.register(stake=STAKE + 7)
    before = world.evm.balance(provider)
    done = serving.send("removeService", sender=provider)
    assert done.events == [
        event("ProviderStakeReturned", provider=provider, amount=STAKE + 7),
        event("ServiceRemoved", service=provider),
    ]
    assert world.evm.balance(provider) == before + STAKE + 7
    assert serving.ask("serviceExists", provider) is False


def test_needs_a_service(world: World, serving: Contract, provider: str) -> None:
    expected = error("ServiceNotExist", provider=provider)
    assert serving.refused("removeService", sender=provider) == expected
    world.register()
    serving.send("removeService", sender=provider)
    assert serving.refused("removeService", sender=provider) == expected


def test_a_provider_that_cannot_receive_coins_keeps_its_service(world: World, serving: Contract, provider: str) -> None:
    world.register()
    world.evm.set_code(provider, REVERT)
    assert serving.refused("removeService", sender=provider) == error("TransferFailed")
    assert serving.ask("serviceExists", provider) is True


def test_the_last_service_moves_into_the_gap(world: World, serving: Contract) -> None:
    providers = [world.evm.account(f"provider {place}") for place in range(4)]
    for provider in providers:
        world.register(provider)
    for leaving, left in ((1, [0, 3, 2]), (0, [2, 3]), (3, [2]), (2, [])):
        serving.send("removeService", sender=providers[leaving])
        services, total = serving.ask("getAllServices", 0, 0)
        assert [one["provider"] for one in services] == [providers[place] for place in left]
        assert total == len(left)
        for place in left:
            assert serving.ask("getService", providers[place])["provider"] == providers[place]


def test_a_service_that_has_moved_is_the_one_that_leaves(world: World, serving: Contract) -> None:
    providers = [world.evm.account(f"provider {place}") for place in range(5)]
    for provider in providers:
        world.register(provider)
    for leaving, left in ((1, [0, 4, 2, 3]), (4, [0, 3, 2]), (0, [2, 3]), (2, [3])):
        serving.send("removeService", sender=providers[leaving])
        services, _ = serving.ask("getAllServices", 0, 0)
        assert [one["provider"] for one in services] == [providers[place] for place in left]


def test_leaves_the_accounts_alone(world: World, serving: Contract, provider: str, ready: int) -> None:
    serving.send("removeService", sender=provider)
    assert world.account()["balance"] == ready
    world.register()
    world.confirm()
    assert world.settle(world.fee()).result == [0]
