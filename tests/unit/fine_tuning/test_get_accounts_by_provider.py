# SPDX-License-Identifier: Apache-2.0
"""getAccountsByProvider"""

from tests.unit.contract import COIN, Contract, error
from tests.unit.fine_tuning.world import World


def test_in_the_order_of_opening(world: World, serving: Contract, provider: str, second: str) -> None:
    users = [world.evm.account(f"user {number}") for number in range(4)]
    for number, user in enumerate(users):
        world.open(user, provider, number * COIN)
    world.open(users[0], second, 7)
    page, total = serving.ask("getAccountsByProvider", provider, 0, 0)
    assert [(one["user"], one["provider"], one["balance"]) for one in page] == [
        (user, provider, number * COIN) for number, user in enumerate(users)
    ]
    assert total == 4
    assert serving.ask("getAccountsByProvider", provider, 1, 2) == (page[1:3], 4)
    assert serving.ask("getAccountsByProvider", provider, 4, 2) == ([], 4)
    assert serving.ask("getAccountsByProvider", users[0], 0, 0) == ([], 0)


def test_a_limit_that_is_too_large(serving: Contract, provider: str) -> None:
    assert serving.refused("getAccountsByProvider", provider, 0, 51, sender=provider) == error(
        "LimitTooLarge", limit=51
    )
