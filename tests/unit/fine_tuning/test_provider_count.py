# SPDX-License-Identifier: Apache-2.0
"""providerCount"""

from tests.unit.contract import Contract
from tests.unit.fine_tuning.world import World


def test_counts_the_users_accounts(world: World, serving: Contract, user: str, provider: str, second: str) -> None:
    assert serving.ask("providerCount", user) == 0
    world.open(user, provider, 0)
    world.open(user, second, 0)
    world.open(world.stranger, second, 0)
    assert serving.ask("providerCount", user) == 2
    world.delete(user, provider)
    assert serving.ask("providerCount", user) == 1
