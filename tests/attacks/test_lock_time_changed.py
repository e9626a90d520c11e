# SPDX-License-Identifier: Apache-2.0
"""The owner changes the lock time while refunds wait: they follow it, but never past a week after their request."""

import pytest

from tests.attacks.scene import Scene
from tests.stateful.model import HOUR, WEEK
from tests.stateful.world import FINE_TUNING, INFERENCE, LEDGER
from tests.unit.contract import COIN


@pytest.mark.parametrize("where", [INFERENCE, FINE_TUNING])
def test_a_pending_refund_follows_the_lock_time(scene: Scene, where: str) -> None:
    scene.fund(scene.provider, where)
    scene.do(LEDGER, "retrieveFund", [scene.provider], where, sender=scene.user)
    scene.do(where, "updateLockTime", WEEK, sender=scene.owner)
    scene.wait(WEEK - 1)
    scene.do(LEDGER, "retrieveFund", [scene.provider], where, sender=scene.user)
    assert scene.balance_of(scene.user, scene.provider, where) == 5 * COIN
    scene.wait(1)
    scene.do(LEDGER, "retrieveFund", [scene.provider], where, sender=scene.user)
    assert scene.balance_of(scene.user, scene.provider, where) == 0


@pytest.mark.parametrize("where", [INFERENCE, FINE_TUNING])
def test_shortened_it_is_paid_at_once_to_the_second(scene: Scene, where: str) -> None:
    scene.fund(scene.provider, where)
    scene.do(LEDGER, "retrieveFund", [scene.provider], where, sender=scene.user)
    scene.wait(HOUR)
    scene.do(where, "updateLockTime", HOUR, sender=scene.owner)
    scene.do(LEDGER, "retrieveFund", [scene.provider], where, sender=scene.user)
    assert scene.balance_of(scene.user, scene.provider, where) == 0


@pytest.mark.parametrize("where", [INFERENCE, FINE_TUNING])
def test_no_owner_can_lock_money_for_longer_than_a_week(scene: Scene, where: str) -> None:
    for seconds in (0, HOUR - 1, WEEK + 1, 2**256 - 1):
        refused = scene.do(where, "updateLockTime", seconds, sender=scene.owner).refused
        assert refused is not None
        assert refused[0] == "LockTimeOutOfRange"
