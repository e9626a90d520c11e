# SPDX-License-Identifier: Apache-2.0
"""lockedBalance: what the ledger asks instead of keeping a second book"""

import pytest

from tests.unit.contract import COIN, Contract
from tests.unit.fine_tuning.world import World


def test_is_the_sum_over_all_providers(world: World, serving: Contract, user: str, provider: str, second: str) -> None:
    assert serving.ask("lockedBalance", user) == 0
    world.open(user, provider, 2 * COIN)
    world.open(user, second, 3 * COIN)
    world.open(world.stranger, second, 5 * COIN)
    assert serving.ask("lockedBalance", user) == 5 * COIN


def test_follows_settlements_and_refunds(world: World, serving: Contract, user: str, ready: int) -> None:
    world.finish("task")
    assert serving.ask("lockedBalance", user) == ready - COIN
    world.request()
    assert serving.ask("lockedBalance", user) == ready - COIN
    world.empty_account()
    assert serving.ask("lockedBalance", user) == 0


@pytest.mark.usefixtures("registered")
def test_does_not_count_stakes_or_forced_coins(world: World, serving: Contract, provider: str) -> None:
    world.evm.set_balance(serving.address, world.evm.balance(serving.address) + COIN)
    world.forced = COIN
    assert serving.ask("lockedBalance", provider) == 0
