# SPDX-License-Identifier: Apache-2.0
"""getAllServices"""

from tests.evm import GAS_LIMIT
from tests.unit.contract import Contract
from tests.unit.fine_tuning.world import World


def test_nobody(serving: Contract) -> None:
    assert serving.ask("getAllServices") == []


def test_is_the_first_page(world: World, serving: Contract) -> None:
    providers = [world.evm.account(f"provider {number}") for number in range(51)]
    for number, provider in enumerate(providers):
        world.register(provider, pricePerToken=number)
        if number == 2:
            assert serving.ask("getAllServices") == serving.ask("getServices", 0, 0)[0]
    found = serving.ask("getAllServices")
    assert [one["provider"] for one in found] == providers[:50]
    assert found == serving.ask("getServices", 0, 50)[0]


def test_answers_however_large_the_registrations_are(world: World, serving: Contract) -> None:
    for number in range(11):
        world.register(world.evm.account(f"provider {number}"), url="u" * 2048, models=["m" * 256] * 64)
    found = serving.ask("getAllServices", gas=GAS_LIMIT // 4)
    assert found == serving.ask("getServices", 0, 50)[0]
    assert len(found) == 9
