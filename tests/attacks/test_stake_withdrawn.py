# SPDX-License-Identifier: Apache-2.0
"""A provider takes its stake while settlements are due: users lose nothing, and what was signed before is worthless."""

from tests.attacks.scene import Scene
from tests.stateful.world import FINE_TUNING, INFERENCE
from tests.unit.contract import COIN


def test_what_was_signed_before_is_not_paid_after(scene: Scene) -> None:
    scene.register(scene.provider)
    scene.fund(scene.provider)
    entry = scene.entry(scene.provider, COIN, 1)
    scene.do(INFERENCE, "removeService", sender=scene.provider)
    assert scene.settle(scene.provider, entry) == [2]
    assert scene.balance_of(scene.user, scene.provider) == 5 * COIN


def test_registering_again_needs_stake_and_confirmation_again(scene: Scene) -> None:
    scene.register(scene.provider)
    scene.fund(scene.provider)
    entry = scene.entry(scene.provider, COIN, 1)
    terms = scene.service(INFERENCE).offers[scene.provider].terms
    scene.do(INFERENCE, "removeService", sender=scene.provider)
    refused = scene.do(INFERENCE, "addOrUpdateService", terms, sender=scene.provider).refused
    assert refused == ("InsufficientStake", {"provided": 0, "required": 100 * COIN})
    scene.do(INFERENCE, "addOrUpdateService", terms, sender=scene.provider, value=100 * COIN)
    assert scene.settle(scene.provider, entry) == [3]


def test_the_stake_comes_out_of_the_stake_and_not_of_the_users_money(scene: Scene) -> None:
    for where in (INFERENCE, FINE_TUNING):
        scene.register(scene.provider, where)
        scene.fund(scene.provider, where)
        scene.do(where, "removeService", sender=scene.provider)
        assert scene.do(where, "removeService", sender=scene.provider).refused is not None
        assert scene.coins(where) == 5 * COIN
    scene.leave()


def test_a_task_delivered_before_cannot_be_charged_after(scene: Scene) -> None:
    scene.register(scene.provider, FINE_TUNING)
    scene.fund(scene.provider, FINE_TUNING)
    scene.do(FINE_TUNING, "addDeliverable", scene.user, "job", b"root", sender=scene.provider)
    scene.do(FINE_TUNING, "removeService", sender=scene.provider)
    refused = scene.do(FINE_TUNING, "settleFees", scene.task("job", COIN, 1), sender=scene.provider).refused
    assert refused == ("ServiceNotExist", {"provider": scene.provider})
