# SPDX-License-Identifier: Apache-2.0
"""getPendingRefund"""

from tests.unit.contract import COIN, Contract, error
from tests.unit.fine_tuning.world import World


def test_is_what_waits(world: World, serving: Contract, user: str, provider: str, opened: int) -> None:
    assert serving.ask("getPendingRefund", user, provider) == 0
    world.request()
    world.deposit(COIN)
    assert serving.ask("getPendingRefund", user, provider) == opened


def test_needs_an_account(serving: Contract, user: str, provider: str) -> None:
    assert serving.refused("getPendingRefund", user, provider, sender=user) == error(
        "AccountNotExists", user=user, provider=provider
    )
