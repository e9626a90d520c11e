# SPDX-License-Identifier: Apache-2.0
"""The penalty is a percentage, rounded down: never more than the fee, never from an empty remainder."""

import pytest

from tests.attacks.scene import Scene
from tests.stateful.world import FINE_TUNING
from tests.unit.contract import COIN


@pytest.mark.parametrize("percentage", [0, 1, 30, 33, 99, 100])
@pytest.mark.parametrize("fee", [0, 1, 2, 3, 33, 99, 100, 101, 5 * COIN - 1, 5 * COIN])
def test_rounded_down_for_every_fee(scene: Scene, percentage: int, fee: int) -> None:
    scene.register(scene.provider, FINE_TUNING)
    scene.fund(scene.provider, FINE_TUNING)
    scene.do(FINE_TUNING, "updatePenaltyPercentage", percentage, sender=scene.owner)
    scene.do(FINE_TUNING, "addDeliverable", scene.user, "job", b"root", sender=scene.provider)
    before = scene.evm.balance(scene.provider)
    done = scene.do(FINE_TUNING, "settleFees", scene.task("job", fee, 1), sender=scene.provider)
    paid = scene.evm.balance(scene.provider) - before
    assert done.events[0][2]["fee"] == paid
    assert paid * 100 <= fee * percentage < (paid + 1) * 100
    assert scene.balance_of(scene.user, scene.provider, FINE_TUNING) == 5 * COIN - paid


def test_one_penalty_and_then_an_act_of_the_user(scene: Scene) -> None:
    """A provider with its TEE cannot add and penalise in a loop and empty an absent user's account."""
    scene.register(scene.provider, FINE_TUNING)
    scene.fund(scene.provider, FINE_TUNING)
    for number in (1, 2):
        scene.do(FINE_TUNING, "addDeliverable", scene.user, f"job {number}", b"root", sender=scene.provider)
        done = scene.do(FINE_TUNING, "settleFees", scene.task(f"job {number}", COIN, number), sender=scene.provider)
    assert done.refused == ("UserActionRequired", {"user": scene.user, "provider": scene.provider})
    scene.fund(scene.provider, FINE_TUNING, coins=0)
    again = scene.do(FINE_TUNING, "settleFees", scene.task("job 2", COIN, 2), sender=scene.provider)
    assert again.refused is None
