# SPDX-License-Identifier: Apache-2.0
"""getAccountsByUser"""

from tests.unit.contract import COIN, Contract, error
from tests.unit.fine_tuning.world import World


def test_in_the_order_of_opening(world: World, serving: Contract, user: str, stranger: str) -> None:
    providers = [world.evm.account(f"provider {number}") for number in range(4)]
    for number, provider in enumerate(providers):
        world.open(user, provider, number * COIN)
    world.open(stranger, providers[0], 7)
    page, total = serving.ask("getAccountsByUser", user, 0, 0)
    assert [(one["user"], one["provider"], one["balance"]) for one in page] == [
        (user, provider, number * COIN) for number, provider in enumerate(providers)
    ]
    assert total == 4
    assert serving.ask("getAccountsByUser", user, 1, 2) == (page[1:3], 4)
    assert serving.ask("getAccountsByUser", user, 4, 2) == ([], 4)
    assert serving.ask("getAccountsByUser", providers[0], 0, 0) == ([], 0)


def test_a_limit_that_is_too_large(serving: Contract, user: str) -> None:
    assert serving.refused("getAccountsByUser", user, 0, 51, sender=user) == error("LimitTooLarge", limit=51)
