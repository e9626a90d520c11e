# SPDX-License-Identifier: Apache-2.0
"""providersOf"""

from tests.unit.contract import Contract
from tests.unit.fine_tuning.world import World


def test_in_the_order_of_opening(world: World, serving: Contract, user: str, provider: str, second: str) -> None:
    assert serving.ask("providersOf", user) == []
    world.open(user, second, 0)
    world.open(user, provider, 0)
    world.open(world.stranger, provider, 0)
    assert serving.ask("providersOf", user) == [second, provider]
    assert serving.ask("providersOf", world.stranger) == [provider]


def test_is_empty_again_after_the_last(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open(user, provider, 0)
    world.delete()
    assert serving.ask("providersOf", user) == []
